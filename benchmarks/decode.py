"""Time to read a mammogram in full and at reduced resolution: ``python benchmarks/decode.py``.

The file is made here: a phantom woman's view enlarged to a detector of 3328×2560 pixels with 12 bits and
noise, in lossless JPEG 2000.  Printed are the median time of some readings and the difference from full
decoding followed by area averaging.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from mammo_utils.data import dicom, resample
from mammo_utils.synth import breast

SHAPE = (3328, 2560)


def write(path: Path) -> None:
    """A digital mammogram as a detector of today stores it."""
    image = resample.resize(breast.exam(0, size=512)[1].image, SHAPE)
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    pixels = np.clip(np.rint(image * 4000 + noise + 40), 0, 4095).astype(np.uint16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.DigitalMammographyXRayImageStorageForPresentation
    ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID
    ds.Rows, ds.Columns = SHAPE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    ds.compress(pydicom.uid.JPEG2000Lossless, encoding_plugin="pylibjpeg")
    ds.save_as(path, enforce_file_format=True)


def seconds(path: Path, size: int | None, repeats: int) -> float:
    """Median time of one reading."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        dicom.read(path, size=size)
        taken.append(time.perf_counter() - start)
    return median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description="Full against reduced decoding.")
    parser.add_argument("file", nargs="?", type=Path, help="a DICOM file of your own instead of the phantom")
    parser.add_argument("--repeats", type=int, default=5, help="readings of each size (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "phantom.dcm"
        if options.file is None:
            write(path)
        full = dicom.read(path).image
        whole = seconds(path, None, options.repeats)
        print(f"{path.name}: {full.shape[0]}×{full.shape[1]}, {path.stat().st_size / 2**20:.1f} MiB")
        print("longer side   seconds   times faster   mean difference   largest   first step")
        print(f"{max(full.shape):>11}   {whole:7.3f}   {1:12.1f}")
        for size in [max(full.shape) // part for part in (2, 4, 8)] + [512, 256]:
            found = dicom.read(path, size=size)
            difference = np.abs(found.image - resample.area(full, found.image.shape))
            taken = seconds(path, size, options.repeats)
            row = f"{size:>11}   {taken:7.3f}   {whole / taken:12.1f}   {difference.mean():15.3%}"
            print(f"{row}   {difference.max():7.1%}   {found.applied[0]}")


if __name__ == "__main__":
    main()
