"""The header of a file, read with suspicion: what must be there before any pixel is decoded."""

from __future__ import annotations

import io
import logging
import math
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

MAX_PIXELS = 100_000_000  # three times the largest digitised film
MAX_NUMBER = 1e12  # beyond every unit of a detector; what is computed from such numbers fits float32
MAX_BYTES = 2**30  # of a file, and of a deflated data set once inflated
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
AGAIN = "copy or download the file again"


class ImageReadError(Exception):
    """A file that cannot be read as one grey image: ``file``, ``reason`` and ``remedy`` in one line.

    The message never holds a value of the header, because that could name the patient.
    """

    def __init__(self, file, reason: str, remedy: str):
        super().__init__(str(file), reason, remedy)
        self.file, self.reason, self.remedy = str(file), reason, remedy

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}; {self.remedy}"


@contextmanager
def quiet():
    """Silence pydicom: its warnings and log quote values of a damaged header, perhaps the patient's name."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        log.disabled = before


def fail(reason: str, remedy: str = AGAIN):
    """Raise the ``ImageReadError`` of a data set; the door that knows its file names it (``naming``)."""
    raise ImageReadError("data set", reason, remedy) from None


@contextmanager
def naming(path):
    """Give every ``ImageReadError`` that leaves the block the name of its file."""
    try:
        yield
    except ImageReadError as error:
        raise ImageReadError(path, error.reason, error.remedy) from None


def tag(ds, keyword: str | tuple[int, int], default=None, *, strict: bool = True):
    """Value of an element, ``default`` where it is absent or empty.

    pydicom converts an element when it is asked for, so damage shows here.  ``strict=False`` is for elements
    that the pixels do not need: damage then counts as absence.
    """
    try:
        with quiet():
            value = ds.get(keyword)
            value = value.value if isinstance(value, DataElement) else value  # asked for by a pair of numbers
    except Exception:  # only pydicom's parser runs here, and it may raise anything on damaged bytes
        if strict:
            fail(f"the header element {keyword} cannot be parsed")
        return default
    return default if value is None or (isinstance(value, str) and not value) else value


def several(ds, keyword: str, *, strict: bool = True) -> list:
    """Values of an element of one or several values; an empty list where it is absent."""
    value = tag(ds, keyword, strict=strict)
    return [] if value is None else list(value) if isinstance(value, list | MultiValue) else [value]


def _finite(value) -> float:
    """The value as a number of sensible size, else NaN."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if abs(value) <= MAX_NUMBER else math.nan


def number(
    ds, keyword: str | tuple[int, int], default: float | None = None, *, strict: bool = True
) -> float | None:
    """Value of an element as a number between ±``MAX_NUMBER``."""
    value = tag(ds, keyword, default, strict=strict)
    if value is default:
        return default
    value = _finite(value)
    if math.isnan(value):
        return fail(f"the header element {keyword} is not one number of sensible size") if strict else default
    return value


def numbers(ds, keyword: str, *, strict: bool = True) -> list[float]:
    """Values of an element of one or several such numbers; an empty list where it is absent."""
    values = [_finite(each) for each in several(ds, keyword, strict=strict)]
    if any(map(math.isnan, values)):
        return fail(f"the header element {keyword} is not a list of sensible numbers") if strict else []
    return values


def items(ds, keyword: str, *, strict: bool = True) -> list:
    """Items of a sequence; an empty list where it is absent."""
    value = tag(ds, keyword, strict=strict)
    if value is None or isinstance(value, pydicom.Sequence):
        return list(value or [])
    return fail(f"the header element {keyword} is not a sequence") if strict else []


def kind(path) -> str:
    """``"DICOM"``, ``"PNG"`` or ``"JPEG"``, told by the first bytes of the file and never by its name."""
    try:
        with open(path, "rb") as file:
            head = file.read(132)
            size = file.seek(0, io.SEEK_END)
    except OSError as error:
        fail(f"the file cannot be opened ({error.strerror})", "check the path and the permissions")
    if size > MAX_BYTES:
        fail(f"the file has {size / 2**30:.1f} GiB", "one mammogram is far smaller; split the file")
    if head[128:] == b"DICM":
        return "DICOM"
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    reason = "the file is empty" if not head else "neither DICOM (no DICM mark at byte 128) nor PNG nor JPEG"
    return fail(reason, "check that this is an image file and that its download was complete")


