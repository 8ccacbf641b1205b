"""How far apart the outlines of two masks lie, in millimetres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from mammo_utils.evaluation.overlap import pair, plain


class SurfaceDistance(NamedTuple):
    """Mean symmetric surface distance and 95th percentile Hausdorff distance; arrays for a stack of masks."""

    mean: float | np.ndarray
    hausdorff_95: float | np.ndarray


def surface_distance(prediction, target, *, spacing=1.0) -> SurfaceDistance:
    """Distances from each outline to the nearest point of the other one, in the unit of ``spacing``.

    ``mean`` is over the points of both outlines together; ``hausdorff_95`` is the larger of the two 95th
    percentiles, there and back.  An outline is made of the centres of those mask pixels of which one of the
    four neighbours is outside; the edge of the image is outside, so tissue at the chest wall ends there.

    Masks are ...×H×W, bool or 0/1; results have the leading shape.
    ``spacing``: millimetres between pixels, one number or a (row, column) pair; for N images that differ,
    N×1 numbers or N×2 pairs.

    **Empty masks**: both empty 0; one empty: the diagonal of the image, which no two outlines can reach.
    With NaN such images would drop out of the mean and a method would gain by drawing nothing; with infinity
    there would be no mean.  The diagonal grows with the padding: compare methods on images of one size, and
    say how many masks were empty.

    Raises ``ValueError`` as `dice` does, and for a spacing of another shape or not above zero.

    Source: Heimann and others, IEEE Trans Med Imaging 28 (2009) 1251 (mean); Huttenlocher and others, IEEE
    Trans Pattern Anal Mach Intell 15 (1993) 850 (ranked Hausdorff distance).

    >>> surface_distance([[1, 0, 0, 0]], [[0, 0, 0, 1]], spacing=0.5)
    SurfaceDistance(mean=1.5, hausdorff_95=1.5)
    """
    prediction, target = pair(prediction=prediction, target=target)
    leading = prediction.shape[:-2]
    results = np.empty((*leading, 2))
    spacing = _spacings(spacing, leading)
    for index in np.ndindex(leading):
        results[index] = _distances(prediction[index], target[index], spacing[index])
    return SurfaceDistance(plain(results[..., 0]), plain(results[..., 1]))


def _spacings(spacing, leading: tuple[int, ...]) -> np.ndarray:
    """A (row, column) pair for each image."""
    spacing = np.asarray(spacing, float)
    try:
        pairs = np.broadcast_to(spacing, (*leading, 2))
    except ValueError:
        raise ValueError(
            f"spacing {spacing.shape} does not fit images {leading}: give a number, a (row, column) pair, "
            "or for each image a number (N×1) or a pair (N×2)"
        ) from None
    if not (np.isfinite(pairs) & (pairs > 0)).all():
        raise ValueError("spacing must be above zero throughout; leave out images of unknown spacing")
    return pairs


def _distances(prediction: np.ndarray, target: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    first, second = (np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (prediction, target))
    if not len(first) or not len(second):
        missed = np.hypot(*(prediction.shape * spacing)) if len(first) or len(second) else 0.0
        return missed, missed
    there, back = KDTree(second).query(first)[0], KDTree(first).query(second)[0]
    return np.mean(np.append(there, back)), max(np.percentile(there, 95), np.percentile(back, 95))
