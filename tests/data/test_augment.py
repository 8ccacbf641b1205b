"""Changes of a batch against scipy and scikit-image on one image, and draws that only the row decides."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from skimage import transform

from mammo_utils.data import augment
from mammo_utils.data.augment import Parameters, Ranges, apply, draw

SHAPE = (64, 52)
INTENSITY = ("blur", "gamma", "gain", "offset", "noise")
NEUTRAL = {field.name: field.default for field in fields(Ranges)}
GEOMETRY = replace(
    augment.STRENGTHS["strong"], horizontal_flip=0.5, **{name: NEUTRAL[name] for name in INTENSITY}
)


def only_intensity(ranges):
    return Ranges(**{name: getattr(ranges, name) for name in INTENSITY})


def noisy(n=1, shape=SHAPE):
    """Images without any smoothness, so that a shift by a fraction of a pixel shows."""
    return torch.from_numpy(np.random.default_rng(n).random((n, 1, *shape), dtype=np.float32))


def ramps(n, shape=SHAPE):
    """(N, 3, H, W): every pixel holds its own row, its column and 1."""
    ramp = np.stack([*np.mgrid[: shape[0], : shape[1]], np.ones(shape)]).astype(np.float32)
    return torch.from_numpy(ramp).expand(n, -1, -1, -1)


def disc(row, column, radius, shape=SHAPE):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def by_skimage(image, p, i=0):
    """Image ``i`` under the affine part of ``p``, put together in (x, y) out of scikit-image's transforms."""
    height, width = image.shape

    def of(name, neutral):
        return neutral if getattr(p, name) is None else float(getattr(p, name)[i])

    x = of("centre_columns", 0) * width - 0.5
    y = of("centre_rows", 0.5) * height - 0.5
    to_centre = transform.EuclideanTransform(translation=(-x, -y))
    lean = transform.AffineTransform(
        np.array([[1, 0, 0], [np.tan(np.radians(of("shear", 0))), 1, 0], [0, 0, 1.0]])
    )
    # scikit-image turns counter-clockwise where y points up, and in an image it points down.
    turn = transform.SimilarityTransform(scale=of("scale", 1), rotation=-np.radians(of("rotation", 0)))
    back = transform.EuclideanTransform(
        translation=(x + of("shift_columns", 0) * width, y + of("shift_rows", 0) * height)
    )
    whole = to_centre + lean + turn + back
    moved = transform.warp(image.astype(np.float64), whole.inverse, order=1, mode="constant", cval=0)
    moved = moved[::-1] if of("vertical_flip", 0) else moved
    return moved[:, ::-1] if of("horizontal_flip", 0) else moved


@pytest.mark.parametrize("shape", [SHAPE, (31, 40)])
def test_geometry_agrees_with_scikit_image(shape):
    image, p = noisy(12, shape), draw(range(12), ranges=replace(GEOMETRY, elastic=(0, 0)))
    moved = apply(p, image)[0].numpy()
    expected = np.stack([by_skimage(image[i, 0].numpy(), p, i) for i in range(12)])
    assert np.abs(moved[:, 0] - expected).max() < 1e-4


def test_a_turn_by_ninety_degrees_is_counter_clockwise():
    image = noisy(1, (33, 33))
    middle = {"centre_rows": torch.tensor([0.5]), "centre_columns": torch.tensor([0.5])}
    moved = apply(Parameters(rotation=torch.tensor([90.0]), **middle), image)[0]
    assert np.abs(moved[0, 0].numpy() - np.rot90(image[0, 0].numpy())).max() < 1e-4


def test_the_warp_agrees_with_scipy():
    image, p = noisy(3), draw(range(3), ranges=Ranges(elastic=(0.05, 0.05)))
    height, width = SHAPE
    for i in range(3):
        at = np.mgrid[:height, :width].astype(float)
        y, x = (at[0] + 0.5) / height, (at[1] + 0.5) / width
        move = sum(
            p.elastic[i, :, a, b].numpy()[:, None, None] * np.cos(np.pi * a * y) * np.cos(np.pi * b * x)
            for a in range(3)
            for b in range(3)
        )
        assert 0.005 < np.abs(move).max() <= 0.05
        expected = ndimage.map_coordinates(
            image[i, 0].numpy().astype(float), at + move * height, order=1, mode="grid-constant"
        )
        assert np.abs(apply(p, image)[0][i, 0].numpy() - expected).max() < 1e-4


