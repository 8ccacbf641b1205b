"""Small descriptions of images by which copies are found, also resized, brightened or recompressed ones."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

SHAPE = (64, 52)  # rows, columns: fine enough to tell women apart, coarse enough to survive a resize
ALIKE = 0.8  # correlation of two descriptions; see tests/data/test_splits.py for both sides of it
BLOCK = 2048  # images compared at once: bounds the memory


def of_image(image: np.ndarray) -> np.ndarray:
    """The texture of an H×W image as a unit vector of float32, all zero for an image without any.

    Local mean and local contrast are taken out, so that brightness, window and the outline of the breast,
    which many women share, count little.
    """
    small = resize(image.astype(np.float32), SHAPE, order=1, mode="edge", anti_aliasing=True)
    breast = small > 0.05 * small.max()
    weight = gaussian_filter(breast.astype(np.float32), 2) + 1e-6
    detail = small - gaussian_filter(small * breast, 2) / weight
    contrast = np.sqrt(gaussian_filter(detail**2 * breast, 4) / weight) + 1e-6
    vector = np.where(weight > 0.95, detail / contrast, 0).ravel()
    vector = vector - vector[vector != 0].mean() * (vector != 0) if vector.any() else vector
    length = np.linalg.norm(vector)
    return (vector / length if length > 0 else vector).astype(np.float32)


def of_table(table, images=None) -> tuple[np.ndarray, np.ndarray]:
    """Digest (hexadecimal, empty where a file cannot be read) and description of every row's image.

    ``images`` (N×H×W) saves reading the files again.  Files that cannot be read are counted in one warning.
    """
    if images is not None and len(images) != len(table):
        raise ValueError(f"{len(images)} images for {len(table)} rows: pass the images of exactly these rows")
    digests = np.full(len(table), "", dtype="U32")
    vectors = np.zeros((len(table), SHAPE[0] * SHAPE[1]), dtype=np.float32)
    unread = []
    sides = [side if pd.notna(side) else None for side in table["laterality"]]
    for row, (path, side) in enumerate(zip(table["path"], sides, strict=True)):
        pixels, upright = _read(path, side) if images is None else (images[row], images[row])
        if pixels is None:
            unread.append(path)
            continue
        content = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        digests[row] = hashlib.blake2b(content, digest_size=16).hexdigest()
        vectors[row] = of_image(upright)
    if unread:
        names = ", ".join(Path(path).name for path in unread[:3])
        warnings.warn(f"{len(unread)} images cannot be read and are not compared, e.g. {names}", stacklevel=4)
    return digests, vectors


def _read(path, side):
    from mammo_utils.data.dicom import ImageReadError, read
    from mammo_utils.data.preprocess import prepare

    try:
        image = read(path, size=4 * max(SHAPE)).image
    except ImageReadError:
        return None, None
    return image, prepare(image, SHAPE, laterality=side).image


def similar(vectors: np.ndarray, *, alike: float = ALIKE):
    """Yield the pairs (i, j), i < j, whose descriptions correlate by at least ``alike``."""
    for start in range(0, len(vectors), BLOCK):
        for other in range(start, len(vectors), BLOCK):
            close = vectors[start : start + BLOCK] @ vectors[other : other + BLOCK].T >= alike
            for i, j in np.argwhere(close):
                if start + i < other + j:
                    yield start + int(i), other + int(j)
