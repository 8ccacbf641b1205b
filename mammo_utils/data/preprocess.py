"""From a picture to what a network can take: breast found, chest wall left, cropped, one size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk

from mammo_utils.data import resample
from mammo_utils.profile import choose

ASPECT = (13, 16)  # width to height of an upright mammogram, in the phantom and where only a height is given
COARSE = 256  # the breast is looked for on a picture with this longer side


def width_for(height: int) -> int:
    """The width in pixels that belongs to ``height`` where nothing else is said.

    >>> width_for(256)
    208
    """
    return height * ASPECT[0] // ASPECT[1]


class NoBreastError(ValueError):
    """No breast stands out in a picture; has ``reason`` and ``remedy``."""

    def __init__(self, reason: str):
        self.reason = f"no breast found: {reason}"
        self.remedy = "check that it is a whole mammogram with bright = dense, or leave it out"
        super().__init__(f"{self.reason}; {self.remedy}")


def _border(picture: np.ndarray) -> np.ndarray:
    """Mask of what lies inside white film borders: lines at the edges that are bright from end to end."""
    bright = 0.8 * np.percentile(picture, 99.5)
    inside = np.ones(picture.shape, bool)
    for view, lines in ((inside, picture), (inside.T, picture.T)):
        white = np.percentile(lines, 10, axis=1) > bright
        first = int(np.argmin(white))
        last = len(white) - int(np.argmin(white[::-1]))
        view[:first] = False
        view[last:] = False
    return inside


def _open(mask: np.ndarray) -> np.ndarray:
    """Opening by a disc of 1/64 of the picture; beyond the edges the picture goes on as it ends there."""
    reach = max(1, round(max(mask.shape) / 64))
    wide = np.pad(mask, reach, mode="edge")
    return ndimage.binary_opening(wide, disk(reach))[reach:-reach, reach:-reach]


def breast_foreground(image: np.ndarray) -> np.ndarray:
    """Find the breast with its muscle; a bool mask of the image's shape.

    On a coarse, smoothed copy: Otsu's threshold parts the bright core from the rest; the background is the
    level of the dark pixels around that core (elsewhere film may have black margins); what lies more than a
    fifth of the way from the background to the threshold is tissue, because the skin line is far darker than
    the gland.  Opening cuts thin bridges to labels, scratches and film edges; of the pieces that come near
    the left or the right edge the largest is the breast.

    Raises
        NoBreastError: no piece is large enough, or the picture has no two levels.

    Source: Otsu 1979, 10.1109/TSMC.1979.4310076, for the threshold; the rest is plain morphology.
    """
    image = np.asarray(image, np.float32)
    shape = resample.longest(image.shape, min(COARSE, max(image.shape)))
    picture = ndimage.gaussian_filter(resample.area(image, shape), 1)
    if not np.isfinite(picture).all() or picture.max() - picture.min() < 1e-3:
        raise NoBreastError("the picture is uniform or not finite")
    inside = _border(picture)
    split = threshold_otsu(picture[inside])
    bright = _open(inside & (picture >= split))
    around = ndimage.distance_transform_edt(~bright) < max(shape) / 6
    near = picture[inside & around & (picture < split)]
    if not (bright.any() and near.size):
        raise NoBreastError("nothing large is brighter than the rest of the picture")
    background = np.percentile(near, 10)
    opened = _open(inside & (picture > background + 0.2 * (split - background)))
    pieces, count = ndimage.label(opened)
    margin = shape[1] // 10  # a dark strip may lie between the chest wall and the edge of the picture
    candidates = np.union1d(pieces[:, : margin + 1], pieces[:, -margin - 1 :])
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    candidates = candidates[candidates > 0]
    if not len(candidates) or areas[candidates].max() < 0.03 * areas.sum():
        raise NoBreastError("nothing large and bright reaches a side of the picture")
    breast = ndimage.binary_fill_holes(pieces == candidates[np.argmax(areas[candidates])])
    return resample.resize(ndimage.gaussian_filter(breast.astype(np.float32), 1), image.shape) >= 0.5


def _chest_wall_right(foreground: np.ndarray, laterality: str | None) -> bool:
    """Whether the chest wall is at the right edge: where the breast is taller.

    The picture decides where it is clear, because many data sets were mirrored after acquisition; only where
    both edges look alike does the laterality decide (a left breast is displayed with its chest wall left).
    """
    strip = max(1, foreground.shape[1] // 8)
    columns = np.flatnonzero(foreground.any(axis=0))
    left = foreground[:, columns[0] : columns[0] + strip].mean()
    right = foreground[:, columns[-1] + 1 - strip : columns[-1] + 1].mean()
    if laterality is not None and max(left, right) < 1.5 * min(left, right):
        return laterality == "R"
    return bool(right > left)


def _box(foreground: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the breast with a margin of 2 %: reference masks keep a faint rim."""
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    margin = round(0.02 * max(np.ptp(rows), np.ptp(columns)))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    bottom, right = np.minimum((rows[-1] + 1 + margin, columns[-1] + 1 + margin), foreground.shape)
    return int(top), int(left), int(bottom), int(right)


