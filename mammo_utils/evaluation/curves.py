"""Curves with bands by woman, and the interval of the area by DeLong, which takes cases for independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from mammo_utils.evaluation.classification import _checked, pr, roc
from mammo_utils.evaluation.intervals import bootstrap

GRID = np.linspace(0, 1, 101)


class Band(NamedTuple):
    """A curve at given places (``at``) with the lower and upper limit at each of them."""

    at: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_band(probability, label, *, groups, weights=None, at=GRID, **options) -> Band:
    """Sensitivity at the false positive rates ``at`` (0–1), straight between the points of the ROC curve.

    ``probability``, ``label``, ``groups`` (women), ``weights``: N each.  Women with and without a positive
    label are resampled apart; ``options`` are ``n``, ``seed`` and ``level`` of `intervals.bootstrap`.  The
    limits hold at each place, not for the whole curve at once.

    >>> band = roc_band([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], groups=[1, 2, 3, 4], at=[0.0, 0.25, 1.0])
    >>> band.estimate
    array([0.5 , 0.75, 1.  ])
    """
    at = np.asarray(at, float)

    def sensitivity(probability, label, weights):
        curve = roc(probability, label, weights=weights)
        # The small margin takes the upper of two points above each other, also where a rate was rounded.
        return np.interp(at + 1e-9, curve.false_positive_rate, curve.sensitivity)

    return _band(sensitivity, probability, label, groups, weights, at, options)


def pr_band(probability, label, *, groups, weights=None, at=GRID[1:], **options) -> Band:
    """Precision at the recalls ``at`` (above 0, up to 1): that of the first threshold which reaches each.

    Not straight between the points, as `classification.average_precision` is not; other options as in
    `roc_band`.

    >>> pr_band([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], groups=[1, 2, 3, 4], at=[0.5, 0.6]).estimate.round(3)
    array([1.   , 0.667])
    """
    at = np.asarray(at, float)

    def precision(probability, label, weights):
        curve = pr(probability, label, weights=weights)
        return curve.precision[np.searchsorted(curve.recall, at - 1e-9)]

    return _band(precision, probability, label, groups, weights, at, options)


def _band(statistic, probability, label, groups, weights, at, options) -> Band:
    probability, label, weights = _checked(probability, label, weights)
    if len(np.unique(label)) < 2:
        raise ValueError("a curve needs cases of both classes")
    if not ((at >= 0) & (at <= 1)).all():
        raise ValueError("a band is drawn at rates from 0 to 1")
    arrays = probability, label, weights
    return Band(at, *bootstrap(statistic, *arrays, groups=groups, stratify=label, **options))


class Delong(NamedTuple):
    """An area under the ROC curve, or a difference of two, with its standard error and interval."""

    estimate: float
    low: float
    high: float
    error: float


def delong(probability, label, *, level: float = 0.95) -> Delong:
    """Area under the ROC curve with the interval of DeLong: right for *independent* cases only.

    The views of a woman are alike, and so are her breasts: give one score a woman, such as the highest
    (`pooling.pooled`).  On images the interval is too narrow; use `intervals.bootstrap` with ``groups``
    there.  It shrinks to a point at an area of 1.

    Raises ``ValueError`` for fewer than two cases of a class, a level not between 0 and 1 and as
    `classification.roc` does.

    Source: DeLong et al., Biometrics 44 (1988) 837; for clustered cases Obuchowski, Biometrics 53 (1997) 567.

    >>> [round(float(x), 3) for x in delong([0.9, 0.6, 0.4, 0.5, 0.3, 0.1], [1, 1, 1, 0, 0, 0])]
    [0.889, 0.581, 1.0, 0.157]
    """
    parts = _components(probability, label)
    return _wald(parts[0].mean(), _variance(*parts), level)


def delong_difference(a, b, label, *, level: float = 0.95) -> Delong:
    """Area of the scores ``b`` minus that of ``a`` on the same cases; a caution and errors as in `delong`.

    The two areas rise and fall together, which is taken into account; 0 outside of the interval says that
    they differ at the ``level``.
    """
    first, second = _components(a, label), _components(b, label)
    parts = [two - one for one, two in zip(first, second, strict=True)]
    return _wald(parts[0].mean(), _variance(*parts), level, low=-1.0)


def _components(probability, label) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative the share of positives above it.

    Ties count half; midranks give both without comparing every pair.
    """
    probability, label, _ = _checked(probability, label, None)
    positive, negative = probability[label == 1], probability[label == 0]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        raise ValueError(f"DeLong's interval needs two cases of each class, not {m} and {n}")
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    return (ranks[:m] - stats.rankdata(positive)) / n, 1 - (ranks[m:] - stats.rankdata(negative)) / m


def _variance(positive: np.ndarray, negative: np.ndarray) -> float:
    return positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative)


def _wald(estimate: float, variance: float, level: float, *, low: float = 0.0) -> Delong:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, not {level}")
    error = float(np.sqrt(variance))
    half = stats.norm.ppf((1 + level) / 2) * error
    return Delong(float(estimate), float(max(low, estimate - half)), float(min(1.0, estimate + half)), error)
