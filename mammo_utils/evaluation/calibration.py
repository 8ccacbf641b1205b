"""Whether probabilities mean what they say: reliability, calibration error and temperature scaling.

All concern p(positive), not the confidence in the likelier class: at a prevalence of 2 % the latter looks
calibrated for a network that has learned nothing.  Intervals: ``bootstrap(brier, probability, label,
groups=women)`` of `intervals`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from mammo_utils.evaluation.classification import _checked
from mammo_utils.profile import choose


class Reliability(NamedTuple):
    """Bins that hold a case, from low to high: mean probability, share of positives, (weighted) cases."""

    predicted: np.ndarray
    observed: np.ndarray
    weight: np.ndarray


def reliability(probability, label, *, bins: int = 15, binning: str = "width", weights=None) -> Reliability:
    """Points of the reliability curve of N probabilities p(positive) against N labels 0/1.

    ``binning``: ``"width"`` cuts 0–1 into ``bins`` equal parts, an edge belonging to the part above it;
    ``"mass"`` makes bins of about equally many cases, equal probabilities kept together, which suits rare
    positives, whose probabilities crowd near 0.
    ``weights``: N case weights, e.g. `classification.prevalence_weights`.

    Raises ``ValueError`` for probabilities outside 0–1, labels other than 0/1, missing values, unequal
    lengths, fewer than one bin and an unknown binning.

    >>> reliability([0.1, 0.3, 0.8, 0.8], [0, 0, 1, 0], bins=2)
    Reliability(predicted=array([0.2, 0.8]), observed=array([0. , 0.5]), weight=array([2., 2.]))
    """
    probability, label, weights = _probabilities(probability, label, weights)
    choose("binning", binning, ("width", "mass"))
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, not {bins}")
    if binning == "width":
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        index = np.searchsorted(inner, probability, side="right")
    else:
        # A distinct probability goes where the middle of its cases stands in the ranking of all.
        _, which = np.unique(probability, return_inverse=True)
        mass = np.bincount(which, weights)
        middle = (np.cumsum(mass) - mass / 2) * bins / mass.sum()
        index = np.minimum(middle.astype(int), bins - 1)[which]
    weight = np.bincount(index, weights)
    filled = weight > 0
    predicted, observed = (np.bincount(index, weights * x)[filled] for x in (probability, label))
    return Reliability(predicted / weight[filled], observed / weight[filled], weight[filled])


def expected_calibration_error(probability, label, **options) -> float:
    """Expected calibration error (0–1): mean |share of positives - mean probability| over bins, by weight.

    ``options`` and errors are those of `reliability`.  It depends on the bins and, for few cases, is above 0
    for perfect probabilities too; compare only at equal N, and look at the `brier` score beside it.

    Source: Naeini et al., AAAI 2015; here for p(positive).

    >>> round(expected_calibration_error([0.1, 0.3, 0.8, 0.8], [0, 0, 1, 0], bins=2), 3)
    0.25
    """
    curve = reliability(probability, label, **options)
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.weight))


def brier(probability, label, *, weights=None) -> float:
    """Brier score: mean of (probability - label)², 0 at best; prevalence·(1 - prevalence) is without skill.

    Raises ``ValueError`` as `reliability` does.  Source: Brier, Monthly Weather Review 78 (1950) 1.

    >>> brier([0.5, 1.0], [0, 1])
    0.125
    """
    probability, label, weights = _probabilities(probability, label, weights)
    return float(np.average((probability - label) ** 2, weights=weights))


def temperature(logit, label, *, weights=None) -> float:
    """The temperature T under which sigmoid(logit / T) fits N labels 0/1 best, by mean log-likelihood.

    Fit it on validation cases, never on the test set.  It keeps the ranking, hence the area under the ROC
    curve: above 1 it tempers an overconfident network.  It stretches logits about 0 and cannot undo a shift;
    after training with ``pos_weight`` subtract log(``pos_weight``) from the logits first.

    T lies within 0.01–100; a limit is returned where there is no best T between: all cases on the right side
    of 0, or a ranking that is no better than chance.

    Raises ``ValueError`` as `classification.roc` does.

    Source: Guo et al., ICML 2017, arXiv 1706.04599, for one logit.

    >>> round(temperature([2, 2, 2, -2, -2, -2], [1, 1, 0, 0, 0, 1]), 2)
    2.89
    """
    logit, label, weights = _checked(logit, label, weights)
    margin = np.where(label == 1, logit, -logit)

    # Convex in 1 / T, so that it has a single valley in log T as well.
    def loss(log_temperature: float) -> float:
        return np.average(np.logaddexp(0, -margin / np.exp(log_temperature)), weights=weights)

    bounds = np.log([0.01, 100])
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8}).x))


def _probabilities(probability, label, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probability, label, weights = _checked(probability, label, weights)
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError("calibration needs probabilities between 0 and 1, not logits")
    return probability, label, weights
