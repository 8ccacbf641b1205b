"""LC25000 (Borkowski et al. 2019, arXiv 1912.12142): tiles of lung and colon, about 20 copies of each."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from mammo_utils.data import copies, tiles
from mammo_utils.data.catalogs.table import CatalogError, Source, read_tables, tidy
from mammo_utils.profile import choose

SOURCE = Source(
    name="lc25000",
    title="LC25000",
    where="github.com/tampapath/lung_colon_image_set, or a mirror such as 1aurent/LC25000",
    licence="freely available according to its abstract; the exact licence was not found",
)
FOLDER = Path("lung_colon_image_set")
CLASSES = {"lung_aca": 1, "lung_n": 0, "lung_scc": 1, "colon_aca": 1, "colon_n": 0}
CLEANED = "annotations/{}/UNI/resize_only/final_clusters.csv"  # of the repository LC25000-clean
SUFFIXES = (".jpeg", ".jpg")
COPIES = ("auto", "table", "search", "ignore")


def load(root, *, groups: str = "auto", kept=None) -> pd.DataFrame:
    """The tidy table of LC25000; ``root`` holds ``lung_colon_image_set``, or is that folder.

    ``group`` is the original that a file is a copy of.  The data set does not say; ``groups`` chooses where
    it comes from: ``"table"``, the tables ``annotations/<class>/UNI/resize_only/final_clusters.csv`` of
    LC25000-clean beside the images; ``"search"``, the pixels (`copies.groups`), which takes minutes and was
    tried on phantom tiles alone; ``"auto"``, the table where there is one, else the search; ``"ignore"``:
    every file counts as an original, which is right only where the data set is learnt from and never scored.
    ``kept``: a file for what a search finds, from which the next one takes it if the images are the same.

    ``diagnosis`` is the class, ``cancer`` whether it is one, ``subtype`` the class of a cancer.

    Raises: ``CatalogError``; ``ValueError`` for other ``groups``; ``ImageReadError`` in a search.
    """
    choose("source of groups", groups, COPIES)
    root = Path(root).absolute()
    home = next((place for place in (root / FOLDER, root) if (place / "lung_image_sets").is_dir()), root)
    if not (home / "lung_image_sets").is_dir():
        raise CatalogError(SOURCE, root, [f"the folder {FOLDER}/lung_image_sets/ is missing"])
    parts, problems = [], []
    for name, cancer in CLASSES.items():
        folder = home / f"{name.partition('_')[0]}_image_sets" / name
        files = sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            problems.append(f"the folder {folder.relative_to(home)}/ is missing or holds no JPEG file")
        part = pd.DataFrame(
            {"image_id": [file.stem for file in files], "path": [str(file) for file in files]}
        )
        parts.append(part.assign(cancer=cancer, diagnosis=name, subtype=name if cancer else pd.NA))
    if problems:
        raise CatalogError(SOURCE, root, problems)
    if groups == "auto":
        groups = "table" if (root / CLEANED.format("lung_n")).is_file() else "search"
    frame = pd.concat(parts, ignore_index=True)
    if groups == "search":
        frame["group"] = _searched(parts) if kept is None else _found(parts, Path(kept))
    elif groups == "table":
        frame["group"] = np.concatenate([_listed(part, root) for part in parts])
    else:
        frame["group"] = frame["image_id"]
    return tidy(frame, SOURCE, root)


def _listed(part: pd.DataFrame, root: Path) -> pd.Series:
    """The groups of one class that the clean-up table has."""
    name = part["diagnosis"].iloc[0]
    file = CLEANED.format(name)
    listed = read_tables(root, SOURCE, tables={file: ["cluster_label", "img_path"]}, folders={})[file]
    # The paths are those of the machine that the table was made on.
    stem = listed["img_path"].str.split("/").str[-1].str.rsplit(".", n=1).str[0]
    known = dict(zip(stem, f"{name}_" + listed["cluster_label"], strict=True))
    found = part["image_id"].map(known)
    if found.isna().any():
        lacks = (
            f"{file} lacks {int(found.isna().sum())} images, e.g. {part['image_id'][found.isna()].iloc[0]}"
        )
        raise CatalogError(SOURCE, root, [lacks])
    return found


def _searched(parts: list[pd.DataFrame]) -> list[str]:
    """The groups by the pixels of the tiles; copies never have different classes."""
    names = []
    for part in parts:
        numbers = copies.groups(tiles.read(path, copies.SIDE) for path in part["path"])
        names += [f"{part['diagnosis'].iloc[0]}_{number}" for number in numbers]
    return names


def _found(parts: list[pd.DataFrame], kept: Path) -> list[str]:
    """What `_searched` finds, or found before in the same files as far as names and sizes tell."""
    stamps = [[path, os.path.getsize(path)] for part in parts for path in part["path"]]
    key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    if kept.is_file() and (before := json.loads(kept.read_text()))["key"] == key:
        return before["groups"]
    found = _searched(parts)
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_name(f"{kept.name}.part")
    part.write_text(json.dumps({"key": key, "groups": found}))
    os.replace(part, kept)
    return found
