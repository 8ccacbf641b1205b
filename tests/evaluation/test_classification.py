import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mammo_utils.evaluation.classification import (
    average_precision,
    pf1,
    pr,
    prevalence_weights,
    roc,
    roc_auc,
    scores,
    sensitivity_at,
)


def cases(low=2):
    """Lists of (probability with many ties, label, weight) that hold both classes."""
    row = st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.integers(0, 1), st.integers(1, 4))
    both = st.lists(row, min_size=low, max_size=40).filter(lambda rows: len({y for _, y, _ in rows}) == 2)
    return both.map(lambda rows: [np.array(column, float) for column in zip(*rows, strict=True)])


@given(cases())
def test_auc_equals_counting_the_pairs(case):
    probability, label, weight = case
    won = total = 0.0
    for p, y, v in zip(probability, label, weight, strict=True):
        for q, z, w in zip(probability, label, weight, strict=True):
            if y == 1 and z == 0:
                total += v * w
                won += v * w * (1 if p > q else 0.5 if p == q else 0)
    assert roc_auc(probability, label, weights=weight) == pytest.approx(won / total)


@given(cases())
def test_curves_and_areas_equal_those_of_scikit_learn(case):
    probability, label, weight = case
    curve = roc(probability, label, weights=weight)
    fpr, tpr, _ = metrics.roc_curve(label, probability, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.sensitivity, tpr, atol=1e-12)
    precision, recall, threshold = metrics.precision_recall_curve(label, probability, sample_weight=weight)
    mine = pr(probability, label, weights=weight)
    np.testing.assert_allclose(mine.precision, precision[-2::-1], atol=1e-12)
    np.testing.assert_allclose(mine.recall, recall[-2::-1], atol=1e-12)
    np.testing.assert_array_equal(mine.threshold, threshold[::-1])
    expected = metrics.average_precision_score(label, probability, sample_weight=weight)
    assert average_precision(probability, label, weights=weight) == pytest.approx(expected)


@given(cases())
def test_integer_weights_equal_repeated_cases(case):
    probability, label, weight = case
    rows = np.repeat(np.arange(len(label)), weight.astype(int))
    for metric in (roc_auc, average_precision, pf1, sensitivity_at):
        repeated = metric(probability[rows], label[rows])
        assert metric(probability, label, weights=weight) == pytest.approx(repeated)


