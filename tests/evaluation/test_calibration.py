import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from mammo_utils.evaluation.calibration import (
    brier,
    expected_calibration_error,
    prior_shift,
    recalibration,
    reliability,
    reliability_by_woman,
    temperature,
)
from mammo_utils.evaluation.classification import prevalence_weights, roc_auc

# Multiples of 1/64 are exact in binary, so that an edge is an edge in the code and in the oracle.
ROWS = st.lists(
    st.tuples(st.integers(0, 64), st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=60
).map(lambda rows: [(Fraction(k, 64), y, w) for k, y, w in rows])


def columns(rows):
    return [np.array([float(row[i]) for row in rows]) for i in range(3)]


def points(groups):
    """Mean probability, share of positives and weight of each group of rows, exactly."""
    found = []
    for rows in groups:
        weight = sum(w for _, _, w in rows)
        if weight:
            mean, share = (sum(row[i] * row[2] for row in rows) / Fraction(weight) for i in (0, 1))
            found.append((mean, share, weight))
    return found


def by_width(rows, bins):
    return [[r for r in rows if k <= r[0] * bins < k + 1 or r[0] == 1 and k == bins - 1] for k in range(bins)]


def by_mass(rows, bins):
    """Each distinct probability by the rank of the middle of its cases, each case counted one by one."""
    total = sum(w for *_, w in rows)
    groups = [[] for _ in range(bins)]
    for value in {p for p, *_ in rows}:
        below = sum(w for p, _, w in rows if p < value)
        own = sum(w for p, _, w in rows if p == value)
        groups[int((below + Fraction(own, 2)) * bins / total)] += [r for r in rows if r[0] == value]
    return groups


GROUPS = {"width": by_width, "mass": by_mass}


@pytest.mark.parametrize("binning", GROUPS)
@given(rows=ROWS, bins=st.sampled_from([1, 2, 4, 8, 16]))
def test_curve_and_error_equal_exact_sums_over_bins(binning, rows, bins):
    expected = points(GROUPS[binning](rows, bins))
    probability, label, weights = columns(rows)
    curve = reliability(probability, label, bins=bins, binning=binning, weights=weights)
    np.testing.assert_allclose(np.transpose(curve), np.array(expected, float), atol=1e-12)
    error = sum(abs(mean - share) * weight for mean, share, weight in expected) / sum(w for *_, w in expected)
    found = expected_calibration_error(probability, label, bins=bins, binning=binning, weights=weights)
    assert found == pytest.approx(float(error))


@given(ROWS)
def test_whole_weights_equal_repeated_cases(rows):
    probability, label, weights = columns(rows)
    which = np.repeat(np.arange(len(rows)), weights.astype(int))
    for binning in GROUPS:
        weighted = reliability(probability, label, binning=binning, weights=weights)
        repeated = reliability(probability[which], label[which], binning=binning)
        np.testing.assert_allclose(np.transpose(weighted), np.transpose(repeated))


@given(ROWS)
def test_brier_equals_plain_sums_and_scikit_learn(rows):
    probability, label, weights = columns(rows)
    expected = sum(w * (p - y) ** 2 for p, y, w in rows) / sum(w for *_, w in rows)
    assert brier(probability, label, weights=weights) == pytest.approx(float(expected))
    theirs = brier_score_loss(label, probability, sample_weight=weights, pos_label=1)
    assert brier(probability, label, weights=weights) == pytest.approx(theirs)


def test_bins_of_equal_mass_hold_equally_many():
    rng = np.random.default_rng(0)
    probability = rng.random(60) ** 8
    curve = reliability(probability, rng.random(60) < 0.1, bins=15, binning="mass")
    assert curve.weight.tolist() == [4] * 15
    np.testing.assert_allclose(curve.predicted, np.sort(probability).reshape(15, 4).mean(1))
    shuffled = rng.permutation(60)
    tied = np.round(probability, 1)
    label = rng.random(60) < 0.5
    one, other = (reliability(tied[i], label[i], binning="mass") for i in (np.arange(60), shuffled))
    np.testing.assert_allclose(np.transpose(one), np.transpose(other))


def test_rare_positives_hide_in_one_bin_of_equal_width():
    """Half of the cases have no risk and half 4 %, both called 2 %; ±2 % too much and too little cancel."""
    probability = np.repeat([0.019, 0.021], 500)
    label = np.zeros(1000)
    label[500:520] = 1
    assert expected_calibration_error(probability, label) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(probability, label, binning="mass") == pytest.approx(0.019)


def test_perfect_and_useless_probabilities():
    label = np.array([0, 0, 0, 1])
    assert expected_calibration_error(label, label) == brier(label, label) == 0
    constant = np.full(4, 0.25)
    assert expected_calibration_error(constant, label) == 0
    assert brier(constant, label) == pytest.approx(0.25 * 0.75)
    assert expected_calibration_error(1 - label, label) == brier(1 - label, label) == 1


def test_weights_bring_back_the_prevalence():
    """A set enriched to one half, probabilities right at 10 %."""
    label = np.repeat([0, 1], 50)
    probability = np.full(100, 0.1)
    assert expected_calibration_error(probability, label) == pytest.approx(0.4)
    weights = prevalence_weights(label, 0.1)
    assert expected_calibration_error(probability, label, weights=weights) == pytest.approx(0, abs=1e-12)


def slope(logit, label, weights, inverse):
    """Derivative of the summed negative log-likelihood by 1 / T."""
    total = 0.0
    for z, y, w in zip(logit, label, weights, strict=True):
        total += w * z * (1 / (1 + math.exp(-z * inverse)) - y)
    return total


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 1), st.integers(1, 3)), min_size=2, max_size=40)
)
def test_temperature_is_where_the_likelihood_is_level(rows):
    logit, label, weights = columns(rows)
    low, high = 0.01, 30.0
    # What is best at a limit is tested below.
    assume(slope(logit, label, weights, low) < 0 < slope(logit, label, weights, high))
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(logit, label, weights, middle) < 0 else (low, middle)
    assert temperature(logit, label, weights=weights) == pytest.approx(1 / low, rel=1e-4)


