"""INbreast (Moreira et al. 2012, doi 10.1016/j.acra.2011.09.014): 410 digital mammograms with outlined
lesions."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from mammo_utils.data import contours
from mammo_utils.data.catalogs.table import CatalogError, Source, read_tables, tidy
from mammo_utils.data.header import ImageReadError

SOURCE = Source(
    name="inbreast",
    title="INbreast",
    where="on request from INESC Porto, whose page has been down for years; mirrored on kaggle.com",
    licence="research use; the text of the licence could not be found",
)
RELEASE, TABLE = "INbreast Release 1.0", "INbreast.csv"
COLUMNS = ["Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads"]
# Number of the image, hash of the woman; side and view follow, which the table knows better (ML is MLO).
NAME = re.compile(r"(\d+)_([0-9a-f]{16})_.*\.dcm", re.IGNORECASE)


def load(root) -> pd.DataFrame:
    """The tidy table of INbreast, in ``root`` or in its folder ``INbreast Release 1.0``.

    The table says "removed" for every woman; who she is stands in the name of the file, as a hash, and that
    is ``group``.  A visit is the woman and the month.  There is no pathology: ``cancer`` stays NA.  A study
    that needs a label may take ``birads >= 4`` and say so; 4a, 4b and 4c are 4 here.  The view FB becomes
    ``other``, a blank ACR class NA.  ``lesion_mask`` is the file of outlines, which only images with a
    finding have; ``boxes`` are around the outlines, () without any.

    Raises: ``CatalogError``.
    """
    root = Path(root).absolute()
    home = root / RELEASE if (root / RELEASE).is_dir() else root
    folders = {"AllDICOMs": "*.dcm", "AllXML": f"*{contours.SUFFIX}"}
    tables = read_tables(home, SOURCE, tables={TABLE: COLUMNS}, folders=folders, separator=";")
    listed = tables[TABLE][COLUMNS].apply(lambda column: column.str.strip()).replace("", pd.NA)
    image = listed["File Name"]

    files = {
        found[1]: file for file in (home / "AllDICOMs").iterdir() if (found := NAME.fullmatch(file.name))
    }
    women = {number: NAME.fullmatch(file.name)[2].lower() for number, file in files.items()}
    paths = [str(files.get(number, home / "AllDICOMs" / f"{number}_*.dcm")) for number in image]
    woman = image.map(women).astype("string")
    outlines, boxes = _outlines(home, image)
    frame = pd.DataFrame(
        {
            "image_id": image,
            "path": paths,
            "patient_id": woman,
            "exam_id": woman + "-" + listed["Acquisition date"],
            "laterality": listed["Laterality"],
            "view": listed["View"].where(listed["View"].isin(["CC", "MLO"]), "other"),
            "birads": listed["Bi-Rads"].str.replace(r"^4[abc]$", "4", regex=True),
            "density": listed["ACR"].replace(dict(zip("1234", "ABCD", strict=True))),
            "lesion_mask": outlines,
            "boxes": boxes,
            "group": woman,
        }
    )
    return tidy(frame, SOURCE, root)


def _outlines(home: Path, images) -> tuple[list[str | None], list[tuple]]:
    """The file of outlines of each image, None where there is none, and the boxes around its regions."""
    files, boxes, problems = [], [], []
    for number in images:
        file = home / "AllXML" / f"{number}{contours.SUFFIX}"
        files.append(str(file) if file.is_file() else None)
        try:
            boxes.append(contours.boxes(file) if file.is_file() else ())
        except ImageReadError as error:
            problems.append(f"AllXML/{file.name}: {error.reason}")
    if problems:
        raise CatalogError(SOURCE, home, problems)
    return files, boxes
