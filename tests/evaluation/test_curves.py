import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from mammo_utils.evaluation.classification import prevalence_weights, roc_auc
from mammo_utils.evaluation.curves import delong, delong_difference, pr_band, roc_band
from mammo_utils.evaluation.intervals import bootstrap


def cases(low=2):
    """Lists of (score with many ties, label, weight) with two cases of each class or more."""
    row = st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.integers(0, 1), st.integers(1, 4))
    both = st.lists(row, min_size=2 * low, max_size=30).filter(
        lambda rows: low <= sum(y for _, y, _ in rows) <= len(rows) - low
    )
    return both.map(lambda rows: [np.array(column, float) for column in zip(*rows, strict=True)])


def screening(women=300, seed=0, within=1.0):
    """Four views a woman; in one of six two views are positive, their scores 1.5 higher."""
    rng = np.random.default_rng(seed)
    label = np.zeros((women, 4))
    label[: women // 6, :2] = 1
    score = 1.5 * label + within * rng.normal(size=(women, 1)) + rng.normal(size=(women, 4))
    return score.ravel(), label.ravel(), np.repeat(np.arange(women), 4)


@given(cases())
def test_the_estimate_of_the_band_is_the_curve_of_scikit_learn(rows):
    score, label, weights = rows
    at = np.linspace(0, 1, 7)
    band = roc_band(score, label, groups=np.arange(len(score)), weights=weights, at=at, n=2)
    fpr, tpr, _ = metrics.roc_curve(label, score, sample_weight=weights, drop_intermediate=False)
    for place, found in zip(at, band.estimate, strict=True):
        # where the curve is vertical its upper end counts, else it is straight between its points
        here = np.isclose(fpr, place)
        expected = tpr[here].max() if here.any() else np.interp(place, fpr, tpr)
        assert found == pytest.approx(expected, abs=1e-6)


@given(cases(), st.integers(1, 5).map(lambda i: i / 5))
def test_precision_is_that_of_the_first_threshold_that_reaches_the_recall(rows, recall):
    score, label, weights = rows
    band = pr_band(score, label, groups=np.arange(len(score)), weights=weights, at=[recall], n=2)
    for threshold in np.unique(score)[::-1]:
        called = score >= threshold
        if weights[called] @ label[called] >= (recall - 1e-9) * (weights @ label):
            break
    assert band.estimate[0] == pytest.approx(np.average(label[called], weights=weights[called]))


def test_bands_hold_the_true_curve_and_widen_with_fewer_women():
    at = np.array([0.1, 0.3, 0.6])
    # Negative scores have variance 2; positive ones are 1.5 higher.
    truth = stats.norm.sf(stats.norm.isf(at) - 1.5 / np.sqrt(2))
    widths = []
    for women in (120, 960):
        score, label, groups = screening(women)
        band = roc_band(score, label, groups=groups, at=at, n=300)
        assert (band.low <= band.estimate).all()
        assert (band.estimate <= band.high).all()
        assert (band.low < truth).all()
        assert (truth < band.high).all()
        widths.append((band.high - band.low).mean())
    assert widths[1] < 0.6 * widths[0]


def test_precision_falls_with_the_prevalence_and_sensitivity_does_not():
    score, label, groups = screening()
    weights = prevalence_weights(label, 0.005, groups=groups)
    rare, plain = (
        [
            band(score, label, groups=groups, weights=w, at=[0.5], n=100).estimate[0]
            for band in (pr_band, roc_band)
        ]
        for w in (weights, None)
    )
    assert rare[0] < 0.3 * plain[0]
    assert rare[1] == pytest.approx(plain[1], abs=0.05)


@given(cases())
def test_delong_is_the_brute_force_over_all_pairs(rows):
    score, label, _ = rows
    positive, negative = score[label == 1], score[label == 0]
    pairs = np.array([[(p > q) + 0.5 * (p == q) for q in negative] for p in positive])
    found = delong(score, label)
    assert found.estimate == pytest.approx(pairs.mean()) == pytest.approx(metrics.roc_auc_score(label, score))
    variance = pairs.mean(1).var(ddof=1) / len(positive) + pairs.mean(0).var(ddof=1) / len(negative)
    assert found.error == pytest.approx(np.sqrt(variance), abs=1e-12)
    assert found.high - found.estimate <= 1.96 * found.error + 1e-6


@given(cases(), st.integers(0, 100))
def test_the_difference_takes_the_covariance_into_account(rows, seed):
    a, label, _ = rows
    b = np.random.default_rng(seed).permutation(a)
    areas = []
    for score in (a, b):
        positive, negative = score[label == 1], score[label == 0]
        pairs = np.array([[(p > q) + 0.5 * (p == q) for q in negative] for p in positive])
        areas.append((pairs.mean(), pairs.mean(1), pairs.mean(0)))
    by_positive, by_negative = (
        np.cov([first, second]) for first, second in zip(*areas, strict=True) if first.ndim
    )
    m, n = label.sum(), (1 - label).sum()
    covariance = by_positive / m + by_negative / n
    found = delong_difference(a, b, label)
    assert found.estimate == pytest.approx(areas[1][0] - areas[0][0])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert found.error**2 == pytest.approx(variance, abs=1e-12)
    assert delong_difference(a, a, label).error == 0


def test_delong_agrees_with_the_bootstrap_of_independent_cases():
    score, label, groups = screening(600, within=0)
    first = np.arange(len(score)) % 4 == 0
    score, label, groups = score[first], label[first], groups[first]
    found = delong(score, label)
    resampled = bootstrap(roc_auc, score, label, groups=groups, stratify=label)
    assert found.high - found.low == pytest.approx(resampled.high - resampled.low, rel=0.15)


def test_delong_on_images_of_the_same_women_is_too_narrow():
    score, label, groups = screening(300, within=3)
    found = delong(score, label)
    resampled = bootstrap(roc_auc, score, label, groups=groups, stratify=label, n=300)
    assert found.high - found.low < 0.85 * (resampled.high - resampled.low)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two cases of each class, not 1 and 2"):
        delong([0.1, 0.2, 0.3], [1, 0, 0])
    with pytest.raises(ValueError, match="level must lie between"):
        delong([0.1, 0.2, 0.3, 0.4], [1, 0, 0, 1], level=95)
    for band in (roc_band, pr_band):
        with pytest.raises(ValueError, match="both classes"):
            band([0.1, 0.2], [0, 0], groups=[1, 2])
        with pytest.raises(ValueError, match="from 0 to 1"):
            band([0.1, 0.2], [0, 1], groups=[1, 2], at=[50])
