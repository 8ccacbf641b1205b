"""The columns that every catalogue returns, and the checks of a data set's folder that all of them share."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs import masks

# Masks are named after the column: `breast_mask` becomes masks["breast"] in the cache.  The last three exist
# only where an image was drawn on by several hands, or where the muscle has a mask of its own.  `masks` says
# how a mask is named.
COLUMNS = {
    "dataset": "string",
    "image_id": "string",
    "path": "string",  # absolute, as are the paths of masks
    "patient_id": "string",
    "exam_id": "string",
    "laterality": "string",  # L, R
    "view": "string",  # CC, MLO, other
    "cancer": "Int64",  # 0, 1: of that breast
    "birads": "Int64",  # 0–6
    "density": "string",  # A–D
    "percent_density": "float64",  # 0–100
    "breast_mask": "string",
    "dense_mask": "string",
    "lesion_mask": "string",
    "boxes": "object",  # tuple of (row, column, row, column) in pixels of the file, end excluded; () if none
    "age": "Int64",  # years
    "site": "string",
    "machine": "string",
    "official_split": "string",
    "magnification": "Int64",
    "diagnosis": "string",
    "subtype": "string",
    "group": "string",  # must not cross a split
    "pectoral_mask": "string",
    "reader_A_mask": "string",
    "reader_B_mask": "string",
}
KNOWN = {"laterality": ("L", "R"), "view": ("CC", "MLO", "other"), "density": tuple("ABCD")}
KNOWN |= {"cancer": (0, 1), "birads": tuple(range(7))}
MASKS = [column for column in COLUMNS if column.endswith("_mask")]


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, for the error that says what is missing."""

    name: str
    title: str
    where: str
    licence: str


