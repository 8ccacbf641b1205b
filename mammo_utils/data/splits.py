"""Splits that no woman crosses, and an audit of the ways in which one can leak."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pandas as pd

from mammo_utils.data import catalogs, fingerprints

FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}
LEAK_COLUMNS = ["kind", "key", "split_a", "split_b", "images_a", "images_b"]


class SplitError(ValueError):
    """Groups lie in more than one split, or a row has no group or split; ``groups`` lists those concerned."""

    def __init__(self, message: str, groups=()):
        self.groups = list(groups)
        super().__init__(message)


def split(
    table: pd.DataFrame, *, group: str = "group", stratify=None, fractions=FRACTIONS, seed: int = 0
) -> pd.DataFrame:
    """Add the column ``split`` so that every group falls into one split as a whole.

    ``fractions`` {split: share of the groups}.  ``stratify`` names the column or columns whose mix should be
    alike in all splits; a group counts with its largest number (one breast with cancer makes a woman with
    cancer) or its most frequent class.  The result depends on the rows as a set, not on their order: groups
    are sorted by stratum and then by a hash of seed and name, and each goes in turn to the split that lags
    furthest behind its share.

    Raises: ``ValueError`` for fractions that do not sum to one; ``SplitError`` for rows without a group and
    for a column that the table does not have.

    >>> table = pd.DataFrame({"group": list("aabbccddee"), "cancer": [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]})
    >>> parts = split(table, stratify="cancer", fractions={"train": 0.6, "test": 0.4})
    >>> parts.drop_duplicates("group")["split"].value_counts().to_dict()
    {'train': 3, 'test': 2}
    """
    if any(share <= 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-9:
        raise ValueError(f"fractions must be positive and sum to 1, not {fractions}")
    columns = [stratify] if isinstance(stratify, str) else list(stratify or [])
    _need(table, group, *columns)
    if table[group].isna().any():
        raise SplitError(
            f"{int(table[group].isna().sum())} rows have no {group}: they cannot be kept together"
        )
    groups = (
        table.groupby(group)[columns].agg(_of_group) if columns else pd.DataFrame(index=table[group].unique())
    )
    groups["order"] = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in groups.index]
    groups = groups.sort_values([*columns, "order"])

    names, shares = list(fractions), np.array(list(fractions.values()))
    counts, chosen = np.zeros(len(names)), {}
    for number, name in enumerate(groups.index, start=1):
        behind = int(np.argmax(shares * number - counts))
        counts[behind] += 1
        chosen[name] = names[behind]
    return table.assign(split=table[group].map(chosen).astype("string"))


def _need(table: pd.DataFrame, *columns: str) -> None:
    absent = [column for column in columns if column not in table]
    if absent:
        remedy = "; make a split with splits.split(table)" if "split" in absent else ""
        there = ", ".join(map(str, table.columns))
        raise SplitError(f"the table has no column {', '.join(absent)}; it has: {there}{remedy}")


def _of_group(values: pd.Series):
    values = values.dropna()
    if values.empty:
        return pd.NA
    return values.max() if pd.api.types.is_numeric_dtype(values) else values.mode().min()


def check(table: pd.DataFrame, *, group: str = "group") -> pd.DataFrame:
    """Return ``table`` if every row has a group and a split and no group crosses; otherwise raise
    ``SplitError``."""
    for column in (group, "split"):
        if column not in table or table[column].isna().any():
            raise SplitError(
                f"every row needs a value in column {column!r}; make one with splits.split(table)"
            )
    crossing = table.groupby(group)["split"].nunique()
    crossing = crossing[crossing > 1].index
    if len(crossing):
        raise SplitError(
            f"{len(crossing)} of {table[group].nunique()} groups ({group}) lie in more than one split; "
            "split(table) keeps them together, and the attribute groups of this error lists them",
            crossing,
        )
    return table


def write(table: pd.DataFrame, path):
    """Check a table that has been split and write it as CSV; returns the path."""
    return catalogs.write(check(table), path)


def read(path) -> pd.DataFrame:
    """Read a table that ``write`` wrote and check it again: files are edited, joined and appended to."""
    return check(catalogs.read(path))


def audit(table: pd.DataFrame, *, pixels: bool = True, images=None) -> pd.DataFrame:
    """Every leak between the splits of ``table``, one row a leak.

    Columns: ``kind``, ``key`` (what is shared), ``split_a``, ``split_b``, ``images_a``, ``images_b`` (image
    ids). Kinds: ``group``; ``woman`` (patient_id); ``exam``; ``breast`` (the same breast on both sides),
    ``other breast`` (one breast of a woman here, the other there); ``identical pixels``, ``near-identical
    pixels`` (a resized, brightened or recompressed copy).  Rows with NA in a key share nothing through that
    key.

    ``pixels=False`` leaves the last two out; otherwise files are read at a small size, or ``images`` (N×H×W,
    such as ``ImageCache.images`` of the same rows) are used.  Pixels that differ only because two codecs
    rounded differently count as near-identical.

    Raises: ``SplitError`` for a table without a split or another column that is compared; ``ValueError`` for
    ``images`` of other rows.
    """
    _need(table, "split", "image_id", "group", "patient_id", "exam_id", "laterality", *["path"] * pixels)
    table = table.reset_index(drop=True)
    side = table["patient_id"] + "/" + table["laterality"]
    leaks = []
    for kind, key in [
        ("group", table["group"]),
        ("woman", table["patient_id"]),
        ("exam", table["exam_id"]),
        ("breast", side),
    ]:
        leaks += _shared(table, kind, key)
    leaks += _other_breast(table)
    if pixels:
        leaks += _same_pixels(table, images)
    return pd.DataFrame(leaks, columns=LEAK_COLUMNS)


def _leak(table, kind, key, a, b) -> tuple:
    """One row of the audit; ``a`` and ``b`` are the rows of ``table`` on the two sides."""
    ids = table["image_id"]
    return (kind, key, table["split"][a[0]], table["split"][b[0]], tuple(ids[list(a)]), tuple(ids[list(b)]))


def _shared(table: pd.DataFrame, kind: str, key: pd.Series) -> list[tuple]:
    """Values of ``key`` that occur in more than one split."""
    crossing = table[key.notna()].groupby(key)["split"].transform("nunique") > 1
    leaks = []
    for value, rows in table.loc[crossing.index[crossing]].groupby(key):
        sides = [list(index) for _, index in rows.groupby("split").groups.items()]
        leaks += [_leak(table, kind, value, a, b) for a, b in combinations(sides, 2)]
    return leaks


def _other_breast(table: pd.DataFrame) -> list[tuple]:
    known = table[table["patient_id"].notna() & table["laterality"].notna()]
    crossing = known.groupby("patient_id")["split"].transform("nunique") > 1
    leaks = []
    for woman, rows in known[crossing].groupby("patient_id"):
        sides = {key: list(index) for key, index in rows.groupby(["split", "laterality"]).groups.items()}
        for a, b in combinations(sides, 2):
            if a[0] != b[0] and a[1] != b[1]:
                leaks.append(_leak(table, "other breast", woman, sides[a], sides[b]))
    return leaks


def _same_pixels(table: pd.DataFrame, images) -> list[tuple]:
    digests, vectors = fingerprints.of_table(table, images)
    split, leaks, seen = table["split"], [], set()
    for digest, rows in pd.Series(range(len(table))).groupby(digests):
        for a, b in combinations(rows, 2) if digest else ():
            seen.add((a, b))
            if split[a] != split[b]:
                leaks.append(_leak(table, "identical pixels", digest, [a], [b]))
    for a, b in fingerprints.similar(vectors):
        if split[a] != split[b] and (a, b) not in seen:
            correlation = f"correlation {vectors[a] @ vectors[b]:.2f}"
            leaks.append(_leak(table, "near-identical pixels", correlation, [a], [b]))
    return leaks
