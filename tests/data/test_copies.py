"""Copies of a tile against an alignment by brute force, and on phantom tiles of five classes."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from mammo_utils.data import copies
from mammo_utils.synth.histology import sources


@pytest.fixture(scope="module")
def texture():
    rng = np.random.default_rng(0)
    return gaussian_filter(rng.standard_normal((4, 192, 192)), (0, 2.5, 2.5)) * 500 + 120


def turned(image, degrees, *, zoom=1.0, mirror=False):
    """Rotated about its middle, magnified and mirrored, by one resampling."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    matrix[:, 1] *= -1 if mirror else 1
    middle = (np.array(image.shape) - 1) / 2
    return affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="reflect")


@pytest.mark.parametrize("degrees", [0, 7, 45, 171])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("zoom", [0.78, 1.0, 1.3])
def test_a_turned_magnified_mirrored_copy_correlates(texture, degrees, mirror, zoom):
    first, second = (
        copies.describe(texture[0]),
        copies.describe(turned(texture[0], degrees, zoom=zoom, mirror=mirror)),
    )
    other = copies.describe(turned(texture[1], degrees, zoom=zoom, mirror=mirror))
    found = copies.correlation(np.stack([first, first]), np.stack([second, other]))
    assert found[0] > 0.8
    assert found[1] < 0.55


def test_correlation_is_the_one_of_the_best_alignment(texture):
    """Without magnification: ring values are correlated at every one of the 64 angles, both ways round."""
    a, b = (copies.describe(image) for image in texture[2:])

    def rings(waves):
        return np.fft.irfft(np.pad(waves, ((0, 0), (1, 12))), 64, axis=1)

    best = max(
        np.corrcoef(rings(a).ravel(), np.roll(way, k, axis=1).ravel())[0, 1]
        for way in (rings(b), rings(b)[:, ::-1])
        for k in range(64)
    )
    shifts, copies.SHIFTS = copies.SHIFTS, (0,)
    try:
        found = copies.correlation(a[None], b[None])[0]
    finally:
        copies.SHIFTS = shifts
    assert found == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("kind", ["lung_n", "colon_aca"])  # the hardest two of five
def test_copies_of_phantom_tiles_are_found(kind):
    originals = [sources.original(kind, number) for number in range(12)]
    images = [
        sources.copy(image, number, turn) for number, image in enumerate(originals) for turn in range(6)
    ]
    order = np.random.default_rng(0).permutation(len(images))
    truth = np.repeat(np.arange(12), 6)[order]
    found = copies.groups([images[place] for place in order])
    assert len(set(zip(found, truth, strict=True))) == len(set(found)) == 12


def test_brightness_plays_no_part_and_tiles_must_be_square(texture):
    waves = copies.describe(texture[0])
    np.testing.assert_allclose(copies.describe(texture[0] * 0.5 + 30), waves * 0.5, atol=1e-2)
    with pytest.raises(ValueError, match="square, not 100×192"):
        copies.describe(texture[0][:100])
