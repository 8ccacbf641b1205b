"""Scores of a probability against a label: curves, areas and operating points, with intervals by woman."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.evaluation.intervals import bootstrap


class Roc(NamedTuple):
    """Points of the ROC curve from (0, 0) to (1, 1): a case is called positive at or above the threshold."""

    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray


class Pr(NamedTuple):
    """Points of the precision–recall curve, recall rising; as many as there are distinct probabilities."""

    recall: np.ndarray
    precision: np.ndarray
    threshold: np.ndarray


def roc(probability, label, *, weights=None) -> Roc:
    """ROC curve of N probabilities (any score will do) against N labels 0/1; equal scores make one point.

    ``weights``: N case weights, e.g. to bring an enriched data set back to its true prevalence.
    The rates of a class that is absent are NaN.

    Raises ``ValueError`` for labels other than 0/1, missing values and unequal lengths.

    >>> roc([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0]).sensitivity
    array([0. , 0.5, 1. , 1. ])
    """
    threshold, hits, alarms = _cumulative(probability, label, weights)
    return Roc(
        _ratio(np.append(0, alarms), alarms[-1]),
        _ratio(np.append(0, hits), hits[-1]),
        np.append(np.inf, threshold),
    )


def pr(probability, label, *, weights=None) -> Pr:
    """Precision–recall curve of N probabilities against N labels 0/1; options and errors as in `roc`.

    >>> pr([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0]).precision.round(3)
    array([1.   , 0.667, 0.5  ])
    """
    threshold, hits, alarms = _cumulative(probability, label, weights)
    return Pr(_ratio(hits, hits[-1]), _ratio(hits, hits + alarms), threshold)


def roc_auc(probability, label, *, weights=None) -> float:
    """Area under the ROC curve: how often a positive case scores above a negative one, ties counting half.

    NaN where a class is absent.  Source: Hanley and McNeil, Radiology 143 (1982) 29.

    >>> roc_auc([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0])
    0.875
    """
    curve = roc(probability, label, weights=weights)
    heights = (curve.sensitivity[1:] + curve.sensitivity[:-1]) / 2
    return float(np.diff(curve.false_positive_rate) @ heights)


def average_precision(probability, label, *, weights=None) -> float:
    """Area under the precision–recall curve as a sum of steps, without interpolation; NaN without positives.

    A score that knows nothing reaches the prevalence.  Source: Davis and Goadrich, ICML 2006, on why straight
    lines between the points would be too kind.

    >>> round(average_precision([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0]), 3)
    0.833
    """
    curve = pr(probability, label, weights=weights)
    return float(np.sum(np.diff(curve.recall, prepend=0) * curve.precision))


def pf1(probability, label, *, weights=None) -> float:
    """Probabilistic F1 of the RSNA screening challenge: 2·Σ(p·y) / (Σp + Σy); NaN without positives.

    It is the harmonic mean of probabilistic precision Σ(p·y)/Σp and recall Σ(p·y)/Σy.  It depends on the
    probabilities and not only on their order, and yet is no measure of calibration: where positives are rare,
    deciding on 0 or 1 can score above honest probabilities.

    Raises ``ValueError`` for scores outside 0–1 and as `roc` does.

    Source: Yacouby and Axman, Eval4NLP 2020, 10.18653/v1/2020.eval4nlp-1.9.

    >>> pf1([1.0, 0.5, 0.0], [1, 0, 0])
    0.8
    """
    probability, label, weights = _checked(probability, label, weights)
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError("pf1 needs probabilities between 0 and 1, not logits")
    positives = weights @ label
    if positives == 0:
        return float("nan")
    return float(2 * (weights @ (probability * label)) / (weights @ probability + positives))


def sensitivity_at(probability, label, *, specificity: float = 0.9, weights=None) -> float:
    """Highest sensitivity at thresholds whose specificity is at least ``specificity``; NaN as in `roc_auc`.

    The threshold is the best one on these very cases: a clinic would have to fix it on others first.

    Raises ``ValueError`` for a specificity outside 0–1 and as `roc` does.

    >>> sensitivity_at([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], specificity=0.9)
    0.5
    """
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity must lie between 0 and 1, not {specificity}")
    curve = roc(probability, label, weights=weights)
    if np.isnan(curve.false_positive_rate[0]):
        return float("nan")
    # The small margin keeps a threshold whose rate is 1 - specificity up to rounding.
    return float(curve.sensitivity[curve.false_positive_rate <= 1 - specificity + 1e-9].max())


def prevalence_weights(label, prevalence: float, *, groups=None) -> np.ndarray:
    """Case weights under which N labels 0/1 have that prevalence (0–1): 1 for positives, equal for negatives.

    An enriched test set holds enough cancers to measure sensitivity; with these weights precision and its
    curve are those of a screened population.  ``groups``: N women.  Where women were enriched and not
    breasts, the negative breast of a woman with cancer was drawn with her, so that she counts 1 as a whole
    and the women without cancer are weighted until the rows have the prevalence.

    Raises ``ValueError`` where a class is absent, for a prevalence outside 0–1 or one that the positive
    groups alone do not reach.

    >>> prevalence_weights([1, 0, 0], 0.2)
    array([1., 2., 2.])
    >>> prevalence_weights([1, 0, 0, 0], 0.2, groups=["ann", "ann", "bea", "bea"])
    array([1. , 1. , 1.5, 1.5])
    """
    label = np.asarray(label, float)
    positives = label.sum()
    fixed = label if groups is None else pd.Series(label).groupby(np.asarray(groups)).transform("max")
    fixed = np.asarray(fixed) == 1
    if not 0 < prevalence < 1 or positives == 0 or fixed.all():
        raise ValueError(f"prevalence {prevalence} of {positives:.0f} positives among {len(label)} labels")
    weight = (positives / prevalence - fixed.sum()) / (~fixed).sum()
    if weight < 0:
        raise ValueError(
            f"prevalence {prevalence} is above that among the positive groups, {positives / fixed.sum():.3f}"
        )
    return np.where(fixed, 1.0, weight)


def scores(probability, label, *, groups, weights=None, n: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Table of ``roc_auc``, ``average_precision``, ``pf1`` and ``sensitivity_at_90`` (percent specificity).

    ``probability``, ``label``, ``groups`` (women), ``weights``: N each.  Columns: ``estimate``, ``low``,
    ``high`` (95 % interval; women with and without a positive label are resampled apart) and ``chance``: what
    can be reached without looking at the images.
    """
    probability, label, weights = _checked(probability, label, weights)
    metrics = {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "pf1": pf1,
        "sensitivity_at_90": sensitivity_at,
    }

    def all_of_them(probability, label, weights):
        return [metric(probability, label, weights=weights) for metric in metrics.values()]

    interval = bootstrap(
        all_of_them, probability, label, weights, groups=groups, n=n, seed=seed, stratify=label
    )
    prevalence = weights @ label / weights.sum()
    # The best constant for pF1 is to call every case positive.
    chance = [0.5, prevalence, 2 * prevalence / (1 + prevalence), 0.1]
    return pd.DataFrame(interval._asdict() | {"chance": chance}, index=pd.Index(metrics, name="metric"))


