"""BreakHis (Spanhol et al. 2016, doi 10.1109/TBME.2015.2496264): tiles of breast tumours at four
magnifications."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs.table import CatalogError, Source, tidy

SOURCE = Source(
    name="breakhis",
    title="BreakHis",
    where="web.inf.ufpr.br/vri/databases (BreaKHis_v1.tar.gz, about 4 GB)",
    licence="CC BY 4.0 as stated by others; not found on the page of the owner",
)
FOLDER = Path("BreaKHis_v1/histology_slides/breast")
LABELS = {"B": ("benign", 0), "M": ("malignant", 1)}
SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
# The slide whose tiles are there twice: which of the two diagnoses is hers is not known.
TWICE = ("SOB_M_DC_14-13412", "SOB_M_LC_14-13412")
# A folder has _ before the year where a file has -: SOB_M_DC_14-2523 and SOB_M_DC-14-2523-40-010.png
NAME = re.compile(r"SOB_([BM])_([A-Z]+)-(\d+)-(\d+)([A-Z]*)-(40|100|200|400)-(\d+)")


def load(root) -> pd.DataFrame:
    """The tidy table of BreakHis; ``root`` holds ``BreaKHis_v1``, or is that folder.

    ``group`` and ``patient_id`` are the case number without its year and the letters behind it, such as 22549
    for the slides 14-22549AB, 14-22549CD and 14-22549G: 82 folders are 70 case numbers, of which nobody says
    that they are different women.  It also keeps ``TWICE`` together.  ``exam_id`` is the folder's slide.
    ``cancer`` is malignant, ``diagnosis`` the word, ``subtype`` one of eight.

    Raises: ``CatalogError``, also for files whose names do not agree with their folders.
    """
    root = Path(root).absolute()
    home = next((place for place in (root / FOLDER, root / Path(*FOLDER.parts[1:])) if place.is_dir()), None)
    if home is None:
        raise CatalogError(SOURCE, root, [f"the folder {FOLDER}/ is missing"])
    problems = [
        f"the folder {name}/SOB/ is missing"
        for name, _ in LABELS.values()
        if not (home / name / "SOB").is_dir()
    ]
    rows = []
    for file in sorted(home.glob("*/SOB/*/*/*/*.png")):
        known = NAME.fullmatch(file.stem)
        row = known and _row(file, known)
        if row:
            rows.append(row)
        else:
            problems.append(f"{file.relative_to(home)} does not follow the names of the data set")
    if not rows:
        problems.append(f"{FOLDER}/ holds no file */SOB/*/*/*/*.png")
    if problems:
        more = [f"and {len(problems) - 5} more of the kind"] * (len(problems) > 5)
        raise CatalogError(SOURCE, root, problems[:5] + more)
    return tidy(pd.DataFrame(rows), SOURCE, root)


def _row(file: Path, known: re.Match) -> dict | None:
    """The columns of a file; None where its folders say something else than its name."""
    kind, subtype, year, case, letters, magnification, _ = known.groups()
    diagnosis, cancer = LABELS[kind]
    slide = f"SOB_{kind}_{subtype}_{year}-{case}{letters}"
    wanted = (diagnosis, "SOB", SUBTYPES.get(subtype), slide, f"{magnification}X")
    if tuple(parent.name for parent in list(file.parents)[4::-1]) != wanted:
        return None
    return {
        "image_id": file.stem,
        "path": str(file),
        "patient_id": case,
        "exam_id": slide,
        "cancer": cancer,
        "magnification": int(magnification),
        "diagnosis": diagnosis,
        "subtype": SUBTYPES[subtype],
        "group": case,
    }
