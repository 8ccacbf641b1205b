import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from mammo_utils.evaluation import operating
from mammo_utils.evaluation.operating import (
    Confusion,
    at_threshold,
    cheapest_threshold,
    confusion,
    expected_cost,
    predictive_values,
    threshold_at,
)


def cases():
    """Lists of (score with many ties, label, weight) that hold both classes."""
    row = st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.integers(0, 1), st.integers(1, 4))
    both = st.lists(row, min_size=2, max_size=30).filter(lambda rows: len({y for _, y, _ in rows}) == 2)
    return both.map(lambda rows: [np.array(column, float) for column in zip(*rows, strict=True)])


@given(cases(), st.integers(-1, 7).map(lambda i: i / 6))
def test_counts_and_rates_are_those_of_scikit_learn(rows, threshold):
    score, label, weights = rows
    found = confusion(score, label, threshold=threshold, weights=weights)
    called = (score >= threshold).astype(int)
    [[tn, fp], [fn, tp]] = metrics.confusion_matrix(label, called, sample_weight=weights, labels=[0, 1])
    assert found == Confusion(tp, fp, fn, tn)
    options = {"sample_weight": weights, "zero_division": np.nan}
    assert found.sensitivity == pytest.approx(metrics.recall_score(label, called, **options))
    assert found.specificity == pytest.approx(metrics.recall_score(1 - label, 1 - called, **options))
    precision = metrics.precision_score(label, called, **options)
    assert found.positive_predictive_value == pytest.approx(precision, nan_ok=True)
    negative = metrics.precision_score(1 - label, 1 - called, **options)
    assert found.negative_predictive_value == pytest.approx(negative, nan_ok=True)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(label, called, sample_weight=weights))
    assert found.f1 == pytest.approx(metrics.f1_score(label, called, **options))
    assert found.recall_rate == pytest.approx(np.average(called, weights=weights))


@given(cases(), st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
def test_the_threshold_is_the_best_of_all_that_keep_the_rate(rows, rate):
    score, label, weights = rows
    candidates = {t: confusion(score, label, threshold=t, weights=weights) for t in [*score, np.inf]}

    at = threshold_at(score, label, specificity=rate, weights=weights)
    kept = [t for t, found in candidates.items() if found.specificity >= rate - 1e-9]
    assert at == min(kept)
    assert candidates[at].sensitivity == max(candidates[t].sensitivity for t in kept)

    at = threshold_at(score, label, sensitivity=rate, weights=weights)
    kept = [t for t, found in candidates.items() if found.sensitivity >= rate - 1e-9]
    assert at == max(kept)
    assert candidates[at].specificity == max(candidates[t].specificity for t in kept)


@given(cases(), st.sampled_from([0.5, 1, 5, 100]), st.sampled_from([None, 0.005, 0.3]))
def test_the_cheapest_threshold_is_the_cheapest_of_all(rows, miss, prevalence):
    score, label, weights = rows
    options = {"miss": miss, "alarm": 2.0, "prevalence": prevalence}
    costs = {
        t: expected_cost(confusion(score, label, threshold=t, weights=weights), **options)
        for t in [*score, np.inf]
    }
    at = cheapest_threshold(score, label, weights=weights, **options)
    assert costs[at] == pytest.approx(min(costs.values()))
    assert at == max(t for t, cost in costs.items() if cost < min(costs.values()) + 1e-11)


def test_expected_cost_counts_what_each_case_costs():
    score, label = np.array([0.9, 0.2, 0.8, 0.1, 0.3]), np.array([1, 1, 0, 0, 0])
    each = [50.0 if y and s < 0.5 else 2.0 if not y and s >= 0.5 else 0.0 for s, y in zip(score, label)]  # noqa: B905
    found = confusion(score, label, threshold=0.5)
    assert expected_cost(found, miss=50, alarm=2) == pytest.approx(np.mean(each))
    nobody = confusion(score, label, threshold=np.inf)
    assert expected_cost(nobody, miss=50, prevalence=0.02) == pytest.approx(1.0)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.001, 0.999))
def test_predictive_values_are_those_of_a_population_with_that_prevalence(
    sensitivity, specificity, prevalence
):
    """A population in which each of the four groups is present in its expected share."""
    label, called = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    share = np.array([prevalence, prevalence, 1 - prevalence, 1 - prevalence])
    share = share * [sensitivity, 1 - sensitivity, 1 - specificity, specificity]
    found = confusion(called, label, threshold=1, weights=share)
    ppv, npv = predictive_values(sensitivity, specificity, prevalence)
    assert ppv == pytest.approx(found.positive_predictive_value)
    assert npv == pytest.approx(found.negative_predictive_value)


def test_predictive_values_of_many_prevalences_at_once():
    ppv, npv = predictive_values(0.8, 0.9, np.array([0.0, 0.005, 0.5]))
    # 1,000 women at 0.5 %: 4 of 5 cancers found, 99.5 false alarms
    assert ppv[1] == pytest.approx(4 / 103.5)
    assert (ppv[0], npv[0]) == (0, 1)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])


def test_table_of_rates_at_a_threshold_from_elsewhere():
    rng = np.random.default_rng(0)
    label = np.zeros((200, 2))
    label[:20, 0] = 1
    score = (label + 0.5 * rng.normal(size=label.shape)).ravel()
    label, women = label.ravel(), np.repeat(np.arange(200), 2)
    table = at_threshold(score, label, threshold=0.5, groups=women, n=300)
    found = confusion(score, label, threshold=0.5)
    assert list(table.index) == list(operating.RATES)
    assert table.estimate["f1"] == found.f1
    assert (table.low < table.estimate).all()
    assert (table.estimate < table.high).all()
    # Scores differ by 1 at deviation 0.5 and the threshold lies between: Phi(1) = 0.84 of either class.
    assert table.low["sensitivity"] < 0.84 < table.high["sensitivity"]
    assert table.low["specificity"] < 0.84 < table.high["specificity"]
    assert table.all_negative["accuracy"] == pytest.approx(0.95)
    assert table.all_negative["sensitivity"] == 0
    assert np.isnan(table.all_negative["positive_predictive_value"])


@pytest.mark.parametrize(
    "rates", [{}, {"specificity": 0.9, "sensitivity": 0.9}, {"specificity": 90}, {"sensitivity": -0.1}]
)
def test_one_rate_from_0_to_1_is_wanted(rates):
    with pytest.raises(ValueError, match="give a specificity or a sensitivity from 0 to 1"):
        threshold_at([0.1, 0.9], [0, 1], **rates)


def test_a_threshold_needs_both_classes():
    for choose in (
        lambda s, y: threshold_at(s, y, specificity=0.9),
        lambda s, y: cheapest_threshold(s, y, miss=2),
    ):
        with pytest.raises(ValueError, match="both classes"):
            choose([0.1, 0.9], [0, 0])
    with pytest.raises(ValueError, match="threshold is NaN"):
        confusion([0.1, 0.9], [0, 1], threshold=np.nan)


def test_a_prevalence_in_percent_is_refused():
    found = operating.Confusion(8, 90, 2, 900)
    for call in (
        lambda: operating.predictive_values(0.8, 0.9, 2),
        lambda: operating.predictive_values(80, 0.9, 0.02),
        lambda: operating.expected_cost(found, miss=10, prevalence=2),
        lambda: operating.cheapest_threshold([0.9, 0.1], [1, 0], miss=10, prevalence=-0.1),
    ):
        with pytest.raises(ValueError, match=r"give 2 % as 0\.02"):
            call()
