"""Whether probabilities mean what they say: reliability, calibration error and temperature scaling.

All concern p(positive), not the confidence in the likelier class: at a prevalence of 2 % the latter looks
calibrated for a network that has learned nothing.  Intervals: ``bootstrap(brier, probability, label,
groups=women)`` of `intervals`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from scipy.special import logit as log_odds

from mammo_utils.evaluation.classification import _checked
from mammo_utils.evaluation.intervals import wilson
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
    index = _bins(probability, weights, bins, binning)
    weight = np.bincount(index, weights)
    filled = weight > 0
    predicted, observed = (np.bincount(index, weights * x)[filled] for x in (probability, label))
    return Reliability(predicted / weight[filled], observed / weight[filled], weight[filled])


def reliability_by_woman(
    probability,
    label,
    *,
    groups,
    bins: int = 10,
    binning: str = "mass",
    weights=None,
    level: float = 0.95,
) -> pd.DataFrame:
    """`reliability` with the limits of each share and the numbers behind it, a row a bin.

    ``groups``: N women.  Columns: ``predicted``, ``observed``, ``low``, ``high``, ``women`` and
    ``positives`` (rows with label 1).  At a prevalence of 2 % most bins hold a few positives or none, and a
    curve without its limits reads noise as miscalibration.

    The limits are those of `intervals.wilson` for the unweighted share, with as many independent cases as the
    bin has women: views that err together are not counted apart.  Where they do not, this is cautious.  They
    also hold where a bin has no positive, for which a bootstrap would give a share of exactly 0.  Weights
    carry them over by the mean weights of positives and negatives in the bin (of all, where it has none).

    Raises ``ValueError`` as `reliability` does, and for a row without a group.
    """
    probability, label, weights = _probabilities(probability, label, weights)
    codes, _ = pd.factorize(pd.Series(groups))
    if len(codes) != len(label) or (codes < 0).any():
        raise ValueError(f"each of the {len(label)} rows needs the key of its woman in groups")
    probability, label, codes, weights = (x[weights > 0] for x in (probability, label, codes, weights))
    index, means = _bins(probability, weights, bins, binning), [_mean(weights[label == y]) for y in (0, 1)]
    rows = []
    for one in np.unique(index):
        here = index == one
        positive, case = label[here] == 1, weights[here]
        women = len(np.unique(codes[here]))
        by_class = [_mean(case[positive == y], otherwise=means[y]) for y in (0, 1)]
        limits = _weighted(np.array(wilson(positive.mean(), women, level=level)), *by_class)
        predicted, observed = (np.average(x[here], weights=case) for x in (probability, label))
        rows.append((predicted, observed, *limits, women, positive.sum()))
    return pd.DataFrame(rows, columns=["predicted", "observed", "low", "high", "women", "positives"])


def _bins(probability: np.ndarray, weights: np.ndarray, bins: int, binning: str) -> np.ndarray:
    """The number of the bin of each probability."""
    choose("binning", binning, ("width", "mass"))
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, not {bins}")
    if binning == "width":
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        return np.searchsorted(inner, probability, side="right")
    # A distinct probability goes where the middle of its cases stands in the ranking of all.
    _, which = np.unique(probability, return_inverse=True)
    mass = np.bincount(which, weights)
    middle = (np.cumsum(mass) - mass / 2) * bins / mass.sum()
    return np.minimum(middle.astype(int), bins - 1)[which]


def _mean(values: np.ndarray, otherwise: float = 1.0) -> float:
    return float(values.mean()) if len(values) else otherwise


def _weighted(share: np.ndarray, negative: float, positive: float) -> np.ndarray:
    """A share of positives once a negative case weighs ``negative`` and a positive one ``positive``."""
    return positive * share / (positive * share + negative * (1 - share))


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
    after training with ``pos_weight`` subtract log(``pos_weight``) from the logits first, or use
    `recalibration`.

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


class Recalibration(NamedTuple):
    """``scale`` · logit + ``shift`` is the recalibrated logit."""

    scale: float
    shift: float


def recalibration(logit, label, *, weights=None) -> Recalibration:
    """The scale and shift of a logit that fit N labels 0/1 best, by mean log-likelihood (Platt scaling).

    Fit it on validation cases with the prevalence that is meant, never on the test set.  Unlike a
    `temperature` it undoes the shift that ``pos_weight`` or balanced sampling leaves.  A scale above 0 keeps
    the ranking.

    Raises ``ValueError`` as `classification.roc` does, and where one threshold parts the classes (a class is
    absent, or the scores are perfect): there is no best scale then.

    Source: Platt 1999, Advances in Large Margin Classifiers, 61; here without his smoothed labels.

    >>> [round(x, 2) for x in recalibration([2, 2, 2, -2, -2, -2], [1, 1, 0, 0, 0, 1])]
    [0.35, 0.0]
    """
    logit, label, weights = _checked(logit, label, weights)
    of = [logit[(label == y) & (weights > 0)] for y in (0, 1)]
    if not (len(of[0]) and len(of[1])) or of[0].max() <= of[1].min() or of[1].max() <= of[0].min():
        raise ValueError("one threshold parts the classes, so that no scale is best; use more cases")
    centre, spread = logit.mean(), logit.std()
    z, sign, share = (logit - centre) / spread, 2 * label - 1, weights / weights.sum()

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (at[0] * z + at[1])
        slope = -share * sign * expit(-margin)
        return share @ np.logaddexp(0, -margin), np.array([slope @ z, slope.sum()])

    scale, shift = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return Recalibration(float(scale / spread), float(shift - scale * centre / spread) + 0.0)


def prior_shift(logit, *, trained: float, wanted: float) -> np.ndarray:
    """N logits of a network that learnt at the prevalence ``trained``, for the prevalence ``wanted`` (0–1).

    Adds the difference of their log-odds: right where the two populations differ in how many cases are
    positive and not in how these look.  The ranking stays.  Balanced sampling trains at 0.5; training
    with ``pos_weight`` at the prevalence whose odds are ``pos_weight`` times those of the cases.

    Raises ``ValueError`` for a prevalence that is not between 0 and 1.

    Source: Saerens et al., Neural Computation 14 (2002) 21.

    >>> float(expit(prior_shift(0.0, trained=0.5, wanted=0.02)).round(6))
    0.02
    """
    if not (0 < trained < 1 and 0 < wanted < 1):
        raise ValueError(f"prevalences must lie between 0 and 1, not {trained} and {wanted}")
    return np.asarray(logit, float) + float(log_odds(wanted) - log_odds(trained))


def _probabilities(probability, label, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probability, label, weights = _checked(probability, label, weights)
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError("calibration needs probabilities between 0 and 1, not logits")
    return probability, label, weights
