"""Phantom women written by `mammo_utils.synth.exams.write(..., layout="phantom")`, with every truth."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from mammo_utils.data.catalogs.table import MASKS, Source, integer, read_tables, tidy

SOURCE = Source(
    name="phantom",
    title="phantom mammograms",
    where='mammo_utils.synth.exams.write(root, patients, layout="phantom") makes them',
    licence="as this package; no patient data",
)
REQUIRED = ["image_id", "path", "patient_id", "exam_id", "laterality", "view", "cancer", "birads", "density"]
REQUIRED += ["percent_density", "boxes", "age", "machine", "cohort", *MASKS]


def load(root) -> pd.DataFrame:
    """The tidy table of a folder of phantom women; ``official_split`` is the cohort of the woman."""
    root = Path(root).absolute()
    tables = read_tables(root, SOURCE, tables={"phantom.csv": REQUIRED}, folders={"images": "*.dcm"})
    frame = tables["phantom.csv"]
    for column in ["path", *MASKS]:
        frame[column] = str(root) + "/" + frame[column]
    frame["age"] = integer(frame["age"])
    frame["boxes"] = pd.Series([_boxes(text) for text in frame["boxes"]], dtype="object")
    return tidy(frame.assign(official_split=frame["cohort"], group=frame["patient_id"]), SOURCE, root)


def _boxes(text):
    """The boxes of an image; the text itself where it holds none, for the error that names it."""
    try:
        return tuple(map(tuple, json.loads(text)))
    except (TypeError, ValueError):
        return text
