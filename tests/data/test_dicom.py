"""Every branch from stored values to the picture, with values computed by hand from PS3.3 C.11."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from mammogram_files import NAME, compressed, dataset, encode, save, smooth
from PIL import Image
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from scipy import ndimage

from mammo_utils.data import dicom, header, resample

U2, I2 = np.uint16, np.int16


def lut(first, entries, bits, *, vr="US", explanation=None):
    """An item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) % 65536, first, bits])
    item["LUTDescriptor"].VR = vr
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    if explanation:
        item.LUTExplanation = explanation
    return item


def item(descriptor, data, vr):
    made = Dataset()
    made.add_new("LUTDescriptor", "US", descriptor)
    made.add_new("LUTData", vr, data)
    return made


def shown(*items):
    return {"VOILUTSequence": list(items)}


def units(*items):
    return {"ModalityLUTSequence": list(items)}


def window(centre, width, function=None):
    tags = {"WindowCenter": centre, "WindowWidth": width}
    return tags | ({"VOILUTFunction": function} if function else {})


INVERSE = {"PresentationLUTShape": "INVERSE"}
MONOCHROME1 = {"PhotometricInterpretation": "MONOCHROME1"}
RESCALE = {"RescaleSlope": "2", "RescaleIntercept": "-1000"}
RAW = {"PresentationIntentType": "FOR PROCESSING"}

