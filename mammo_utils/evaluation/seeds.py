"""Runs that were repeated with several seeds: means with intervals, and differences on shared seeds.

``runs`` is a table with one row a run, such as ``study.grid.read`` gives.  A seed redraws everything, and
arms that share a seed share its draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammo_utils.evaluation.intervals import nested_t

COLUMNS = ["estimate", "low", "high", "seeds"]


def means(
    runs: pd.DataFrame, value: str, by: Sequence[str], *, nests: int | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Mean of ``value`` over the seeds with its t-interval, for each combination of the columns ``by``.

    Columns ``estimate``, ``low``, ``high``, ``seeds`` (their number); one seed has no limits (NaN).  A blank
    in ``by``, such as the weight of a term that a loss does not have, is a value like any other.  ``nests``:
    the number of pretrainings, of which seed s shares that of number s modulo ``nests``; the interval is then
    that of `intervals.nested_t`.

    Raises ``ValueError`` where a combination has several runs of one seed.

    >>> runs = pd.DataFrame({"model": "unet", "seed": [0, 1, 2], "dice": [0.70, 0.72, 0.74]})
    >>> means(runs, "dice", ["model"]).round(3).loc["unet"].tolist()
    [0.72, 0.67, 0.77, 3.0]
    """
    by = list(by)
    _once(runs, [*by, "seed"])
    known = runs.dropna(subset=[value]).set_index([*by, "seed"])[value]
    groups = known.groupby(level=by if len(by) > 1 else by[0], sort=False, dropna=False)
    rows = {name: _row(values, level, nests) for name, values in groups}
    index = pd.MultiIndex.from_tuples(rows, names=by) if len(by) > 1 else pd.Index(rows, name=by[0])
    return pd.DataFrame(list(rows.values()), index=index, columns=COLUMNS)


def contrasts(
    runs: pd.DataFrame,
    value: str,
    *,
    arm: str,
    first: str,
    second: str,
    by: str | None = None,
    nests: int | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Paired difference ``second`` − ``first`` (values of the column ``arm``) on the seeds that both have.

    A row for each value of the column ``by``, or one row ``all``; columns and ``nests`` as in
    `means`.

    Raises ``ValueError`` where an arm has several runs of one seed, and where the arms share no seed.

    Source: see `intervals.paired_t` and `intervals.nested_t`.
    """
    keys = [by, "seed"] if by else ["seed"]
    chosen = runs[runs[arm].isin([first, second])].dropna(subset=[value])
    _once(chosen, [*keys, arm])
    wide = chosen.pivot(index=keys, columns=arm, values=value).reindex(columns=[first, second]).dropna()
    if wide.empty:
        raise ValueError(f"{first} and {second} share no seed with a {value}")
    difference = wide[second] - wide[first]
    groups = difference.groupby(by, dropna=False) if by else [("all", difference)]
    rows = {name: _row(values, level, nests) for name, values in groups}
    return pd.DataFrame(rows, index=COLUMNS).T.rename_axis(by)


def slopes(runs: pd.DataFrame, value: str, *, arm: str, amount: str = "labels") -> pd.DataFrame:
    """Gain of ``value`` per doubling of ``amount``, from its least to its greatest, for each arm and seed.

    Columns ``arm``, ``seed`` and ``slope``; seeds that lack one of the two ends are left out.

    >>> runs = pd.DataFrame({"model": "unet", "seed": 0, "labels": [8, 32], "dice": [0.5, 0.6]})
    >>> slopes(runs, "dice", arm="model")["slope"].round(3).tolist()
    [0.05]
    """
    ends = [runs[amount].min(), runs[amount].max()]
    if not ends[0] < ends[1]:
        raise ValueError(f"a slope needs two amounts in the column {amount}, there is {ends[0]}")
    _once(runs, [arm, "seed", amount])
    wide = runs.pivot(index=[arm, "seed"], columns=amount, values=value)[ends].dropna()
    doublings = np.log2(ends[1] / ends[0])
    return ((wide[ends[1]] - wide[ends[0]]) / doublings).rename("slope").reset_index()


def _row(values: pd.Series, level: float, nests: int | None) -> tuple[float, float, float, int]:
    if len(values) == 1:
        return values.iloc[0], np.nan, np.nan, 1
    nest = np.arange(len(values)) if nests is None else values.index.get_level_values("seed") % nests
    return (*nested_t(values.to_numpy(float), nest, level=level), len(values))


def _once(runs: pd.DataFrame, keys: list[str]) -> None:
    again = runs[runs.duplicated(keys)]
    if len(again):
        named = ", ".join(f"{key} {again.iloc[0][key]}" for key in keys)
        raise ValueError(f"several runs of {named}: choose one setting of the other columns first")
