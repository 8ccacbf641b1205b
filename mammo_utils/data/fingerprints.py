"""Small descriptions of images by which copies are found, also resized, brightened or recompressed ones."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from mammo_utils.data import dicom, resample

SHAPE = (64, 52)  # rows, columns: fine enough to tell women apart, coarse enough to survive a resize
ALIKE = 0.85  # correlation of two descriptions; see tests/data/test_splits.py for both sides of it
BLOCK = 2048  # images compared at once: bounds the memory


def of_image(image: np.ndarray) -> np.ndarray:
    """The texture of an H×W image as a unit vector of float32, all zero for a uniform image.

    Local mean and most of the local contrast are taken out, so that brightness and window count little; the
    half with more tissue is turned to the left, so that a mirrored copy is one too.
    """
    small = resample.area(image, SHAPE)
    half = SHAPE[1] // 2
    if small[:, :half].sum() < small[:, half:].sum():
        small = small[:, ::-1]
    detail = small - gaussian_filter(small, 2)
    contrast = np.sqrt(gaussian_filter(detail**2, 4))
    vector = np.clip(detail / (contrast + detail.std() + 1e-9), -2, 2).ravel()
    vector -= vector.mean()
    length = np.linalg.norm(vector)
    return (vector / length if length > 0 else vector).astype(np.float32)


def of_table(table, images=None) -> tuple[np.ndarray, np.ndarray]:
    """Digest (hexadecimal, empty where a file cannot be read) and description of every row's image.

    ``images`` (N×H×W) saves reading the files again.  Files that cannot be read are counted in one warning.

    Raises: ``ValueError`` where ``images`` and ``table`` differ in length.
    """
    if images is not None and len(images) != len(table):
        raise ValueError(f"{len(images)} images for {len(table)} rows: pass the images of exactly these rows")
    digests = np.full(len(table), "", dtype="U32")
    vectors = np.zeros((len(table), SHAPE[0] * SHAPE[1]), dtype=np.float32)
    unread = []
    for row, path in enumerate(table["path"]):
        try:
            pixels = dicom.read(path, size=4 * max(SHAPE)).image if images is None else images[row]
        except dicom.ImageReadError:
            unread.append(path)
            continue
        content = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        digests[row] = hashlib.blake2b(content, digest_size=16).hexdigest()
        vectors[row] = of_image(pixels)
    if unread:
        names = ", ".join(Path(path).name for path in unread[:3])
        warnings.warn(f"{len(unread)} images cannot be read and are not compared, e.g. {names}", stacklevel=4)
    return digests, vectors


def similar(vectors: np.ndarray, *, alike: float = ALIKE):
    """Yield the pairs (i, j), i < j, whose descriptions correlate by at least ``alike``."""
    for start in range(0, len(vectors), BLOCK):
        for other in range(start, len(vectors), BLOCK):
            close = vectors[start : start + BLOCK] @ vectors[other : other + BLOCK].T >= alike
            for i, j in np.argwhere(close):
                if start + i < other + j:
                    yield start + int(i), other + int(j)
