"""What abstaining buys: the risk among the cases that are kept, as more and more of them are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class RiskCoverage(NamedTuple):
    """Points at distinct doubts, from the least on: share of the cases kept, and their mean loss."""

    coverage: np.ndarray
    risk: np.ndarray
    doubt: np.ndarray


def risk_coverage(doubt, loss, *, weights=None) -> RiskCoverage:
    """The mean loss of the cases with the least doubt, over how many are kept.

    ``doubt``: N numbers, high where one would rather not answer; ``loss``: what is lost by answering, such
    as an absolute error or 0/1; ``weights``: N case weights.  Cases of equal doubt are kept together.  A
    doubt that knows nothing gives a flat line at the mean loss.

    Where cases are dismissed in the order of a score, with label 1 as the loss, ``coverage · risk`` over the
    last risk is the share of the positives among the dismissed.

    Raises ``ValueError`` for unequal lengths, missing values, and weights that are negative or all zero.

    Source: El-Yaniv and Wiener, JMLR 11 (2010) 1605.

    >>> curve = risk_coverage([0.1, 0.9, 0.2, 0.9], [0, 1, 0, 3])
    >>> curve.coverage.tolist(), curve.risk.tolist()
    ([0.25, 0.5, 1.0], [0.0, 0.0, 1.0])
    """
    doubt, loss = np.asarray(doubt, float), np.asarray(loss, float)
    weights = np.ones(len(loss)) if weights is None else np.asarray(weights, float)
    if not doubt.shape == loss.shape == weights.shape or doubt.ndim != 1 or not len(doubt):
        raise ValueError(f"doubt, loss and weights must be of one length, not {doubt.shape}, {loss.shape}")
    if not (np.isfinite(doubt) & np.isfinite(loss)).all():
        raise ValueError("doubt or loss has missing values; leave those cases out first")
    if (weights < 0).any() or not weights.sum():
        raise ValueError("weights must not be negative and not all be zero")
    order = np.argsort(doubt, kind="stable")
    doubt, loss, weights = doubt[order], loss[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(doubt)), len(doubt) - 1)
    kept, lost = np.cumsum(weights)[last], np.cumsum(weights * loss)[last]
    some = kept > 0
    return RiskCoverage(kept[some] / weights.sum(), lost[some] / kept[some], doubt[last][some])


def lost(score, label, *, shares, weights=None) -> np.ndarray:
    """Share of the positives among the given shares of cases with the lowest scores.

    ``shares``: of all cases (0–1) that are dismissed unseen, lowest scores first; other arguments as in
    `risk_coverage`, with ``label`` 0/1.  Between cases the line is straight.  NaN without positives.

    >>> lost([1, 2, 3, 4], [0, 1, 0, 1], shares=[0.25, 0.5, 1])
    array([0. , 0.5, 1. ])
    """
    curve = risk_coverage(score, label, weights=weights)
    if curve.risk[-1] == 0:
        return np.full(len(np.atleast_1d(shares)), np.nan)
    found = curve.coverage * curve.risk / curve.risk[-1]
    return np.interp(shares, np.append(0, curve.coverage), np.append(0, found))