def test_the_warp_never_folds():
    moved = apply(draw(range(200), ranges=Ranges(elastic=(0.05, 0.05))), ramps(200))[0].numpy()
    inner = moved[:, :2, 6:-6, 6:-6]
    down, right = np.diff(inner, axis=2)[..., :-1], np.diff(inner, axis=3)[:, :, :-1]
    assert (down[:, 0] * right[:, 1] - down[:, 1] * right[:, 0]).min() > 0.2


def test_points_go_where_their_pixels_go():
    """Each pixel of the moved ramps tells from where it comes: from there a point comes to this pixel."""
    n = 40
    moved = apply(draw(range(n), ranges=GEOMETRY), ramps(n))[0]
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, SHAPE, (n, 25, 2)))
    read = torch.stack([moved[i, :, at[:, 0], at[:, 1]].T for i, at in enumerate(pixels)]).double()
    origin, inside = read[..., :2], read[..., 2] > 0.99999  # beside the edges zeros are mixed in
    points = apply(draw(range(n), ranges=GEOMETRY), ramps(n), points=origin)[2]
    assert inside.sum() > 300
    assert (points - pixels)[inside].abs().max() < 0.002


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(0, 10**6),
    at=st.tuples(st.floats(12, 52), st.floats(12, 40)),
)
def test_a_blob_a_disc_and_their_point_stay_together(row, at):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    blob = np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / (2 * 1.5**2)).astype(np.float32)
    mask = disc(*at, 5).astype(np.float32)
    ranges = replace(GEOMETRY, scale=(0.8, 1.1), elastic=(0, 0.03), shear=(-6, 6))
    image, masks, points = apply(
        draw([row], ranges=ranges),
        torch.from_numpy(blob)[None, None],
        masks=torch.from_numpy(mask)[None, None],
        points=[[at, ndimage.center_of_mass(mask)]],  # a disc of pixels is not quite round
    )
    point, middle = points[0].numpy()
    assume((point > 8).all() and (point < np.array(SHAPE) - 9).all())  # or an edge cuts them
    assert np.abs(ndimage.center_of_mass(image[0, 0].numpy()) - point).max() < 0.1
    assert np.abs(ndimage.center_of_mass(masks[0, 0].numpy()) - middle).max() < 0.5
    scale = float(draw([row], ranges=ranges).scale[0])
    near = disc(*middle, 5 * scale)
    assert 2 * (near & (masks[0, 0].numpy() > 0)).sum() / (near.sum() + float(masks.sum())) > 0.85


def test_masks_stay_masks_and_agree_with_scipy():
    mask = torch.from_numpy(
        ndimage.gaussian_filter(np.random.default_rng(0).random((8, 3, *SHAPE)), (0, 0, 3, 3)) > 0.5
    ).float()
    p = draw(range(8), ranges=replace(GEOMETRY, elastic=(0, 0)))
    image, moved, _ = apply(p, noisy(8), masks=mask)
    assert image.dtype == moved.dtype == torch.float32
    assert moved.shape == mask.shape
    assert set(moved.unique().tolist()) == {0, 1}
    for i in range(8):
        for c in range(3):
            soft = by_skimage(mask[i, c].numpy(), p, i)
            sure = np.abs(soft - 0.5) > 1e-4
            assert (moved[i, c].numpy() == (soft >= 0.5))[sure].all()
            assert sure.mean() > 0.99


def test_a_mask_keeps_its_area_on_average():
    mask = torch.from_numpy(disc(31.5, 25.5, 9)).float().expand(300, 1, -1, -1)
    p = draw(range(300), ranges=Ranges(rotation=(-180, 180), shift_rows=(-0.1, 0.1), shift_columns=(0, 0.02)))
    middle = replace(p, centre_columns=torch.full((300,), 0.5))
    moved = apply(middle, noisy(300), masks=mask)[1]
    assert float(moved.sum((1, 2, 3)).mean() / mask[0].sum()) == pytest.approx(1, abs=0.005)


def test_a_flip_is_exact_and_lone_images_stay():
    p = Parameters(vertical_flip=torch.tensor([True, False]))
    image, mask = noisy(2), (noisy(2) > 0.5).float()
    moved, masks, points = apply(p, image, masks=mask, points=[[[0, 3]], [[0, 3]]])
    assert (moved[0] - image[0].flip(1)).abs().max() < 1e-4
    assert (moved[1] - image[1]).abs().max() < 1e-4
    assert torch.equal(masks, torch.stack([mask[0].flip(1), mask[1]]))
    assert points.tolist() == [[[63, 3]], [[0, 3]]]