def _inflates_too_far(data: bytes) -> bool:
    """Whether a deflated data set (PS3.5 A.5) exceeds ``MAX_BYTES``; pydicom inflates without a limit."""
    if uid.DeflatedExplicitVRLittleEndian.encode() not in data[:1024]:
        return False
    start = 144 + int.from_bytes(data[140:144], "little")
    stream, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    pending = data[start:]
    while pending and not stream.eof:
        try:
            total += len(stream.decompress(pending, 2**24))
        except zlib.error:
            return False  # pydicom meets the same damage and reports it
        if total > MAX_BYTES:
            return True
        pending = stream.unconsumed_tail
    return False


def parse(path) -> pydicom.FileDataset:
    """The header of a DICOM file as a pydicom data set, checked to hold one grey image of sensible size.

    Raises
        ImageReadError: not DICOM, damaged, no pixels, several frames, tomosynthesis, colour, absurd size.
    """
    data = Path(path).read_bytes()
    if _inflates_too_far(data):
        fail(f"the data set inflates to over {MAX_BYTES // 2**20} MiB")
    try:
        with quiet() as caught:
            ds = pydicom.dcmread(io.BytesIO(data))
    except Exception:  # only pydicom's parser runs here, and it may raise anything on damaged bytes
        fail("the DICOM header is damaged or truncated")
    if "PixelData" not in ds and any("end of file" in str(each.message).lower() for each in caught):
        fail("truncated before the end of the pixel data")
    check(ds)
    return ds


def check(ds) -> None:
    """Raise an ``ImageReadError`` unless ``ds`` declares one grey image whose pixels can be there.

    The numbers that describe the pixels are written back as such: a damaged VR makes text of them.
    """
    if tag(ds, "SOPClassUID", strict=False) == TOMOSYNTHESIS or number(ds, "NumberOfFrames", 1) > 1:
        fail(
            "tomosynthesis or another multi-frame object", "export the two-dimensional view or single slices"
        )
    pixels = tag(ds, "PixelData")
    if pixels is None or not len(pixels):
        fail("no pixel data", "take the image object (not a report or presentation state), or copy it again")
    grey = ("MONOCHROME1", "MONOCHROME2")
    if number(ds, "SamplesPerPixel", 1) != 1 or tag(ds, "PhotometricInterpretation") not in grey:
        fail(
            "a colour image, or the photometric interpretation is missing", "a mammogram is MONOCHROME1 or 2"
        )
    rows, columns = number(ds, "Rows", 0), number(ds, "Columns", 0)
    allocated, stored = number(ds, "BitsAllocated", 0), number(ds, "BitsStored", 0)
    signed = number(ds, "PixelRepresentation", 0)
    whole = all(value == int(value) for value in (rows, columns, stored, signed))
    if not (whole and isinstance(pixels, bytes) and signed in (0, 1)):
        fail("the header elements that describe the pixels are damaged")
    if min(rows, columns) < 1 or rows * columns > MAX_PIXELS:
        fail(f"the declared size of {rows:.0f}×{columns:.0f} pixels is absurd")
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        fail(f"{stored:.0f} bits stored in {allocated:.0f} allocated", "a mammogram has 8 to 16 bits")
    described = {"Rows": rows, "Columns": columns, "BitsAllocated": allocated, "BitsStored": stored}
    for keyword, value in (described | {"PixelRepresentation": signed}).items():
        ds.add_new(keyword, "US", int(value))
    syntax = tag(ds.file_meta, "TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    if syntax not in uid.AllTransferSyntaxes:
        fail("the transfer syntax is missing or unknown")
    need = rows * columns * allocated / 8
    least = need / 64 if syntax == uid.RLELossless else 0 if uid.UID(syntax).is_encapsulated else need
    if len(pixels) < least:
        fail(f"truncated: {len(pixels)} bytes of pixels where at least {least:.0f} are declared")
