import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from mammo_utils.evaluation.density import (
    CLASSES,
    agreement,
    cut_points,
    density_classes,
    percent_density,
    spearman,
    weighted_kappa,
)
from mammo_utils.evaluation.intervals import bootstrap

letters = st.sampled_from(CLASSES)


def columns(*elements, low=2):
    """Lists of rows with one entry of each kind, turned into columns."""
    rows = st.lists(st.tuples(*elements), min_size=low, max_size=30)
    return rows.map(lambda rows: [list(column) for column in zip(*rows, strict=True)])


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


@given(columns(st.integers(0, 100), st.integers(0, 100), st.integers(1, 5)))
def test_weighted_agreement_equals_numpys_weighted_covariance_on_any_scale(case):
    measured, reference, weights = map(np.array, case)
    difference = measured - reference
    bias, spread = (
        np.average(difference, weights=weights),
        1.96 * np.sqrt(np.cov(difference, aweights=weights)),
    )
    expected = pytest.approx((bias, bias - spread, bias + spread), abs=1e-6)
    assert agreement(measured, reference, weights=weights) == expected
    assert agreement(measured, reference, weights=weights / 1000) == expected


def test_one_image_of_weight_has_a_bias_but_no_limits():
    bias, *limits = agreement([3, 9], [1, 2], weights=[1, 0])
    assert bias == 2
    assert np.isnan(limits).all()


@given(columns(st.integers(-4, 4), st.integers(-4, 4)))
def test_spearman_equals_that_of_scipy_with_ties(case):
    measured, reference = case
    if len(set(measured)) == 1 or len(set(reference)) == 1:
        assert np.isnan(spearman(measured, reference))
    else:
        expected = stats.spearmanr(measured, reference).statistic
        assert spearman(measured, reference) == pytest.approx(expected, abs=1e-12)
        assert spearman(np.exp(measured), reference) == pytest.approx(expected, abs=1e-12)
        assert spearman(np.negative(measured), reference) == pytest.approx(-expected, abs=1e-12)


@given(columns(st.integers(0, 5), letters, st.integers(0, 3)).filter(lambda case: sum(case[2]) > 1))
def test_spearman_takes_classes_in_order_and_weights_as_repeated_images(case):
    measured, classes, weights = map(np.array, case)
    rank = np.array(["ABCD".index(letter) for letter in classes])
    rows = np.repeat(np.arange(len(rank)), weights)
    repeated = spearman(measured[rows], rank[rows])
    assert spearman(measured, classes, weights=weights) == pytest.approx(repeated, abs=1e-12, nan_ok=True)


@pytest.mark.filterwarnings("error")
def test_spearman_is_undefined_where_all_images_of_weight_are_of_one_class():
    assert np.isnan(spearman([1, 2, 3], ["A", "B", "B"], weights=[0, 1, 1]))
    assert spearman([1, 2, 3], ["A", "B", "B"], weights=[1, 1, 0]) == pytest.approx(1)


def test_spearman_with_four_classes_worked_by_hand():
    # Ranks 1 2 3 4 against 1 2.5 2.5 4: the squared differences sum to 0.5 and one pair is tied.
    expected = 4.5 / np.sqrt(5 * 4.5)
    for series in (list, np.array, pd.Series, pd.Categorical, lambda x: pd.Series(x, dtype="string")):
        assert spearman([5, 20, 30, 70], series(["A", "B", "B", "D"])) == pytest.approx(expected)


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
@given(case=columns(letters, letters, st.integers(1, 4)))
def test_kappa_equals_that_of_scikit_learn(weights, case):
    a, b, images = case
    found = weighted_kappa(a, b, weights=weights, case_weights=images)
    if len({*a, *b}) == 1:
        assert np.isnan(found)
    else:
        expected = cohen_kappa_score(a, b, labels=CLASSES, weights=weights, sample_weight=images)
        assert found == pytest.approx(expected, abs=1e-12)
        assert weighted_kappa(b, a, weights=weights, case_weights=images) == pytest.approx(found, abs=1e-12)


