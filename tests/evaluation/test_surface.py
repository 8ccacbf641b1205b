import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mammo_utils.evaluation.surface import surface_distance

masks = arrays(bool, (5, 6), elements=st.booleans())
spacings = st.tuples(st.floats(0.05, 3), st.floats(0.05, 3))


def outline(mask, spacing):
    """Points in mm of the mask pixels with a neighbour that is outside the mask or outside the image."""
    filled = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    around = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    edge = [p for p in filled if any((p[0] + r, p[1] + c) not in filled for r, c in around)]
    return [(r * spacing[0], c * spacing[1]) for r, c in edge]


def percentile_95(values):
    values = sorted(values)
    place = 0.95 * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def slow(a, b, spacing):
    """Both distances from explicit lists of points, every one against every other."""
    first, second = outline(a, spacing), outline(b, spacing)
    there = [min(math.dist(p, q) for q in second) for p in first]
    back = [min(math.dist(p, q) for q in first) for p in second]
    mean = sum(there + back) / (len(there) + len(back))
    return mean, max(percentile_95(there), percentile_95(back))


@given(masks, masks, spacings)
def test_equals_brute_force_over_lists_of_points(a, b, spacing):
    assume(a.any() and b.any())
    assert surface_distance(a, b, spacing=spacing) == pytest.approx(slow(a, b, spacing))


@given(masks, masks, spacings, st.floats(0.1, 10))
def test_symmetric_zero_only_for_equal_outlines_and_proportional_to_the_spacing(a, b, spacing, factor):
    found = surface_distance(a, b, spacing=spacing)
    assert surface_distance(b, a, spacing=spacing) == pytest.approx(found)
    assert surface_distance(a, a, spacing=spacing) == (0, 0)
    larger = surface_distance(a, b, spacing=np.multiply(factor, spacing))
    assert larger == pytest.approx(np.multiply(factor, found))
    assert (found.mean == 0) == (sorted(outline(a, spacing)) == sorted(outline(b, spacing)))


@given(masks, masks, spacings)
def test_a_missing_mask_is_worse_than_any_drawn_one(a, b, spacing):
    assume(a.any() and b.any())
    missed = surface_distance(a, np.zeros_like(a), spacing=spacing)
    assert missed == pytest.approx((math.hypot(5 * spacing[0], 6 * spacing[1]),) * 2)
    assert max(surface_distance(a, b, spacing=spacing)) < missed.mean


def test_two_empty_masks_agree_and_a_stack_keeps_every_image():
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    found = surface_distance(np.stack([empty, empty, full, full]), np.stack([empty, full, empty, full]))
    np.testing.assert_allclose(found.mean, [0, 5, 5, 0])
    np.testing.assert_allclose(found.hausdorff_95, [0, 5, 5, 0])


def test_rows_and_columns_have_their_own_spacing():
    a, b = np.zeros((2, 2), bool), np.zeros((2, 2), bool)
    a[0, 0] = b[1, 1] = True
    assert surface_distance(a, b, spacing=(3, 4)) == pytest.approx((5, 5))
    a[0, 0], a[0, 1] = False, True
    assert surface_distance(a, b, spacing=(3, 4)) == pytest.approx((3, 3))


def test_one_stray_pixel_in_forty_moves_the_mean_but_not_the_95th_percentile():
    target = np.zeros((12, 40), bool)
    target[0, :39] = True
    prediction = target.copy()
    prediction[10, 0] = True
    assert surface_distance(prediction, target) == pytest.approx((10 / (40 + 39), 0))


def test_what_lies_inside_the_outline_does_not_count():
    disc = np.hypot(*np.mgrid[-30:31, -30:31])
    mean, far = surface_distance(disc < 25, disc < 15, spacing=0.5)
    assert mean == pytest.approx(5, abs=0.25)
    assert far == pytest.approx(5, abs=0.5)


def test_each_image_may_have_its_own_spacing():
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    a[:, 0, 0] = b[:, 0, 3] = True
    np.testing.assert_allclose(surface_distance(a, b, spacing=[[0.1], [0.2]]).mean, [0.3, 0.6])
    pairs = surface_distance(a, b, spacing=[[9, 0.1], [9, 0.2]])
    np.testing.assert_allclose(pairs.mean, [0.3, 0.6])
    # Two numbers alone are a (row, column) pair for both images.
    np.testing.assert_allclose(surface_distance(a, b, spacing=[9, 0.2]).mean, [0.6, 0.6])


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ([1, 1, 1], "does not fit images"),
        ([[1], [1], [1]], "does not fit images"),
        (0, "above zero"),
        ((1, -1), "above zero"),
        ((np.nan, 1), "above zero"),
    ],
)
def test_a_spacing_that_is_none_is_refused(spacing, words):
    mask = np.ones((2, 3, 3), bool)
    with pytest.raises(ValueError, match=words):
        surface_distance(mask, mask, spacing=spacing)


def test_probabilities_are_refused():
    with pytest.raises(ValueError, match="threshold it first"):
        surface_distance(np.full((2, 2), 0.5), np.ones((2, 2)))
