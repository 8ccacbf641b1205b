"""A file on disk to its stored values: which decoder, at which resolution."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder

from mammo_utils.data import codestream
from mammo_utils.data.header import MAX_PIXELS, SIGNATURES, fail, number, quiet

TRANSCODE = "convert it to an uncompressed transfer syntax, for instance with gdcmconv --raw"

# One decoder a syntax, the one that stands damaged streams: GDCM aborts on some JPEG 2000 and baseline JPEG
# headers.
JPEG2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_GDCM = ("gdcm", "pip install python-gdcm")
DECODERS = {
    uid.RLELossless: ("pydicom", "pip install pydicom"),
    uid.JPEGBaseline8Bit: ("pillow", "pip install pillow"),
    uid.JPEGExtended12Bit: ("pillow", "pip install pillow"),
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    uid.JPEGLSLossless: _GDCM,
    uid.JPEGLSNearLossless: _GDCM,
    **dict.fromkeys(JPEG2000, ("pylibjpeg", "pip install pylibjpeg pylibjpeg-openjpeg")),
}


def available(syntax: str) -> bool:
    """Whether the decoder of a compressed transfer syntax is installed."""
    plugin, _ = DECODERS.get(syntax, (None, TRANSCODE))
    return plugin is not None and plugin in get_decoder(syntax).available_plugins


def _judge(ds, frame: bytes, syntax: str) -> codestream.Stream | None:
    """The header of a compressed frame, compared with the DICOM header; None for RLE, which has none."""
    try:
        if syntax in JPEG2000:
            stream = codestream.jpeg2000(frame)
        elif syntax in uid.JPEGLSTransferSyntaxes:
            stream = codestream.jpeg(frame, "ls")
        elif syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
            stream = codestream.jpeg(frame, "lossless")
        elif syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
            stream = codestream.jpeg(frame, "dct")
        elif len(frame) < 64:
            return fail("truncated: the RLE stream ends inside its header")
        else:
            return None
    except codestream.StreamError as error:
        return fail(str(error))
    if stream.components != 1:
        fail("the compressed stream is in colour", "a mammogram has one grey channel")
    if (stream.rows, stream.columns) != (ds.Rows, ds.Columns):
        size = f"{stream.rows}×{stream.columns}"
        fail(f"the stream declares {size} pixels, the header {ds.Rows}×{ds.Columns}")
    if stream.precision > ds.BitsAllocated:
        fail(f"the stream declares {stream.precision} bits, the header {ds.BitsAllocated}")
    return stream


def reduction(stream: codestream.Stream, size: int) -> int:
    """The largest factor 1, 2, 4 … at which a JPEG 2000 stream is still as large as ``size`` (longer side).

    Pillow rounds a reduced size to the nearest pixel where the standard rounds up and refuses the stream when
    the two differ, so such factors are passed over.
    """
    factors = [2**level for level in range(stream.levels, 0, -1)]
    for factor in factors:
        fits = all(
            (side + factor // 2) // factor == math.ceil(side / factor)
            for side in (stream.rows, stream.columns)
        )
        if fits and max(stream.reduced(factor)) >= size:
            return factor
    return 1


def _decode_reduced(stream: codestream.Stream, factor: int) -> np.ndarray | None:
    """Decode at 1/``factor`` with Pillow; undo its shift to 8 or 16 bits and its offset of signed values."""
    try:
        with Image.open(io.BytesIO(stream.data), formats=["JPEG2000"]) as image:
            image.reduce = int(math.log2(factor))
            values = np.array(image)
    except Exception:  # only Pillow's decoder runs here; the full decoder then has the last word
        return None
    values = values >> (8 * values.dtype.itemsize - stream.precision)
    return values.astype(np.int32) - 2 ** (stream.precision - 1) if stream.signed else values


def _frame_options(ds, stream: codestream.Stream | None, syntax: uid.UID) -> dict:
    """What pydicom must know to decode a compressed frame that was taken out of its data set."""
    if syntax == uid.JPEGExtended12Bit and stream.precision > 8:
        fail("no decoder for JPEG Extended with 12 bits", TRANSCODE)
    return {
        "decoding_plugin": DECODERS[syntax][0],
        "rows": ds.Rows,
        "columns": ds.Columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        # decoders give 8 bits in one byte, also where the header allocates two
        "bits_allocated": 8 if stream and stream.precision <= 8 else ds.BitsAllocated,
        "bits_stored": stream.precision if stream else ds.BitsStored,
        "pixel_representation": ds.PixelRepresentation,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }


def _decode_full(ds, stream: codestream.Stream | None, frame: bytes | None, syntax: uid.UID) -> np.ndarray:
    options = _frame_options(ds, stream, syntax) if frame else {}
    # Values beyond BitsStored exist (RSNA); pydicom would cut their upper bits, so that bright becomes dark.
    if syntax not in JPEG2000 and syntax not in uid.JPEGLSTransferSyntaxes:
        options["correct_unused_bits"] = False
    source = encapsulate([stream.data if stream else frame]) if frame else ds
    try:
        with quiet():
            return get_decoder(syntax).as_array(source, raw=True, index=0, **options)[0]
    except Exception:  # only the decoders run here, and they may raise anything on damaged bytes
        return fail(f"the pixel data ({syntax.name}) cannot be decoded")


def decode(ds, *, size: int | None = None) -> tuple[np.ndarray, int]:
    """Stored values of a checked data set as integers, and the factor by which they were decoded smaller.

    JPEG 2000 is decoded at the lowest resolution level whose longer side is still at least ``size``.

    Raises
        ImageReadError: truncated or undecodable stream, missing decoder.

    Source: PS3.5, 8.2 and annex A.4; ISO/IEC 15444-1, B.5 (resolution levels).
    """
    syntax = uid.UID(ds.file_meta.TransferSyntaxUID)
    frame = stream = None
    if syntax.is_encapsulated:
        if not available(syntax):
            _, remedy = DECODERS.get(syntax, (None, TRANSCODE))
            fail(f"no decoder for the transfer syntax {syntax.name}", remedy)
        try:
            with quiet():
                frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        except Exception:  # only pydicom's parser runs here
            fail("the pixel data are truncated or their fragments damaged")
        stream = _judge(ds, frame, syntax)
    signed, bits = bool(ds.PixelRepresentation), ds.BitsStored
    values, factor = None, 1
    if size and syntax in JPEG2000 and stream.signed == signed:
        factor = reduction(stream, size)
        values = _decode_reduced(stream, factor) if factor > 1 else None
    if values is None:
        values, factor = _decode_full(ds, stream, frame, syntax), 1
    places = [(group, 0x0102) for group in range(0x6000, 0x6020, 2) if (group, 0x3000) not in ds]
    if any(number(ds, place, 0, strict=False) >= bits for place in places if place in ds):
        values = values & (2**bits - 1)  # retired overlays live in the bits above (PS3.5 8.1.2)
    if signed and values.min() >= -(2 ** (bits - 1)) and 2 ** (bits - 1) <= values.max() < 2**bits:
        # the sign was not, or not everywhere, extended into the unused bits (PS3.5 8.1.1)
        values = np.where(values >= 2 ** (bits - 1), values.astype(np.int32) - 2**bits, values)
    return values, factor


def picture(path) -> np.ndarray:
    """A grey PNG or JPEG as uint8 or uint16.

    Raises
        ImageReadError: damaged, too large, or in colour; colour files whose channels are equal are grey, but
            with 16 bits they are refused, because Pillow would cut them to 8.
    """
    with open(path, "rb") as file:
        head = file.read(26)
    deep, several = head[24:25] == b"\x10", head[25:] in (b"\2", b"\4", b"\6")  # ISO/IEC 15948, 11.2.2
    if head.startswith(b"\x89PNG") and deep and several:
        fail("a PNG of 16 bits in several channels", "save it with one grey channel of 16 bits")
    absurd = f"the declared size of over {MAX_PIXELS // 10**6} million pixels is absurd"
    try:
        with quiet():
            image = Image.open(path, formats=list(SIGNATURES.values()))
            width, height = image.size
    except Image.DecompressionBombError:
        fail(absurd)
    except Exception:  # only Pillow's parser runs here
        fail("the image header is damaged")
    if width * height > MAX_PIXELS:
        fail(absurd)
    try:
        with image, quiet():
            if image.mode not in ("L", "I;16", "I"):
                image = image.convert("RGBA" if image.mode in ("P", "PA", "LA", "RGBA") else "RGB")
            values = np.array(image)
    except Exception:  # only Pillow's decoder runs here
        fail("the image is truncated or damaged")
    if values.ndim == 3:
        if values.shape[2] == 4 and (values[..., 3] != 255).any():
            fail("the image is partly transparent", "save it as a grey image without alpha channel")
        if (values[..., :1] != values[..., 1:3]).any():
            fail("the image is in colour", "a mammogram is grey; save it with one channel")
        values = values[..., 0]
    if values.dtype.itemsize > 2:
        if values.min() < 0 or values.max() > 65535:
            fail("the values exceed 16 bits", "save it with 8 or 16 bits")
        values = values.astype(np.uint16)
    return values
