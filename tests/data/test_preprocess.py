"""Finding the breast among what film and machines put beside it, and the way to a prepared image and back."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from mammo_utils.data import preprocess, resample
from mammo_utils.synth import breast

SHAPE = (400, 320)


def film(*, base=0.05, shape=SHAPE, contrast=1.0, seed=0):
    """A breast at the left edge on a film base with noise: (image, truth)."""
    row, column = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    depth = 1 - ((row - 0.52) / 0.40) ** 2 - (column / 0.60) ** 2
    noise = np.random.default_rng(seed).normal(0, 1, (2, *shape))
    tissue = 0.25 + 0.25 * np.clip(depth, 0, 1) + 0.1 * ndimage.gaussian_filter(noise[0], 6) * 8
    soft = np.clip(depth * 6, 0, 1)
    image = base + contrast * soft * tissue + 0.004 * noise[1]
    return np.clip(image, 0, 1).astype(np.float32), depth > 0.03


def label(image):
    image[20:50, 230:300] = 1


def label_beside_the_skin(image):
    image[200:240, 205:240] = 0.9


def scratch(image):
    image[150:153, :] = 1


def frame(image):
    image[:6] = image[-6:] = 1
    image[:, :6] = image[:, -6:] = 1


def tilted_edge(image):
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    image[row < 2 + column * 0.03] = 1
    image[column > image.shape[1] - 2 - row * 0.03] = 1


def black_margin(image):
    image[:, 290:] = 0
    image[:12] = 0


def dark_lozenge(image):
    image[300:360, 280:300] = 0


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("base", [0.0, 0.05, 0.15])
@pytest.mark.parametrize(
    "trouble",
    [None, label, label_beside_the_skin, scratch, frame, tilted_edge, black_margin, dark_lozenge],
)
def test_breast_is_found_in_spite_of(trouble, base, mirror):
    image, truth = film(base=base)
    if trouble is not None:
        trouble(image)
    if mirror:
        image, truth = image[:, ::-1], truth[:, ::-1]
    found = preprocess.breast_foreground(image)
    assert found.dtype == bool
    assert found.shape == image.shape
    assert (found & truth).sum() / (found | truth).sum() > 0.93
    assert preprocess.prepare(image, 64).flipped == mirror


def test_a_dim_picture_gives_the_same_breast():
    """A 12-bit image in a 16-bit PNG fills a sixteenth of the range."""
    image, _ = film()
    bright, dim = preprocess.breast_foreground(image), preprocess.breast_foreground(image / 16)
    assert (bright != dim).mean() < 0.002


def test_phantom_breasts_are_found_and_turned():
    overlaps, sides = [], []
    for patient in range(4):
        for view in breast.exam(patient, size=128):
            truth = view.breast_mask | view.pectoral_mask
            found = preprocess.breast_foreground(view.image)
            overlaps.append((found & truth).sum() / (found | truth).sum())
            sides.append(preprocess.prepare(view.image, (128, 96)).flipped == (view.laterality == "R"))
    assert np.median(overlaps) > 0.9
    assert all(sides)


def test_real_films():
    """Expert labels of 15 digitised films: background 64, tissue and muscle from 128 on."""
    root = os.environ.get("MAMMO_SAMPLES")
    if not root:
        pytest.skip("MAMMO_SAMPLES is not set: no real films here")
    overlaps = {}
    for file in sorted((Path(root) / "ddsm_density" / "images").glob("*.png")):
        image = np.asarray(Image.open(file), np.float32) / 255
        truth = np.asarray(Image.open(file.parents[1] / "labels" / f"{file.stem}_LI.png")) >= 128
        found = preprocess.breast_foreground(image)
        overlaps[file.stem] = (found & truth).sum() / (found | truth).sum()
        prepared = preprocess.prepare(image, (256, 128))
        chest, other = truth[:, : truth.shape[1] // 4].mean(), truth[:, -truth.shape[1] // 4 :].mean()
        assert prepared.flipped == (other > chest), file.stem
    assert len(overlaps) == 15
    assert np.mean(list(overlaps.values())) >= 0.92
    assert min(overlaps.values()) >= 0.80


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, np.nan])
def test_without_a_picture_there_is_no_breast(value):
    with pytest.raises(preprocess.NoBreastError, match=r"no breast found: .*; check"):
        preprocess.prepare(np.full(SHAPE, value, np.float32), 64)


def test_a_label_alone_is_no_breast():
    image = np.full(SHAPE, 0.02, np.float32)
    image[180:220, 140:180] = 1
    with pytest.raises(preprocess.NoBreastError, match="no breast found"):
        preprocess.breast_foreground(image)


def test_laterality_decides_only_where_the_picture_does_not():
    image, _ = film()
    assert not preprocess.prepare(image, 64, laterality="R").flipped, "the picture is clear"
    wide = np.full((100, 120), 0.02, np.float32)
    wide[20:80] = 0.5  # from edge to edge: no chest wall to be seen
    assert preprocess.prepare(wide, 64, laterality="R").flipped
    assert not preprocess.prepare(wide, 64, laterality="L").flipped
    with pytest.raises(ValueError, match="choose one of: L, R"):
        preprocess.prepare(image, 64, laterality="left")


@pytest.mark.parametrize("size", [64, (128, 64), (64, 128), 700])
def test_the_frame(size):
    """Aspect kept, one side filled, padding only right and below, nothing but the breast."""
    image, _ = film()
    label(image)
    prepared = preprocess.prepare(image, size)
    shape = (size, size) if isinstance(size, int) else size
    assert prepared.image.shape == prepared.foreground.shape == shape
    assert prepared.image.dtype == np.float32
    top, left, bottom, right = prepared.box
    inner = prepared.inner
    assert inner[0] == shape[0] or inner[1] == shape[1]
    assert inner[0] / inner[1] == pytest.approx((bottom - top) / (right - left), rel=0.02)
    assert not prepared.image[inner[0] :].any()
    assert not prepared.image[:, inner[1] :].any()
    assert not prepared.foreground[inner[0] :].any()
    pixel = int(np.ceil(inner[0] / (bottom - top)))  # of the original, over which the rim is interpolated
    outside = ~ndimage.binary_dilation(prepared.foreground, iterations=1 + pixel)
    assert not prepared.image[outside].any(), "the label is still there"
    assert prepared.foreground[:, 0].mean() > prepared.foreground[:, inner[1] - 1].mean(), "chest wall left"


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size", [96, (200, 90), 512])
def test_points_follow_the_picture(mirror, size):
    """A bright dot is found where its point was carried to, and back."""
    image, truth = film()
    points = np.argwhere(ndimage.binary_erosion(truth, iterations=30))[:: 2000 if size != 512 else 4000]
    if mirror:
        image, points = image[:, ::-1], points * [1, -1] + [0, SHAPE[1] - 1]
    prepared = preprocess.prepare(image, size)
    assert prepared.flipped == mirror
    carried = prepared.to_prepared(points)
    np.testing.assert_allclose(prepared.to_original(carried), points, atol=1e-9)
    for point, place in zip(points, carried, strict=True):
        dot = np.zeros(SHAPE)
        dot[tuple(point)] = 1
        weight = prepared.to_prepared(dot)
        centre = np.array(ndimage.center_of_mass(weight))
        assert np.abs(centre - place).max() < 0.5


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size", [160, (300, 200), 512])
def test_masks_travel_both_ways_within_a_pixel(mirror, size):
    image, truth = film()
    lesion = np.zeros(SHAPE, bool)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    lesion[(row - 230) ** 2 + (column - 70) ** 2 < 15**2] = True
    if mirror:
        image, lesion = image[:, ::-1], lesion[:, ::-1]
    prepared = preprocess.prepare(image, size)
    there = prepared.to_prepared(lesion)
    back = prepared.to_original(there)
    assert there.dtype == back.dtype == bool
    assert back.shape == SHAPE
    scale = np.array(prepared.inner) / np.subtract(prepared.box[2:], prepared.box[:2])
    assert there.sum() == pytest.approx(lesion.sum() * scale.prod(), rel=0.05), "areas are kept"
    reach = max(1, int(np.ceil(1 / scale.min())))  # one pixel of the coarser of the two pictures
    assert not (back & ~ndimage.binary_dilation(lesion, iterations=reach)).any()
    assert not (ndimage.binary_erosion(lesion, iterations=reach) & ~back).any()


def test_a_map_keeps_its_values():
    image, _ = film()
    prepared = preprocess.prepare(image, 128)
    flat = np.full(prepared.image.shape, 0.7, np.float32)
    top, left, bottom, right = prepared.box
    back = prepared.to_original(flat)
    np.testing.assert_allclose(back[top:bottom, left:right], 0.7, atol=1e-6)
    assert back.sum() == pytest.approx(0.7 * (bottom - top) * (right - left), rel=1e-4)
    with pytest.raises(ValueError, match="bool"):
        prepared.to_original(np.ones(prepared.image.shape, np.uint8))
    with pytest.raises(ValueError, match="points"):
        prepared.to_prepared(np.ones((5, 3)))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.floats(0, 0.99), st.floats(0.5, 1))
def test_area_is_the_mean_of_what_is_covered(size, cells, seed, start, share):
    """Against a plain sum over a picture that was first repeated 60 times finer."""
    line = np.random.default_rng(seed).random(size)
    start, extent = round(start * 60) / 60, max(1, round(share * size * 60)) / 60 * cells
    extent = min(extent, size)
    fine = np.repeat(np.pad(line, (0, size), mode="edge"), 60 * cells)
    width = round(extent * 60)
    first = round(start * 60) * cells
    expected = [fine[first + cell * width : first + (cell + 1) * width].mean() for cell in range(cells)]
    found = resample.area(line[None], (1, cells), start=(0, start), extent=(1, width / 60))
    np.testing.assert_allclose(found[0], expected, rtol=2e-4, atol=1e-6)


def test_enlarging_is_linear_between_pixel_centres():
    ramp = np.tile(np.arange(8, dtype=np.float32), (3, 1))
    enlarged = resample.resize(ramp, (3, 32))
    np.testing.assert_allclose(enlarged[0, 2:-2], np.arange(2, 30) / 4 - 0.375, atol=1e-5)


@pytest.mark.parametrize("size", [0, -3, (0, 40), (40, 0)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="at least 1×1 pixels"):
        preprocess.prepare(np.zeros((50, 40), np.float32), size)
