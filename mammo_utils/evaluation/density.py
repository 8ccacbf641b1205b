"""Percent density, the four BI-RADS density classes, and how well two ways to measure them agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.evaluation.overlap import pair, plain
from mammo_utils.profile import choose

# From almost entirely fatty to extremely dense.  Source: ACR BI-RADS Atlas, 5th edition, 2013.
CLASSES = ("A", "B", "C", "D")
_POWERS = {"linear": 1, "quadratic": 2}


def percent_density(dense, breast) -> float | np.ndarray:
    """Dense area within the breast as a percentage (0–100) of the area of the breast.

    Masks are ...×H×W; ``breast`` is without the pectoral muscle, and dense pixels outside it do not count.
    An empty breast has no density: NaN.

    >>> percent_density([[1, 1, 1]], [[1, 1, 0]]), percent_density([[1, 0, 0, 0]], [[1, 1, 1, 1]])
    (100.0, 25.0)
    """
    dense, breast = pair(dense=dense, breast=breast)
    area = np.count_nonzero(breast, axis=(-2, -1))
    inside = np.count_nonzero(dense & breast, axis=(-2, -1))
    return plain(np.where(area == 0, np.nan, 100 * inside / np.maximum(area, 1)))


class Agreement(NamedTuple):
    """Mean difference and the limits between which 95 % of the differences lie."""

    bias: float
    lower: float
    upper: float


def agreement(measured, reference, *, weights=None) -> Agreement:
    """Bland–Altman agreement of two measurements of the same N images, in their unit.

    The bias is the mean of measured - reference; the limits lie 1.96 sample standard deviations to its sides.
    The intervals of all three come from ``bootstrap(agreement, measured, reference, groups=women)``.

    ``weights``: N weights of the images, on any scale; limits are NaN if fewer than two are above zero.

    Raises ``ValueError`` for unequal lengths, fewer than two images and missing values.

    Source: Bland and Altman, Lancet 327 (1986) 307.

    >>> [round(float(x), 2) for x in agreement([11, 22, 33], [10, 20, 30])]
    [2.0, 0.04, 3.96]
    """
    measured, reference, weights = _checked(measured, reference, weights)
    share = weights / weights.sum()
    difference = measured - reference
    bias = share @ difference
    if np.count_nonzero(share) < 2:
        return Agreement(bias, np.nan, np.nan)
    # Dividing by 1 - Σ share² makes the variance unbiased; with equal weights that is the usual n - 1.
    spread = 1.96 * np.sqrt(share @ (difference - bias) ** 2 / (1 - share @ share))
    return Agreement(bias, bias - spread, bias + spread)


def spearman(measured, reference, *, weights=None) -> float:
    """Spearman's rank correlation, -1 to 1, of two measurements of N images; ties share their mean rank.

    Each is N numbers or N density classes, A < B < C < D.  With four classes even a perfect measurement stays
    below 1, since it orders images that the classes tie.  NaN where one of the two is constant.

    ``weights``: N weights of the images; an image of weight 2 counts as two.

    Raises ``ValueError`` as `agreement` does and for classes other than A–D.

    Source: Spearman, Am J Psychol 15 (1904) 72.

    >>> round(spearman([3, 11, 25, 60], ["A", "B", "B", "D"]), 3)
    0.949
    """
    measured, reference, weights = _checked(_ordered(measured), _ordered(reference), weights)
    first, second = _midranks(measured, weights), _midranks(reference, weights)
    if any(np.ptp(ranks[weights > 0]) == 0 for ranks in (first, second)):
        return float("nan")
    first, second = (ranks - weights @ ranks / weights.sum() for ranks in (first, second))
    return float(weights @ (first * second) / np.sqrt((weights @ first**2) * (weights @ second**2)))


def weighted_kappa(a, b, *, weights: str = "quadratic", case_weights=None) -> float:
    """Cohen's weighted kappa of two ratings of N images in the density classes A–D; 1 agrees, 0 is chance.

    ``weights``: the price of a disagreement grows with the number of classes between, ``"linear"`` or
    ``"quadratic"``.  ``case_weights``: N weights of the images.  NaN where both call all images one class.

    Raises ``ValueError`` for unequal lengths, classes other than A–D and an unknown weighting.

    Source: Cohen, Psychol Bull 70 (1968) 213.

    >>> weighted_kappa(["A", "B", "C", "D"], ["A", "B", "C", "C"])
    0.875
    """
    choose("weighting", weights, _POWERS)
    a, b = class_codes(a), class_codes(b)
    _, _, case_weights = _checked(a, b, case_weights)
    return kappa_of_cells(kappa_cells(a, b), weights=weights, case_weights=case_weights)


def kappa_cells(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cell of the 4×4 table into which each of N pairs of `class_codes` falls, for `kappa_of_cells`."""
    return len(CLASSES) * a + b


