"""VinDr-Mammo (Nguyen et al. 2023, doi 10.1038/s41597-023-02100-7): 5,000 exams of four views."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs.table import Source, integer, last_word, read_tables, tidy

SOURCE = Source(
    name="vindr",
    title="VinDr-Mammo",
    where="physionet.org/content/vindr-mammo (an account and a signed data use agreement)",
    licence="PhysioNet restricted access: the signed agreement; no redistribution",
)
BREASTS, FINDINGS = "breast-level_annotations.csv", "finding_annotations.csv"
BREAST_COLUMNS = [
    "study_id",
    "image_id",
    "laterality",
    "view_position",
    "breast_birads",
    "breast_density",
    "split",
]
CORNERS = ["ymin", "xmin", "ymax", "xmax"]


def load(root) -> pd.DataFrame:
    """The tidy table of VinDr-Mammo; one exam a woman, so the study is the patient.

    There is no pathology: ``cancer`` stays NA.  A study that needs a label may take ``birads >= 4`` and say
    so. ``boxes`` are the findings' rectangles, () for images without one.  Age and machine are read from
    ``metadata.csv`` where it is there.
    """
    root = Path(root).absolute()
    wanted = {BREASTS: BREAST_COLUMNS, FINDINGS: ["image_id", *CORNERS]}
    tables = read_tables(root, SOURCE, tables=wanted, folders={"images": "*/*.dicom"})
    frame = breasts(tables[BREASTS], root)
    frame["boxes"] = (
        frame["image_id"].map(_boxes(tables[FINDINGS])).map(lambda b: b if isinstance(b, tuple) else ())
    )
    return tidy(frame.merge(_metadata(root), on="image_id", how="left"), SOURCE, root)


def breasts(listed: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The tidy columns that ``breast-level_annotations.csv`` gives, for VinDr-Mammo in ``root``."""
    return pd.DataFrame(
        {
            "image_id": listed["image_id"],
            "path": str(root / "images") + "/" + listed["study_id"] + "/" + listed["image_id"] + ".dicom",
            "patient_id": listed["study_id"],
            "exam_id": listed["study_id"],
            "laterality": listed["laterality"],
            "view": listed["view_position"].where(listed["view_position"].isin(["CC", "MLO"]), "other"),
            "birads": last_word(listed["breast_birads"], r"\S+"),
            "density": last_word(listed["breast_density"], r"\S+"),
            "official_split": listed["split"],
            "group": listed["study_id"],
        }
    )


def _boxes(findings: pd.DataFrame) -> dict:
    drawn = findings.dropna(subset=CORNERS)
    corners = drawn[CORNERS].apply(pd.to_numeric, errors="coerce").astype("float64").round(2)
    rows = zip(drawn["image_id"], corners.itertuples(index=False, name=None), strict=True)
    found = {}
    for image, box in rows:
        found[image] = (*found.get(image, ()), box)
    return found


def _metadata(root: Path) -> pd.DataFrame:
    """Age and machine by image, empty where the table or a column is absent: the labels do not need it."""
    names = {"SOP Instance UID": "image_id", "Patient's Age": "age", "Manufacturer's Model Name": "machine"}
    file = root / "metadata.csv"
    table = pd.read_csv(file, dtype="string") if file.is_file() else pd.DataFrame()
    table = table.rename(columns=names).reindex(columns=list(names.values())).astype("string")
    table["age"] = integer(table["age"].str.extract(r"(\d+)", expand=False))
    return table.dropna(subset=["image_id"]).drop_duplicates("image_id")
