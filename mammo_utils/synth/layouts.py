"""How each data set arranges its files: one function that writes a woman, one that writes the tables.

A woman's function takes the root, her four views and the names (seed, patient, size) that identify her,
writes her files and returns one record an image (or a finding).  A tables function takes the root and all
records.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from mammo_utils.synth.breast import View
from mammo_utils.synth.breast.anatomy import woman
from mammo_utils.synth.files import identifier, write_mask, write_view

Names = tuple[int, int, int]  # seed, patient, size


def write_csv(path: Path, records: list[dict], *, columns=None, delimiter=",", end="\n") -> Path:
    """Write records under the columns of the first one (or ``columns``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(columns or records[0])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator=end, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)
    return path


def parts(view: View) -> list[np.ndarray]:
    """The lesions of a view one by one, largest first: specks within 3 mm of each other are one cluster."""
    reach = max(1, round(1.5 / view.spacing_mm))
    labels, count = ndimage.label(ndimage.binary_dilation(view.lesion_mask, iterations=reach))
    found = [view.lesion_mask & (labels == label) for label in range(1, count + 1)]
    return sorted(found, key=np.sum, reverse=True)


def boxes(view: View) -> list[list[int]]:
    """(row, column, row, column) around each lesion, end excluded."""
    return [[int(v) for v in (*np.argwhere(p).min(0), *(np.argwhere(p).max(0) + 1))] for p in parts(view)]


def phantom(root: Path, views: list[View], names: Names) -> list[dict]:
    """images/ and masks/{breast,pectoral,dense,lesion,reader_A,reader_B}/, every truth in phantom.csv."""
    records = []
    for view in views:
        image = f"{view.patient_id}_{view.laterality}_{view.view}"
        path = Path("images") / f"{image}.dcm"
        write_view(root / path, view, names=names, patient_id=view.patient_id, compress=names[1] % 2 == 1)
        record = {"image_id": image, "path": path.as_posix(), "patient_id": view.patient_id}
        record |= {"exam_id": f"{view.patient_id}-1", "laterality": view.laterality, "view": view.view}
        record |= {"cancer": int(view.cancer), "birads": view.birads, "density": view.density}
        record |= {"percent_density": view.percent_density, "boxes": json.dumps(boxes(view)), "age": view.age}
        record |= {"machine": f"vendor {view.vendor}", "spacing_mm": view.spacing_mm}
        record |= {"thickness_mm": view.thickness_mm}
        record["lesions"] = json.dumps([{"shape": x.shape, "malignant": x.malignant} for x in view.lesions])
        masks = {name: getattr(view, f"{name}_mask") for name in ("breast", "pectoral", "dense", "lesion")}
        masks |= {f"reader_{reader}": mask for reader, mask in view.reader_masks.items()}
        for name, mask in masks.items():
            file = Path("masks") / name / f"{image}.png"
            write_mask(root / file, mask)
            record[f"{name}_mask"] = file.as_posix()
        records.append(record)
    return records


def phantom_tables(root: Path, records: list[dict]) -> Path:
    """phantom.csv, a row an image."""
    return write_csv(root / "phantom.csv", records)


def rsna(root: Path, views: list[View], names: Names) -> list[dict]:
    """train_images/<patient_id>/<image_id>.dcm; side, view and age stand in train.csv only.

    Women of vendor 0 come from site 1, the others from site 2, which reports no density.  BIRADS (0 recall,
    1, 2) is blank for every second woman, ages and machines are written as RSNA writes them.  A difficult
    negative is a breast without cancer that was recalled or called suspicious (BI-RADS 0, 4 or 5).
    """
    records = []
    seed, patient, _ = names
    site = 1 if woman(patient, seed).vendor == 0 else 2  # hers, whatever style a view of her has
    for number, view in enumerate(views):
        image = 10 * patient + number
        path = root / "train_images" / str(patient) / f"{image}.dcm"
        write_view(path, view, names=names, patient_id=str(patient), compress=patient % 2 == 1, tags=False)
        record = {"site_id": site, "patient_id": patient, "image_id": image, "laterality": view.laterality}
        record |= {"view": view.view, "age": f"{view.age}.0", "cancer": int(view.cancer)}
        record["biopsy"] = int(view.cancer or view.birads >= 4)
        record["invasive"] = int(view.cancer and patient % 4 > 0)
        record["BIRADS"] = "" if patient % 2 else f"{0 if view.birads >= 4 else view.birads}.0"
        record |= {
            "implant": 0,
            "density": view.density if site == 1 else "",
            "machine_id": 29 + 20 * view.vendor,
        }
        record["difficult_negative_case"] = not view.cancer and view.birads in (0, 4, 5)
        records.append(record)
    return records