def test_absent_points_stay_absent():
    points = apply(draw([1, 2]), noisy(2), points=[[[3, 4], [np.nan, np.nan]]] * 2)[2]
    assert points.isnan().tolist() == [[[False, False], [True, True]]] * 2
    assert points.dtype == torch.float64


def test_nothing_to_do_costs_nothing():
    image, masks = noisy(4), (noisy(4) > 0.5).float()
    p = draw(range(4), ranges="none")
    assert p == Parameters()
    moved = apply(p, image, masks=masks, points=[[[1, 2]]] * 4)
    assert moved[0] is image
    assert moved[1] is masks
    assert moved[2].tolist() == [[[1, 2]]] * 4


def test_what_is_given_is_not_changed():
    image, masks, points = noisy(4), (noisy(4) > 0.5).float(), np.ones((4, 2, 2))
    before = image.clone(), masks.clone(), points.copy()
    apply(draw(range(4), ranges="strong"), image, masks=masks, points=points)
    assert torch.equal(image, before[0])
    assert torch.equal(masks, before[1])
    assert (points == before[2]).all()


@pytest.mark.parametrize("strength", augment.STRENGTHS)
def test_background_stays_zero_and_the_breast_within_its_range(strength):
    image = noisy(8)
    image[:, :, :, 30:] = 0
    moved = apply(draw(range(8), ranges=only_intensity(augment.STRENGTHS[strength])), image)[0]
    assert moved.dtype == torch.float32
    assert (moved[image == 0] == 0).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (moved[image > 0] > 0).float().mean() > 0.8


def test_gamma_gain_and_offset_by_hand():
    image = noisy(2)
    values = {"gamma": [0.5, 2.0], "gain": [1.2, 0.8], "offset": [-0.1, 0.05]}
    moved = apply(Parameters(**{name: torch.tensor(value) for name, value in values.items()}), image)[0]
    for i, (gamma, gain, offset) in enumerate(zip(*values.values(), strict=True)):
        expected = np.clip(image[i].numpy() ** gamma * gain + offset, 0, 1)
        assert np.abs(moved[i].numpy() - expected).max() < 1e-6


def test_each_image_has_its_own_blur_as_in_scipy():
    image, sigma = noisy(4), [0.0, 0.5, 1.0, 2.0]
    moved = apply(Parameters(blur=torch.tensor(sigma)), image)[0]
    assert torch.equal(moved[0], image[0])
    for i in (1, 2, 3):
        expected = ndimage.gaussian_filter(image[i, 0].numpy(), sigma[i], mode="nearest", radius=6)
        assert np.abs(moved[i, 0].numpy() - expected).max() < 1e-5


def test_noise_is_normal_and_unrelated_to_place_and_image():
    grey, width = torch.full((4, 1, 128, 104), 0.5), torch.tensor([0.05, 0.05, 0.02, 0.0])
    p = replace(draw(range(4), ranges=Ranges(noise=(0, 0.05))), noise=width)
    noise = (apply(p, grey)[0] - 0.5).numpy()[:, 0]
    assert (noise[3] == 0).all()
    for i, sigma in enumerate(width[:3].tolist()):
        assert stats.kstest(noise[i].ravel() / sigma, "norm").pvalue > 0.001
    first, error = noise[0] / 0.05, 1 / np.sqrt(128 * 104)
    for other in (noise[1] / 0.05, np.roll(first, 1, 0), np.roll(first, 1, 1), np.roll(first, 8, 1)):
        assert abs((first * other).mean()) < 4 * error
    assert torch.equal(apply(p, grey)[0], apply(p, grey)[0])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(-5, 2**62), st.integers(0, 10**6)
)
def test_the_draw_of_an_image_depends_on_its_own_row_only(rows, seed, epoch):
    together = draw(rows, ranges=GEOMETRY, seed=seed, epoch=epoch)
    for i, row in enumerate(rows):
        alone = draw([row], ranges=GEOMETRY, seed=seed, epoch=epoch)
        for field in fields(Parameters):
            one, all_of_them = getattr(alone, field.name), getattr(together, field.name)
            assert (one is None and all_of_them is None) or torch.equal(one[0], all_of_them[i])


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"view": 1}])
def test_seed_epoch_and_view_change_every_draw(other):
    first, second = draw(range(50), ranges="strong"), draw(range(50), ranges="strong", **other)
    for name in ("rotation", "scale", "gamma", "noise", "noise_key", "blur"):
        assert (getattr(first, name) != getattr(second, name)).all()
    flips = first.vertical_flip != second.vertical_flip
    assert 10 < flips.sum() < 40


