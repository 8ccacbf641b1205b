"""Resizing by area: each new pixel is the mean of the part of the old image that it covers."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array


def _weights(size: int, cells: int, start: float, extent: float) -> csr_array:
    """Matrix (cells × size) of the share of each old pixel in each new cell; rows sum to 1."""
    edges = start + extent * np.linspace(0, 1, cells + 1)
    cuts = np.union1d(edges, np.arange(np.ceil(edges[0]), edges[-1]))
    middle = (cuts[1:] + cuts[:-1]) / 2
    cell = np.clip(np.searchsorted(edges, middle) - 1, 0, cells - 1)
    pixel = np.clip(np.floor(middle).astype(int), 0, size - 1)
    return csr_array((np.diff(cuts) / (extent / cells), (cell, pixel)), shape=(cells, size)).astype(
        np.float32
    )


def area(
    image: np.ndarray,
    shape: tuple[int, int],
    *,
    start: tuple[float, float] = (0, 0),
    extent: tuple[float, float] | None = None,
) -> np.ndarray:
    """Resize a 2-D image to ``shape`` (rows, columns) by exact area averaging; float32.

    ``start`` and ``extent`` choose the rectangle that is resampled, in pixels of the old image whose first
    pixel spans 0 to 1; both may be fractions.  Beyond the border the outermost pixels are repeated.

    >>> area(np.array([[0, 1, 2, 3, 4, 5]]), (1, 4)).astype(float).round(2).tolist()
    [[0.33, 1.67, 3.33, 4.67]]
    """
    rows, columns = (
        _weights(size, cells, begin, length)
        for size, cells, begin, length in zip(image.shape, shape, start, extent or image.shape, strict=True)
    )
    return np.ascontiguousarray((columns @ (rows @ image.astype(np.float32, copy=False)).T).T)


def _between(size: int, cells: int) -> csr_array:
    """Matrix (cells × size) of linear interpolation between the centres of the old pixels."""
    centre = np.clip((np.arange(cells) + 0.5) * size / cells - 0.5, 0, size - 1)
    before = np.minimum(centre.astype(int), max(size - 2, 0))
    after, share = np.minimum(before + 1, size - 1), centre - before
    cell = np.arange(cells)
    entries = (np.r_[1 - share, share], (np.r_[cell, cell], np.r_[before, after]))
    return csr_array(entries, shape=(cells, size)).astype(np.float32)


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a 2-D image to ``shape``: by area along a side that shrinks, linearly along one that grows;
    float32.

    >>> resize(np.array([[0, 1]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    rows, columns = (
        _weights(size, cells, 0, size) if cells <= size else _between(size, cells)
        for size, cells in zip(image.shape, shape, strict=True)
    )
    return np.ascontiguousarray((columns @ (rows @ image.astype(np.float32, copy=False)).T).T)


def longest(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """The shape whose longer side is ``size``, aspect kept to the nearest pixel.

    >>> longest((4664, 3064), 512)
    (512, 336)
    """
    return tuple(max(1, round(side * size / max(shape))) for side in shape)
