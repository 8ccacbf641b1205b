"""Phantom views as DICOM objects and masks as images: the same bytes for the same woman, whoever writes
them."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
)

from mammo_utils.synth.breast import VENDORS, View

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "mammo_utils phantom")
BITS = 12
# Width of the LINEAR window and slope of the SIGMOID: nearly all of the 12-bit range is used, and the ends of
# the sigmoid are cut off at 0.0003 of black and white.
CENTRE, WIDTH, SLOPE = 2048, 3800, 1000
# SNOMED CT codes of DICOM CID 4014 (view) and 4013 (anatomy).
VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}


def identifier(*what) -> uuid.UUID:
    """A name-based UUID (RFC 4122, version 5): the same parts give the same identifier everywhere."""
    return uuid.uuid5(NAMESPACE, "/".join(map(str, what)))


def uid(*what) -> str:
    """A DICOM UID derived from a UUID (PS3.5, B.2)."""
    return f"2.25.{identifier(*what).int}"


def stored_values(image: np.ndarray, *, sigmoid: bool = False, inverse: bool = False) -> np.ndarray:
    """12-bit pixel values that the VOI LUT turns back into ``image`` (float in 0–1), as uint16.

    The inverse of the LINEAR window (PS3.3, C.11.2.1.2.1) or of the SIGMOID (C.11.2.1.3.1); ``inverse`` is
    for MONOCHROME1, whose smallest displayed value is white.
    """
    shown = 1 - image if inverse else image
    if sigmoid:
        shown = np.clip(shown, 1e-6, 1 - 1e-6)
        values = CENTRE - SLOPE / 4 * np.log(1 / shown - 1)
    else:
        values = (shown - 0.5) * (WIDTH - 1) + CENTRE - 0.5
    return np.clip(np.rint(values), 0, 2**BITS - 1).astype(np.uint16)


def write_view(path: Path, view: View, *, names: tuple, patient_id: str, compress: bool, tags: bool = True):
    """Write one view as Digital Mammography X-Ray Image – For Presentation.

    ``names`` (seed, patient, size) go into the UIDs.  Vendor 0 writes MONOCHROME2 with one window, vendor 1
    MONOCHROME1 with several windows, vendor 2 MONOCHROME2 with a SIGMOID.  ``compress`` makes it JPEG 2000.
    ``tags=False`` leaves out side, view and age, as in RSNA's files.
    """
    ds = Dataset()
    ds.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    ds.SOPInstanceUID = uid(*names, view.laterality, view.view)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(*names, "study"), uid(*names, "series")
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = (
        "1",
        1,
        1 + 2 * (view.laterality == "R") + (view.view == "MLO"),
    )
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.PatientBirthDate = ""
    ds.PatientName = ds.PatientID = patient_id
    ds.PatientSex = "F"
    ds.Modality, ds.PresentationIntentType = "MG", "FOR PRESENTATION"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.Manufacturer, ds.ManufacturerModelName = "Phantom", f"Phantom vendor {view.vendor}"
    ds.BodyPartThickness = round(view.thickness_mm, 1)
    ds.PositionerType, ds.OrganExposed = "MAMMOGRAPHIC", "BREAST"
    ds.BreastImplantPresent = ds.PartialView = ds.BurnedInAnnotation = "NO"
    ds.AnatomicRegionSequence = [_code("76752008", "Breast")]
    ds.AcquisitionContextSequence = []
    if tags:
        ds.ImageLaterality, ds.ViewPosition = view.laterality, view.view
        ds.ViewCodeSequence = [_code(*VIEW_CODES[view.view])]
        ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
        # Rows run from the chest wall forwards on the left and backwards on the right; columns from the outer
        # side (CC) or the head (MLO) to the other side (PS3.3, C.7.6.1.1.1).
        medial = {"L": "R", "R": "L"}[view.laterality]
        ahead, down = {"L": "A", "R": "P"}[view.laterality], {"CC": "", "MLO": "F"}[view.view] + medial
        ds.PatientOrientation = [ahead, down]
        ds.PatientAge = f"{view.age:03d}Y"

    white_is_low = VENDORS[view.vendor].monochrome1
    ds.PhotometricInterpretation = "MONOCHROME1" if white_is_low else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if white_is_low else "IDENTITY"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if white_is_low else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    if view.vendor == 1:
        ds.WindowCenter, ds.WindowWidth = [CENTRE, CENTRE, CENTRE], [WIDTH, WIDTH // 2, 4095]
        ds.WindowCenterWidthExplanation = ["NORMAL", "HARDER", "SOFTER"]
    else:
        ds.WindowCenter, ds.WindowWidth = CENTRE, SLOPE if view.vendor == 2 else WIDTH
    if view.vendor == 2:
        ds.VOILUTFunction = "SIGMOID"
    ds.ImagerPixelSpacing = ds.PixelSpacing = [round(view.spacing_mm, 6)] * 2
    ds.LossyImageCompression = "00"
    pixels = stored_values(view.image, sigmoid=view.vendor == 2, inverse=white_is_low)
    save(path, ds, pixels, bits=BITS, compress=compress)


def write_plain(path: Path, pixels: np.ndarray, *, names: tuple, patient_id: str):
    """Write uint8 or uint16 pixels as a bare MONOCHROME2 object without a window, as digitised film is
    kept."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, uid(*names)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(*names, "study"), uid(*names, "series")
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, 1
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.PatientBirthDate = ""
    ds.PatientName = ds.PatientID = patient_id
    ds.PatientSex, ds.Modality, ds.ConversionType = "", "MG", "DF"
    ds.PhotometricInterpretation = "MONOCHROME2"
    save(path, ds, pixels, bits=8 * pixels.itemsize, compress=False)


def save(path: Path, ds: Dataset, pixels: np.ndarray, *, bits: int, compress: bool) -> None:
    """Add the pixels to a dataset and write the file with its meta information."""
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.itemsize, bits, bits - 1
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.set_pixel_data(pixels, ds.PhotometricInterpretation, bits, generate_instance_uid=False)
    if compress:
        ds.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write an H×W bool mask as an 8-bit image (0, 255) in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def _code(value: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "SCT", meaning
    return ds
