"""Stain normalisation against stains that are known, scikit-image's Lab and a sum worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from mammo_utils.data import stain
from mammo_utils.synth import histology


def stained(person, count=6, **changes):
    """Fields of a patient with another stain; the tissue is the same."""
    person = dataclasses.replace(person, **changes)
    return np.stack([histology.tile(person, number, size=64).image for number in range(count)])


@pytest.fixture(scope="module")
def slides():
    """The same tissue in the stains of two laboratories."""
    tissue = histology.patient(3)
    return [
        stained(tissue, stains=other.stains, amounts=other.amounts, light=np.full(3, 0.94))
        for other in (histology.patient(0), histology.patient(1))
    ]


def lab(images):
    return rgb2lab(images / 255).reshape(-1, 3)


def apart(a, b):
    """Mean distance of two sets of pictures in Lab."""
    return np.linalg.norm(lab(a) - lab(b), axis=1).mean()


@pytest.mark.parametrize("method", stain.METHODS)
def test_the_same_tissue_looks_alike_after_normalisation(slides, method):
    first, second = slides
    normalise = stain.fit(first, method)
    found = normalise(second)
    assert found.shape == second.shape
    assert found.dtype == np.uint8
    assert apart(found, first) < 0.6 * apart(second, first)


def test_macenko_finds_the_stains_that_were_used(slides):
    for images, number in zip(slides, (0, 1), strict=True):
        found = stain.fit(images, "macenko").stains
        cosines = (found * histology.patient(number).stains).sum(1)
        assert (np.degrees(np.arccos(cosines)) < 10).all()
        assert found[0, 0] > found[1, 0]  # haematoxylin takes more of the red


def test_reinhard_gives_every_tile_the_moments_of_the_reference(slides):
    """On tiles of few extreme colours, so that none are cut off; moments by scikit-image."""
    rng = np.random.default_rng(0)
    reference = rng.normal((170, 120, 160), 12, (3, 40, 40, 3)).clip(0, 255).astype(np.uint8)
    tiles = rng.normal((150, 130, 170), (20, 15, 10), (4, 40, 40, 3)).clip(0, 255).astype(np.uint8)
    found = stain.fit(reference, "reinhard")(tiles)
    wanted = lab(reference)
    for tile in found:
        np.testing.assert_allclose(lab(tile).mean(0), wanted.mean(0), atol=0.3)
        np.testing.assert_allclose(lab(tile).std(0), wanted.std(0), rtol=0.04)


def test_a_tile_does_not_depend_on_the_others_of_its_batch(slides, monkeypatch):
    """Nor on where a block of tiles ends."""
    monkeypatch.setattr(stain, "BLOCK", 4)
    first, second = slides
    for method in stain.METHODS:
        normalise = stain.fit(first, method)
        assert all((normalise(second)[n] == normalise(second[n : n + 1])[0]).all() for n in (2, 5))


def test_an_empty_tile_is_left_as_it_is_and_counted(slides):
    normalise = stain.fit(slides[0], "macenko")
    empty = np.full((2, 64, 64, 3), 235, np.uint8)
    found = normalise(np.concatenate([empty, slides[1]]))
    assert normalise.left == 2
    assert (found[:2] == empty).all()
    with pytest.raises(ValueError, match="no stained tissue"):
        stain.fit(empty, "macenko")


def test_wrong_methods_and_tiles_are_refused(slides):
    with pytest.raises(ValueError, match="unknown stain normalisation 'vahadane'; choose one of: reinhard"):
        stain.fit(slides[0], "vahadane")
    with pytest.raises(ValueError, match="uint8"):
        stain.fit(slides[0] / 255.0, "reinhard")
    with pytest.raises(ValueError, match="reinhard finds no stains"):
        _ = stain.fit(slides[0], "reinhard").stains
    with pytest.raises(ValueError, match="strength=1"):
        stain.vary(torch.rand(1, 3, 4, 4), [0], strength=1)


def test_varied_stains_are_multiples_of_the_amounts():
    """Pure haematoxylin stays haematoxylin: its density is multiplied and shifted along the three vectors."""
    rng = np.random.default_rng(1)
    amounts = rng.uniform(0.2, 0.8, (1, 8, 8, 3))
    image = torch.from_numpy(np.exp(-(amounts @ stain.HED))).permute(0, 3, 1, 2)
    found = stain.vary(image, [5], strength=0.3, shift=0.05, seed=2)
    after = -np.log(found.permute(0, 2, 3, 1).numpy()) @ np.linalg.inv(stain.HED)
    for k in range(3):
        factor, offset = np.polyfit(amounts[..., k].ravel(), after[..., k].ravel(), 1)
        np.testing.assert_allclose(after[..., k], factor * amounts[..., k] + offset, atol=1e-6)
        assert 0.7 <= factor <= 1.3
        assert abs(offset) <= 0.05


def test_a_draw_belongs_to_its_row():
    image = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = stain.vary(image, [4, 7, 9], seed=1, epoch=2)
    torch.testing.assert_close(stain.vary(image[1:2], [7], seed=1, epoch=2), whole[1:2])
    assert (stain.vary(image, [4, 7, 9], seed=1, epoch=3) - whole).abs().max() > 0.01
    torch.testing.assert_close(
        stain.vary(image, [4, 7, 9], strength=0.0, shift=0.0), image.clamp(min=1 / 255), atol=1e-5, rtol=0
    )