@given(cases(), st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_sensitivity_is_the_best_over_all_thresholds_that_keep_the_specificity(case, specificity):
    probability, label, _ = case
    best = 0.0
    for threshold in [*probability, 2.0]:
        called = probability >= threshold
        if (~called[label == 0]).mean() >= specificity - 1e-12:
            best = max(best, called[label == 1].mean())
    assert sensitivity_at(probability, label, specificity=specificity) == pytest.approx(best)


@given(cases())
def test_pf1_is_the_harmonic_mean_of_probabilistic_precision_and_recall(case):
    probability, label, _ = case
    true = probability[label == 1].sum()
    false = probability[label == 0].sum()
    if true == 0:
        assert pf1(probability, label) == 0
    else:
        precision, recall = true / (true + false), true / label.sum()
        assert pf1(probability, label) == pytest.approx(2 * precision * recall / (precision + recall))


@given(cases())
def test_pf1_of_decisions_is_the_plain_f1(case):
    probability, label, _ = case
    decision = (probability > 0.5).astype(float)
    assert pf1(decision, label) == pytest.approx(metrics.f1_score(label, decision, zero_division=0))


@settings(max_examples=30)
@given(cases())
def test_turning_the_scores_round_turns_the_auc_round(case):
    probability, label, _ = case
    assert roc_auc(-probability, label) == pytest.approx(1 - roc_auc(probability, label))


def test_what_needs_both_classes_is_nan_without_them():
    assert np.isnan([roc_auc([0.1, 0.9], [1, 1]), roc_auc([0.1, 0.9], [0, 0])]).all()
    assert np.isnan([average_precision([0.1, 0.9], [0, 0]), pf1([0.1, 0.9], [0, 0])]).all()
    assert np.isnan([sensitivity_at([0.1, 0.9], [1, 1]), sensitivity_at([0.1, 0.9], [0, 0])]).all()


@pytest.mark.parametrize(
    ("probability", "label", "weights", "words"),
    [
        ([0.5, np.nan], [0, 1], None, "missing or infinite"),
        ([0.5, 0.5], [0, np.nan], None, "label must be 0 or 1"),
        ([0.5, 0.5], [0, 2], None, "label must be 0 or 1"),
        ([0.5, 0.5, 0.5], [0, 1], None, "of one length"),
        ([[0.5], [0.5]], [0, 1], None, "of one length"),
        ([], [], None, "of one length"),
        ([0.5, 0.5], [0, 1], [1, -1], "negative"),
    ],
)
def test_bad_input_is_named(probability, label, weights, words):
    with pytest.raises(ValueError, match=words):
        roc_auc(probability, label, weights=weights)


@pytest.mark.parametrize("specificity", [90, -0.1, np.nan])
def test_a_specificity_in_percent_is_refused(specificity):
    with pytest.raises(ValueError, match="between 0 and 1"):
        sensitivity_at([0.9, 0.1], [1, 0], specificity=specificity)


def test_pf1_refuses_logits():
    with pytest.raises(ValueError, match="not logits"):
        pf1([-2.0, 3.0], [0, 1])


def screening(women=120, seed=0):
    """Four views a woman; one woman in six has cancer in one breast (two views)."""
    rng = np.random.default_rng(seed)
    label = np.zeros((women, 4))
    label[: women // 6, :2] = 1
    probability = 1 / (1 + np.exp(-(label + rng.normal(size=(women, 1)) + rng.normal(size=(women, 4)) - 2)))
    return probability.ravel(), label.ravel(), np.repeat(np.arange(women), 4)


def test_table_of_scores():
    probability, label, women = screening()
    table = scores(probability, label, groups=women, n=200)
    assert table.estimate["roc_auc"] == pytest.approx(metrics.roc_auc_score(label, probability))
    assert table.estimate["pf1"] == pytest.approx(pf1(probability, label))
    assert (table.low < table.estimate).all()
    assert (table.estimate < table.high).all()
    # Scores of positives and negatives differ by 1 at variance 2 each, so the area is Phi(1/2) = 0.69.
    assert table.low["roc_auc"] < 0.69 < table.high["roc_auc"]


def test_chance_is_what_a_constant_or_blind_score_reaches():
    rng = np.random.default_rng(0)
    label = np.repeat([1, 0], [2000, 18000])
    chance = scores(np.ones(20000), label, groups=np.arange(20000), n=2).chance
    assert pf1(np.ones(20000), label) == pytest.approx(chance["pf1"])
    assert max(pf1(np.full(20000, c), label) for c in (0.1, 0.5, 0.9)) < chance["pf1"]
    blind = rng.random(20000)
    assert roc_auc(blind, label) == pytest.approx(chance["roc_auc"], abs=0.03)
    assert average_precision(blind, label) == pytest.approx(chance["average_precision"], abs=0.02)
    assert sensitivity_at(blind, label) == pytest.approx(chance["sensitivity_at_90"], abs=0.03)


@given(
    st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda x: 0 < sum(x) < len(x)),
    st.floats(0.001, 0.9),
)
def test_prevalence_weights_bring_the_share_of_positives_to_the_prevalence(labels, prevalence):
    label = np.array(labels, int)
    weights = prevalence_weights(label, prevalence)
    assert weights @ label / weights.sum() == pytest.approx(prevalence)
    scores = np.arange(len(label)) % 5
    assert roc_auc(scores, label, weights=weights) == pytest.approx(roc_auc(scores, label))


def test_prevalence_weights_need_both_classes():
    with pytest.raises(ValueError, match="0 positives among 3"):
        prevalence_weights([0, 0, 0], 0.02)


@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 2), st.floats(0.001, 0.2))
def test_prevalence_weights_of_women_leave_the_sampled_ones_alone(cancers, healthy, sick, prevalence):
    """Women with cancer in ``sick`` of two breasts, and women without."""
    label = np.array([[1, sick - 1]] * cancers + [[0, 0]] * healthy).ravel()
    women = np.repeat(np.arange(cancers + healthy), 2)
    weights = prevalence_weights(label, prevalence, groups=women)
    assert weights @ label / weights.sum() == pytest.approx(prevalence)
    assert (weights[: 2 * cancers] == 1).all()
    assert len(set(weights[2 * cancers :])) == 1
    if sick == 2:
        np.testing.assert_allclose(weights, prevalence_weights(label, prevalence))


def test_prevalence_weights_of_400_and_2000_women():
    label = np.concatenate([np.tile([1, 0], 400), np.zeros(4000)])
    women = np.repeat(np.arange(2400), 2)
    # 400 positive breasts are 2 % of 20,000, of which 19,200 are of the 2,000 women without cancer.
    assert prevalence_weights(label, 0.02, groups=women)[-1] == pytest.approx(4.8)
    assert prevalence_weights(label, 0.005, groups=women)[-1] == pytest.approx(19.8)


def test_prevalence_weights_that_women_with_cancer_alone_exceed():
    with pytest.raises(ValueError, match=r"prevalence 0\.6 is above that among the positive groups, 0\.500"):
        prevalence_weights([1, 0, 0, 0], 0.6, groups=[1, 1, 2, 2])
    with pytest.raises(ValueError, match="prevalence 0.2 of 1 positives among 2 labels"):
        prevalence_weights([1, 0], 0.2, groups=[1, 1])