# name: (stored values, bits, header, window, expected picture)
TABLE = {
    # C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), clipped
    "LINEAR": ([94, 95, 99, 104, 105], U2, 12, window(100, 11), 0, [0, 0.05, 0.45, 0.95, 1]),
    "LINEAR of all 12 bits": ([0, 2047, 4095], U2, 12, window(2048, 4096), 0, [0, 2047 / 4095, 1]),
    "LINEAR of width 1 is a threshold": ([98, 99, 100], U2, 12, window(100, 1), 0, [0, 0, 1]),
    # C.11.2.1.3.2: (x - c) / w + 0.5, clipped
    "LINEAR_EXACT": ([95, 100, 104, 105], U2, 12, window(100, 10, "LINEAR_EXACT"), 0, [0, 0.5, 0.9, 1]),
    "LINEAR_EXACT below width 1": ([9, 10, 11], U2, 12, window(10, 0.5, "LINEAR_EXACT"), 0, [0, 0.5, 1]),
    # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))
    "SIGMOID": ([60, 100, 110], U2, 12, window(100, 40, "SIGMOID"), 0, [0.0179862, 0.5, 0.7310586]),
    "SIGMOID far from its centre": ([0, 4095], U2, 12, window(2000, 1, "SIGMOID"), 0, [0, 1]),
    "first of two windows": ([0, 100, 200], U2, 12, window([100, 50], [201, 101]), 0, [0.0025, 0.5025, 1]),
    "second of two windows": ([0, 50, 100], U2, 12, window([100, 50], [201, 101]), 1, [0.005, 0.505, 1]),
    "no window at all": ([0, 1000, 4095], U2, 12, {}, 0, [0, 1000 / 4095, 1]),
    "no window wanted": ([0, 1000, 4095], U2, 12, window(100, 11), None, [0, 1000 / 4095, 1]),
    "full range is of the machine, not of the image": (
        [1000, 2000],
        U2,
        12,
        {},
        0,
        [1000 / 4095, 2000 / 4095],
    ),
    "bits stored below bits allocated": ([0, 1000, 1023], U2, 10, {}, 0, [0, 1000 / 1023, 1]),
    "values beyond the bits stored": ([0, 4095, 5000], U2, 12, {}, 0, [0, 4095 / 8191, 5000 / 8191]),
    # C.11.1: modality units, in which the window is given
    "rescale": ([0, 500, 4095], U2, 12, RESCALE, 0, [0, 500 / 4095, 1]),
    "rescale and window": ([500, 550, 600], U2, 12, RESCALE | window(100.5, 201), 0, [0, 0.5, 1]),
    "the largest numbers": (
        [0, 1, 2, 3],
        U2,
        12,
        {"RescaleSlope": "1e12", "RescaleIntercept": "-1e12"} | window("1e12", "1e-6", "SIGMOID"),
        0,
        [0, 0, 0.5, 1],
    ),
    "negative slope": (
        [0, 1000, 4095],
        U2,
        12,
        {"RescaleSlope": "-1", "RescaleIntercept": "4095"},
        0,
        [1, 3095 / 4095, 0],
    ),
    "intercept alone": ([0, 4095], U2, 12, {"RescaleIntercept": "-1024"} | window(0.5, 2049), 0, [0, 1]),
    "signed": ([-2048, 0, 2047], I2, 12, {}, 0, [0, 2048 / 4095, 1]),
    "signed and window": ([-100, 0, 100], I2, 12, window(0.5, 201), 0, [0, 0.5, 1]),
    "sign not extended": ([0x800, 0xFFF, 0x7FF], I2, 12, {}, 0, [0, 2047 / 4095, 1]),
    "sign extended in part": ([-2048, 0xFFF, 0x7FF], I2, 12, {}, 0, [0, 2047 / 4095, 1]),
    # C.7.6.3.1.2, C.11.6: inversion on the scale of the result
    "MONOCHROME1": ([0, 1000, 4095], U2, 12, MONOCHROME1, 0, [1, 3095 / 4095, 0]),
    "MONOCHROME1 and window": ([94, 95, 105], U2, 12, MONOCHROME1 | window(100, 11), 0, [1, 0.95, 0]),
    "MONOCHROME1, rescale, window": (
        [500, 550, 600],
        U2,
        12,
        MONOCHROME1 | RESCALE | window(100.5, 201),
        0,
        [1, 0.5, 0],
    ),
    "Presentation LUT Shape": ([0, 1000, 4095], U2, 12, INVERSE, 0, [1, 3095 / 4095, 0]),
    "both are one inversion": ([0, 1000, 4095], U2, 12, INVERSE | MONOCHROME1, 0, [1, 3095 / 4095, 0]),
    "Shape IDENTITY": ([0, 4095], U2, 12, {"PresentationLUTShape": "IDENTITY"}, 0, [0, 1]),
    # C.11.2.1.1: below and beyond the LUT its first and last entry
    "VOI LUT": ([99, 101, 103, 900], U2, 12, shown(lut(100, [0, 10, 20, 255], 8)), 0, [0, 10 / 255, 1, 1]),
    "VOI LUT before windows": ([0, 1], U2, 12, shown(lut(0, [65535, 0], 16)) | window(1, 2), 0, [1, 0]),
    "window behind the VOI LUT": ([0, 1], U2, 12, shown(lut(0, [65535, 0], 16)) | window(1, 2), 1, [0, 1]),
    "deep VOI LUT on MONOCHROME1": (
        [0, 1, 2, 3],
        U2,
        12,
        shown(lut(0, [0, 16000, 32000, 65520], 16)) | MONOCHROME1,
        0,
        [1, 1 - 16000 / 65535, 1 - 32000 / 65535, 1 - 65520 / 65535],
    ),
    "VOI LUT that understates its depth": ([0, 1], U2, 12, shown(lut(0, [0, 4095], 8)), 0, [0, 1]),
    "VOI LUT with a negative first value": (
        [-2, -1, 0],
        I2,
        12,
        shown(lut(65535, [0, 1023], 10)),
        0,
        [0, 0, 1],
    ),
    "VOI LUT after rescale": ([500, 501], U2, 12, RESCALE | shown(lut(0, [0, 0, 255], 8)), 0, [0, 1]),
    "VOI LUT of bytes": (
        [0, 1, 2],
        U2,
        12,
        shown(item([3, 0, 8], bytes([0, 51, 255, 0]), "OW")),
        0,
        [0, 0.2, 1],
    ),
    "VOI LUT of numbers": ([0, 1], U2, 12, shown(item([2, 0, 10], [0, 1023], "US")), 0, [0, 1]),
    "VOI LUT of 65536 entries": ([0, 65535], U2, 16, shown(lut(0, range(65536), 16)), 0, [0, 1]),
    "Modality LUT": ([0, 1, 2], U2, 12, units(lut(0, [65535, 6553.5, 0], 16)), 0, [1, 6553 / 65535, 0]),
    "Modality LUT, signed": ([-1, 0, 1], I2, 12, units(lut(-1, [0, 51, 255], 8, vr="SS")), 0, [0, 0.2, 1]),
    "Modality LUT that begins far below 8-bit values": (
        [0, 1, 2],
        np.uint8,
        8,
        units(lut(-30001, [7] * 30001 + [0, 51, 255], 8, vr="SS")),
        0,
        [0, 0.2, 1],
    ),
    "Modality LUT and window": (
        [0, 1, 2],
        U2,
        12,
        units(lut(0, [1000, 1100, 1200], 16)) | window(1100.5, 201),
        0,
        [0, 0.5, 1],
    ),
    # C.7.5.1.1.2
    "padding is black": (
        [0, 1000, 4095],
        U2,
        12,
        MONOCHROME1 | {"PixelPaddingValue": 0},
        0,
        [0, 3095 / 4095, 0],
    ),
    "padding by a range": (
        [0, 7, 8, 4095],
        U2,
        12,
        MONOCHROME1 | {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 7},
        0,
        [0, 0, 4087 / 4095, 0],
    ),
    "padding above the window": (
        [0, 100, 4095],
        U2,
        12,
        window(50.5, 101) | {"PixelPaddingValue": 4095},
        0,
        [0, 1, 0],
    ),
    "padding below zero, written without its sign": (
        [-2000, 0, 2047],
        I2,
        12,
        MONOCHROME1 | {"PixelPaddingValue": DataElement("PixelPaddingValue", "US", 65536 - 2000)},
        0,
        [0, 2047 / 4095, 0],
    ),
    # C.8.11.3.1.2: proportional to exposure; bright = dense = little exposure
    "For Processing": ([1, 64, 4095], U2, 12, RAW | MONOCHROME1 | window(100, 11), 0, [1, 0.5, 0]),
    "For Processing, sign -1": (
        [4094, 4031, 0],
        U2,
        12,
        RAW | {"PixelIntensityRelationshipSign": -1},
        0,
        [1, 0.5, 0],
    ),
    "For Processing, logarithmic": (
        [0, 1000, 4095],
        U2,
        12,
        RAW | {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1},
        0,
        [1, 3095 / 4095, 0],
    ),
    "For Presentation is not inverted by its sign": (
        [0, 4095],
        U2,
        12,
        {"PresentationIntentType": "FOR PRESENTATION", "PixelIntensityRelationshipSign": 1},
        0,
        [0, 1],
    ),
    "8 bits": ([0, 51, 255], np.uint8, 8, {}, 0, [0, 0.2, 1]),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name, tmp_path):
    values, dtype, bits, tags, chosen, expected = TABLE[name]
    file = save(tmp_path / "file.dcm", dataset(np.array([values], dtype), bits=bits, **tags))
    found = dicom.read(file, window=chosen)
    assert found.image.dtype == np.float32
    tolerance = 2e-4 if "For Processing" in name else 1e-6  # 1 − log(64) / log(4095) is 0.49999
    np.testing.assert_allclose(found.image[0], expected, atol=tolerance)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_luts_survive_every_byte_order(syntax, tmp_path):
    values = np.array([[0, 1, 2]], "<u2")
    ds = dataset(values, VOILUTSequence=[lut(0, [0, 256, 65535], 16)])
    ds.file_meta.TransferSyntaxUID = syntax
    if not syntax.is_little_endian:
        ds.PixelData = values.astype(">u2").tobytes()
        ds.VOILUTSequence[0].LUTData = np.array([0, 256, 65535], ">u2").tobytes()
    found = dicom.read(save(tmp_path / "file.dcm", ds))
    np.testing.assert_allclose(found.image[0], [0, 256 / 65535, 1], atol=1e-7)