@pytest.mark.parametrize("true", [0.2, 1.0, 4.0])
def test_temperature_is_found_from_exact_shares(true):
    logit = np.linspace(-6, 6, 41)
    share = 1 / (1 + np.exp(-logit / true))
    both = np.concatenate([logit, logit])
    label, weights = np.repeat([1, 0], 41), np.concatenate([share, 1 - share])
    assert temperature(both, label, weights=weights) == pytest.approx(true, rel=1e-5)
    probability = 1 / (1 + np.exp(-both / temperature(both, label, weights=weights)))
    options = {"weights": weights, "bins": 41, "binning": "mass"}
    assert expected_calibration_error(probability, label, **options) == pytest.approx(0, abs=1e-5)
    # A shift, such as pos_weight leaves, is beyond a temperature.
    shifted = both + math.log(46.2) * true
    tempered = 1 / (1 + np.exp(-shifted / temperature(shifted, label, weights=weights)))
    assert expected_calibration_error(tempered, label, **options) > 0.05


def test_temperature_tempers_an_overconfident_network_and_keeps_the_ranking():
    rng = np.random.default_rng(1)
    honest = rng.normal(-1, 1.5, 4000)
    label = rng.random(4000) < 1 / (1 + np.exp(-honest))
    fit, logit = temperature(5 * honest[:2000], label[:2000]), 5 * honest[2000:]
    before, after = (1 / (1 + np.exp(-logit / t)) for t in (1, fit))
    assert fit == pytest.approx(5, rel=0.15)
    assert roc_auc(after, label[2000:]) == roc_auc(before, label[2000:])
    for score in (expected_calibration_error, brier):
        assert score(after, label[2000:]) < score(before, label[2000:])


def test_temperature_stays_within_its_limits():
    assert temperature([-1, -2, 3], [0, 0, 1]) == pytest.approx(0.01, rel=0.05)
    assert temperature([1, 2, -3], [0, 0, 1]) == pytest.approx(100, rel=0.01)
    assert 0.01 < temperature([1e4, -1e4, -1e4], [1, 0, 1]) <= 100.0001


@pytest.mark.parametrize("score", [reliability, expected_calibration_error, brier])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(ValueError, match="between 0 and 1, not logits"):
        score([0.5, 1.5], [0, 1])
    with pytest.raises(ValueError, match="label must be 0 or 1"):
        score([0.5, 0.5], [0, 2])
    with pytest.raises(ValueError, match="one length"):
        score([0.5, 0.5], [0])


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown binning 'count'; choose one of: width, mass"):
        reliability([0.5], [1], binning="count")
    with pytest.raises(ValueError, match="1 or more, not 0"):
        expected_calibration_error([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="missing or infinite"):
        temperature([math.inf, 0], [1, 0])


@given(ROWS, st.integers(1, 6), st.sampled_from(["width", "mass"]))
def test_limits_of_independent_images_are_those_of_scipy(rows, bins, binning):
    probability, label, weights = columns(rows)
    options = {"bins": bins, "binning": binning}
    table = reliability_by_woman(probability, label, groups=range(len(rows)), weights=weights, **options)
    curve = reliability(probability, label, weights=weights, **options)
    np.testing.assert_allclose(table["predicted"], curve.predicted)
    np.testing.assert_allclose(table["observed"], curve.observed, atol=1e-12)
    plain = reliability_by_woman(probability, label, groups=range(len(rows)), **options)
    assert plain["women"].sum() == len(rows)
    for _, row in plain.iterrows():
        n, k = int(row["women"]), int(row["positives"])
        limits = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high), abs=1e-9)
        assert row["observed"] == pytest.approx(k / n)