def test_another_operation_does_not_change_the_others():
    alone = draw(range(5), ranges=Ranges(rotation=(-10, 10), gamma=(0.5, 2)))
    among = draw(range(5), ranges=replace(GEOMETRY, rotation=(-10, 10), gamma=(0.5, 2)))
    assert torch.equal(alone.rotation, among.rotation)
    assert torch.equal(alone.gamma, among.gamma)


def test_draws_fill_their_ranges_evenly():
    ranges = augment.STRENGTHS["strong"]
    p = draw(range(3000), ranges=ranges)
    for name in ("rotation", "shear", "shift_rows", "shift_columns", "blur", "gain", "offset", "noise"):
        low, high = ranges.ends(name)
        assert stats.kstest(getattr(p, name).numpy(), "uniform", (low, high - low)).pvalue > 0.001
    for name in ("scale", "gamma"):
        low, high = np.log(ranges.ends(name))
        assert stats.kstest(np.log(getattr(p, name).numpy()), "uniform", (low, high - low)).pvalue > 0.001
    assert float(p.vertical_flip.double().mean()) == pytest.approx(0.5, abs=0.04)
    assert (p.elastic[:, :, 0, 0] == 0).all()  # a warp that shifts the whole image would be a second shift
    amplitude = p.elastic.abs().sum((2, 3))
    assert (amplitude[:, 0] - amplitude[:, 1]).abs().max() < 1e-12
    assert stats.kstest(amplitude[:, 0].numpy(), "uniform", (0, 0.05)).pvalue > 0.001


def test_strengths_rise():
    corners, still = np.tile([[10.0, 5.0], [50.0, 5.0], [30.0, 40.0]], (200, 1, 1)), noisy(1)
    still = still.expand(200, -1, -1, -1)
    moved, changed = [], []
    for ranges in map(augment.ranges_of, ("none", "light", "standard", "strong")):
        points = apply(draw(range(200), ranges=replace(ranges, vertical_flip=0)), still, points=corners)[2]
        moved.append(float(np.abs(points.numpy() - corners).mean()))
        changed.append(
            float((apply(draw(range(200), ranges=only_intensity(ranges)), still)[0] - still).abs().mean())
        )
    for distances in (moved, changed):
        assert distances[0] == 0
        assert (np.diff(distances) > 0.01).all()


def test_scale_about_a_drawn_centre_is_a_random_resized_crop():
    ranges = Ranges(scale=(1.2, 3), centre_rows=(0, 1), centre_columns=(0, 1))
    p = draw(range(400), ranges=ranges)
    moved = apply(p, ramps(400))[0]
    assert moved[:, 2].min() > 0.25  # no pixel is read beyond the edges, where half a pixel may be mixed in
    for axis, size in enumerate(SHAPE):  # where crops begin is even over all places that there are
        middle = moved[:, axis, SHAPE[0] // 2, SHAPE[1] // 2].double()
        first = middle + 0.5 - (size // 2 + 0.5) / p.scale
        assert stats.kstest(first / (size * (1 - 1 / p.scale)), "uniform").pvalue > 0.001


def test_scale_and_shear_keep_the_chest_wall_at_the_left_edge():
    white = torch.ones(100, 1, *SHAPE)
    ranges = Ranges(scale=(0.7, 1), shear=(-12, 12), centre_rows=(0.5, 0.5))
    moved = apply(draw(range(100), ranges=ranges), white)[0]
    assert (moved[:, 0, 20:44, 0] > 0.5).all()
    assert (moved[:, 0, 32, -1] < 0.5).float().mean() > 0.9


def test_autocast_does_not_coarsen_the_geometry():
    image, p = noisy(4), draw(range(4), ranges="strong")
    with torch.autocast("cpu", torch.bfloat16):
        inside = apply(p, image)[0]
    assert torch.equal(inside, apply(p, image)[0])


@pytest.mark.parametrize("shape", [SHAPE, (31, 41)])
def test_an_image_is_changed_alike_in_any_company(shape):
    image, masks = noisy(9, shape), (noisy(9, shape) > 0.5).float()
    together = apply(draw(range(9), ranges="strong"), image, masks=masks)
    for i in range(9):
        alone = apply(draw([i], ranges="strong"), image[i : i + 1], masks=masks[i : i + 1])
        assert (together[0][i] - alone[0][0]).abs().max() < 1e-5
        assert (together[1][i] != alone[1][0]).float().mean() < 0.001  # a tie may fall either way
