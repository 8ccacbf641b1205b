"""A mammogram file to a picture between 0 and 1 in which dense tissue is bright.

``read`` is the door; ``header``, ``pixels`` (decoding) and ``display`` (LUTs, windows, inversion) are the
rooms behind it, one step of the standard after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mammo_utils.data import display, header, pixels, resample
from mammo_utils.data.display import modality, polarity, voi, windows
from mammo_utils.data.header import ImageReadError, fail, items, number, numbers, tag

__all__ = ["ImageReadError", "Mammogram", "modality", "polarity", "read", "voi", "windows"]

# View codes of PS3.16 CID 4014: SNOMED CT and the older SNOMED RT
VIEWS = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}
VIEWS |= {"399260004": "ML", "R-10224": "ML", "399352003": "LM", "R-10228": "LM"}


@dataclass(frozen=True)
class Mammogram:
    """One image as read: float32 H×W in 0–1, bright = dense.

    ``laterality`` is L, R or None, ``view`` CC, MLO, another code or None, ``spacing_mm`` the (row, column)
    distance of pixels of ``image`` in mm or None, ``applied`` what was done, in order.
    """

    image: np.ndarray
    laterality: str | None
    view: str | None
    spacing_mm: tuple[float, float] | None
    applied: tuple[str, ...]


def _spacing(ds) -> tuple[tuple[float, float] | None, str]:
    """Distance of stored pixels in mm and where it comes from (PS3.3 10.7, C.8.11.4, C.8.11.5).

    Pixel Spacing that differs from Imager Pixel Spacing was calibrated to the patient; a distance on the
    detector is divided by the Estimated Radiographic Magnification Factor.
    """

    def pair(keyword: str) -> tuple[float, float] | None:
        values = numbers(ds, keyword, strict=False)
        return tuple(values) if len(values) == 2 and all(0 < value < 10 for value in values) else None

    calibrated, detector = pair("PixelSpacing"), pair("ImagerPixelSpacing")
    if calibrated and calibrated != detector:
        return calibrated, "spacing: Pixel Spacing"
    if detector:
        factor = number(ds, "EstimatedRadiographicMagnificationFactor", 1.0, strict=False)
        if 1 < factor < 10:
            plane = (detector[0] / factor, detector[1] / factor)
            return plane, f"spacing: Imager Pixel Spacing divided by the magnification {factor:g}"
        return detector, "spacing: Imager Pixel Spacing (on the detector)"
    scanned = pair("NominalScannedPixelSpacing")
    return scanned, "spacing: Nominal Scanned Pixel Spacing" if scanned else ""


def _side(ds) -> str | None:
    for keyword in ("ImageLaterality", "Laterality"):
        value = tag(ds, keyword, strict=False)
        if value in ("L", "R"):
            return value
    return None


def _view(ds) -> str | None:
    """View Position, else the code of the View Code Sequence: CC, MLO, another code of up to six letters."""
    position = tag(ds, "ViewPosition", strict=False)
    if isinstance(position, str):
        return position.upper() if position.isalpha() and len(position) <= 6 else "other"
    codes = [tag(item, "CodeValue", "", strict=False) for item in items(ds, "ViewCodeSequence", strict=False)]
    return VIEWS.get(str(codes[0]), "other") if codes else None


def read(path, *, size: int | None = None, window: int | str | None = 0) -> Mammogram:
    """Read a DICOM, PNG or JPEG mammogram.

    ``size`` is the wanted longer side in pixels: the image comes back with exactly that longer side (never
    enlarged) by area averaging, and JPEG 2000 is decoded at a reduced resolution that is never below it.
    ``window`` is the index or name of a display transform of the file (``windows``); None shows the full
    range of values.

    Raises
        ImageReadError: the file is no readable single grey image; it has ``file``, ``reason`` and ``remedy``.

    Source: PS3.3 C.11.1, C.11.2, C.7.6.3.1.2, C.11.6.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size}")
    with header.naming(path):
        return (
            _read_dicom(path, size, window)
            if header.kind(path) == "DICOM"
            else _read_picture(path, size, window)
        )


def _read_dicom(path, size, window) -> Mammogram:
    ds = header.parse(path)
    stored, factor = pixels.decode(ds, size=None if size and display.padding_shows(ds, window) else size)
    _refuse_constant(stored, "every pixel has the same value", "leave this image out")
    image, notes = display.render(stored, ds, window)
    _refuse_constant(image, "the window maps every pixel to the same value", display.FULL)
    spacing, source = _spacing(ds)
    decoded = f"decoded at 1/{factor} of the stored resolution" if factor > 1 else ""
    applied = tuple(each for each in (decoded, *notes, source) if each)
    found = Mammogram(image, _side(ds), _view(ds), spacing, applied)
    return _resize(found, size, (int(ds.Rows), int(ds.Columns)), factor)


def _read_picture(path, size, window) -> Mammogram:
    stored = pixels.picture(path)
    if window not in (0, None):
        fail(f"it has no window {window!r}", "a PNG or JPEG has no windows; leave the option out")
    _refuse_constant(stored, "every pixel has the same value", "leave this image out")
    top = np.iinfo(stored.dtype).max
    image = stored.astype(np.float32) / np.float32(top)
    return _resize(Mammogram(image, None, None, None, (f"full range: 0 to {top}",)), size, stored.shape, 1)


def _refuse_constant(values: np.ndarray, reason: str, remedy: str) -> None:
    if values.min() == values.max():
        fail(reason, remedy)


def _resize(found: Mammogram, size: int | None, shape: tuple[int, int], factor: int) -> Mammogram:
    """Resize by area to the wanted size what was decoded at 1/``factor`` of the stored ``shape``.

    The pixels of a reduced level sit at every ``factor``-th stored pixel, not at the middle of the block that
    they stand for (ISO/IEC 15444-1, annex F); starting (1 − 1/factor) / 2 of their pixels later puts the
    picture back.
    """
    if size is None or size >= max(shape):
        return found
    target, start = resample.longest(shape, size), (1 - 1 / factor) / 2
    extent = (shape[0] / factor, shape[1] / factor)
    image = np.clip(resample.area(found.image, target, start=(start, start), extent=extent), 0, 1)
    spacing = found.spacing_mm and tuple(
        each * old / new for each, old, new in zip(found.spacing_mm, shape, target, strict=True)
    )
    applied = (*found.applied, f"resized by area from {shape[0]}×{shape[1]} to {target[0]}×{target[1]}")
    return replace(found, image=image, spacing_mm=spacing, applied=applied)
