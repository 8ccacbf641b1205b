"""The images that an encoder learns from without labels: whose they are, and whose they must not be."""

from __future__ import annotations

import hashlib

import pandas as pd

from mammo_utils import profile
from mammo_utils.data import catalogs, splits
from mammo_utils.data.command import audited

# Parts of a data set's own split (column official_split) on which networks are judged.
HELD_OUT = ("valid", "validation", "val", "test", "testing", "final")


def table_of(name: str, root=None) -> pd.DataFrame:
    """The table of the data set ``name`` in ``root``, by default ``MAMMO_DATA``/name, without its masks.

    Raises as `catalogs.load`.
    """
    options = {"labels": {}} if name == "folder" else {}
    return catalogs.load(name, root or profile.data_root(name), **options).drop(columns=catalogs.MASKS)


def pool(
    table: pd.DataFrame,
    labelled: list[pd.DataFrame] | None = None,
    *,
    keep_test: bool = False,
    transductive: bool = False,
) -> pd.DataFrame:
    """The rows of ``table`` that may be learnt from without labels; prints whom it leaves out and an audit.

    Left out are the women of whom any image is in a part of the data set's own split on which networks are
    judged (``HELD_OUT``), unless ``keep_test``: for one who scores on other women.  Those of a phantom are
    always left out, which are the cohorts ``valid``, ``test`` and ``final``.  Then the women of the tables
    ``labelled`` are left out, whatever part they are in, unless ``transductive``.  Where nobody is left
    out, a note says so.

    Raises ``ValueError`` if nobody is left, and for ``keep_test`` of a phantom.
    """
    held = table["official_split"].str.lower().isin(HELD_OUT).to_numpy(bool)
    parts = ", ".join(sorted(table["official_split"][held].unique()))
    if held.any() and keep_test:
        if (table["dataset"] == "phantom").any():
            raise ValueError(
                f"phantom women of the cohorts {parts} are in no pool: every study is scored on them"
            )
        print(f"the pool keeps the women of the official split {parts}: do not score on them")
    elif held.any():
        if held.all():
            raise ValueError(
                f"all {len(table)} images are of the official split {parts}, on which networks are judged: "
                "none is left to learn from; name a folder with other women"
            )
        table = splits.pool(table, table[held])
        print(f"left out: {_counted(table)} of the official split {parts}, on whom networks are judged")
    if labelled:
        known = pd.concat(labelled, ignore_index=True)
        names = ", ".join(known["dataset"].unique())
        table = splits.pool(table, known, transductive=transductive)
        kept = "transductive: the pool keeps" if transductive else "left out:"
        print(f"{kept} {_counted(table)} who are in {names}")
        both = [table.assign(split="pool"), known.assign(split="labelled")]
        print(audited(pd.concat(both, ignore_index=True)))
    elif (table["dataset"] == "vindr").any():
        print(
            "note: all images of the data set density come from VinDr-Mammo; to fine-tune on them, leave "
            "their women out with --labelled density"
        )
    elif not held.any():
        print(
            "note: the data set names no women on whom networks are judged, so all are learnt from: score on "
            "others, or leave them out with --labelled"
        )
    return table


def several(pool: pd.DataFrame) -> None:
    """Raise ``ValueError`` for a single woman and where none has two images: the views of a woman attract
    each other, and those of others repel."""
    if pool["group"].nunique() < 2:
        raise ValueError("multiview learns from several women and the pool has one: give more images")
    if not pool["group"].duplicated().any():
        raise ValueError(
            "multiview learns from several views of a woman, and every woman here has one image: say in the "
            "column patient_id whose they are, or choose another method"
        )


def apart(**tables) -> None:
    """Raise ``ValueError`` where a woman is in two of the ``tables``."""
    both = [table.assign(split=name) for name, table in tables.items()]
    leaks = splits.audit(pd.concat(both, ignore_index=True), pixels=False)
    if len(leaks):
        raise ValueError(
            f"{len(leaks)} women, exams or breasts are in two of the tables {', '.join(tables)}: "
            "data.splits.pool leaves them out of one"
        )


def digest(table: pd.DataFrame) -> str:
    """Twelve characters that tell the images of ``table`` from as many others and name nobody."""
    return hashlib.sha256("\n".join(sorted(table["image_id"])).encode()).hexdigest()[:12]


def at_most(table: pd.DataFrame, count: int | None, *, option: str, seed: int = 0) -> pd.DataFrame:
    """All images of as many women as have ``count`` of them at most, or of all; the seed redraws the women.

    Raises ``ValueError`` that names the ``option`` where that is none.
    """
    if count is None:
        return table.reset_index(drop=True)
    sizes = table["group"].value_counts()
    order = sorted(sizes.index, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    chosen = sizes[order].cumsum() <= count
    if not chosen.any():
        raise ValueError(f"{option} {count}: the first woman has {sizes[order[0]]} images; give more")
    return table[table["group"].isin(chosen.index[chosen])].reset_index(drop=True)


def _counted(table: pd.DataFrame) -> str:
    shared = table.attrs["shared"]
    return f"{shared['women']} women ({shared['images']} images)"
