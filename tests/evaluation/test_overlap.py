import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mammo_utils.evaluation.overlap import dice, iou, precision, sensitivity

masks = arrays(bool, (4, 5), elements=st.booleans())
METRICS = [dice, iou, sensitivity, precision]


@given(masks, masks)
def test_each_equals_the_overlap_of_two_sets_of_pixels(a, b):
    first, second = (set(zip(*np.nonzero(mask), strict=True)) for mask in (a, b))
    both, either = len(first & second), len(first | second)
    if not either:
        expected = [1, 1, 1, 1]
    elif not both:
        expected = [0, 0, 0, 0]
    else:
        expected = [
            2 * both / (len(first) + len(second)),
            both / either,
            both / len(second),
            both / len(first),
        ]
    assert [metric(a, b) for metric in METRICS] == pytest.approx(expected)


@given(masks, masks)
def test_how_the_four_hang_together(a, b):
    found, exact, overlap = sensitivity(a, b), precision(a, b), dice(a, b)
    assert (dice(b, a), iou(b, a)) == (overlap, iou(a, b))
    assert (sensitivity(b, a), precision(b, a)) == (exact, found)
    assert iou(a, b) == pytest.approx(overlap / (2 - overlap))
    harmonic = 2 * found * exact / (found + exact) if found + exact else 0
    assert overlap == pytest.approx(harmonic)


@pytest.mark.parametrize("metric", METRICS)
@given(mask=masks)
def test_with_itself_one_and_with_its_complement_zero(metric, mask):
    assert metric(mask, mask) == 1
    assert metric(mask, ~mask) == 0


@pytest.mark.parametrize(
    ("metric", "last"), [(dice, 2 / 3), (iou, 1 / 2), (sensitivity, 1 / 2), (precision, 1)]
)
def test_a_stack_is_scored_image_by_image_with_the_empty_cases(metric, last):
    empty, left = np.zeros((2, 2), bool), np.array([[1, 0], [1, 0]], bool)
    full = np.ones((2, 2), bool)
    prediction, target = np.stack([empty, left, empty, left]), np.stack([empty, empty, left, full])
    np.testing.assert_allclose(metric(prediction, target), [1, 0, 0, last])
    np.testing.assert_allclose(metric(prediction[None], target[None]), [[1, 0, 0, last]])
    assert isinstance(metric(left, full), float)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[0.2, 0.8]], [[0, 1]], "prediction holds values other than 0 and 1"),
        ([[0, 1]], [[0, 255]], "target holds values"),
        ([[0, 1]], [[0], [1]], "of one shape"),
        ([0, 1], [0, 1], "H×W"),
    ],
)
def test_what_is_not_a_pair_of_masks_is_refused(metric, a, b, words):
    with pytest.raises(ValueError, match=words):
        metric(a, b)