def test_kappa_worked_by_hand():
    # C is read as B and D as C: squared distances 1 + 1.  Each of a against each of b, as chance would pair
    # them: 0+1+1+4, 1+0+0+1, 4+1+1+0, 9+4+4+1 sum to 32 in sixteen pairs, so to 8 in four images.
    a, b = ["A", "B", "C", "D"], ["A", "B", "B", "C"]
    assert weighted_kappa(a, b) == pytest.approx(1 - 2 / 8)
    # Plain distances: 0+1+1+2, 1+0+0+1, 2+1+1+0, 3+2+2+1 sum to 18, so to 4.5.
    assert weighted_kappa(a, b, weights="linear") == pytest.approx(1 - 2 / 4.5)
    assert weighted_kappa(a, a) == 1
    assert weighted_kappa(["A", "D"], ["D", "A"]) == -1


def test_an_unknown_weighting_lists_the_right_ones():
    with pytest.raises(ValueError, match="linear, quadratic"):
        weighted_kappa(["A", "B"], ["A", "B"], weights="cubic")


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=20),
    st.lists(st.floats(0, 100), min_size=3, max_size=3).map(sorted),
)
def test_a_class_counts_the_cut_points_that_a_density_has_reached(percent, cuts):
    expected = ["ABCD"[sum(value >= cut for cut in cuts)] for value in percent]
    assert density_classes(percent, cuts).tolist() == expected
    np.testing.assert_array_equal(density_classes([percent], cuts), [expected])


@given(st.lists(st.tuples(st.floats(0, 100), letters), min_size=2, max_size=40, unique_by=lambda row: row[0]))
def test_cut_points_rise_and_give_the_training_data_its_own_shares(rows):
    percent, classes = map(list, zip(*rows, strict=True))
    cuts = cut_points(percent, classes)
    assert list(cuts) == sorted(cuts)
    # Neighbouring floats have no number between them: the midpoint is one of them.
    if np.diff(np.sort(percent)).min() > 1e-9:
        assert sorted(density_classes(percent, cuts)) == sorted(classes)


@given(st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_cut_points_of_separate_classes_separate_them(sizes):
    classes = np.repeat(CLASSES, sizes)
    percent = np.arange(len(classes)) * 2.0
    order = np.random.default_rng(0).permutation(len(classes))
    called = density_classes(percent, cut_points(percent[order], classes[order]))
    assert weighted_kappa(called, classes) == 1


def test_a_class_that_training_lacks_is_never_called():
    cuts = cut_points([10, 20, 30, 40], ["B", "B", "D", "D"])
    assert set(density_classes(np.linspace(0, 100, 1001), cuts)) == {"B", "D"}


def test_cuts_that_are_none_and_images_without_a_breast_are_refused():
    for cuts in ([25, 50], [50, 25, 75], [25, np.nan, 75]):
        with pytest.raises(ValueError, match="three rising numbers"):
            density_classes([1, 2], cuts)
    with pytest.raises(ValueError, match="missing values"):
        density_classes([1, np.nan], [25, 50, 75])


@pytest.mark.parametrize("bad", ["E", "a", None, np.nan, pd.NA, 2])
def test_an_image_without_a_class_is_named(bad):
    classes = ["A", "B", bad]
    for call in (
        lambda: weighted_kappa(classes, ["A", "B", "C"]),
        lambda: spearman([1, 2, 3], np.array(classes, object)),
        lambda: cut_points([1, 2, 3], classes),
    ):
        with pytest.raises(ValueError, match=r"1 density classes, such as .* are none of A, B, C, D"):
            call()


@pytest.mark.parametrize("measure", [agreement, spearman])
@pytest.mark.parametrize(("a", "b"), [([1, 2, 3], [1]), ([1, 2, 3], 1), ([1], [1]), ([[1, 2]], [[1, 2]])])
def test_two_measurements_need_pairs(measure, a, b):
    with pytest.raises(ValueError, match="of one length of two or more"):
        measure(a, b)


@pytest.mark.parametrize("measure", [agreement, spearman])
def test_missing_measurements_and_bad_weights_are_refused(measure):
    with pytest.raises(ValueError, match="missing or infinite"):
        measure([1, np.nan], [1, 2])
    for weights in ([1, -1], [1, np.nan], [0, 0], [1], 1):
        with pytest.raises(ValueError, match="weights must be 2 numbers"):
            measure([1, 2], [1, 3], weights=weights)


def test_kappa_needs_pairs():
    with pytest.raises(ValueError, match="of one length"):
        weighted_kappa(["A", "B", "C"], ["A", "B"])