@dataclass(frozen=True)
class Prepared:
    """A prepared image (float32 H×W, 0 outside the breast), its ``foreground`` (bool), and the way back.

    ``box`` is (top, left, bottom, right) of the crop in the image that was flipped if ``flipped``; ``inner``
    is the (height, width) that the crop takes in the prepared image, the rest being padding.
    """

    image: np.ndarray
    foreground: np.ndarray
    original_shape: tuple[int, int]
    flipped: bool
    box: tuple[int, int, int, int]
    inner: tuple[int, int]

    def _scale(self) -> np.ndarray:
        top, left, bottom, right = self.box
        return np.array(self.inner) / (bottom - top, right - left)

    def to_prepared(self, mask_or_points: np.ndarray) -> np.ndarray:
        """Carry a mask, a map or points of the original image to the prepared one.

        A bool array of the image's shape is a mask: a new pixel is set where at least half of its area is, so
        that areas are kept (a thing smaller than half a pixel vanishes: carry it as a point).  A float array
        of that shape is a map and is averaged.  Any other array (…, 2) holds points (row, column), whole
        numbers being the centres of pixels; a box is two corner points.
        """
        values = np.asarray(mask_or_points)
        if values.shape != self.original_shape:
            points = _points(values)
            if self.flipped:
                points[..., 1] = self.original_shape[1] - 1 - points[..., 1]
            return (points + 0.5 - self.box[:2]) * self._scale() - 0.5
        values = _grid(values)
        top, left, bottom, right = self.box
        crop = (values[:, ::-1] if self.flipped else values)[top:bottom, left:right]
        result = np.zeros(self.image.shape, values.dtype)
        result[: self.inner[0], : self.inner[1]] = _resize_grid(crop, self.inner)
        return result

    def to_original(self, mask_or_points: np.ndarray) -> np.ndarray:
        """Carry a mask, a map or points back; masks and maps are empty outside the crop."""
        values = np.asarray(mask_or_points)
        if values.shape != self.image.shape:
            points = (_points(values) + 0.5) / self._scale() + self.box[:2] - 0.5
            if self.flipped:
                points[..., 1] = self.original_shape[1] - 1 - points[..., 1]
            return points
        values = _grid(values)
        top, left, bottom, right = self.box
        result = np.zeros(self.original_shape, values.dtype)
        inner = values[: self.inner[0], : self.inner[1]]
        result[top:bottom, left:right] = _resize_grid(inner, (bottom - top, right - left))
        return np.ascontiguousarray(result[:, ::-1]) if self.flipped else result


def _points(values: np.ndarray) -> np.ndarray:
    if values.ndim == 0 or values.shape[-1] != 2:
        raise ValueError(f"neither the shape of the image nor points (…, 2): {values.shape}")
    return values.astype(np.float64)


def _grid(values: np.ndarray) -> np.ndarray:
    if values.dtype != bool and values.dtype.kind != "f":
        raise ValueError(
            f"a mask must be bool and a map float, not {values.dtype}; compare with a level first"
        )
    return values


def _resize_grid(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    resized = resample.resize(values, shape)
    return resized >= 0.5 if values.dtype == bool else resized


def prepare(image: np.ndarray, size: int | tuple[int, int], *, laterality: str | None = None) -> Prepared:
    """Turn the chest wall to the left, crop to the breast and resize to ``size`` with zeros right and below.

    ``image`` is 2-D, bright = dense; ``size`` is (height, width), or one number for a square.  The aspect is
    kept. Everything outside the breast becomes 0, so that labels, borders and film base cannot be learned
    from. ``laterality`` (L, R or None) counts only where the picture does not show its chest wall.

    Raises
        ValueError: ``image`` is not 2-D, ``size`` is under 1×1 or ``laterality`` is neither L, R nor None.
        NoBreastError: no breast is found; the message says why and what to do.
    """
    image = np.asarray(image, np.float32)
    if image.ndim != 2:
        raise ValueError(f"an image must have two dimensions, not {image.ndim}")
    if laterality is not None:
        choose("laterality", laterality, ("L", "R"))
    height, width = (size, size) if np.ndim(size) == 0 else size
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1×1 pixels, not {height}×{width}")
    foreground = breast_foreground(image)
    flipped = _chest_wall_right(foreground, laterality)
    picture = np.where(foreground, image, np.float32(0))
    if flipped:
        picture, foreground = picture[:, ::-1], foreground[:, ::-1]
    box = _box(foreground)
    tall, broad = box[2] - box[0], box[3] - box[1]
    scale = min(height / tall, width / broad)
    inner = (min(height, max(1, round(tall * scale))), min(width, max(1, round(broad * scale))))
    crop = np.s_[box[0] : box[2], box[1] : box[3]]
    result, mask = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    result[: inner[0], : inner[1]] = resample.resize(picture[crop], inner)
    mask[: inner[0], : inner[1]] = resample.resize(foreground[crop], inner) >= 0.5
    return Prepared(result, mask, image.shape, flipped, box, inner)