def test_windows_by_name(tmp_path):
    ds = dataset(np.array([[0, 50, 100, 4095]], U2), **window([100, 50], [201, 101]))
    ds.WindowCenterWidthExplanation = ["WIDE", "NARROW"]
    ds.VOILUTSequence = [lut(0, [7, 0], 3, explanation="STEP")]
    file = save(tmp_path / "file.dcm", ds)
    np.testing.assert_array_equal(dicom.read(file, window="NARROW").image, dicom.read(file, window=2).image)
    np.testing.assert_array_equal(dicom.read(file, window="STEP").image[0], [1, 0, 0, 0])
    assert dicom.read(file, window="NARROW").applied == ("window LINEAR: centre 50, width 101",)
    for wrong in (3, -1, "narrow"):
        with pytest.raises(dicom.ImageReadError, match=r"0 or 'STEP', 1 or 'WIDE', 2 or 'NARROW', None"):
            dicom.read(file, window=wrong)


def test_applied_says_what_was_done_in_order(tmp_path):
    ds = dataset(np.array([[0, 100, 9000]], U2), **(RESCALE | MONOCHROME1 | window(100, 201, "SIGMOID")))
    ds.PixelPaddingValue, ds.ImagerPixelSpacing = 0, ["0.07", "0.07"]
    assert dicom.read(save(tmp_path / "file.dcm", ds), size=2).applied == (
        "values need 14 bits, the header says 12: the range of 14 bits is taken",
        "rescale: 2 × value − 1000",
        "window SIGMOID: centre 100, width 201",
        "inverted: MONOCHROME1",
        "padding shown black",
        "spacing: Imager Pixel Spacing (on the detector)",
        "resized by area from 1×3 to 1×2",
    )


def test_steps_are_pure(tmp_path):
    """The steps that the notebook shows, chained by hand, give what ``read`` gives and change no input."""
    ds = dataset(smooth(), **(RESCALE | MONOCHROME1 | window(3000, 5000)))
    stored = smooth()
    values, _ = dicom.modality(stored, ds)
    picture, _ = dicom.voi(values, ds, 0, full=(-1000, 7190))
    final, _ = dicom.polarity(picture, ds)
    np.testing.assert_array_equal(final, dicom.read(save(tmp_path / "file.dcm", ds)).image)
    np.testing.assert_array_equal(stored, smooth())


LOSSLESS = {
    "RLE": uid.RLELossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "HTJ2K": uid.HTJ2KLossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}


