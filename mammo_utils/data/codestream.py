"""The headers of compressed streams, read and judged before a native decoder sees them.

A decoder written in C allocates what a header declares and may abort the whole process on a header that makes
no sense (GDCM does: a flipped byte in a JPEG header ends Python).  So the header is parsed here first, its
sizes are compared with those of the DICOM header, and of a lossless JPEG or a JPEG-LS stream only the
segments that were understood are passed on.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from math import ceil

MAX_TILES = 4096
JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


class StreamError(ValueError):
    """A compressed stream that cannot be decoded; the message is the reason."""


@dataclass(frozen=True)
class Stream:
    """A judged stream: ``data`` is what the decoder may see, ``levels`` the wavelet levels of JPEG 2000."""

    data: bytes
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    levels: int = 0

    def reduced(self, factor: int) -> tuple[int, int]:
        """Rows and columns after ``factor`` = 2, 4, 8 … (ISO/IEC 15444-1, B-15: the size is rounded up)."""
        return ceil(self.rows / factor), ceil(self.columns / factor)


def _unpack(layout: str, data: bytes, offset: int) -> tuple:
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error:
        raise StreamError("the compressed stream ends inside its header") from None


def _unwrap_jp2(data: bytes) -> bytes:
    """The codestream in the boxes of a JP2 file, which some writers put into DICOM against PS3.5 A.4.4."""
    at = 0
    while at < len(data):
        length, name = _unpack(">I4s", data, at)
        header = 8
        if length == 1:
            (length,), header = _unpack(">Q", data, at + 8), 16
        if name == b"jp2c":
            return data[at + header : at + length if length else len(data)]
        if length < header:
            break
        at += length
    raise StreamError("the JP2 file inside the pixel data has no codestream")


def jpeg2000(data: bytes) -> Stream:
    """Judge a JPEG 2000 or HTJ2K codestream.

    Raises
        StreamError: header without sense, or tile-parts longer than the stream (a truncated file).

    Source: ISO/IEC 15444-1, annex A (SIZ A.5.1, COD A.6.1, COC A.6.2, SOT A.4.2).
    """
    if data.startswith(JP2_SIGNATURE):
        data = _unwrap_jp2(data)
    if not data.startswith(b"\xff\x4f\xff\x51"):
        raise StreamError("the pixel data do not begin with a JPEG 2000 header")
    length, _, *geometry, components = _unpack(">HH8IH", data, 4)
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = geometry
    depth, step_x, step_y = _unpack(">3B", data, 42)
    if not (left < width and top < height and tile_width and tile_height and components):
        raise StreamError("the JPEG 2000 header declares an empty image")
    if (step_x, step_y) != (1, 1) or left or top or tile_left or tile_top:
        raise StreamError("the JPEG 2000 stream is subsampled or shifted on its canvas")
    if ceil(width / tile_width) * ceil(height / tile_height) > MAX_TILES:
        raise StreamError(f"the JPEG 2000 header declares more than {MAX_TILES} tiles")

    at, levels = 4 + length, None
    while True:
        marker, length = _unpack(">2H", data, at)
        if marker == 0xFF90:
            break
        if marker == 0xFF52:
            (levels,) = _unpack(">B", data, at + 9)
        elif marker == 0xFF53:
            # component 0 has its own count of levels; the index takes one byte below 257 components
            (own,) = _unpack(">B", data, at + 6)
            levels = min(own, levels or 0)
        if marker < 0xFF30 or length < 2:
            raise StreamError("the JPEG 2000 header is damaged")
        at += 2 + length
    if levels is None or levels > 32:
        raise StreamError("the JPEG 2000 header does not say how it was coded")

    while data[at : at + 2] == b"\xff\x90":
        (part,) = _unpack(">I", data, at + 6)
        if part == 0:
            at = len(data) if data.rstrip(b"\0\xff").endswith(b"\xff\xd9") else len(data) + 1
        elif part < 14:
            raise StreamError("the JPEG 2000 stream has a damaged tile header")
        else:
            at += part
    if at > len(data):
        raise StreamError("the JPEG 2000 stream is truncated")
    return Stream(data, height, width, components, (depth & 0x7F) + 1, bool(depth & 0x80), levels)


def _check_huffman(segment: bytes, lossless: bool) -> set[int]:
    """Identifiers of the tables of a DHT segment (ISO/IEC 10918-1, B.2.4.2 and C.2)."""
    found, at = set(), 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        symbols = segment[at + 17 : at + 17 + sum(counts)]
        free = 1
        for count in counts:
            free = 2 * free - count
            if free < 0:
                raise StreamError("a Huffman table of the JPEG stream is damaged")
        if len(counts) < 16 or not symbols or len(symbols) < sum(counts) or segment[at] & 0xEC:
            raise StreamError("a Huffman table of the JPEG stream is damaged")
        if lossless and (segment[at] > 3 or max(symbols) > 16 or len(set(symbols)) < len(symbols)):
            raise StreamError("a Huffman table of the JPEG stream is damaged")
        found.add(segment[at])
        at += 17 + len(symbols)
    return found


def _check_presets(segment: bytes, precision: int) -> None:
    """Coding parameters of JPEG-LS (ISO/IEC 14495-1, C.2.4.1.1), the only kind of LSE segment understood."""
    kind, top, first, second, third, reset = _unpack(">B5H", segment, 0)
    top = top or 2**precision - 1
    ordered = [value for value in (first, second, third) if value]
    if kind != 1 or len(segment) != 11 or top >= 2**precision or ordered != sorted(ordered):
        raise StreamError("the coding parameters of the JPEG-LS stream are damaged")
    if max(ordered, default=0) > top or (reset and not 3 <= reset <= max(255, top)):
        raise StreamError("the coding parameters of the JPEG-LS stream are damaged")


def jpeg(data: bytes, kind: str) -> Stream:
    """Judge a JPEG stream: ``kind`` is ``"dct"`` (8-bit baseline, extended), ``"lossless"`` or ``"ls"``.

    Raises
        StreamError: segments without sense or of another process than ``kind``, or no end marker.

    Source: ISO/IEC 10918-1 annex B; ISO/IEC 14495-1 annex C.
    """
    frames = {"dct": (0xC0, 0xC1), "lossless": (0xC3,), "ls": (0xF7,)}[kind]
    if not data.startswith(b"\xff\xd8"):
        raise StreamError("the pixel data do not begin with a JPEG header")
    end = len(data.rstrip(b"\0\xff"))  # writers pad to an even length with either
    if data[end - 2 : end] != b"\xff\xd9":
        raise StreamError("the JPEG stream is truncated")
    at, frame, tables, kept = 2, None, set(), [b"\xff\xd8"]
    while True:
        first, code, length = _unpack(">BBH", data, at)
        if first == 0xFF and code == 0xFF:
            at += 1
            continue
        segment = data[at + 4 : at + 2 + length]
        if first != 0xFF or length < 2 or len(segment) < length - 2:
            raise StreamError("the JPEG header is damaged")
        if code in frames and frame is None:
            frame = precision, rows, columns, components = _unpack(">BHHB", segment, 0)
            if len(segment) != 6 + 3 * components or not (
                2 <= precision <= 16 and rows and columns and components
            ):
                raise StreamError("the JPEG frame header is damaged")
            component, sampling = segment[6:8]
            if components == 1 and sampling != 0x11 and kind != "dct":
                raise StreamError("the JPEG frame header is damaged")
        elif code == 0xC4 and kind != "ls":
            tables |= _check_huffman(segment, kind == "lossless")
        elif code == 0xF8 and kind == "ls" and frame:
            _check_presets(segment, precision)
        elif code == 0xDD and kind != "ls" and len(segment) == 2:
            pass
        elif code == 0xDA and frame:
            break
        elif not (0xE0 <= code <= 0xEF or code in (0xFE, 0xDB)):
            raise StreamError(f"the JPEG header has an unexpected segment ({code:#04x})")
        if code < 0xE0 or code in (0xF7, 0xF8):
            kept.append(data[at : at + 2 + length])
        at += 2 + length

    body = at + 2 + length
    if components == 1 and kind != "dct":
        selected, table, first, last, shift = _unpack(">5B", segment, 1)
        if len(segment) != 6 or segment[0] != 1 or selected != component:
            raise StreamError("the JPEG scan header is damaged")
        if kind == "lossless":
            good = table >> 4 in tables and 1 <= first <= 7 and last == 0 and shift < precision
            stray = rb"\xff+[^\x00\xff\xd0-\xd7]"
        else:
            good = table == 0 and first <= min(255, (2**precision - 1) // 2) and (last, shift) == (0, 0)
            stray = rb"\xff[\x80-\xff]"
        if not good or re.compile(stray).search(data, body, end - 2):
            raise StreamError("the JPEG stream is damaged")
        data = b"".join([*kept, data[at:end]])
    return Stream(data, rows, columns, components, precision)
