import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.evaluation.segmentation import agreement, dice, percent_density, scores

masks = arrays(bool, (4, 5))


@given(masks, masks)
def test_dice_equals_the_overlap_of_two_sets_of_pixels(a, b):
    first, second = (set(zip(*np.nonzero(mask), strict=True)) for mask in (a, b))
    expected = 1.0 if not (first or second) else 2 * len(first & second) / (len(first) + len(second))
    assert dice(a, b) == pytest.approx(expected)
    assert dice(b, a) == dice(a, b)


@given(masks)
def test_dice_with_itself_is_one_and_with_its_complement_zero(mask):
    assert dice(mask, mask) == 1
    assert dice(mask, ~mask) == 0


def test_a_stack_is_scored_image_by_image_with_the_empty_cases():
    empty, left = np.zeros((2, 2), bool), np.array([[1, 0], [1, 0]], bool)
    full = np.ones((2, 2), bool)
    prediction, target = np.stack([empty, left, empty, left]), np.stack([empty, empty, left, full])
    np.testing.assert_allclose(dice(prediction, target), [1, 0, 0, 2 / 3])


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[0.2, 0.8]], [[0, 1]], "prediction holds values other than 0 and 1"),
        ([[0, 1]], [[0, 255]], "target holds values"),
        ([[0, 1]], [[0], [1]], "of one shape"),
    ],
)
def test_what_is_not_a_pair_of_masks_is_refused(a, b, words):
    with pytest.raises(ValueError, match=words):
        dice(a, b)


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 5))
def test_percent_density_counts_dense_pixels_inside_the_breast_only(dense, area, outside):
    breast, mask = np.zeros((3, 6), bool), np.zeros((3, 6), bool)
    breast.flat[:area] = True
    mask.flat[: min(dense, area)] = True
    mask.flat[18 - outside :] = outside > 0
    assert percent_density(mask, breast) == pytest.approx(100 * min(dense, area) / area)


def test_percent_density_of_no_breast_is_undefined():
    assert np.isnan(percent_density(np.ones((2, 2)), np.zeros((2, 2))))


def test_agreement_of_a_case_worked_by_hand():
    # Differences 1, -1, 3, 1: mean 1, sum of squares about it 8, variance 8/3.
    bias, lower, upper = agreement([11, 19, 33, 41], [10, 20, 30, 40])
    assert bias == 1
    assert upper - bias == pytest.approx(1.96 * (8 / 3) ** 0.5)
    assert bias - lower == pytest.approx(upper - bias)


def test_agreement_has_intervals_through_the_bootstrap():
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 80, 300)
    measured = reference + rng.normal(2, 5, 300)
    result = bootstrap(agreement, measured, reference, groups=np.arange(300), n=300)
    for truth, low, high in zip((2, 2 - 9.8, 2 + 9.8), result.low, result.high, strict=True):
        assert low < truth < high


def example():
    rng = np.random.default_rng(4)
    breast = np.zeros((12, 8, 8), bool)
    breast[:, :, :6] = True
    target = breast & (rng.random(breast.shape) < 0.4)
    prediction = target ^ (rng.random(breast.shape) < 0.1)
    return prediction, target, breast, np.repeat(np.arange(6), 2)


def test_table_of_scores_holds_the_weighted_means():
    prediction, target, breast, women = example()
    weights = np.arange(1, 13)
    table = scores(prediction, target, groups=women, weights=weights, breast=breast, n=100)
    assert list(table.index) == ["dice", "density_mae", "density_bias"]
    single = [dice(p, t) for p, t in zip(prediction, target, strict=True)]
    error = [
        100 * (p & b).sum() / b.sum() - 100 * t.sum() / b.sum()
        for p, t, b in zip(prediction, target, breast, strict=True)
    ]
    assert table.estimate["dice"] == pytest.approx(np.average(single, weights=weights))
    assert table.estimate["density_mae"] == pytest.approx(np.average(np.abs(error), weights=weights))
    assert table.estimate["density_bias"] == pytest.approx(np.average(error, weights=weights))
    assert (table.low < table.estimate).all()
    assert (table.estimate < table.high).all()


def test_an_image_of_weight_two_counts_as_two_images():
    prediction, target, _, women = example()
    twice = np.r_[0, np.arange(12)]
    weighted = scores(prediction, target, groups=women, weights=np.r_[2, np.ones(11)], n=200)
    doubled = scores(prediction[twice], target[twice], groups=women[twice], n=200)
    np.testing.assert_allclose(weighted, doubled)


def test_density_may_refer_to_the_predicted_breast_and_an_empty_one_means_zero():
    target, breast = np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    own = np.stack([np.array([[1, 0], [1, 0]], bool), np.zeros((2, 2), bool)])
    table = scores(target, target, groups=[1, 2], breast=breast, predicted_breast=own, n=20)
    assert table.estimate["density_mae"] == 50  # errors 0 and -100
    assert table.estimate["density_bias"] == -50


def test_an_empty_true_breast_is_named():
    mask = np.ones((2, 2, 2), bool)
    breast = np.stack([mask[0], ~mask[0]])
    with pytest.raises(ValueError, match=r"empty for images \[1\]"):
        scores(mask, mask, groups=[1, 2], breast=breast)


@pytest.mark.parametrize(("a", "b"), [([1, 2, 3], [1]), ([1, 2, 3], 1), ([1], [1]), ([[1, 2]], [[1, 2]])])
def test_agreement_needs_pairs(a, b):
    with pytest.raises(ValueError, match="of one length of two or more"):
        agreement(a, b)


def test_one_image_is_not_a_stack():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match=r"N×H×W, not \(2, 2\)"):
        scores(mask, mask, groups=[1, 2])


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [0, 0], [1, 1, 1], 1])
def test_bad_weights_are_refused(weights):
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="weights must be 2 numbers"):
        scores(mask, mask, groups=[1, 2], weights=weights)
