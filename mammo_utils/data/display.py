"""Stored values to a picture between 0 and 1 in which dense tissue is bright.

The order of the steps is that of the standard: Modality LUT or rescale (PS3.3 C.11.1), VOI LUT or window
(C.11.2), inversion by photometric interpretation or Presentation LUT Shape (C.7.6.3.1.2, C.11.6).  Each step
takes an array and the header and returns an array and a plain sentence, empty where nothing was done.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from mammo_utils.data.header import fail, items, number, numbers, several, tag

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
FULL = "read it with window=None, which shows the full range of values"


def _lut(item, *, signed: bool, little: bool = True) -> tuple[np.ndarray, int, int]:
    """Entries, first mapped value and depth in bits of a LUT item (PS3.3 C.11.1.1, C.11.2.1.1).

    Writers pack 8-bit entries one or two to a word and understate the depth; both are understood.
    """
    descriptor, data = numbers(item, "LUTDescriptor"), tag(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        fail("a LUT of the header has no descriptor or no data")
    count, first, depth = (int(each) for each in descriptor)
    if not 1 <= depth <= 16:
        fail(f"a LUT of the header has a depth of {depth} bits", "a LUT has 1 to 16 bits")
    count = count % 65536 or 65536
    first -= 65536 if signed and first > 32767 else 0
    word = np.dtype("<u2" if little else ">u2")
    if not isinstance(data, bytes):
        entries = np.array([data] if isinstance(data, int) else list(data))
        if entries.dtype.kind not in "iu" or entries.ndim != 1:
            fail("a LUT of the header is damaged")
        data, word = entries.astype("<u2").tobytes(), np.dtype("<u2")
    if len(data) >= 2 * count:
        entries = np.frombuffer(data, word, count)
    elif len(data) >= count and depth <= 8:
        entries = np.frombuffer(data, np.uint8, count)
    else:
        fail(f"a LUT of the header has {len(data) // 2} entries, its descriptor says {count}")
    return entries, first, max(depth, int(entries.max()).bit_length())


def _look_up(values: np.ndarray, entries: np.ndarray, first: int) -> np.ndarray:
    """Values below the first mapped value take the first entry, values beyond the last the last one."""
    # rint of 8-bit integers would give float16, too coarse for a far first value
    index = np.clip(np.rint(np.asarray(values, np.float32)) - first, 0, len(entries) - 1).astype(np.intp)
    return entries.astype(np.float32)[index]


def _little(ds) -> bool:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    return syntax is None or syntax.is_little_endian


def modality(values: np.ndarray, ds) -> tuple[np.ndarray, str]:
    """Stored values to units of the modality: Modality LUT Sequence, or slope and intercept (PS3.3 C.11.1).

    >>> from pydicom.dataset import Dataset
    >>> ds = Dataset()
    >>> ds.RescaleSlope, ds.RescaleIntercept = "2", "-10"
    >>> modality(np.array([0, 5]), ds)
    (array([-10.,   0.], dtype=float32), 'rescale: 2 × value − 10')
    """
    luts = items(ds, "ModalityLUTSequence")
    if luts:
        signed = bool(number(ds, "PixelRepresentation", 0))
        entries, first, depth = _lut(luts[0], signed=signed, little=_little(ds))
        return _look_up(values, entries, first), f"Modality LUT: {len(entries)} entries of {depth} bits"
    slope, intercept = number(ds, "RescaleSlope", 1.0), number(ds, "RescaleIntercept", 0.0)
    values = np.asarray(values, np.float32)
    if (slope, intercept) == (1, 0):
        return values, ""
    sign = "−" if intercept < 0 else "+"
    said = f"rescale: {slope:g} × value {sign} {abs(intercept):g}"
    return values * np.float32(slope) + np.float32(intercept), said


def limits(stored: np.ndarray, ds) -> tuple[float, float, str]:
    """Lowest and highest value that can follow ``modality``: the range of the bits stored, mapped.

    The range belongs to the machine, not to the image, so that images of one machine stay comparable.  Where
    the values exceed the bits stored (seen in RSNA) the next power of two that holds them is taken.
    """
    signed, bits = bool(number(ds, "PixelRepresentation", 0)), int(number(ds, "BitsStored", 16))
    low, high = int(stored.min()), int(stored.max())
    need = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed
    note = ""
    if need > bits:
        note = f"values need {need} bits, the header says {bits}: the range of {need} bits is taken"
        bits = need
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    luts = items(ds, "ModalityLUTSequence")
    if luts:
        _, _, depth = _lut(luts[0], signed=signed, little=_little(ds))
        return 0.0, 2.0**depth - 1, note
    low, high = sorted(float(each) for each in modality(ends, ds)[0])
    return low, high, note


def windows(ds) -> list[tuple[str, object]]:
    """The display transforms that a file offers, in the order of their index: VOI LUTs, then windows.

    Each is (name, transform): an item of the VOI LUT Sequence, or (centre, width).  The name is the LUT
    Explanation or the Window Center & Width Explanation, often empty.
    """
    found = [
        (str(tag(item, "LUTExplanation", "", strict=False)), item) for item in items(ds, "VOILUTSequence")
    ]
    centres, widths = numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth")
    if len(centres) != len(widths):
        fail(f"the header has {len(centres)} window centres and {len(widths)} widths", FULL)
    names = several(ds, "WindowCenterWidthExplanation", strict=False)
    names = [name if isinstance(name, str) else "" for name in names]
    names += [""] * (len(centres) - len(names))
    return found + [
        (name, pair) for name, pair in zip(names, zip(centres, widths, strict=True), strict=False)
    ]


def _choose(offered: list[tuple[str, object]], window: int | str) -> object:
    """The transform of that index or name; the error lists what there is."""
    names = [name for name, _ in offered]
    if isinstance(window, str) and window in names:
        return offered[names.index(window)][1]
    if not isinstance(window, str) and 0 <= window < len(offered):
        return offered[window][1]
    valid = [f"{index}" + (f" or {name!r}" if name else "") for index, name in enumerate(names)]
    return fail(f"it has no window {window!r}", f"choose one of: {', '.join(valid + ['None'])}")


def voi(
    values: np.ndarray, ds, window: int | str | None = 0, *, full: tuple[float, float]
) -> tuple[np.ndarray, str]:
    """Values of interest to 0–1: VOI LUT, or a LINEAR, LINEAR_EXACT or SIGMOID window (PS3.3 C.11.2.1).

    ``window`` is an index or a name from ``windows``; with None, or where the file has none, the range
    ``full`` (from ``limits``) is shown.  The result is scaled by the depth of the LUT or by the window, never
    by the bits of the pixels: a later inversion then is 1 − value whatever the units were.
    """
    offered = windows(ds) if window is not None else []
    low, high = full
    if not offered and window in (0, None):
        scale = max(high - low, 1e-6)
        return np.clip(
            (values - np.float32(low)) / np.float32(scale), 0, 1
        ), f"full range: {low:g} to {high:g}"
    chosen = _choose(offered, window)
    if not isinstance(chosen, tuple):
        entries, first, depth = _lut(chosen, signed=low < 0, little=_little(ds))
        image = _look_up(values, entries, first) / np.float32(2**depth - 1)
        return image, f"VOI LUT: {len(entries)} entries of {depth} bits"
    centre, width = chosen
    function = tag(ds, "VOILUTFunction", "LINEAR")
    if function not in FUNCTIONS:
        fail("the VOI LUT function is none of " + ", ".join(FUNCTIONS), FULL)
    if width < (1 if function == "LINEAR" else 1e-6):
        fail(f"the window width {width:g} is too small for {function}", FULL)
    if function == "SIGMOID":
        image = expit((values - np.float32(centre)) * np.float32(4 / width))
    elif function == "LINEAR" and width == 1:
        image = (values > centre - 0.5).astype(np.float32)
    else:
        middle, span = (centre - 0.5, width - 1) if function == "LINEAR" else (centre, width)
        image = np.clip((values - np.float32(middle)) / np.float32(span) + np.float32(0.5), 0, 1)
    return image, f"window {function}: centre {centre:g}, width {width:g}"


def polarity(image: np.ndarray, ds) -> tuple[np.ndarray, str]:
    """Invert on the 0–1 scale for MONOCHROME1 or Presentation LUT Shape INVERSE (PS3.3 C.7.6.3.1.2, C.11.6).

    The two say the same of a digital X-ray (C.8.11.3.1.2), so a file that has both is inverted once.
    """
    if tag(ds, "PhotometricInterpretation") == "MONOCHROME1":
        return 1 - image, "inverted: MONOCHROME1"
    if tag(ds, "PresentationLUTShape") == "INVERSE":
        return 1 - image, "inverted: Presentation LUT Shape INVERSE"
    return image, ""


def for_processing(values: np.ndarray, ds, *, full: tuple[float, float]) -> tuple[np.ndarray, str]:
    """Raw detector values to 0–1: the logarithm of the attenuation, over the range ``full``.

    A For Processing image is proportional to exposure unless Pixel Intensity Relationship says LOG, and dense
    tissue lets less through (PS3.3 C.8.11.3.1.2).  By the law of Beer and Lambert −log(value) adds up along
    the ray, so it is the scale on which tissue has the same contrast in a thin and in a thick breast.  The
    sign comes from Pixel Intensity Relationship Sign, not from the photometric interpretation, and display
    windows do not apply.
    """
    low, high = full
    image = np.clip((values - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
    exposure = image if number(ds, "PixelIntensityRelationshipSign", 1) >= 0 else 1 - image
    if tag(ds, "PixelIntensityRelationship", "LIN") != "LIN":
        return 1 - exposure, "For Processing, already logarithmic: inverted over the full range, no window"
    steps = np.float32(max(high - low, 2))
    image = 1 - np.log(np.maximum(exposure * steps, 1)) / np.log(steps)
    return image, "For Processing: −log of the exposure over the full range, no window"


def stages(stored: np.ndarray, ds, window: int | str | None = 0) -> list[tuple[str, np.ndarray, str]]:
    """All steps in order, each as (name, array after it, what was done; empty where nothing was)."""
    low, high, note = limits(stored, ds)
    values, said = modality(stored, ds)
    found = [("stored values", stored, note), ("modality", values, said)]
    if tag(ds, "PresentationIntentType") == "FOR PROCESSING":
        image, said = for_processing(values, ds, full=(low, high))
        found.append(("values of interest", image, said))
    else:
        image, said = voi(values, ds, window, full=(low, high))
        found.append(("values of interest", image, said))
        image, said = polarity(image, ds)
        found.append(("polarity", image, said))
    hidden = padding(stored, ds)
    if hidden.any():
        found.append(("padding", np.where(hidden, np.float32(0), image), "padding shown black"))
    return found


def render(stored: np.ndarray, ds, window: int | str | None = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stored values to the picture, and what was done on the way."""
    found = stages(stored, ds, window)
    return found[-1][1].astype(np.float32, copy=False), tuple(said for *_, said in found if said)


def padding(stored: np.ndarray, ds) -> np.ndarray:
    """Mask of the pixels outside the image: Pixel Padding Value, or the range to its limit (C.7.5.1.1.2)."""
    value = number(ds, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    ends = [value, number(ds, "PixelPaddingRangeLimit", value)]
    if number(ds, "PixelRepresentation", 0):
        ends = [end - 65536 if end > 32767 else end for end in ends]  # written as unsigned (US for SS)
    return (stored >= min(ends)) & (stored <= max(ends))


def padding_shows(ds, window: int | str | None) -> bool:
    """Whether padding would be bright without its mask: a coarse level then mixes it into its neighbours."""
    value = number(ds, "PixelPaddingValue")
    if value is None:
        return False
    stored = np.array([[value]])
    low, high, _ = limits(stored.astype(int), ds)
    if tag(ds, "PresentationIntentType") == "FOR PROCESSING":
        return True
    image, _ = voi(modality(stored, ds)[0], ds, window, full=(low, high))
    return bool(polarity(image, ds)[0].max() > 0.02)