@pytest.mark.parametrize(("bits", "allocated"), [(8, 8), (8, 16), (10, 16), (12, 16), (16, 16)])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_syntaxes_give_the_stored_values(name, bits, allocated, tmp_path):
    pixels = smooth(bits=bits)
    stored = pixels.astype(f"u{allocated // 8}")
    if name == "deflated":
        ds = dataset(stored, bits=bits)
        ds.file_meta.TransferSyntaxUID = LOSSLESS[name]
    else:
        stream = None if name == "RLE" else encode(pixels, LOSSLESS[name], bits=bits)
        ds = compressed(stored, LOSSLESS[name], bits=allocated, stream=stream)
        # set afterwards: pydicom's RLE encoder would leave out the upper byte of 8 in 16 bits
        ds.BitsStored, ds.HighBit = bits, bits - 1
    found = dicom.read(save(tmp_path / "file.dcm", ds))
    np.testing.assert_array_equal(np.rint(found.image * (2**bits - 1)), pixels)


@pytest.mark.parametrize("name", ["RLE", "JPEG 2000", "JPEG-LS", "JPEG lossless"])
def test_signed_values_in_compressed_streams(name, tmp_path):
    """JPEG-LS and JPEG know no sign: the bits are those of the two's complement."""
    pixels = smooth().astype(I2) - 2048
    stream = None
    if name in ("JPEG-LS", "JPEG lossless"):
        stream = encode(pixels.view(U2) & 0xFFF, LOSSLESS[name])
    found = dicom.read(save(tmp_path / "file.dcm", compressed(pixels, LOSSLESS[name], stream=stream)))
    np.testing.assert_array_equal(np.rint(found.image * 4095) - 2048, pixels)


def test_sign_that_jpeg2000_and_header_disagree_on(tmp_path):
    """An unsigned stream in a signed data set holds the two's complement, in full and at reduced size."""
    pixels = smooth(128, 96).astype(I2) - 2048
    stream = encode(pixels.view(U2) & 0xFFF, uid.JPEG2000Lossless)
    file = save(tmp_path / "file.dcm", compressed(pixels, uid.JPEG2000Lossless, stream=stream))
    full = dicom.read(file).image
    np.testing.assert_array_equal(np.rint(full * 4095) - 2048, pixels)
    np.testing.assert_allclose(dicom.read(file, size=32).image, resample.area(full, (32, 24)), atol=1e-5)


def test_lossy_syntaxes(tmp_path):
    pixels = smooth(bits=8)
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        for dtype in (np.uint8, U2):
            ds = compressed(pixels.astype(dtype), syntax, bits=8, stream=encode(pixels, syntax))
            found = dicom.read(save(tmp_path / "file.dcm", ds))
            assert np.abs(found.image - pixels / 255).mean() < 0.01
    lossy = encode(smooth(), uid.JPEG2000, reversible=False, level=60)
    found = dicom.read(save(tmp_path / "file.dcm", compressed(smooth(), uid.JPEG2000, stream=lossy)))
    assert np.abs(found.image - smooth() / 4095).mean() < 0.01


def test_a_stream_in_a_jp2_file_and_in_several_fragments(tmp_path):
    pixels = smooth()
    boxed = encode(pixels, uid.JPEG2000Lossless, codecformat="jp2")
    assert boxed[4:8] == b"jP  "
    found = dicom.read(save(tmp_path / "jp2.dcm", compressed(pixels, uid.JPEG2000Lossless, stream=boxed)))
    np.testing.assert_array_equal(np.rint(found.image * 4095), pixels)
    ds = compressed(pixels, uid.JPEGLSLossless)
    ds.PixelData = pydicom.encaps.encapsulate([encode(pixels, uid.JPEGLSLossless)], fragments_per_frame=4)
    found = dicom.read(save(tmp_path / "fragments.dcm", ds))
    np.testing.assert_array_equal(np.rint(found.image * 4095), pixels)


