"""What the histology recipe learns from: tiles with one label each, cases kept apart, colours made alike."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from mammo_utils.data import splits, stain
from mammo_utils.data.catalogs import breakhis
from mammo_utils.data.tiles import Tiles
from mammo_utils.profile import choose
from mammo_utils.study.histology import TASKS
from mammo_utils.study.tiles import CLASSES
from mammo_utils.synth.histology import SUBTYPES

NORMALISE = ("none", *stain.METHODS)
NAMES = {name: place for place, name in enumerate(SUBTYPES[key][0] for key in CLASSES)}
BLOCK = 256  # tiles whose colours are changed at a time


def labelled(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The tiles whose label is known, each once; subtypes get the column ``kind`` (0–7).

    Of `breakhis.TWICE` one copy stays, that of the lobular carcinoma; none where subtypes are told, since
    hers is not known.

    Raises ``ValueError`` where no tile has a label.
    """
    twice = table["exam_id"].isin(breakhis.TWICE)
    one = table["exam_id"][twice].max() if task == "binary" else None  # the only one where there is one
    table = table[~twice | table["exam_id"].eq(one).fillna(False)]
    if choose("task", task, TASKS) == "subtypes":
        table = table.assign(kind=table["subtype"].map(NAMES).astype("Int64"))
    column = "kind" if task == "subtypes" else "cancer"
    table = table[table[column].notna() & table["cancer"].notna()].reset_index(drop=True)
    if not len(table):
        raise ValueError(f"no tile has a label for the task {task}; look at the table of the data")
    return table


def parts(table: pd.DataFrame, *, seed: int, folds: int = 0, fold: int = 0) -> dict[str, np.ndarray]:
    """Rows of ``train``, ``valid`` and ``test``, no case in two of them, subtypes mixed alike.

    With ``folds`` of 2 or more the test cases are those of number ``fold`` (0 is the first): every case is in
    one of them.  A quarter of the others is for validation.

    Raises ``ValueError`` for one fold and where a part lacks a class: more cases are needed.
    """
    mixed = {"stratify": ["cancer", *["kind"] * ("kind" in table)], "seed": seed}
    if folds:
        if folds < 2:
            raise ValueError(f"{folds} folds leave nothing to train on; give 2 or more, or 0 for one split")
        share = {str(number): 1 / folds for number in range(folds)}
        own = (splits.split(table, fractions=share, **mixed)["split"] == str(fold)).to_numpy(bool)
        rest = splits.split(table[~own], fractions={"train": 0.75, "valid": 0.25}, **mixed)["split"]
        split = np.full(len(table), "test", object)
        split[~own] = rest
    else:
        split = splits.split(table, **mixed)["split"].to_numpy(str)
    label = table["cancer"].to_numpy(float)
    for name in splits.FRACTIONS:
        if len(set(label[split == name])) < 2:
            raise ValueError(f"the split {name} has tiles of one class alone; more cases are needed")
    return {name: np.flatnonzero(split == name) for name in splits.FRACTIONS}


def colours(method: str, tiles: Tiles, rows: np.ndarray) -> stain.Normaliser | None:
    """What brings tiles to the colours of the tiles ``rows``; None for ``none``, which leaves them."""
    if choose("stain normalisation", method, NORMALISE) == "none":
        return None
    step = max(1, len(rows) // stain.FITTED)
    return stain.fit(np.asarray(tiles.images[rows[::step]]), method)


def coloured(
    tiles: Tiles, normalise: stain.Normaliser | None, *, say=print, path: Path | None = None
) -> Tiles:
    """Tiles in the colours of ``normalise``: in memory, or in the file ``path``, made at the first call.

    Says how many have too little tissue for their stains to be found and keep their colours.
    """
    if normalise is None:
        return tiles
    if path is None:
        images = np.empty(tiles.images.shape, np.uint8)
        _fill(images, tiles, normalise, say)
        return Tiles(images, tiles.table)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        images = np.lib.format.open_memmap(part, "w+", np.uint8, tiles.images.shape)
        _fill(images, tiles, normalise, say)
        images.flush()
        os.replace(part, path)
    return Tiles(np.load(path, mmap_mode="r"), tiles.table)


def _fill(images: np.ndarray, tiles: Tiles, normalise: stain.Normaliser, say) -> None:
    left = 0
    for start in range(0, len(images), BLOCK):
        images[start : start + BLOCK] = normalise(tiles.images[start : start + BLOCK])
        left += normalise.left
    say(f"{left} of {len(images)} tiles have too little tissue to find stains in and keep their colours")