def _checked(probability, label, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probability, label = np.asarray(probability, float), np.asarray(label, float)
    weights = np.ones(len(label)) if weights is None else np.asarray(weights, float)
    if not probability.shape == label.shape == weights.shape or probability.ndim != 1 or not len(label):
        shapes = f"{probability.shape}, {label.shape} and {weights.shape}"
        raise ValueError(f"probability, label and weights must be of one length, not {shapes}")
    if not np.isfinite(probability).all():
        raise ValueError("probability has missing or infinite values")
    if not np.isin(label, (0, 1)).all():
        raise ValueError("label must be 0 or 1 throughout; leave unlabelled rows out first")
    if not (weights >= 0).all() or weights.sum() == 0:
        raise ValueError("weights must not be negative and not all be zero")
    return probability, label, weights


def _cumulative(probability, label, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct thresholds from high to low with the weight of positives and of negatives at or above each."""
    probability, label, weights = _checked(probability, label, weights)
    order = np.argsort(-probability, kind="stable")
    probability, label, weights = probability[order], label[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(probability)), len(probability) - 1)
    hits, alarms = np.cumsum(weights * label), np.cumsum(weights * (1 - label))
    return probability[last], hits[last], alarms[last]


def _ratio(part, whole) -> np.ndarray:
    """part / whole, NaN where the whole is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
