"""Mammogram Density Assessment Dataset (doi 10.17632/tdx3h2fn9v): dense-tissue masks of 745 VinDr-Mammo
images."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs import vindr
from mammo_utils.data.catalogs.table import CatalogError, Source, read_tables, tidy

SOURCE = Source(
    name="density",
    title="Mammogram Density Assessment Dataset",
    where="data.mendeley.com/datasets/tdx3h2fn9v; version 5 has no images, these come with VinDr-Mammo "
    "(physionet.org/content/vindr-mammo), expected in the folder vindr inside this one or beside it",
    licence="CC BY-NC 4.0 by its authors' page, CC BY 4.0 by a copy of an older version: take it as "
    "non-commercial",
)


TRAIN, TEST = "train.csv", "test.csv"


def load(root) -> pd.DataFrame:
    """The tidy table of the images; those in ``test.csv``, whose masks are withheld, have none here.

    ``official_split`` is ``train`` or ``test``, the data set's own and not VinDr-Mammo's.  The images without
    masks stand in the table so that their women can be left out of what others learn from; where
    ``test.csv`` is absent a warning says that they are unknown.

    Version 4 has its own images (JPEG, stretched between the darkest and brightest value, without window or
    inversion), version 5 none: its masks are joined to VinDr-Mammo's DICOM by the name of the file.  Either
    way VinDr's table gives the woman, side, view and density class, so it must be there.  The masks are lossy
    JPEG: they are 1 above 127, never at 255 only.  ``percent_density`` is the published one.

    Raises: ``CatalogError``.
    """
    root = Path(root).absolute()
    masks, withheld = "train/" if (root / "train").is_dir() else "", (root / TEST).is_file()
    original = root / "vindr" if (root / "vindr").is_dir() else root.parent / "vindr"
    problems, tables, annotations = [], {}, {}
    try:
        folders = {f"{masks}breast_masks": "*.jpg", f"{masks}dense_masks": "*.jpg"}
        wanted = {TRAIN: ["Filename", "Density"]} | ({TEST: ["Filename"]} if withheld else {})
        tables = read_tables(root, SOURCE, tables=wanted, folders=folders, empty=[TEST])
    except CatalogError as error:
        problems += error.problems
    own_images = (root / masks / "images").is_dir()
    try:
        folders = {} if own_images else {"images": "*/*.dicom"}
        wanted = {vindr.BREASTS: vindr.BREAST_COLUMNS}
        annotations = read_tables(original, vindr.SOURCE, tables=wanted, folders=folders)
    except CatalogError as error:
        problems += [f"{vindr.SOURCE.title}: {problem}" for problem in error.problems]
    if problems:
        raise CatalogError(SOURCE, root, problems)

    if not withheld:
        warnings.warn(
            f"density: {TEST} is absent, which names the images without masks; their women cannot be left "
            "out of a pool that is taken from vindr",
            stacklevel=3,
        )
    listed = pd.concat([part.assign(official_split=Path(file).stem) for file, part in tables.items()])
    listed["image_id"] = listed["Filename"].str.replace(r"\.jpe?g$", "", regex=True)
    frame = listed.rename(columns={"Density": "percent_density"}).merge(
        vindr.breasts(annotations[vindr.BREASTS], original).drop(columns="official_split"),
        on="image_id",
        how="left",
    )
    if frame["patient_id"].isna().any():
        count = int(frame["patient_id"].isna().sum())
        raise CatalogError(
            SOURCE, root, [f"{count} images are not in VinDr-Mammo's {vindr.BREASTS}: no woman"]
        )
    file, drawn = "/" + frame["image_id"] + ".jpg", frame["official_split"] == "train"
    for column, folder in {"breast_mask": "breast_masks", "dense_mask": "dense_masks"}.items():
        frame[column] = (str(root / masks / folder) + file).where(drawn)
    for part, rows in {masks: drawn, "test": ~drawn}.items():
        if own_images and (root / part / "images").is_dir():
            frame["path"] = frame["path"].mask(rows, str(root / part / "images") + file)
    return tidy(frame, SOURCE, root)
