"""Intervals for one new measurement that hold without a model of the errors: split conformal prediction."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd


def half_width(errors, *, level: float = 0.9) -> float:
    """The margin around a prediction that covers the truth of a new case with probability ``level``.

    ``errors``: differences, of either sign, between prediction and truth of n cases that the prediction has
    not learnt from, one for each woman: only cases that are independent of each other and drawn as the new
    one is keep the promise (`one_each` draws them).  The margin is the k-th smallest absolute error with
    k = ⌈(n + 1) · level⌉; over such draws of n + 1 women the truth lies within it in ``level`` to ``level`` +
    1/(n + 1) of all cases, however the errors are distributed.  It says nothing about a given kind of image,
    nor about images from elsewhere.

    Raises ``ValueError`` for a level that is not between 0 and 1, missing errors, and fewer cases than the
    level takes (9 for 0.9).

    Source: Papadopoulos et al., Inductive confidence machines for regression, ECML 2002; Lei et al., JASA
    113 (2018) 1094.

    >>> half_width([3, -1, 2, -4], level=0.6)
    3.0
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.9, not {level}")
    sizes = np.sort(np.abs(np.asarray(errors, float)))
    if sizes.ndim != 1 or not np.isfinite(sizes).all():
        raise ValueError("errors must be a list of finite numbers; leave missing ones out first")
    # Rounded, since (n + 1) · level may be a whole number on paper and a little more in the computer.
    rank = math.ceil(round((len(sizes) + 1) * level, 9))
    if rank > len(sizes):
        needed = math.ceil(round(level / (1 - level), 9))
        raise ValueError(f"a level of {level:g} takes {needed} cases or more, not {len(sizes)}")
    return float(sizes[rank - 1])


def one_each(groups, *, seed: int = 0) -> np.ndarray:
    """Rows that hold one random view of every woman, for `half_width`; ``groups``: the woman of each row.

    The four views of a woman err alike; taken together they would look like four times as many cases as there
    are.
    """
    order = pd.Series(np.random.default_rng(seed).permutation(len(groups)))
    shuffled = pd.Series(np.asarray(groups))[order]
    return np.sort(order[~shuffled.duplicated().to_numpy()].to_numpy())
