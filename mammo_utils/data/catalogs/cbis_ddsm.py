"""CBIS-DDSM (Lee et al. 2017, doi 10.1038/sdata.2017.177): 3,103 digitised films with proven lesions."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pydicom

from mammo_utils.data.catalogs.masks import united
from mammo_utils.data.catalogs.table import CatalogError, Source, read_tables, tidy

SOURCE = Source(
    name="cbis_ddsm",
    title="CBIS-DDSM",
    where="The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2016.7O02S9CY (NBIA Data Retriever, 164 GB)",
    licence="CC BY 3.0",
)
FOLDER = "CBIS-DDSM"
FULL, CROP, MASK = (f"{what} file path" for what in ("image", "cropped image", "ROI mask"))
DENSITY = {"mass": "breast_density", "calc": "breast density"}
SHARED = ["patient_id", "left or right breast", "image view", "abnormality id", "abnormality type"]
SHARED += ["assessment", "pathology", FULL, CROP, MASK]
TABLES = {
    f"{kind}_case_description_{part}_set.csv": (kind, part) for kind in DENSITY for part in ("train", "test")
}
WORST = ["BENIGN_WITHOUT_CALLBACK", "BENIGN", "MALIGNANT"]


def load(root) -> pd.DataFrame:
    """The tidy table of CBIS-DDSM, the four tables of cases beside the folder ``CBIS-DDSM``.

    One row a mammogram, as `images` makes it.  A file is looked for in the folder of its case, whatever it is
    called there: the names in the tables are not those that the downloader gives, and crop and mask are
    swapped for some cases.  The mask of a lesion is the file in its folder that has as many pixels as the
    mammogram.  ``lesion_mask`` is the union over the lesions of an image, and NA, counted in a warning, where
    the mask of one of them is not of the mammogram's size or not there.

    Raises: ``CatalogError``.
    """
    root = Path(root).absolute()
    wanted = {file: [*SHARED, DENSITY[kind]] for file, (kind, _) in TABLES.items()}
    folders = {FOLDER: "*_P_*/**/*.dcm"}
    tables = read_tables(root, SOURCE, tables=wanted, folders=folders, empty=list(TABLES))
    unknown = {word for table in tables.values() for word in table["pathology"] if word not in WORST}
    if unknown:
        named = ", ".join(sorted(map(repr, unknown))[:3])
        raise CatalogError(SOURCE, root, [f"pathology {named}; it can be {', '.join(WORST)}"])
    frame = images(tables)
    listed, frame["path"] = frame["path"], [_first(root / FOLDER / case) for case in frame["image_id"]]
    masks = [
        _masks(root / FOLDER, case, lesions, path) if path else None
        for case, lesions, path in zip(frame["image_id"], frame.pop("lesions"), frame["path"], strict=True)
    ]
    frame["lesion_mask"] = masks
    lost = int(frame["lesion_mask"].isna().sum() - frame["path"].isna().sum())
    if lost:
        warnings.warn(
            f"cbis_ddsm: {lost} images have a lesion without a mask of the image's size; they stay without a "
            "lesion_mask",
            stacklevel=3,
        )
    frame["path"] = frame["path"].fillna(str(root / FOLDER) + "/" + listed)
    return tidy(frame, SOURCE, root)


def images(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a mammogram out of the four tables, which have one a lesion and view.

    ``cancer`` is of the breast: a lesion that was malignant in the other view or in the other pair of tables
    counts.  ``diagnosis`` is the worst of this image alone, ``subtype`` what was outlined in it, ``birads``
    the highest assessment, density 0 is NA.  A view with both masses and calcifications is two images, whose
    pixels are the same film.

    Masses and calcifications were split apart, so that some women are in the training set of one and in the
    test set of the other.  ``official_split`` leaves the test set as it was published; the training images
    of its women are in neither part (NA).

    ``path`` is the published name of the file, ``lesions`` the published numbers of its lesions.
    """
    parts = [
        table.rename(columns={DENSITY[kind]: "density"}).assign(part=part)
        for (kind, part), table in ((TABLES[file], table) for file, table in tables.items())
    ]
    rows = pd.concat(parts, ignore_index=True)
    # A line break ends one of the quoted paths of every row.
    rows[FULL] = rows[FULL].str.strip()
    rows["image_id"] = rows[FULL].str.split("/").str[0]
    rows["malignant"] = (rows["pathology"] == "MALIGNANT").astype("Int64")
    rows["cancer"] = rows.groupby(["patient_id", "left or right breast"])["malignant"].transform("max")
    rows["worst"] = pd.Categorical(rows["pathology"], WORST, ordered=True).codes
    tested = rows.loc[rows["part"] == "test", "patient_id"]
    rows["part"] = rows["part"].mask((rows["part"] == "train") & rows["patient_id"].isin(tested))

    one = rows.groupby("image_id", sort=False)
    first = one.first()
    return pd.DataFrame(
        {
            "path": first[FULL],
            "lesions": one["abnormality id"].agg(list),
            "patient_id": first["patient_id"],
            "laterality": first["left or right breast"].str[0],
            "view": first["image view"],
            "cancer": first["cancer"],
            "birads": one["assessment"].max(),
            "density": first["density"].replace(dict(zip("01234", [pd.NA, *"ABCD"], strict=True))),
            "official_split": first["part"],
            "diagnosis": one["worst"].max().map(dict(enumerate(map(str.lower, WORST)))),
            "subtype": first["abnormality type"],
            "group": first["patient_id"],
        }
    ).reset_index()


def _first(folder: Path) -> str | None:
    return next((str(file) for file in sorted(folder.rglob("*.dcm"))), None)


def _masks(folder: Path, case: str, lesions: list[str], image: str) -> str | None:
    """The masks of all lesions of an image together; None where one of them is not to be found."""
    shape = _shape(image)
    found = []
    for number in lesions:
        files = sorted((folder / f"{case}_{number}").rglob("*.dcm"))
        found.append(next((str(file) for file in files if shape and _shape(file) == shape), None))
    return united(found) if all(found) else None


def _shape(path) -> tuple[int, int] | None:
    """(rows, columns) as the header says, None for a file without."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Rows), int(header.Columns)
    except Exception:  # only pydicom's parser runs here; the decoder will name the damage
        return None
