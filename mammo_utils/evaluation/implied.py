"""What a set of published scores implies: shares of positives that fit them, and how sure an area is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Implied(NamedTuple):
    """Least and greatest share of positives (0–1) that fit the scores, rounding included."""

    low: float
    high: float


def prevalence(f1: float, accuracy: float, *, digits: int = 2, accuracy_digits: int = 3) -> Implied:
    """The shares of positives that an F1 and an accuracy (0–1), both rounded, leave possible.

    With errors e = 1 - accuracy, F1 = 2·TP / (2·TP + e) in shares of all cases fixes TP; the positives are TP
    and the misses, which are anything from 0 to e.  ``digits`` are those that the scores were given with.

    Raises ``ValueError`` for scores outside 0–1, F1 of 1 and scores that no counts can give.

    >>> [round(share, 2) for share in prevalence(0.80, 0.938)]
    [0.12, 0.19]
    """
    if not (0 <= f1 < 1 and 0 <= accuracy < 1):
        raise ValueError(f"F1 {f1} and accuracy {accuracy} must lie between 0 and 1, neither of them 1")
    half, small = 0.5 * 10.0**-digits, 0.5 * 10.0**-accuracy_digits
    f, right = np.meshgrid([f1 - half, f1, f1 + half], [accuracy - small, accuracy, accuracy + small])
    error, f = np.clip(1 - right, 0, 1), np.clip(f, 0, 1 - 1e-9)
    hits = f * error / (2 * (1 - f))
    fits = hits + error <= 1
    if not fits.any():
        raise ValueError(f"no counts have F1 {f1} at an accuracy of {accuracy}")
    return Implied(float(hits[fits].min()), float((hits + error)[fits].max()))


def all_negative(positives: int, cases: int) -> float:
    """Accuracy (0–1) of calling every case negative.

    >>> round(all_negative(100, 410), 3)
    0.756
    """
    if not 0 <= positives <= cases or not cases:
        raise ValueError(f"{positives} positives among {cases} cases")
    return 1 - positives / cases


def area_error(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the ROC curve of independent cases, from the area alone.

    Raises ``ValueError`` for an area outside 0–1 and fewer than one case of a class.

    Source: Hanley and McNeil, Radiology 143 (1982) 29.

    >>> round(area_error(0.672, 98, 10_000), 3)
    0.03
    """
    if not 0 <= area <= 1 or min(positives, negatives) < 1:
        raise ValueError(f"area {area} of {positives} positives and {negatives} negatives")
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (one - area**2) + (negatives - 1) * (two - area**2)
    return float(np.sqrt(spread / (positives * negatives)))
