"""Damaged files: an image or an ImageReadError, never another exception, a crash, a hang or a memory blow-up.

The files are read by child processes whose address space and time are limited, because a decoder written in C
can take the whole process with it; a child that dies names the file on which it died.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from mammogram_files import NAME, compressed, dataset, save, smooth
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from mammo_utils.data import dicom

EACH = 70  # damaged files of every format
FORMATS = {
    "explicit": None,
    "LUTs": None,
    "windows": None,
    "implicit": uid.ImplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "HTJ2K": uid.HTJ2KLossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG baseline": uid.JPEGBaseline8Bit,
    "PNG": "PNG",
    "JPEG": "JPEG",
}

MEMORY = Path("/proc/self/statm")  # Linux alone says so how much memory a process has


def item(**tags) -> list[Dataset]:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return [made]


def lut(bits: int) -> list[Dataset]:
    """A sequence of one LUT with 16 steps."""
    entries = np.linspace(0, 2**bits - 1, 16).astype("<u2").tobytes()
    return item(LUTDescriptor=[16, 0, bits], LUTExplanation="STEPS", LUTData=entries)


SHOWN = {
    "WindowCenter": ["10E02", "2000"],
    "WindowWidth": ["15E02", "4000"],
    "WindowCenterWidthExplanation": ["NARROW", "WIDE"],
    "ViewCodeSequence": item(CodeValue="399368009", CodingSchemeDesignator="SCT"),
    "ImageLaterality": "L",
    "PresentationLUTShape": "INVERSE",
    "PresentationIntentType": "FOR PRESENTATION",
}
# A file has either LUTs or a rescale and windows in use, so that all display tags need two files.  Numbers
# are written with exponents, of which a changed byte makes enormous ones.
DISPLAY = {
    "LUTs": SHOWN
    | {"ModalityLUTSequence": lut(4), "VOILUTSequence": lut(16), "PixelSpacing": ["0.1", "0.1"]}
    | {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 3},
    "windows": SHOWN
    | {"RescaleSlope": "2E00", "RescaleIntercept": "-10E01", "VOILUTFunction": "SIGMOID"}
    | {"ImagerPixelSpacing": ["0.1", "0.1"], "EstimatedRadiographicMagnificationFactor": "1.05"},
}

# What a child does: read each file in full and small, say what came of it, one line a file.
CHILD = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from mammo_utils.data import dicom

def outcome(file, size):
    try:
        found = dicom.read(file, size=size)
    except dicom.ImageReadError as error:
        assert error.file == file and error.reason and error.remedy and len(str(error).splitlines()) == 1
        return "error " + error.reason
    image = found.image
    assert image.dtype == np.float32 and image.ndim == 2 and np.isfinite(image).all()
    assert 0 <= image.min() < image.max() <= 1
    return "image"

files = Path(sys.argv[1]).read_text().splitlines()
outcome(files[0], 16)  # every library is loaded before the memory is counted
memory = Path(sys.argv[2])
if memory.exists():
    used = int(memory.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for file in files[1:]:
    print(file, end="\\t", flush=True)
    signal.alarm(20)
    print(outcome(file, None), outcome(file, 16), sep="\\t", flush=True)
"""


def intact(name: str, **tags) -> bytes:
    """The undamaged file of a format."""
    bits = 8 if name in ("JPEG baseline", "JPEG") else 12
    pixels, syntax = smooth(bits=bits), FORMATS[name]
    tags = DISPLAY.get(name, {}) | tags
    buffer = io.BytesIO()
    if name in ("PNG", "JPEG"):
        Image.fromarray(pixels).save(buffer, name)
        return buffer.getvalue()
    if syntax is not None and uid.UID(syntax).is_compressed and name != "deflated":
        ds = compressed(pixels, syntax, bits=bits, **tags)
    else:
        ds = dataset(pixels, bits=bits, **tags)
    if name == "big endian":
        ds.PixelData = pixels.astype(">u2").tobytes()
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = syntax
    save(buffer, ds)
    return buffer.getvalue()


def damaged(data: bytes, seed: int) -> bytes:
    """One kind of damage, chosen and placed by ``seed``: a cut, flipped bytes, a lost or a foreign block."""
    rng, data = np.random.default_rng(seed), bytearray(data)
    kind, start = seed % 5, 132 if data[128:132] == b"DICM" else 8
    marks = (b"\xff\x4f\xff\x51", b"\xff\xd8\xff", b"\xe0\x7f\x10\x00", b"IHDR")
    stream = max(data.rfind(mark) for mark in marks)
    if kind == 0:
        return bytes(data[: rng.integers(start, len(data))])
    if kind in (1, 2, 3):  # anywhere; in the header; in the first bytes of the stream, where its header is
        low, high = [(start, len(data)), (start, max(stream, start + 50)), (stream, stream + 100)][kind - 1]
        for place in rng.integers(max(low, 0), min(high, len(data)), rng.integers(1, 8)):
            data[place] = rng.integers(256)
        return bytes(data)
    first, last = np.sort(rng.integers(start, len(data), 2))
    return bytes(data[:first]) + [b"", rng.bytes(last - first), b"\xff" * 64][seed % 3] + bytes(data[last:])


