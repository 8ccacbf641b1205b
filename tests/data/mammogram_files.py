"""Small mammogram files for the tests, written by pydicom, imagecodecs and Pillow."""

from __future__ import annotations

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

NAME = "SECRET^PATIENT"


def smooth(rows: int = 64, columns: int = 48, bits: int = 12, noise: float = 0.02) -> np.ndarray:
    """A picture with smooth and noisy parts that uses the whole range of its bits."""
    row, column = np.mgrid[0:rows, 0:columns]
    grain = np.random.default_rng(0).normal(0, noise, (rows, columns))
    picture = np.exp(-(((row / rows - 0.5) * 2.5) ** 2) - ((column / columns) * 1.6) ** 2) + grain
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.round(picture * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def dataset(pixels: np.ndarray, *, bits: int = 12, **tags) -> Dataset:
    """An uncompressed mammogram with these pixels; ``tags`` set further elements, None deletes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid.DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds = Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientID, ds.Modality = NAME, NAME, "MG"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        if value is None:
            del ds[keyword]
        elif isinstance(value, DataElement):
            ds.add(value)
        else:
            setattr(ds, keyword, value)
    return ds


def encode(pixels: np.ndarray, syntax: str, *, bits: int = 12, **options) -> bytes:
    """The compressed stream of one frame, by a library that the package does not decode with."""
    if syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        options = {"codecformat": "j2k", "bitspersample": bits, "level": 0, "reversible": True} | options
        return imagecodecs.jpeg2k_encode(pixels, **options)
    if syntax in (uid.HTJ2KLossless, uid.HTJ2K):
        return imagecodecs.htj2k_encode(pixels, **{"reversible": True} | options)
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        return imagecodecs.jpegls_encode(pixels, **options)
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        options = {"lossless": True, "predictor": 1, "bitspersample": bits} | options
        return imagecodecs.jpeg8_encode(pixels, **options)
    return imagecodecs.jpeg8_encode(pixels, level=95, **options)


def compressed(pixels: np.ndarray, syntax: str, *, bits: int = 12, stream: bytes | None = None, **tags):
    """A data set whose pixels are compressed (``stream`` replaces what ``encode`` writes)."""
    ds = dataset(pixels, bits=bits, **tags)
    if syntax == uid.RLELossless:
        ds.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        ds.PixelData = encapsulate([stream or encode(pixels, syntax, bits=bits)])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
    return ds


def save(path, ds):
    """Write the data set and return the path."""
    ds.save_as(path, enforce_file_format=True)
    return path