@pytest.mark.parametrize(
    ("syntax", "bits", "signed"),
    [
        (uid.JPEG2000Lossless, 8, False),
        (uid.JPEG2000Lossless, 12, False),
        (uid.JPEG2000Lossless, 12, True),
        (uid.JPEG2000Lossless, 16, False),
        (uid.JPEG2000, 12, False),
        (uid.JPEG2000, 12, True),
        (uid.HTJ2KLossless, 8, False),
        (uid.HTJ2KLossless, 12, False),
    ],
)
def test_reduced_resolution_is_close_to_area_averaging(syntax, bits, signed, tmp_path):
    pixels = smooth(512, 384, bits=bits, noise=0.01)
    pixels = pixels.astype(I2) - 2048 if signed else pixels
    stream = encode(pixels, syntax, bits=bits, reversible=syntax != uid.JPEG2000)
    file = save(tmp_path / "file.dcm", compressed(pixels, syntax, bits=bits, stream=stream))
    full = dicom.read(file).image
    for size, factor in ((256, 2), (128, 4), (100, 4)):
        found = dicom.read(file, size=size)
        assert found.image.shape == (size, size * 3 // 4)
        assert found.applied[0] == f"decoded at 1/{factor} of the stored resolution"
        difference = np.abs(found.image - resample.area(full, found.image.shape))
        assert difference.mean() < 0.005
        assert difference.max() < 0.06


def test_reduced_resolution_does_not_move_the_picture(tmp_path):
    """Samples of a wavelet level sit at every second pixel: uncorrected, a quarter is off by 1.5 pixels."""
    row, column = np.mgrid[:512, :384]
    pixels = (4000 * np.exp(-((row - 200.3) ** 2 + (column - 151.7) ** 2) / 2 / 12**2)).astype(U2)
    file = save(tmp_path / "file.dcm", compressed(pixels, uid.JPEG2000Lossless))
    for size in (256, 128, 100):
        found = dicom.read(file, size=size)
        assert "decoded at" in found.applied[0]
        centre = (np.array(ndimage.center_of_mass(found.image)) + 0.5) * 512 / size - 0.5
        np.testing.assert_allclose(centre, [200.3, 151.7], atol=0.1)


@pytest.mark.parametrize("shape", [(401, 305), (403, 303), (399, 306), (130, 97)])
def test_odd_sizes_are_reduced_as_far_as_the_decoder_can(shape, tmp_path):
    pixels = smooth(*shape)
    file = save(tmp_path / "file.dcm", compressed(pixels, uid.JPEG2000Lossless))
    found = dicom.read(file, size=50)
    assert max(found.image.shape) == 50
    reference = resample.area(pixels / 4095, found.image.shape)
    assert np.abs(found.image - reference).mean() < 0.005


def test_few_levels_bright_padding_and_large_sizes_are_decoded_in_full(tmp_path):
    pixels = smooth(256, 192)
    one = encode(pixels, uid.JPEG2000Lossless, resolutions=1)
    reduced = "decoded at"
    for name, ds, size in (
        ("no level", compressed(pixels, uid.JPEG2000Lossless, stream=one), 64),
        ("padding", compressed(pixels, uid.JPEG2000Lossless, PixelPaddingValue=4095), 64),
        ("more than half", compressed(pixels, uid.JPEG2000Lossless), 129),
    ):
        found = dicom.read(save(tmp_path / "file.dcm", ds), size=size)
        assert reduced not in found.applied[0], name
        assert max(found.image.shape) == size
    dark = compressed(pixels, uid.JPEG2000Lossless, PixelPaddingValue=0)
    assert reduced in dicom.read(save(tmp_path / "file.dcm", dark), size=64).applied[0]


def test_size_and_spacing(tmp_path):
    ds = dataset(smooth(100, 50), PixelSpacing=["0.1", "0.2"])
    file = save(tmp_path / "file.dcm", ds)
    small = dicom.read(file, size=40)
    assert small.image.shape == (40, 20)
    assert small.spacing_mm == pytest.approx((0.25, 0.5))
    for size in (None, 100, 1000):
        found = dicom.read(file, size=size)
        assert found.image.shape == (100, 50), "never enlarged"
        assert found.spacing_mm == pytest.approx((0.1, 0.2))


DETECTOR = {"ImagerPixelSpacing": ["0.1", "0.1"]}
MAGNIFIED = {"EstimatedRadiographicMagnificationFactor": "1.25"}
SPACINGS = {
    "none": ({}, None),
    "detector": (DETECTOR, 0.1),
    "magnified": (DETECTOR | MAGNIFIED, 0.08),
    "calibrated": (DETECTOR | MAGNIFIED | {"PixelSpacing": ["0.09", "0.09"]}, 0.09),
    "copied": (DETECTOR | MAGNIFIED | {"PixelSpacing": ["0.1", "0.1"]}, 0.08),
    "film": ({"NominalScannedPixelSpacing": ["0.05", "0.05"]}, 0.05),
    "zero": ({"PixelSpacing": ["0", "0"]}, None),
}


@pytest.mark.parametrize("name", SPACINGS)
def test_where_the_spacing_comes_from(name, tmp_path):
    tags, expected = SPACINGS[name]
    found = dicom.read(save(tmp_path / "file.dcm", dataset(smooth(), **tags)))
    assert found.spacing_mm == (None if expected is None else pytest.approx((expected, expected)))
    assert any("spacing" in each for each in found.applied) == (expected is not None)


def view_code(value):
    code = Dataset()
    code.CodeValue = value
    return [code]


SIDES = {
    "none": ({}, None, None),
    "image": ({"ImageLaterality": "R", "Laterality": "L", "ViewPosition": "MLO"}, "R", "MLO"),
    "series": ({"Laterality": "L", "ViewPosition": "CC"}, "L", "CC"),
    "both breasts": ({"ImageLaterality": "B"}, None, None),
    "SNOMED CT": ({"ViewCodeSequence": view_code("399368009")}, None, "MLO"),
    "SNOMED RT": ({"ViewCodeSequence": view_code("R-10242")}, None, "CC"),
    "unknown code": ({"ViewCodeSequence": view_code("R-1")}, None, "other"),
    "other view": ({"ViewPosition": "XCCL"}, None, "XCCL"),
}


@pytest.mark.parametrize("name", SIDES)
def test_side_and_view(name, tmp_path):
    tags, laterality, view = SIDES[name]
    found = dicom.read(save(tmp_path / "file.dcm", dataset(smooth(), **tags)))
    assert (found.laterality, found.view) == (laterality, view)


def test_retired_overlay_in_the_upper_bits(tmp_path):
    pixels = np.array([[0, 100, 4095 | 0x8000]], U2)
    ds = dataset(pixels)
    ds.add_new((0x6000, 0x0102), "US", 15)
    np.testing.assert_allclose(
        dicom.read(save(tmp_path / "file.dcm", ds)).image[0], [0, 100 / 4095, 1], atol=1e-6
    )


@pytest.mark.parametrize(("vr", "value"), [("US", 0), ("LO", "DAMAGED")])
def test_an_overlay_that_is_not_in_the_upper_bits_cuts_nothing(vr, value, tmp_path):
    """Bit Position is 0 for an overlay with data of its own (PS3.3 C.9.2); those may have been removed."""
    ds = dataset(np.array([[0, 100, 5000]], U2))
    ds.add_new((0x6000, 0x0102), vr, value)
    np.testing.assert_allclose(
        dicom.read(save(tmp_path / "file.dcm", ds)).image[0], [0, 100 / 8191, 5000 / 8191], atol=1e-6
    )


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless])
def test_numbers_written_as_text_are_numbers(syntax, tmp_path):
    ds = dataset(smooth()) if syntax == uid.ExplicitVRLittleEndian else compressed(smooth(), syntax)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        ds.add(DataElement(keyword, "LO", str(ds[keyword].value)))
    found = dicom.read(save(tmp_path / "file.dcm", ds))
    np.testing.assert_array_equal(np.rint(found.image * 4095), smooth())


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("WindowCenterWidthExplanation", "US", 5),
        ("WindowCenterWidthExplanation", "OB", b"12"),
        ("WindowCenterWidthExplanation", "US", [5, 6]),
        ("ViewCodeSequence", "US", [5, 6]),
        ("ViewCodeSequence", "US", 5),
        ("ViewCodeSequence", "LO", "399368009"),
        ("ImagerPixelSpacing", "US", 5),
        ("ImagerPixelSpacing", "OB", b"12"),
    ],
)
def test_damage_in_what_the_pixels_do_not_need_counts_as_absence(keyword, vr, value, tmp_path):
    tags = window(100, 11) | {keyword: DataElement(keyword, vr, value)}
    found = dicom.read(save(tmp_path / "file.dcm", dataset(np.array([[94, 95, 105]], U2), **tags)))
    np.testing.assert_allclose(found.image[0], [0, 0.05, 1], atol=1e-6)
    assert (found.view, found.spacing_mm) == (None, None)