class CatalogError(ValueError):
    """A folder is not the data set that it should be; ``problems`` lists everything that is wrong with it."""

    def __init__(self, source: Source, root: Path, problems: list[str]):
        self.problems = list(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(
            f"{root} is not a complete copy of {source.title}:\n{listed}\n"
            f"Where to get it: {source.where}\nLicence: {source.licence}\n"
            f"The layout that is expected stands in data/README.md, section {source.name!r}."
        )


def read_tables(
    root, source: Source, *, tables: dict[str, list[str]], folders: dict[str, str], empty=(), separator=","
) -> dict:
    """Read a data set's tables as text, or raise one error that lists everything that is missing.

    ``tables`` maps a file below ``root`` to the columns it must have, ``folders`` maps a folder below
    ``root`` to a glob pattern that at least one of its files must match.  Tables in ``empty`` may have no
    rows.  Returns {file: DataFrame of strings}.

    Raises: ``CatalogError``.
    """
    root, found, problems = Path(root), {}, []
    if not root.is_dir():
        raise CatalogError(source, root, [f"the folder {root} does not exist"])
    for file, columns in tables.items():
        try:
            found[file] = pd.read_csv(root / file, sep=separator, dtype="string")
        except FileNotFoundError:
            problems.append(f"the table {file} is missing")
            continue
        except (
            OSError,
            ValueError,
        ) as error:  # pandas raises subclasses of ValueError for what it cannot parse
            problems.append(f"the table {file} cannot be read ({error})")
            continue
        absent = [column for column in columns if column not in found[file]]
        if absent:
            problems.append(f"the table {file} has no column {', '.join(absent)}")
        elif found[file].empty and file not in empty:
            problems.append(f"the table {file} has no rows")
    for folder, pattern in folders.items():
        if not (root / folder).is_dir():
            problems.append(f"the folder {folder}/ is missing")
        elif next((root / folder).glob(pattern), None) is None:
            problems.append(f"the folder {folder}/ holds no file {pattern}")
    if problems:
        raise CatalogError(source, root, problems)
    return found


def tidy(frame: pd.DataFrame, source: Source, root) -> pd.DataFrame:
    """The shared columns in the shared order, missing ones filled with NA, without images that are not on
    disk.

    ``cancer``, ``birads`` and ``percent_density`` may be text as the file has it.  A listed image that is
    absent is left out, an absent mask becomes NA; one warning counts both.

    Raises: ``CatalogError`` with every column that holds a value it cannot have (``KNOWN``, 0–100 percent,
    boxes of four numbers), when an image is listed twice or when no listed image exists.
    """
    root = Path(root)
    problems = [text for column in frame if (text := _unknown(column, frame[column]))]
    if frame["image_id"].duplicated().any():
        problems.append(f"{int(frame['image_id'].duplicated().sum())} images are listed more than once")
    if problems:
        raise CatalogError(source, root, problems)
    table = pd.DataFrame(index=range(len(frame)))
    for column, kind in COLUMNS.items():
        empty = float("nan") if kind == "float64" else pd.NA
        values = frame[column] if column in frame else [empty] * len(frame)
        known = [value if isinstance(value, tuple) or pd.notna(value) else empty for value in values]
        known = pd.Series(known, dtype="object")
        table[column] = (known if kind in ("string", "object") else pd.to_numeric(known)).astype(kind)
    table["dataset"] = pd.Series(source.name, index=table.index, dtype="string")

    there = _on_disk(table["path"])
    absent = list(table["path"][~there])
    table = table[there].reset_index(drop=True)
    if table.empty:
        raise CatalogError(source, root, [f"none of the {len(absent)} listed images is on disk"])
    for column in MASKS:
        lost = table[column].notna() & ~_on_disk(table[column])
        absent += list(table.loc[lost, column])
        table.loc[lost, column] = pd.NA
    if absent:
        # File names only: the folders of some data sets are named after their patients.
        examples = ", ".join(Path(path).name for path in absent[:3] if pd.notna(path))
        warnings.warn(
            f"{source.name}: {len(absent)} listed files are not on disk and are left out, e.g. {examples}; "
            "complete the download if you need them",
            stacklevel=3,
        )
    return table


def _unknown(column: str, values: pd.Series) -> str:
    """What is wrong with the values of a column, in words; empty where nothing is."""
    values = values[[isinstance(value, tuple) or pd.notna(value) for value in values]].astype("object")
    if column == "boxes":
        good, wanted = values.map(_are_boxes), "four numbers a box"
    elif column == "percent_density":
        good, wanted = pd.to_numeric(values, errors="coerce").between(0, 100), "0 to 100"
    elif column in KNOWN:
        numbers = COLUMNS[column] == "Int64"
        good = (pd.to_numeric(values, errors="coerce") if numbers else values).isin(KNOWN[column])
        wanted = ", ".join(map(str, KNOWN[column]))
    else:
        return ""
    bad = values[~good.astype(bool)]
    examples = ", ".join(sorted({repr(value) for value in bad})[:3])
    return f"{len(bad)} images have {column} {examples}; it can be {wanted}" if len(bad) else ""


def _are_boxes(boxes) -> bool:
    try:
        return all(len(box) == 4 and all(map(math.isfinite, box)) for box in boxes)
    except TypeError:
        return False


def _on_disk(paths: pd.Series) -> pd.Series:
    there = [
        pd.notna(path) and all(os.path.isfile(file) for file, _ in masks.files_of(path)) for path in paths
    ]
    return pd.Series(there, index=paths.index, dtype=bool)


def integer(values: pd.Series) -> pd.Series:
    """Whole numbers written as ``61`` or ``61.0``, as Int64; anything else becomes NA.

    >>> integer(pd.Series(["61", "61.0", None])).tolist()
    [61, 61, <NA>]
    """
    return pd.to_numeric(values.astype("string"), errors="coerce").astype("Float64").round().astype("Int64")


def last_word(values: pd.Series, pattern: str) -> pd.Series:
    """The last match of ``pattern`` in each text, such as B in ``DENSITY B``; NA where there is none.

    >>> last_word(pd.Series(["DENSITY B", None]), "[A-D]").tolist()
    ['B', <NA>]
    """
    expression = re.compile(rf"(?:.*[^A-Za-z0-9])?({pattern})\s*")
    return values.astype("string").str.extract(rf"^{expression.pattern}$", expand=False)


def write(table: pd.DataFrame, path) -> Path:
    """Write a tidy table as CSV (boxes as JSON); the file appears whole or not at all."""
    path = Path(path)
    text = table.copy()
    if "boxes" in text:
        text["boxes"] = [json.dumps(boxes) if isinstance(boxes, tuple) else None for boxes in text["boxes"]]
    temporary = path.with_name(path.name + ".part")
    text.to_csv(temporary, index=False, lineterminator="\n")
    os.replace(temporary, path)
    return path


def read(path) -> pd.DataFrame:
    """Read a table that ``write`` wrote, with the same types."""
    header = pd.read_csv(path, nrows=0).columns
    table = pd.read_csv(path, dtype={name: "string" for name in header if name in COLUMNS or name == "split"})
    for column, kind in COLUMNS.items():
        if column in table and column != "boxes":
            table[column] = table[column].astype(kind)
    if "boxes" in table:
        parsed = [pd.NA if pd.isna(b) else tuple(tuple(box) for box in json.loads(b)) for b in table["boxes"]]
        table["boxes"] = pd.Series(parsed, dtype="object", index=table.index)
    return table
