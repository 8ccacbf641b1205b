"""Mammogram Density Assessment Dataset (doi 10.17632/tdx3h2fn9v): dense-tissue masks of 745 VinDr-Mammo
images."""

from __future__ import annotations

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


def load(root) -> pd.DataFrame:
    """The tidy table of the images whose masks are published (the test masks are withheld).

    Version 4 has its own images (JPEG, stretched between the darkest and brightest value, without window or
    inversion), version 5 none: its masks are joined to VinDr-Mammo's DICOM by the name of the file.  Either
    way VinDr's table gives the woman, side, view and density class, so it must be there.  The masks are lossy
    JPEG: they are 1 above 127, never at 255 only.  ``percent_density`` is the published one.

    Raises: ``CatalogError``.
    """
    root = Path(root).absolute()
    masks = "train/" if (root / "train").is_dir() else ""
    original = root / "vindr" if (root / "vindr").is_dir() else root.parent / "vindr"
    problems, tables, annotations = [], {}, {}
    try:
        folders = {f"{masks}breast_masks": "*.jpg", f"{masks}dense_masks": "*.jpg"}
        tables = read_tables(root, SOURCE, tables={"train.csv": ["Filename", "Density"]}, folders=folders)
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

    listed = tables["train.csv"]
    stem = listed["Filename"].str.replace(r"\.jpe?g$", "", regex=True)
    frame = pd.DataFrame({"image_id": stem, "percent_density": listed["Density"]})
    frame = frame.merge(vindr.breasts(annotations[vindr.BREASTS], original), on="image_id", how="left")
    if frame["patient_id"].isna().any():
        count = int(frame["patient_id"].isna().sum())
        raise CatalogError(
            SOURCE, root, [f"{count} images are not in VinDr-Mammo's {vindr.BREASTS}: no woman"]
        )
    for column, folder in {"breast_mask": "breast_masks", "dense_mask": "dense_masks"}.items():
        frame[column] = str(root / masks / folder) + "/" + stem + ".jpg"
    if own_images:
        frame["path"] = str(root / masks / "images") + "/" + stem + ".jpg"
    return tidy(frame, SOURCE, root)
