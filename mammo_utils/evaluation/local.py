"""How far a few labelled cases of one's own carry: what is fitted on them, scored on the others, repeated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammo_utils.evaluation.classification import _checked
from mammo_utils.evaluation.conformal import half_width


def margins(
    errors, *, counts: Sequence[int], level: float = 0.9, repeats: int = 200, seed: int = 0
) -> pd.DataFrame:
    """The conformal margin of a few women drawn at random, and what it covers of the others.

    ``errors``: predicted minus true of N women, one each.  A row a draw with ``women`` (of ``counts``),
    ``margin`` (`conformal.half_width`) and ``covered``, the share of the other women within it.

    Raises ``ValueError`` for missing errors, a count of all women or more, and as `conformal.half_width`.
    """
    sizes = np.abs(np.asarray(errors, float))
    if not np.isfinite(sizes).all():
        raise ValueError("errors has missing values; leave those women out first")
    rng, rows = np.random.default_rng(seed), []
    for count in _counts(counts, len(sizes)):
        for _ in range(repeats):
            order = rng.permutation(len(sizes))
            margin = half_width(sizes[order[:count]], level=level)
            rows.append((count, margin, np.mean(sizes[order[count:]] <= margin)))
    return pd.DataFrame(rows, columns=["women", "margin", "covered"])


def thresholds(
    score,
    label,
    *,
    groups,
    counts: Sequence[int],
    specificity: float = 0.9,
    repeats: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The threshold of a few healthy women drawn at random, and its rates in everybody else.

    ``score``, ``label`` (0/1) and ``groups`` (women): N each.  Only women without a positive row are drawn,
    whose labels are the cheapest to have.  A row a draw with ``women`` (of ``counts``), ``threshold``, the
    lowest of their scores that leaves the share ``specificity`` of them below it, and ``specificity`` and
    ``sensitivity`` of the other women.

    Raises ``ValueError`` for a specificity that is not between 0 and 1, a count of all healthy women or
    more, and as `classification.roc` does.
    """
    score, label, _ = _checked(score, label, None)
    if not 0 < specificity < 1:
        raise ValueError(f"specificity must lie between 0 and 1, not {specificity}")
    codes, names = pd.factorize(pd.Series(groups))
    sick = np.bincount(codes, label, minlength=len(names)) > 0
    healthy, rng, rows = np.flatnonzero(~sick), np.random.default_rng(seed), []
    for count in _counts(counts, len(healthy)):
        for _ in range(repeats):
            own = np.isin(codes, rng.choice(healthy, count, replace=False))
            cut = np.quantile(score[own], specificity, method="higher")
            called, others = score[~own] >= cut, label[~own]
            rows.append((count, cut, 1 - called[others == 0].mean(), called[others == 1].mean()))
    return pd.DataFrame(rows, columns=["women", "threshold", "specificity", "sensitivity"])


def _counts(counts: Sequence[int], there: int) -> Sequence[int]:
    if max(counts) >= there:
        raise ValueError(f"{max(counts)} women are to be drawn of {there}: leave some to score on")
    return counts
