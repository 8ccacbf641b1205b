"""One row of a table: from the files it names to the arrays that the cache keeps."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from PIL import Image

from mammo_utils.data import contours, dicom, display, header, pixels, preprocess, resample
from mammo_utils.data.catalogs.masks import files_of

# A digest of the code that makes a prepared image, taken when it is loaded: files may change under a kernel.
_FILES = [
    *(module.__file__ for module in (contours, dicom, display, header, pixels, preprocess, resample)),
    __file__,
]
CODE = hashlib.sha256(b"".join(Path(file).read_bytes() for file in _FILES)).hexdigest()[:16]
GEOMETRY = ["row_scale", "row_offset", "column_scale", "column_offset", "spacing_mm"]


def job_of(row: dict, named: list[str], size: tuple[int, int]) -> dict:
    """What a worker needs, and by which a changed source is noticed."""
    masks = {column: row[column] for column in named if pd.notna(row[column])}
    side = row["laterality"] if pd.notna(row["laterality"]) else None
    stamps = [[path, *_stamp(path)] for path in (row["path"], *masks.values())]
    job = {"image_id": row["image_id"], "path": row["path"], "laterality": side, "masks": masks}
    return {**job, "named": named, "size": size, "source": [row["image_id"], side, list(masks), *stamps]}


def _stamp(path: str) -> tuple:
    """Size and time of change of each file."""
    try:
        found = [os.stat(file) for file, _ in files_of(path)]
    except OSError:
        return (None, None)
    return tuple(value for each in found for value in (each.st_size, each.st_mtime_ns))


def prepare(job: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """The line of a row for the journal and its arrays by file; no arrays for a file that cannot be read.

    ``job`` is what ``job_of`` made of the row.  Raises: whatever is not the file's fault, with a note that
    names the file.
    """
    path, size = job["path"], job["size"]
    try:
        found = dicom.read(path, size=2 * max(size))  # the breast often fills only half of the image
        stored = _stored_shape(path)
        masks = {column: _mask(file, stored, found.image.shape) for column, file in job["masks"].items()}
        done = _prepared(found, size, job["laterality"])
    except header.ImageReadError as error:
        which = "" if str(error.file) == str(path) else f"{Path(error.file).name}: "
        return {"failure": {"reason": which + error.reason, "remedy": error.remedy}}, {}
    except Exception as error:
        error.add_note(f"while preparing {path}")
        raise
    arrays = {"images.raw": np.rint(done.image * 65535).astype(np.uint16)}
    for column in job["named"]:
        mask = done.to_prepared(masks[column]) if column in masks else np.zeros(size, bool)
        arrays[f"mask_{column.removesuffix('_mask')}.raw"] = mask.astype(bool)
    arrays["mask_foreground.raw"] = done.foreground.astype(bool)
    return {"geometry": _geometry(done, found, stored)}, arrays


def _prepared(found: dicom.Mammogram, size: tuple[int, int], side: str | None) -> preprocess.Prepared:
    try:
        return preprocess.prepare(found.image, size, laterality=side or found.laterality)
    except preprocess.NoBreastError as error:
        return header.fail(error.reason, error.remedy)


def _geometry(done, found, stored: tuple[int, int]) -> list[float]:
    """The values of ``GEOMETRY``: preparation maps axis by axis, so that two points tell all of it."""
    ratio = np.array(found.image.shape) / stored
    first, second = ((np.array([point]) + 0.5) * ratio - 0.5 for point in ([0.0, 0.0], [1000.0, 1000.0]))
    offset = done.to_prepared(first)[0]
    scale = (done.to_prepared(second)[0] - offset) / 1000
    spacing = found.spacing_mm[0] * ratio[0] / abs(scale[0]) if found.spacing_mm else None
    values = [scale[0], offset[0], scale[1], offset[1], spacing]
    return [None if value is None else float(value) for value in values]


def _stored_shape(path) -> tuple[int, int]:
    if header.kind(path) == "DICOM":
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(ds.Rows), int(ds.Columns)
    with Image.open(path) as image:
        return image.height, image.width


def _mask(path, stored: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A mask as bool in the frame of the image as read, which may be smaller than it is stored."""
    mask = np.zeros(stored, bool)
    for file, wanted in files_of(path):
        with header.naming(file):
            mask |= _drawn(file, wanted, stored)
    return mask if shape == mask.shape else resample.area(mask, shape) >= 0.5


def _drawn(file: str, wanted: list[int] | None, stored: tuple[int, int]) -> np.ndarray:
    if file.endswith(contours.SUFFIX):
        return contours.mask(file, stored)
    dicom_mask = header.kind(file) == "DICOM"
    values = pixels.decode(header.parse(file))[0] if dicom_mask else pixels.picture(file)
    if values.shape != stored:
        header.fail(
            f"the mask has {values.shape[0]}×{values.shape[1]} pixels, its image {stored[0]}×{stored[1]}",
            "take the mask that was drawn on this image",
        )
    return values > 127 if wanted is None else np.isin(values, wanted)
