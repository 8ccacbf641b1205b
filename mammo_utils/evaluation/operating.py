"""What follows from one threshold: the four counts, rates, predictive values at any prevalence, and cost.

A threshold is chosen on validation cases and then kept: the best one on the test cases themselves flatters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.evaluation.classification import _checked, roc
from mammo_utils.evaluation.intervals import bootstrap


class Confusion(NamedTuple):
    """Weight (or number) of cases by what they are and what they are called; rates are NaN without cases."""

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float

    @property
    def sensitivity(self) -> float:
        """Share of the positive cases that is called so (recall)."""
        return _share(self.true_positive, self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the negative cases that is called so."""
        return _share(self.true_negative, self.false_positive)

    @property
    def positive_predictive_value(self) -> float:
        """Share of those called positive who are (precision)."""
        return _share(self.true_positive, self.false_positive)

    @property
    def negative_predictive_value(self) -> float:
        """Share of those called negative who are."""
        return _share(self.true_negative, self.false_negative)

    @property
    def accuracy(self) -> float:
        """Share of all cases that is called what it is; calling all negative reaches 1 - prevalence."""
        return _share(self.true_positive + self.true_negative, self.false_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2·TP / (2·TP + FP + FN)."""
        return _share(2 * self.true_positive, self.false_positive + self.false_negative)

    @property
    def recall_rate(self) -> float:
        """Share of all cases that is called positive: the women who are asked to come back."""
        return _share(self.true_positive + self.false_positive, self.false_negative + self.true_negative)


RATES = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
RATES += ("accuracy", "f1", "recall_rate")


def confusion(probability, label, *, threshold: float, weights=None) -> Confusion:
    """The four counts of N probabilities (any score will do) called positive at or above ``threshold``.

    ``weights``: N case weights.  Raises ``ValueError`` as `classification.roc` does and for a threshold that
    is NaN.

    >>> found = confusion([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], threshold=0.4)
    >>> found.sensitivity, found.specificity, round(found.f1, 2)
    (1.0, 0.5, 0.8)
    """
    probability, label, weights = _checked(probability, label, weights)
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN; choose one on cases of both classes")
    called = probability >= threshold
    positive, negative = weights * label, weights * (1 - label)
    cells = positive[called], negative[called], positive[~called], negative[~called]
    return Confusion(*(float(cell.sum()) for cell in cells))


def threshold_at(
    probability, label, *, specificity: float | None = None, sensitivity: float | None = None, weights=None
) -> float:
    """The threshold that keeps one of ``specificity`` and ``sensitivity`` and is best in the other.

    Fit it on validation cases.  It is one of the scores, or infinite where no score keeps the specificity:
    then nobody is called positive.  On other cases the rate that was asked for is only met about.

    Raises ``ValueError`` unless exactly one rate within 0–1 is given, where a class is absent, and as
    `classification.roc` does.

    >>> threshold_at([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], specificity=0.5)
    0.4
    >>> threshold_at([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], sensitivity=0.5)
    0.9
    """
    rates = [rate for rate in (specificity, sensitivity) if rate is not None]
    if len(rates) != 1 or not 0 <= rates[0] <= 1:
        raise ValueError(f"give a specificity or a sensitivity from 0 to 1, not {specificity}, {sensitivity}")
    curve = _curve(probability, label, weights)
    # The small margin keeps a threshold whose rate is the wanted one up to rounding.
    if specificity is not None:
        return float(curve.threshold[curve.false_positive_rate <= 1 - specificity + 1e-9].min())
    return float(curve.threshold[curve.sensitivity >= sensitivity - 1e-9].max())


def expected_cost(found: Confusion, *, miss: float, alarm: float = 1.0, prevalence: float | None = None):
    """Mean cost a case when a missed positive costs ``miss`` and a false alarm ``alarm``.

    ``prevalence`` (0–1) is that of the population it is meant for, by default that of the cases.  Calling all
    negative costs prevalence · ``miss``.

    Raises ``ValueError`` for a prevalence outside 0–1.

    >>> expected_cost(Confusion(8, 90, 2, 900), miss=100, prevalence=0.01).__round__(2)
    0.29
    """
    positives = found.true_positive + found.false_negative
    share = _check_share(positives / sum(found) if prevalence is None else prevalence)
    return share * miss * (1 - found.sensitivity) + (1 - share) * alarm * (1 - found.specificity)


def cheapest_threshold(
    probability, label, *, miss: float, alarm: float = 1.0, prevalence: float | None = None, weights=None
) -> float:
    """The threshold with the lowest `expected_cost`; the highest of those that are equal.

    Fit it on validation cases.  Infinite where calling nobody positive is cheapest, as it is for a low
    prevalence and a cheap miss.  Raises ``ValueError`` where a class is absent, for a prevalence outside 0–1
    and as `classification.roc`.

    >>> cheapest_threshold([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], miss=10)
    0.4
    """
    curve = _curve(probability, label, weights)
    _, label, weights = _checked(probability, label, weights)
    share = _check_share(weights @ label / weights.sum() if prevalence is None else prevalence)
    cost = share * miss * (1 - curve.sensitivity) + (1 - share) * alarm * curve.false_positive_rate
    return float(curve.threshold[np.argmin(np.round(cost, 12))])


def predictive_values(sensitivity, specificity, prevalence) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative predictive value of a test at a prevalence; all 0–1, numbers or arrays.

    NaN where nobody is called so.  Raises ``ValueError`` for anything outside 0–1.  Source: Bayes' theorem.

    >>> [float(value.round(3)) for value in predictive_values(0.8, 0.9, 0.005)]
    [0.039, 0.999]
    """
    sensitivity, specificity, prevalence = map(np.asarray, (sensitivity, specificity, prevalence))
    for share in (sensitivity, specificity, prevalence):
        _check_share(share)
    hit, miss = prevalence * sensitivity, prevalence * (1 - sensitivity)
    right, alarm = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    with np.errstate(invalid="ignore"):
        return hit / (hit + alarm), right / (right + miss)


def at_threshold(
    probability, label, *, threshold: float, groups, weights=None, n: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Table of all rates of a `Confusion` at a ``threshold`` that was chosen on other cases.

    ``probability``, ``label``, ``groups`` (women), ``weights``: N each.  Columns: ``estimate``, ``low``,
    ``high`` (95 % interval; women with and without a positive label are resampled apart) and
    ``all_negative``: what calling nobody positive reaches.
    """
    probability, label, weights = _checked(probability, label, weights)

    def rates(probability, label, weights):
        found = confusion(probability, label, threshold=threshold, weights=weights)
        return [getattr(found, rate) for rate in RATES]

    interval = bootstrap(rates, probability, label, weights, groups=groups, n=n, seed=seed, stratify=label)
    nobody = confusion(probability, label, threshold=np.inf, weights=weights)
    columns = interval._asdict() | {"all_negative": [getattr(nobody, rate) for rate in RATES]}
    return pd.DataFrame(columns, index=pd.Index(RATES, name="rate"))


def _curve(probability, label, weights):
    curve = roc(probability, label, weights=weights)
    if np.isnan([curve.sensitivity[0], curve.false_positive_rate[0]]).any():
        raise ValueError("a threshold needs cases of both classes; choose it on others")
    return curve


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else float("nan")


def _check_share(share):
    if not np.all((np.asarray(share) >= 0) & (np.asarray(share) <= 1)):
        raise ValueError(f"{share} is no share: give 2 % as 0.02")
    return share