def siz(stream, rows, columns, tile=None):
    """The codestream with another declared size (SIZ: sizes at byte 8, tiles at byte 24)."""
    stream = bytearray(stream)
    stream[8:16] = np.array([columns, rows], ">u4").tobytes()
    if tile:
        stream[24:32] = np.array([tile, tile], ">u4").tobytes()
    return bytes(stream)


J2K = encode(smooth(), uid.JPEG2000Lossless)
JPEG = encode(smooth(), uid.JPEGLosslessSV1)
LOSSY12 = encode(smooth(), uid.JPEGExtended12Bit, bitspersample=12)
LINE = np.array([[0, 1, 2, 3]], U2)
FUNCTION = {"VOILUTFunction": "CUBIC"}
BAD = {
    "no pixels": (dataset(smooth(), PixelData=None), "no pixel data"),
    "several frames": (dataset(np.zeros((2, 8, 8), U2), NumberOfFrames=2), "multi-frame"),
    "tomosynthesis": (dataset(smooth(), SOPClassUID=uid.BreastTomosynthesisImageStorage), "tomosynthesis"),
    "RGB": (dataset(smooth(), SamplesPerPixel=3, PhotometricInterpretation="RGB"), "colour"),
    "palette": (dataset(smooth(), PhotometricInterpretation="PALETTE COLOR"), "colour"),
    "constant": (dataset(np.full((8, 8), 7, U2)), "same value"),
    "a window beside the values": (dataset(LINE, **window(3000, 10)), "window maps every pixel"),
    "a window of no width": (dataset(LINE, **window(2, 0)), "width 0"),
    "unknown function": (dataset(LINE, **(window(2, 4) | FUNCTION)), "VOI LUT function"),
    "a centre without width": (dataset(LINE, WindowCenter=2), "1 window centres and 0 widths"),
    "a short LUT": (dataset(LINE, VOILUTSequence=[item([9, 0, 16], b"\0\0\1\0", "OW")]), "LUT of the header"),
    "a LUT of absurd depth": (dataset(LINE, **shown(lut(0, [0, 1, 2, 3], 4108))), "depth of 4108 bits"),
    "a LUT of no depth": (dataset(LINE, **units(lut(0, [0, 1, 2, 3], 0))), "depth of 0 bits"),
    "no sequence": (
        dataset(LINE, VOILUTSequence=DataElement("VOILUTSequence", "US", 5)),
        "VOILUTSequence is not a sequence",
    ),
    "a VOI LUT after an absurd slope": (
        dataset(LINE, RescaleSlope="1e300", **shown(lut(0, [0, 1, 2, 3], 8))),
        "RescaleSlope is not one number",
    ),
    "an absurd slope": (dataset(LINE, RescaleSlope="-1e36"), "RescaleSlope is not one number"),
    "an absurd intercept": (dataset(LINE, RescaleIntercept="1e300"), "RescaleIntercept is not one number"),
    "an absurd centre": (dataset(LINE, **window("1e39", "1e39")), "WindowCenter is not a list"),
    "an absurd width": (dataset(LINE, **window("2", "1e39", "SIGMOID")), "WindowWidth is not a list"),
    "padding without sense": (
        dataset(LINE, PixelPaddingValue=DataElement("PixelPaddingValue", "FD", 1e30)),
        "PixelPaddingValue is not one number",
    ),
    "a LUT without data": (dataset(LINE, ModalityLUTSequence=[Dataset()]), "no descriptor"),
    "too few pixels": (dataset(smooth(), Rows=4000), "truncated"),
    "absurd size": (dataset(smooth(), Rows=60000, Columns=60000), "absurd"),
    "absurd size, compressed": (
        compressed(smooth(), uid.JPEG2000Lossless, Rows=60000, Columns=60000, stream=siz(J2K, 60000, 60000)),
        "absurd",
    ),
    "stream larger than the header says": (
        compressed(smooth(), uid.JPEG2000Lossless, stream=siz(J2K, 60000, 60000, 60000)),
        "60000×60000",
    ),
    "a million tiles": (
        compressed(smooth(), uid.JPEG2000Lossless, Rows=6400, Columns=4800, stream=siz(J2K, 6400, 4800, 4)),
        "tiles",
    ),
    "a deep stream under a flat header": (
        compressed(smooth(bits=8), uid.JPEG2000Lossless, bits=8, stream=J2K),
        "declares 12 bits, the header 8",
    ),
    "a syntax that nothing here reads": (compressed(smooth(), uid.JPEG2000MC, stream=J2K), "no decoder"),
    "a film": (compressed(smooth(), uid.MPEG2MPML, stream=J2K[:50]), "no decoder"),
    "cut JPEG 2000": (compressed(smooth(), uid.JPEG2000Lossless, stream=J2K[:-500]), "truncated"),
    "cut JPEG": (compressed(smooth(), uid.JPEGLosslessSV1, stream=JPEG[:-500]), "truncated"),
    "colour stream": (
        compressed(
            smooth(bits=8),
            uid.JPEGBaseline8Bit,
            bits=8,
            stream=encode(np.dstack([smooth(bits=8)] * 3), uid.JPEGBaseline8Bit),
        ),
        "colour",
    ),
    "another process": (compressed(smooth(), uid.JPEGLSLossless, stream=JPEG), "unexpected segment"),
    "no JPEG 2000 at all": (compressed(smooth(), uid.JPEG2000, stream=JPEG), "do not begin"),
    "12-bit lossy JPEG": (
        compressed(smooth(), uid.JPEGExtended12Bit, stream=LOSSY12),
        "no decoder",
    ),
    "32 bits": (dataset(smooth().astype(np.uint32), bits=32), "32 bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_says_why(name, tmp_path):
    ds, reason = BAD[name]
    file = save(tmp_path / "file.dcm", ds)
    for size in (None, 16):
        with pytest.raises(dicom.ImageReadError, match=reason) as caught:
            dicom.read(file, size=size)
        error = caught.value
        assert error.file == str(file)
        assert str(error) == f"{file}: {error.reason}; {error.remedy}"
        assert error.remedy
        assert NAME not in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"patient,density\n1,A\n", b"\0" * 500, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_what_is_no_image_says_so(content, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(dicom.ImageReadError):
        dicom.read(file)
    with pytest.raises(dicom.ImageReadError, match="cannot be opened"):
        dicom.read(tmp_path / "absent")


def test_the_error_travels_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(dicom.ImageReadError("a.dcm", "too short", "copy it again")))
    assert (error.file, error.reason, error.remedy) == ("a.dcm", "too short", "copy it again")


def test_a_deflated_bomb_is_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(header, "MAX_BYTES", 2**20)
    ds = dataset(np.zeros((1024, 1024), U2))
    ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    file = save(tmp_path / "file.dcm", ds)
    assert file.stat().st_size < 10_000
    with pytest.raises(dicom.ImageReadError, match="inflates"):
        dicom.read(file)


def test_a_missing_decoder_is_named(tmp_path):
    """In a process that cannot import it."""
    for syntax, module, package in (
        (uid.JPEGLosslessSV1, "gdcm", "pip install python-gdcm"),
        (uid.JPEGLSLossless, "gdcm", "pip install python-gdcm"),
        (uid.HTJ2KLossless, "pylibjpeg", "pip install pylibjpeg pylibjpeg-openjpeg"),
    ):
        file = save(tmp_path / "file.dcm", compressed(smooth(), syntax))
        program = f"import sys; sys.modules[{module!r}] = None; from mammo_utils.data import dicom; "
        command = [sys.executable, "-c", program + f"dicom.read({str(file)!r})"]
        child = subprocess.run(command, capture_output=True, text=True)
        assert "no decoder for the transfer syntax" in child.stderr
        assert package in child.stderr


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_pictures_by_the_same_door(suffix, tmp_path):
    pixels = smooth(bits=8)
    file = tmp_path / f"file.{suffix}"
    if suffix == "tif":
        Image.fromarray(pixels).save(file)
        with pytest.raises(dicom.ImageReadError, match="neither DICOM"):
            dicom.read(file)
        return
    Image.fromarray(pixels).save(file, quality=95)
    found = dicom.read(file)
    assert np.abs(found.image - pixels / 255).max() < (1e-6 if suffix == "png" else 0.05)
    assert (found.laterality, found.view, found.spacing_mm) == (None, None, None)
    assert dicom.read(file, size=32).image.shape == (32, 24)
    with pytest.raises(dicom.ImageReadError, match="no windows"):
        dicom.read(file, window=1)


def test_png_modes(tmp_path):
    file = tmp_path / "file.png"
    deep = smooth(bits=16)
    Image.fromarray(deep).save(file)
    np.testing.assert_array_equal(np.rint(dicom.read(file).image * 65535), deep)
    grey = smooth(bits=8)
    opaque = np.full_like(grey, 255)
    for channels in ([grey] * 3, [grey] * 3 + [opaque], [grey, opaque]):
        Image.fromarray(np.dstack(channels)).save(file)
        np.testing.assert_array_equal(np.rint(dicom.read(file).image * 255), grey)
    Image.fromarray(grey).convert("P").save(file)
    np.testing.assert_array_equal(np.rint(dicom.read(file).image * 255), grey)
    for channels, reason in (([grey, grey, opaque], "colour"), ([grey] * 4, "transparent")):
        Image.fromarray(np.dstack(channels)).save(file)
        with pytest.raises(dicom.ImageReadError, match=reason):
            dicom.read(file)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file)
    with pytest.raises(dicom.ImageReadError, match="same value"):
        dicom.read(file)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_deep_png_of_several_channels_is_refused_rather_than_cut_to_8_bits(channels, tmp_path):
    file = tmp_path / "file.png"
    deep = smooth(bits=16)
    file.write_bytes(imagecodecs.png_encode(np.dstack([deep] * (channels - 1) + [np.full_like(deep, 65535)])))
    with pytest.raises(dicom.ImageReadError, match="16 bits in several channels"):
        dicom.read(file)
    file.write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(np.rint(dicom.read(file).image * 65535), deep)


@pytest.mark.parametrize("side", [9_900, 10_001, 20_000])
def test_the_declared_size_of_a_png_is_judged_before_it_is_decoded(side, tmp_path):
    header = struct.pack(">II5B", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    file = tmp_path / "file.png"
    file.write_bytes(data + struct.pack(">I", 4) + b"IDAT")
    with pytest.raises(dicom.ImageReadError, match="truncated" if side < 10_000 else "pixels is absurd"):
        dicom.read(file)


def samples(*names):
    root = os.environ.get("MAMMO_SAMPLES")
    if not root:
        pytest.skip("MAMMO_SAMPLES is not set: no real files here")
    return [Path(root) / "dicom" / f"{name}.dcm" for name in names]


def test_real_radiograph_in_four_syntaxes():
    first, *others = [
        dicom.read(file).image for file in samples("RG3_UNC", "RG3_J2KR", "RG3_JPLL", "RG3_JLSL")
    ]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_real_test_patterns():
    voi, modality = samples("vlut_04", "mlut_18")
    assert dicom.read(voi).applied == ("VOI LUT: 256 entries of 16 bits",)
    found = dicom.read(modality)
    assert found.applied == ("Modality LUT: 4096 entries of 16 bits", "full range: 0 to 65535")
    ds = pydicom.dcmread(modality)
    expected = pydicom.pixels.apply_modality_lut(ds.pixel_array, ds) / 65535
    np.testing.assert_allclose(found.image, expected, atol=1e-6)


def test_real_mammogram_at_reduced_resolution():
    (file,) = samples("MG1_J2KI")
    full = dicom.read(file)
    assert (full.laterality, full.view, full.image.shape) == ("L", "MLO", (4664, 3064))
    for size in (2332, 1166):
        found = dicom.read(file, size=size)
        difference = np.abs(found.image - resample.area(full.image, found.image.shape))
        assert difference.mean() < 0.005
        assert difference.max() < 0.25
