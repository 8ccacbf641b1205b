"""What published scores imply, against brute force over counts."""

import numpy as np
import pytest

from mammo_utils.evaluation import implied
from mammo_utils.evaluation.classification import roc_auc


@pytest.mark.parametrize(("f1", "accuracy"), [(0.80, 0.938), (0.23, 0.738), (0.66, 0.857), (0.5, 0.9)])
def test_every_set_of_counts_with_these_scores_lies_between_the_shares(f1, accuracy):
    low, high = implied.prevalence(f1, accuracy)
    n, found = 1000, []
    for wrong in range(n):
        if round((n - wrong) / n, 3) != accuracy:
            continue
        for hits in range(n - wrong + 1):
            if round(2 * hits / (2 * hits + wrong), 2) == f1:
                found += [hits / n, (hits + wrong) / n]  # no miss among the errors, and all of them
    assert low == pytest.approx(min(found), abs=0.003)
    assert high == pytest.approx(max(found), abs=0.003)


def test_the_balanced_sets_of_the_slides_are_not_balanced():
    for f1, accuracy in ((0.80, 0.938), (0.66, 0.857)):
        assert implied.prevalence(f1, accuracy).high < 0.5


@pytest.mark.parametrize("scores", [(1.0, 0.9), (0.5, 1.0), (-0.1, 0.5), (0.99, 0.3)])
def test_scores_that_no_counts_have(scores):
    with pytest.raises(ValueError, match="F1"):
        implied.prevalence(*scores)


def test_calling_all_negative():
    assert implied.all_negative(1158, 54_706) == pytest.approx(0.9788, abs=1e-4)
    with pytest.raises(ValueError, match="5 positives among 4 cases"):
        implied.all_negative(5, 4)


def test_the_standard_error_of_an_area_is_that_of_simulated_ones():
    # Exponential scores, for which the formula is exact: P(positive above negative) = r / (1 + r).
    rng, positives, negatives, ratio = np.random.default_rng(0), 30, 60, 3.0
    label = np.repeat([1, 0], [positives, negatives])
    areas = [
        roc_auc(np.append(rng.exponential(ratio, positives), rng.exponential(1, negatives)), label)
        for _ in range(3000)
    ]
    assert np.mean(areas) == pytest.approx(0.75, abs=0.005)
    assert implied.area_error(0.75, positives, negatives) == pytest.approx(np.std(areas), rel=0.06)
    for wrong in ((1.2, 5, 5), (0.7, 0, 5)):
        with pytest.raises(ValueError, match="area"):
            implied.area_error(*wrong)
