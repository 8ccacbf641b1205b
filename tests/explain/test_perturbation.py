"""Insertion and deletion of a network that is known by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import expit
from torch import nn

from mammo_utils.explain import perturbation
from mammo_utils.models import segmentation


class Bright(nn.Module):
    """The logit is 40 times the brightness of a 2×2 square, less 2."""

    def __init__(self, classes=1):
        super().__init__()
        self.scale, self.classes = nn.Parameter(torch.tensor(40.0)), classes

    def forward(self, x):
        logit = self.scale * x[:, :, 4:6, 2:4].mean((1, 2, 3))[:, None] - 2
        return logit if self.classes == 1 else torch.cat([-logit, 0 * logit, logit], 1)


@pytest.fixture
def images():
    return torch.tensor(np.random.default_rng(0).uniform(0.2, 0.6, (3, 1, 8, 8)).astype(np.float32))


@pytest.mark.parametrize("target", [0, 1])
def test_curves_by_hand(images, target):
    maps = np.zeros((3, 8, 8))
    maps[:, 4:6, 2:4] = [[4, 3], [2, 1]]  # the four pixels in this order, then the rest
    found = perturbation.curves(Bright(), images, maps, target=target, steps=64)
    pixels = images[:, 0].numpy()
    blurred = ndimage.gaussian_filter(pixels, (0, 8 * 5 / 224, 8 * 5 / 224))
    square, soft = (part[:, 4:6, 2:4].reshape(3, 4) for part in (pixels, blurred))
    sign = 1 if target == 1 else -1
    for step in (0, 1, 3, 4, 40, 64):
        inserted = np.hstack([square[:, :step], soft[:, step:]]).mean(1)
        deleted = np.where(np.arange(4) < step, 0, square).mean(1)
        for curve, value in ((found.insertion, inserted), (found.deletion, deleted)):
            np.testing.assert_allclose(curve[:, step], expit(sign * (40 * value - 2)), rtol=1e-4)
    areas = found.areas
    for area, curve in zip(areas, (found.insertion, found.deletion), strict=True):
        np.testing.assert_allclose(area, (curve[:, 1:] + curve[:, :-1]).mean(1) / 2)


def test_a_right_map_does_better_than_its_opposite(images):
    right = np.zeros((3, 8, 8))
    right[:, 4:6, 2:4] = 1
    good, bad = (
        perturbation.curves(Bright(), images, maps, target=1, steps=16).areas for maps in (right, 1 - right)
    )
    assert (good[1] < bad[1] - 0.5).all()


def test_pixels_of_equal_height_come_in_random_order():
    """A flat map of one half and the other: the first half is not read row by row."""
    places = perturbation._places(np.repeat([[1.0, 0.0]], 32, axis=0).reshape(1, 64), seed=0)
    assert sorted(np.round(64 * places[0]).astype(int)) == list(range(64))
    high = places[0][::2]
    assert high.max() < 0.5 <= places[0][1::2].min()
    assert abs(np.corrcoef(high, np.arange(32))[0, 1]) < 0.5
    assert not np.array_equal(places, perturbation._places(np.zeros((1, 64)), seed=1))


def test_classes_of_several_and_of_one(images):
    logit = Bright()(images).detach().double().numpy()[:, 0]
    np.testing.assert_allclose(perturbation.probability(Bright(), images, 1), expit(logit), rtol=1e-6)
    three = np.exp([-logit, 0 * logit, logit])
    np.testing.assert_allclose(
        perturbation.probability(Bright(3), images, 2), three[2] / three.sum(0), rtol=1e-5
    )
    with pytest.raises(ValueError, match="choose one of: 0, 1, 2"):
        perturbation.probability(Bright(3), images, 3)


def test_maps_lie_as_the_images_do(images):
    with pytest.raises(ValueError, match=r"maps \(3, 4, 16\) must be \(3, 8, 8\)"):
        perturbation.curves(Bright(), images, np.zeros((3, 4, 16)), target=1)


def test_a_segmenter_has_no_such_curves():
    model = segmentation.build("unet/test_efficientnet", size=64)
    with pytest.raises(ValueError, match="this is a segmenter"):
        perturbation.curves(model, torch.rand(1, 1, 64, 52), np.zeros((1, 64, 52)), target=1)