def rsna_tables(root: Path, records: list[dict]) -> Path:
    """train.csv, a row an image."""
    columns = [column for column in records[0] if column != "cohort"]
    return write_csv(root / "train.csv", records, columns=columns)


def vindr(root: Path, views: list[View], names: Names) -> list[dict]:
    """images/<study_id>/<image_id>.dicom; findings are boxes around what is suspicious (BI-RADS 3 and
    above)."""
    records = []
    seed, patient, _ = names
    study, series = (identifier(seed, patient, what).hex for what in ("study", "series"))
    for view in views:
        image = identifier(seed, patient, view.laterality, view.view).hex
        path = root / "images" / study / f"{image}.dicom"
        write_view(path, view, names=names, patient_id=study, compress=patient % 2 == 1)
        kinds = sorted({"Mass" if lesion.is_mass else "Suspicious Calcification" for lesion in view.lesions})
        record = {"study_id": study, "series_id": series, "laterality": view.laterality, "image_id": image}
        record |= {"view_position": view.view, "height": view.image.shape[0], "width": view.image.shape[1]}
        record |= {"breast_birads": f"BI-RADS {view.birads}", "breast_density": f"DENSITY {view.density}"}
        record["split"] = "test" if patient % 5 == 4 else "training"
        record["findings"] = [(kinds, box) for box in boxes(view)] if view.birads >= 3 else []
        record |= {"SOP Instance UID": image, "Patient's Age": f"{view.age:03d}Y"}
        record |= {"Manufacturer": "Phantom", "Manufacturer's Model Name": f"Phantom vendor {view.vendor}"}
        records.append(record)
    return records


def vindr_tables(root: Path, records: list[dict]) -> Path:
    """Breast-level annotations and metadata with a row an image, finding annotations with a row a finding."""
    shared = ["study_id", "series_id", "laterality", "image_id", "view_position", "height", "width"]
    shared += ["breast_birads", "breast_density", "split"]
    found, corners = [], ["ymin", "xmin", "ymax", "xmax"]
    for record in records:
        if not record["findings"]:
            found.append({**record, "finding_categories": "['No Finding']"})
        for kinds, box in record["findings"]:
            label = {"finding_categories": str(kinds), "finding_birads": record["breast_birads"]}
            found.append({**record, **label, **dict(zip(corners, box, strict=True))})
    columns = [*shared, "finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax"]
    write_csv(root / "finding_annotations.csv", found, columns=columns)
    machine = ["SOP Instance UID", "Patient's Age", "Manufacturer", "Manufacturer's Model Name"]
    write_csv(root / "metadata.csv", records, columns=machine)
    return write_csv(root / "breast-level_annotations.csv", records, columns=shared)


def density(root: Path, views: list[View], names: Names) -> list[dict]:
    """Version 5: lossy JPEG masks of one reader and no images; the DICOM is VinDr's, in the folder vindr.

    The masks of VinDr's test women are withheld.
    """
    records = vindr(root / "vindr", views, names)
    for record, view in zip(records, views, strict=True):
        record["Filename"] = file = f"{record['image_id']}.jpg"
        if record["split"] == "test":
            continue
        drawn = view.reader_masks["A"] & view.breast_mask
        write_mask(root / "train" / "breast_masks" / file, view.breast_mask)
        write_mask(root / "train" / "dense_masks" / file, drawn)
        record["Density"] = round(100 * drawn.sum() / view.breast_mask.sum(), 4)
    return records


def density_tables(root: Path, records: list[dict]) -> Path:
    """train.csv with the percent density of each mask, test.csv, and VinDr's tables in the folder vindr."""
    vindr_tables(root / "vindr", records)
    test = [record for record in records if record["split"] == "test"]
    write_csv(root / "test.csv", test, columns=["Filename"])
    train = [record for record in records if record["split"] != "test"]
    return write_csv(root / "train.csv", train, columns=["Filename", "Density"])