def test_weights_by_class_move_the_limits_as_they_move_the_share():
    """One bin of 10 positives and 90 negatives, a negative weighing 9: odds of all shares fall ninefold."""
    label = np.repeat([1, 0], [10, 90])
    weights = np.where(label, 1.0, 9.0)
    options = {"groups": range(100), "bins": 1}
    plain = reliability_by_woman(np.full(100, 0.1), label, **options).iloc[0]
    moved = reliability_by_woman(np.full(100, 0.1), label, weights=weights, **options).iloc[0]
    for column in ("observed", "low", "high"):
        assert logit(moved[column]) == pytest.approx(logit(plain[column]) - np.log(9))


def test_a_bin_without_a_positive_is_not_sure_of_it_and_views_are_no_women():
    probability = np.repeat([0.01, 0.5], [80, 40])
    label, women = np.repeat([0, 1], [80, 40]), np.arange(120) // 4
    low, high = (row for _, row in reliability_by_woman(probability, label, groups=women, bins=2).iterrows())
    assert (low["women"], low["positives"], low["observed"], low["low"]) == (20, 0, 0, 0)
    assert low["high"] == pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-4)
    assert (high["women"], high["positives"]) == (10, 40)
    assert high["high"] == pytest.approx(1)
    # The weight of a positive that no bin here has is that of the others.
    weighted = reliability_by_woman(
        probability, label, groups=women, bins=2, weights=np.where(label, 1, 4.0)
    ).iloc[0]
    assert logit(weighted["high"]) == pytest.approx(logit(low["high"]) - np.log(4))


def test_limits_cover_the_truth_when_the_views_of_a_woman_err_together():
    rng, covered = np.random.default_rng(0), []
    for _ in range(200):
        risk = expit(rng.normal(-3.5, 1, 400))
        label = np.repeat(rng.random(400) < risk, 4).astype(int)
        # The very same probability for the four views, as the truth: a calibrated network.
        table = reliability_by_woman(np.repeat(risk, 4), label, groups=np.repeat(np.arange(400), 4), bins=5)
        covered.append((table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"]))
    assert 0.92 < np.mean(covered) < 0.98


def test_reliability_by_woman_needs_the_woman_of_each_row():
    for groups in ([1], [1, None]):
        with pytest.raises(ValueError, match="key of its woman"):
            reliability_by_woman([0.1, 0.2], [0, 1], groups=groups)


@pytest.mark.parametrize("seed", range(5))
def test_recalibration_is_the_unpenalised_logistic_regression_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    score = rng.normal(2, 3, 300)
    label = (rng.random(300) < expit(0.4 * score - 2)).astype(int)
    weights = rng.integers(1, 5, 300).astype(float)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    other.fit(score[:, None], label, sample_weight=weights)
    found = recalibration(score, label, weights=weights)
    assert found == pytest.approx((other.coef_[0, 0], other.intercept_[0]), rel=1e-4)


def test_recalibration_undoes_what_pos_weight_did():
    rng = np.random.default_rng(0)
    true = rng.normal(-4, 1.5, 200_000)
    label = (rng.random(len(true)) < expit(true)).astype(int)
    scale, shift = recalibration(true + np.log(46.2), label)
    assert scale == pytest.approx(1, abs=0.05)
    assert shift == pytest.approx(-np.log(46.2), abs=0.1)
    # which no temperature can
    moved = true + np.log(46.2)
    tempered = brier(expit(moved / temperature(moved, label)), label)
    assert brier(expit(scale * moved + shift), label) < 0.9 * tempered


@pytest.mark.parametrize("label", [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
def test_recalibration_refuses_scores_that_one_threshold_parts(label):
    score = [1.0, 2.0, 3.0, 4.0] if label != [0, 1, 0, 1] else [2.0] * 4
    with pytest.raises(ValueError, match="one threshold parts the classes"):
        recalibration(score, label)


@given(st.floats(0.05, 0.95), st.floats(0.001, 0.6), st.floats(0.1, 5), st.floats(0.1, 5))
def test_prior_shift_is_bayes(trained, wanted, likely, unlikely):
    """A finding with density ``likely`` among positives and ``unlikely`` among negatives."""
    posterior = {
        share: share * likely / (share * likely + (1 - share) * unlikely) for share in (trained, wanted)
    }
    moved = prior_shift(logit(posterior[trained]), trained=trained, wanted=wanted)
    assert expit(moved) == pytest.approx(posterior[wanted])


def test_prior_shift_needs_two_prevalences():
    with pytest.raises(ValueError, match="between 0 and 1, not 0.5 and 2"):
        prior_shift([0.0], trained=0.5, wanted=2)