def read_all(files: list, folder) -> dict[str, tuple[str, ...]]:
    """What the children say of each file; a dead child is replaced and its file called "crash"."""
    found, names = {}, [str(file) for file in files]
    good = folder / "good.dcm"
    good.write_bytes(intact("explicit"))
    while names:
        (folder / "list.txt").write_text("\n".join([str(good), *names]))
        command = [sys.executable, "-c", CHILD, str(folder / "list.txt"), str(MEMORY)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert NAME not in child.stdout + child.stderr
        rows = [line.split("\t") for line in child.stdout.splitlines()]
        found |= {row[0]: tuple(row[1:]) for row in rows}
        if child.returncode == 0:
            break
        assert rows, child.stderr
        found[rows[-1][0]] = ("crash", f"exit {child.returncode}: {child.stderr[-400:]}")
        names = names[names.index(rows[-1][0]) + 1 :]
    return found


def test_damage_gives_an_image_or_the_error(tmp_path):
    files, cut = [], {}
    for name in FORMATS:
        data = intact(name)
        for seed in range(EACH):
            file = tmp_path / f"{name}-{seed:03}.dcm"
            file.write_bytes(damaged(data, seed))
            files.append(file)
            cut[str(file)] = seed % 5 == 0 and file.stat().st_size < 0.97 * len(data)
    assert len(files) >= 500
    found = read_all(files, tmp_path)
    assert set(found) == {str(file) for file in files}
    assert not {file: what for file, what in found.items() if what[0] == "crash"}
    assert not [file for file, what in found.items() if cut[file] and what[0] == "image"], (
        "a cut file was read"
    )
    images = sum(what[0] == "image" for what in found.values())
    assert 50 < images < len(found) - 50, "the damage is one-sided"


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG-LS", "JPEG 2000", "HTJ2K"])
def test_no_byte_of_a_stream_s_header_takes_the_process_along(name, tmp_path):
    """GDCM ends the process on many of these streams: they must not reach it."""
    data = intact(name)
    start = data.rfind(b"\xff\x4f\xff\x51" if name in ("JPEG 2000", "HTJ2K") else b"\xff\xd8\xff")
    files = []
    for place in range(start, start + 90):
        for value in (0, 255, data[place] ^ 1, data[place] ^ 128):
            file = tmp_path / f"{place}-{value}.dcm"
            file.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            files.append(file)
    found = read_all(files, tmp_path)
    assert set(found) == {str(file) for file in files}
    assert not {file: what for file, what in found.items() if what[0] == "crash"}


@pytest.mark.parametrize("name", DISPLAY)
def test_no_byte_of_a_header_brings_another_exception(name, tmp_path):
    data = intact(name)
    file = tmp_path / "intact.dcm"
    file.write_bytes(data)
    said = " ".join(dicom.read(file).applied)
    for step in {"LUTs": ("Modality LUT", "VOI LUT"), "windows": ("rescale", "window SIGMOID")}[name]:
        assert step in said, "the display tags are not in use"
    files = []
    for place in range(132, data.rfind(b"\xe0\x7f\x10\x00") + 12):
        for value in (255, ord("9"), data[place] ^ 1):
            file = tmp_path / f"{place}-{value}.dcm"
            file.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            files.append(file)
    found = read_all(files, tmp_path)
    assert set(found) == set(map(str, files))
    assert not {file: what for file, what in found.items() if what[0] == "crash"}


@pytest.mark.skipif(not MEMORY.exists(), reason=f"no {MEMORY} here: children run without a memory limit")
def test_the_memory_of_a_child_is_limited(tmp_path):
    (tmp_path / "good.dcm").write_bytes(intact("explicit"))
    (tmp_path / "list.txt").write_text(str(tmp_path / "good.dcm"))
    command = [sys.executable, "-c", f"{CHILD}\nbytes(2**31)", str(tmp_path / "list.txt"), str(MEMORY)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "MemoryError" in child.stderr


TEXT = {
    "StudyDescription": "A description that is long enough to be damaged in many places",
    "InstitutionName": "The hospital at the end of the road",
    "StudyDate": "20200101",
    "PatientBirthDate": "19600101",
    "PatientAge": "060Y",
    "OperatorsName": "Someone^Else",
    "ExposureTime": "1000",
    "BodyPartThickness": "57.5",
    "ViewPosition": "MLO",
    "ImageLaterality": "L",
    "ImagerPixelSpacing": ["0.07", "0.07"],
}


@pytest.mark.parametrize("name", ["explicit", "JPEG 2000"])
def test_damage_in_tags_that_do_not_matter_changes_no_pixel(name, tmp_path):
    data = intact(name, **TEXT)
    file = tmp_path / "file.dcm"
    file.write_bytes(data)
    expected = dicom.read(file).image
    rng = np.random.default_rng(0)
    for keyword in [*TEXT, "PatientName", "PatientID"]:
        element = pydicom.dcmread(io.BytesIO(data)).get_item(keyword)
        for _ in range(8):
            broken = bytearray(data)
            broken[element.value_tell : element.value_tell + element.length] = rng.bytes(element.length)
            file.write_bytes(broken)
            np.testing.assert_array_equal(dicom.read(file).image, expected)


def test_an_error_of_the_caller_is_not_called_a_bad_file(tmp_path):
    file = tmp_path / "file.dcm"
    file.write_bytes(intact("explicit"))
    with pytest.raises(TypeError):
        dicom.read(file, size="large")
    with pytest.raises(ValueError, match="size"):
        dicom.read(file, size=0)
