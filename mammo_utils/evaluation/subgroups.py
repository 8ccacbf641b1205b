"""Rates at one threshold in parts of the women: by density, vendor, age or what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammo_utils.evaluation.classification import _checked
from mammo_utils.evaluation.intervals import wilson

COLUMNS = ("subgroup", "rate", "estimate", "low", "high", "cases", "women")


def rates(score, label, *, subgroup, threshold: float, groups, level: float = 0.95) -> pd.DataFrame:
    """Sensitivity and specificity of N scores called at or above ``threshold``, a row a subgroup and rate.

    ``score``, ``label`` (0/1), ``subgroup`` (names) and ``groups`` (women): N each.  Columns: ``subgroup``
    (in the order of a categorical, else sorted), ``rate``, ``estimate`` with its limits ``low`` and
    ``high``, ``cases`` and ``women`` behind it; NaN where a subgroup has no such case.

    The limits are Wilson's with as many independent cases as there are women, so that two breasts that err
    together are not counted apart; unlike a bootstrap they are honest where all of a few cases are right.
    They are not adjusted for the number of subgroups: of twenty intervals of 95 % one misses its mark.

    Raises ``ValueError`` for a row without a subgroup and as `classification.roc` does.

    >>> found = rates([2, 1, 0, 0], [1, 1, 0, 0], subgroup=list("aabb"), threshold=1, groups=[1, 2, 3, 4])
    >>> found[["subgroup", "rate", "estimate", "women"]].values.tolist()[0]
    ['a', 'sensitivity', 1.0, 2]
    """
    score, label, _ = _checked(score, label, None)
    subgroup, groups = (
        pd.Series(np.asarray(subgroup) if not _ordered(subgroup) else subgroup),
        pd.Series(groups),
    )
    if not len(subgroup) == len(groups) == len(label) or subgroup.isna().any() or groups.isna().any():
        raise ValueError(f"each of the {len(label)} rows needs a subgroup and the key of its woman")
    names = subgroup.cat.categories if _ordered(subgroup) else np.unique(subgroup)
    inside, rows = subgroup.to_numpy(), []
    for name in names:
        for rate, of, right in (
            ("sensitivity", 1, score >= threshold),
            ("specificity", 0, score < threshold),
        ):
            here = (inside == name) & (label == of)
            women = int(groups[here].nunique())
            share = right[here].mean() if women else np.nan
            limits = wilson(share, women, level=level) if women else (np.nan, np.nan)
            rows.append((name, rate, share, *limits, int(here.sum()), women))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _ordered(values) -> bool:
    return isinstance(getattr(values, "dtype", None), pd.CategoricalDtype)
