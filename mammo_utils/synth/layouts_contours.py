"""The layouts of INbreast and CBIS-DDSM, whose annotations are outlines of lesions."""

from __future__ import annotations

import plistlib
from pathlib import Path

import numpy as np
from skimage.measure import find_contours

from mammo_utils.synth.breast import View
from mammo_utils.synth.files import identifier, uid, write_plain, write_view
from mammo_utils.synth.layouts import Names, parts, write_csv

# Words of CBIS-DDSM's tables for the shapes of a phantom lesion: (shape, margins) or (type, distribution).
CBIS_WORDS = {
    "circumscribed": ("OVAL", "CIRCUMSCRIBED"),
    "lobulated": ("LOBULATED", "MICROLOBULATED"),
    "spiculated": ("IRREGULAR", "SPICULATED"),
    "round calcifications": ("ROUND_AND_REGULAR", "CLUSTERED"),
    "fine linear calcifications": ("FINE_LINEAR_BRANCHING", "LINEAR"),
}


def inbreast(root: Path, views: list[View], names: Names) -> list[dict]:
    """AllDICOMs/ with the woman's hash in the name, AllXML/ with the contours of what was found."""
    root = root / "INbreast Release 1.0"
    seed, patient, _ = names
    woman, records = identifier(seed, patient, "woman").hex[:16], []
    for number, view in enumerate(views):
        file, position = 20_000_000 + 10 * patient + number, "ML" if view.view == "MLO" else "CC"
        path = root / "AllDICOMs" / f"{file}_{woman}_MG_{view.laterality}_{position}_ANON.dcm"
        write_view(path, view, names=names, patient_id=woman, compress=patient % 2 == 1)
        if view.lesions:
            (root / "AllXML").mkdir(exist_ok=True)
            (root / "AllXML" / f"{file}.xml").write_bytes(plistlib.dumps(_osirix(view)))
        record = {"Patient ID": "removed", "Patient age": "removed", "Laterality": view.laterality}
        record |= {"View": view.view, "Acquisition date": "200801", "File Name": file}
        record |= {"ACR": "ABCD".index(view.density) + 1}
        record["Bi-Rads"] = f"4{'abc'[patient % 3]}" if view.birads == 4 else view.birads
        records.append(record)
    return records


def _osirix(view: View) -> dict:
    regions = []
    kind = "Mass" if all(lesion.is_mass for lesion in view.lesions) else "Calcification"
    for part in parts(view):
        contour = max(find_contours(np.pad(part, 1).astype(float), 0.5), key=len) - 1
        points = [f"({x:.6f}, {y:.6f})" for y, x in contour]
        region = {
            "Area": float(part.sum() * view.spacing_mm**2 / 100),
            "IndexInImage": len(regions),
            "Name": kind,
        }
        regions.append({**region, "NumberOfPoints": len(points), "Point_px": points, "Type": 15})
    return {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(regions), "ROIs": regions}]}


def inbreast_tables(root: Path, records: list[dict]) -> Path:
    """INbreast.csv, a row an image, with semicolons and Windows line ends as the original."""
    columns = [column for column in records[0] if column != "cohort"]
    path = root / "INbreast Release 1.0" / "INbreast.csv"
    return write_csv(path, records, columns=columns, delimiter=";", end="\r\n")


def cbis_ddsm(root: Path, views: list[View], names: Names) -> list[dict]:
    """CBIS-DDSM/<case>/<uid>/<uid>/00000n.dcm, a record a lesion and view; women without a lesion have no
    file.

    The full image lies in the folder of its view; crop and mask share a folder with the lesion's number.  By
    the tables the crop is 000000.dcm for masses and 000001.dcm for calcifications; in every fourth woman the
    two files are swapped, as in some real cases, so that a reader must look at their contents.  Every fifth
    woman is in the test set of the masses, the one before her in that of the calcifications, so that a woman
    with both can be in both parts, as 31 real ones are.
    """
    records = []
    for view in views:
        regions = parts(view)
        for number, lesion in enumerate(sorted(view.lesions, key=lambda x: -x.size), start=1):
            if regions:
                mask = regions[number - 1] if number <= len(regions) else view.lesion_mask
                records.append(_cbis_case(root / "CBIS-DDSM", view, number, lesion, mask, names))
    return records


def _cbis_case(root: Path, view: View, number: int, lesion, mask: np.ndarray, names: Names) -> dict:
    seed, patient, _ = names
    # Masses and calcifications were split apart: some women are in the test set of one only.
    kind, test = "mass" if lesion.is_mass else "calcification", patient % 5 == 3 + lesion.is_mass
    side = {"L": "LEFT", "R": "RIGHT"}[view.laterality]
    case = f"{kind[:4].title()}-{'Test' if test else 'Training'}_P_{patient:05d}_{side}_{view.view}"
    region = f"{case}_{number}"
    files = []
    for folder, file in ((case, "000000"), (region, "000000"), (region, "000001")):
        study, series = (uid(seed, patient, folder, what) for what in ("study", "series"))
        files.append(f"{folder}/{study}/{series}/{file}.dcm")

    pixels = np.rint(view.image * 65535).astype(np.uint16)
    rows, columns = (slice(at.min(), at.max() + 1) for at in np.nonzero(mask))
    contents = [pixels[rows, columns], mask.astype(np.uint8) * 255]
    if lesion.is_mass == (patient % 4 == 3):
        contents.reverse()
    for path, content in zip(files, [pixels, *contents], strict=True):
        name = path.split("/")[0]
        write_plain(root / path, content, names=(seed, patient, path), patient_id=name)

    first, second = files[1], files[2] + "\n"  # the line break stands in the real tables
    record = {"table": f"{kind[:4]}_case_description_{'test' if test else 'train'}_set.csv"}
    record |= {"patient_id": f"P_{patient:05d}", "density": "ABCD".index(view.density) + 1, "side": side}
    record |= {"view": view.view, "number": number, "kind": kind, "words": CBIS_WORDS[lesion.shape]}
    record |= {"assessment": view.birads, "pathology": "MALIGNANT" if lesion.malignant else "BENIGN"}
    crop, outline = (first, second) if lesion.is_mass else (second, first)
    return record | {"full": files[0], "crop": crop, "mask": outline}


def cbis_tables(root: Path, records: list[dict]) -> Path:
    """The four case tables; their headers differ in the spelling of the density column, as the real ones
    do."""
    for kind, words in (
        ("mass", ("breast_density", "mass shape", "mass margins")),
        ("calc", ("breast density", "calc type", "calc distribution")),
    ):
        for part in ("train", "test"):
            file = f"{kind}_case_description_{part}_set.csv"
            head = ["patient_id", words[0], "left or right breast", "image view", "abnormality id"]
            head += ["abnormality type", *words[1:], "assessment", "pathology", "subtlety", "image file path"]
            head += ["cropped image file path", "ROI mask file path"]
            rows = []
            for r in (record for record in records if record["table"] == file):
                row = [
                    r["patient_id"],
                    r["density"],
                    r["side"],
                    r["view"],
                    r["number"],
                    r["kind"],
                    *r["words"],
                ]
                row += [r["assessment"], r["pathology"], 3, r["full"], r["crop"], r["mask"]]
                rows.append(dict(zip(head, row, strict=True)))
            write_csv(root / file, rows, columns=head, end="\r\n")
    return root / "mass_case_description_train_set.csv"