def kappa_of_cells(cells, *, weights: str = "quadratic", case_weights=None) -> float:
    """`weighted_kappa` of N `kappa_cells`: what does not change over the resamples is computed once."""
    size = len(CLASSES)
    table = np.bincount(cells, case_weights, minlength=size * size).reshape(size, size)
    price = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) ** _POWERS[weights]
    chance = np.sum(price * np.outer(table.sum(1), table.sum(0))) / table.sum()
    return float(1 - np.sum(price * table) / chance) if chance else float("nan")


def density_classes(percent, cuts) -> np.ndarray:
    """The density class A–D of each percent density by three rising cut points; a value at a cut is above it.

    ``cuts`` come from `cut_points` on training data or from a definition, such as (25, 50, 75) in the fourth
    edition of BI-RADS, which the fifth dropped; none of them are a radiologist's opinion.

    Raises ``ValueError`` for other than three cuts, cuts that fall, and missing densities.

    >>> density_classes([3, 25, 40, 80], (25, 50, 75)).tolist()
    ['A', 'B', 'B', 'D']
    """
    percent, cuts = np.asarray(percent, float), np.asarray(cuts, float)
    # Written so that NaN among the cuts is refused as well.
    if cuts.shape != (3,) or not (cuts[:-1] <= cuts[1:]).all():
        raise ValueError(f"cuts must be three rising numbers, not {cuts.tolist()}")
    if np.isnan(percent).any():
        raise ValueError("percent has missing values: an image without a breast has no density class")
    return np.array(CLASSES)[np.searchsorted(cuts, percent, side="right")]


def cut_points(percent, classes) -> tuple[float, float, float]:
    """Three cut points that give N training images the same shares of the classes A–D as their readers.

    Each lies midway between the two neighbouring densities.  A class that the training data lack is never
    called.  Matching shares leaves no class out, which fitting the agreement itself may do to a rare one.

    Raises ``ValueError`` as `spearman` does.

    >>> cut_points([2, 10, 14, 30, 50, 80], ["A", "B", "B", "C", "C", "D"])
    (6.0, 22.0, 65.0)
    """
    percent, codes, _ = _checked(percent, class_codes(classes), None)
    ordered = np.concatenate([[-np.inf], np.sort(percent), [np.inf]])
    below = np.searchsorted(np.sort(codes), np.arange(1, len(CLASSES)))
    return tuple(float(cut) for cut in (ordered[below] + ordered[below + 1]) / 2)


def class_codes(classes) -> np.ndarray:
    """The N density classes as numbers, A = 0 to D = 3; raises ``ValueError`` for any other."""
    codes = pd.Index(CLASSES, dtype=object).get_indexer(pd.Index(np.asarray(classes, object), dtype=object))
    if (codes < 0).any():
        first = np.asarray(classes, object)[codes < 0][0]
        raise ValueError(
            f"{(codes < 0).sum()} density classes, such as {first!r}, are none of {', '.join(CLASSES)}; "
            "leave images without a class out first"
        )
    return codes


def _ordered(values) -> np.ndarray:
    values = np.asarray(values)
    return values if values.dtype.kind in "biuf" else class_codes(values)


def _midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight below each value plus half the weight of its ties: mean ranks up to a constant."""
    _, inverse = np.unique(values, return_inverse=True)
    tied = np.bincount(inverse, weights)
    return (np.cumsum(tied) - tied / 2)[inverse]


def _checked(measured, reference, weights) -> list[np.ndarray]:
    measured, reference = np.asarray(measured, float), np.asarray(reference, float)
    if measured.shape != reference.shape or measured.ndim != 1 or len(measured) < 2:
        shapes = f"{measured.shape} and {reference.shape}"
        raise ValueError(f"the two measurements must be of one length of two or more, not {shapes}")
    if not (np.isfinite(measured) & np.isfinite(reference)).all():
        raise ValueError("a measurement is missing or infinite; leave those images out first")
    weights = np.ones(len(measured)) if weights is None else np.asarray(weights, float)
    if weights.shape != measured.shape or not (weights >= 0).all() or weights.sum() == 0:
        raise ValueError(f"weights must be {len(measured)} numbers, none negative and not all zero")
    return [measured, reference, weights]
