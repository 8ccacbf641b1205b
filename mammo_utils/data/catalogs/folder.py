"""Images of your own in folders: with masks, hand-drawn or from label images, or with a folder a class."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs.masks import labelled
from mammo_utils.data.catalogs.table import (
    COLUMNS,
    MASKS,
    CatalogError,
    Source,
    read_tables,
    tidy,
)

SOURCE = Source(
    name="folder",
    title="a folder of images and masks",
    where="your own files",
    licence="yours to know",
)
SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
LISTED = "images.csv"


def load(
    root,
    *,
    labels: Mapping[str, Sequence[int]] | None = None,
    classes: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """The tidy table of ``images/`` with the masks in ``masks/NAME/``, or those that ``labels`` names.

    ``labels`` {mask: values}: the pixels of the files in ``labels/`` that have one of these values make that
    mask, such as ``{"dense": [192], "breast": [128, 192]}``; there must then be one label image an image.
    With ``labels={}`` no masks are looked for: images that something is learnt from without labels.
    A mask or label image is named after its image: the same name, or that name and more behind ``_``, ``-``
    or a dot.  ``images.csv`` may give further columns by ``image_id``, the name without its suffix; without
    its column ``patient_id`` every image counts as a woman of her own.

    ``classes`` {folder: 0 or 1} takes the images in the folder of each class instead, such as
    ``{"benign": 0, "malignant": 1}``, also in folders below it: the number becomes ``cancer``, the folder's
    name ``diagnosis``, and an image is called by its path without the suffix (``image_id``), such as
    ``benign/case 7/1``.

    Raises: ``CatalogError``; ``ValueError`` for a mask that no column is named after, and for both
    ``labels`` and ``classes``.
    """
    root = Path(root).absolute()
    if classes is not None:
        if labels is not None:
            raise ValueError("labels are of images/, classes are folders of their own: give one of the two")
        return _classed(root, classes)
    if labels is None:
        names = [column for column in MASKS if (root / "masks" / column.removesuffix("_mask")).is_dir()]
        sources = {column: root / "masks" / column.removesuffix("_mask") for column in names}
    else:
        sources = {f"{name}_mask": root / "labels" for name in labels}
        if wrong := [name for name in labels if f"{name}_mask" not in MASKS]:
            known = ", ".join(column.removesuffix("_mask") for column in MASKS)
            raise ValueError(f"unknown mask {wrong[0]!r}; choose one of: {known}")
    problems = [f"the folder {part}/ is missing" for part in _parts(labels) if not (root / part).is_dir()]
    files = _files(root / "images")
    if not problems and not files:
        problems = [f"the folder images/ holds no file {', '.join(SUFFIXES)}"]
    if labels is None and not sources and not problems:
        problems = ["the folder masks/ holds no folder " + ", ".join(m.removesuffix("_mask") for m in MASKS)]
    frame = pd.DataFrame({"image_id": [file.stem for file in files], "path": [str(file) for file in files]})
    for column, folder in sources.items():
        found, wrong = _named_after(list(frame["image_id"]), _files(folder))
        problems += [text for text in wrong if text not in problems]
        values = labels and labels[column.removesuffix("_mask")]
        frame[column] = frame["image_id"].map(
            {name: labelled(file, values) if values else str(file) for name, file in found.items()}
        )
    if problems:
        raise CatalogError(SOURCE, root, problems)
    frame = _described(frame, root)
    return tidy(frame.assign(group=frame["patient_id"]), SOURCE, root)


def _classed(root: Path, classes: Mapping[str, int]) -> pd.DataFrame:
    """The table of a folder a class."""
    rows, problems = [], []
    for name, cancer in classes.items():
        folder = root / name
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            problems.append(f"the folder {name}/ is missing or holds no file {', '.join(SUFFIXES)}")
        # With the folders in between: those of patients often hold the same names.
        rows += [
            (file.relative_to(root).with_suffix("").as_posix(), str(file), cancer, name) for file in files
        ]
    if problems or not rows:
        raise CatalogError(SOURCE, root, problems or ["no classes are named"])
    frame = _described(pd.DataFrame(rows, columns=["image_id", "path", "cancer", "diagnosis"]), root)
    return tidy(frame.assign(group=frame["patient_id"]), SOURCE, root)


def _parts(labels) -> list[str]:
    return ["images", *(["masks"] if labels is None else ["labels"] * bool(labels))]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def _named_after(images: list[str], files: list[Path]) -> tuple[dict[str, Path], list[str]]:
    """{image: mask file}, and what is wrong in words."""
    found, problems, strange = {}, [], []
    for file in files:
        # The longest name wins: a_1_mask belongs to the image a_1 and not to a.
        own = [
            name
            for name in images
            if file.stem == name or file.stem.startswith((f"{name}_", f"{name}-", f"{name}."))
        ]
        if not own:
            strange.append(file.name)
        elif (name := max(own, key=len)) in found:
            problems.append(
                f"{file.parent.name}/ has two files for one image: {found[name].name}, {file.name}"
            )
        else:
            found[name] = file
    if files and not found:
        problems.append(f"{files[0].parent.name}/ has no file named after an image, e.g. {strange[0]}")
    elif strange:
        warnings.warn(
            f"{len(strange)} files in {files[0].parent.name}/ are named after no image, e.g. {strange[0]}: "
            "left out",
            stacklevel=4,
        )
    return found, problems


def _described(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """``frame`` with the columns of ``images.csv``, if it is there, and a woman for every image."""
    if (root / LISTED).is_file():
        listed = read_tables(root, SOURCE, tables={LISTED: ["image_id"]}, folders={})[LISTED]
        taken = [name for name in listed if name in COLUMNS and name not in frame and name != "group"]
        if listed["image_id"].duplicated().any():
            raise CatalogError(SOURCE, root, [f"{LISTED} lists an image more than once"])
        unknown = set(frame["image_id"]) - set(listed["image_id"])
        if unknown:
            raise CatalogError(SOURCE, root, [f"{LISTED} lacks {len(unknown)} images, e.g. {min(unknown)}"])
        frame = frame.merge(listed[["image_id", *taken]], on="image_id", how="left")
        if "patient_id" in frame and frame["patient_id"].isna().any():
            count = int(frame["patient_id"].isna().sum())
            raise CatalogError(SOURCE, root, [f"{LISTED} gives no patient_id for {count} images"])
    if "patient_id" not in frame:
        warnings.warn(
            f"every image counts as a woman of her own; if some are of one woman, give the column patient_id "
            f"in {LISTED}, or her images fall into several parts of a split",
            stacklevel=4,
        )
        frame["patient_id"] = frame["image_id"]
    return frame
