"""Outlines of lesions as OsiriX exports them: a property list in XML with the corners of every region."""

from __future__ import annotations

import plistlib
import re
from pathlib import Path

import numpy as np
from skimage.draw import polygon

from mammo_utils.data.header import MAX_NUMBER, fail, naming

SUFFIX = ".xml"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
POINT = re.compile(rf"\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)\s*")


def regions(path) -> list[np.ndarray]:
    """The regions of a file, each its corners as (N, 2) float64 (row, column) in pixels of the image.

    The file writes a corner as ``(x, y)``, the column first.  A single calcification may have one corner.

    Raises: ``ImageReadError`` for what is no such list; entities are refused, so that none is expanded.
    """
    with naming(path):
        try:
            found = plistlib.loads(Path(path).read_bytes(), fmt=plistlib.FMT_XML)
            written = [region["Point_px"] for image in found["Images"] for region in image["ROIs"]]
        except Exception:  # only the parser of the property list runs here
            return fail("no property list of regions as OsiriX exports it, or a damaged one")
        return [_corners(points) for points in written if points]


def _corners(points) -> np.ndarray:
    found = [POINT.fullmatch(point) if isinstance(point, str) else None for point in points]
    if not all(found):
        fail("a corner of a region is not written as (x, y)")
    corners = np.array([[float(one[2]), float(one[1])] for one in found])
    return corners if (np.abs(corners) <= MAX_NUMBER).all() else fail("a corner lies absurdly far away")


def boxes(path) -> tuple[tuple[int, int, int, int], ...]:
    """(row, column, row, column) around every region in pixels of the image, the end excluded."""
    spans = [(np.floor(corners.min(0) + 0.5), np.floor(corners.max(0) + 0.5)) for corners in regions(path)]
    return tuple((*map(int, first), *(int(end) + 1 for end in last)) for first, last in spans)


def mask(path, shape: tuple[int, int]) -> np.ndarray:
    """What lies inside any region, (height, width) bool; of a region without area the corners themselves."""
    drawn = np.zeros(shape, bool)
    for corners in regions(path):
        inside = polygon(*corners.T, shape)
        if not len(inside[0]):
            at = np.floor(corners + 0.5).astype(int)
            inside = tuple(at[((at >= 0) & (at < shape)).all(1)].T)
        drawn[inside] = True
    return drawn
