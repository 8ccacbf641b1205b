"""RSNA Screening Mammography Breast Cancer Detection (2022/23): the labels come from train.csv, not from
tags."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs.table import Source, integer, read_tables, tidy

SOURCE = Source(
    name="rsna",
    title="RSNA Screening Mammography Breast Cancer Detection",
    where="kaggle.com/competitions/rsna-breast-cancer-detection (an account; the rules must be accepted)",
    licence="non-commercial research and education, no attempt at re-identification",
)
REQUIRED = ["site_id", "patient_id", "image_id", "laterality", "view", "age", "cancer", "BIRADS", "density"]
REQUIRED += ["machine_id"]


def load(root) -> pd.DataFrame:
    """The tidy table of RSNA's training images (its test images have no labels).

    Whole numbers are read as ``61`` or ``61.0``.  The few views AT, LM, ML and LMO become ``other`` (38
    images in all; ML is mediolateral here, not an oblique view).  Density is blank at site 2, BIRADS (0, 1,
    2) in half the rows; ``cancer`` belongs to the breast.  There is no exam identifier.
    """
    root = Path(root).absolute()
    tables = read_tables(root, SOURCE, tables={"train.csv": REQUIRED}, folders={"train_images": "*/*.dcm"})
    listed = tables["train.csv"]
    patient, image = (integer(listed[column]).astype("string") for column in ("patient_id", "image_id"))
    frame = pd.DataFrame(
        {
            "image_id": image,
            "path": str(root / "train_images") + "/" + patient + "/" + image + ".dcm",
            "patient_id": patient,
            "laterality": listed["laterality"].str.upper(),
            "view": listed["view"].str.upper().where(listed["view"].str.upper().isin(["CC", "MLO"]), "other"),
            "cancer": listed["cancer"],
            "birads": listed["BIRADS"],
            "density": listed["density"],
            "age": integer(listed["age"]),
            "site": integer(listed["site_id"]).astype("string"),
            "machine": integer(listed["machine_id"]).astype("string"),
            "group": patient,
        }
    )
    return tidy(frame, SOURCE, root)
