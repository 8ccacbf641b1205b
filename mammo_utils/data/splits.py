"""Splits that no woman crosses, and an audit of the ways in which one can leak."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pandas as pd

from mammo_utils.data import catalogs, fingerprints

FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}
KEYS = ["group", "patient_id", "exam_id"]
# All images of `density` are VinDr-Mammo's and bear their names; a folder may hold anybody's.
NAMED_AFTER = {"density": "vindr", "folder": pd.NA}
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
    _grouped(table, group)
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


def _grouped(table: pd.DataFrame, group: str) -> None:
    if table[group].isna().any():
        raise SplitError(
            f"{int(table[group].isna().sum())} rows have no {group}: they cannot be kept together"
        )


def _of_group(values: pd.Series):
    values = values.dropna()
    if values.empty:
        return pd.NA
    return values.max() if pd.api.types.is_numeric_dtype(values) else values.mode().min()


def pool(table: pd.DataFrame, labelled: pd.DataFrame, *, transductive: bool = False) -> pd.DataFrame:
    """The unlabelled pool out of ``table``: all its images but those of the women in ``labelled``.

    A woman who shares a ``group``, ``patient_id``, ``exam_id`` or ``image_id`` with ``labelled`` is left out
    with all her images.  Names count within one data set (column ``dataset``): two that number their patients
    from 1 share nobody, but ``density`` is part of ``vindr``.  Names of a ``folder`` or of no data set may be
    anybody's and count everywhere.

    ``transductive=True`` keeps these women, those of the test included: a variant that results must name.
    ``.attrs["shared"]`` of the result has the number of such ``women`` and ``images`` in ``table``.

    Raises: ``SplitError`` for an absent column, for rows without a group and when nothing is left.

    >>> rows = pd.DataFrame({"dataset": "vindr", "group": ["s1", "s1", "s2"], "image_id": ["a", "b", "c"]})
    >>> rows = rows.assign(patient_id=rows["group"], exam_id=pd.NA)
    >>> rest = pool(rows, rows[:1].assign(dataset="density"))
    >>> rest["image_id"].tolist(), rest.attrs["shared"]
    (['c'], {'women': 1, 'images': 2})
    """
    columns = [*KEYS, "image_id"]
    for part in (labelled, table):
        _need(part, *columns)
        _grouped(part, "group")
    parts = [part.reindex(columns=["dataset", *columns]).astype("string") for part in (labelled, table)]
    both = pd.concat(parts, ignore_index=True)
    keys = [_names(both, column) for column in columns]
    known, before = pd.Series(np.arange(len(both)) < len(labelled)), -1
    # An image may give away the woman, and she her other images.
    while known.sum() > before:
        before = known.sum()
        for key in keys:
            known |= key.isin(key[known].dropna())
    theirs = known.to_numpy()[len(labelled) :]
    if theirs.all() and not transductive:
        raise SplitError(
            "every image belongs to a labelled woman, so that none is left for the pool; if the tables only "
            "happen to use the same names, give one of them its own with table.assign(dataset=...)"
        )
    kept = table[~theirs | transductive].reset_index(drop=True)
    kept.attrs["shared"] = {"women": table["group"][theirs].nunique(), "images": int(theirs.sum())}
    return kept


def _names(table: pd.DataFrame, column: str) -> pd.Series:
    """The values of ``column``, with the data set before those that stand for different women in several."""
    values = table[column]
    if "dataset" not in table:
        return values
    source = table["dataset"].map(lambda name: NAMED_AFTER.get(name, name)).astype("string")
    same = source.groupby(values)
    apart = (same.transform("nunique") > 1) & (same.transform("count") == same.transform("size"))
    return values.mask(apart, source + "/" + values)


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
    key; names of different data sets are told apart as in ``pool``.

    ``pixels=False`` leaves the last two out; otherwise files are read at a small size, or ``images`` (N×H×W,
    such as ``ImageCache.images`` of the same rows) are used.  Pixels that differ only because two codecs
    rounded differently count as near-identical.

    Raises: ``SplitError`` for a table without a split or another column that is compared; ``ValueError`` for
    ``images`` of other rows.
    """
    _need(table, "split", "image_id", *KEYS, "laterality", *["path"] * pixels)
    table = table.reset_index(drop=True)
    table = table.assign(**{key: _names(table, key) for key in KEYS})
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
