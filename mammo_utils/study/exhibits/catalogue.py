"""Exhibits of one data set on disk: counts of its catalogue, without a training.

Only counts are drawn and written, never an identifier or a path.
"""

from __future__ import annotations

import pandas as pd

from mammo_utils.evaluation.implied import all_negative
from mammo_utils.show.figures import exhibits
from mammo_utils.study.exhibits.registry import Made

COUNTED = {
    "laterality": "side",
    "view": "view",
    "density": "density class",
    "birads": "BI-RADS",
    "cancer": "cancer",
    "official_split": "official split",
    "magnification": "magnification",
    "diagnosis": "diagnosis",
    "subtype": "subtype",
}
MOST = 12  # values of a column that is counted
UNITS = {
    "image": ["image_id"],
    "breast": ["patient_id", "laterality"],
    "woman": ["patient_id"],
}

NOTE = "Data: {}, a copy of the reader's own, counted from its catalogue · no training, no seeds, no interval"


def counts(name: str, table: pd.DataFrame) -> Made:
    """Images by every column that the data set fills with few values."""
    panels = {}
    for column, said in COUNTED.items():
        own = table[column].dropna().value_counts().sort_index()
        if 0 < len(own) <= MOST:
            panels[said] = own
    if not panels:
        raise ValueError(f"{name} fills none of the columns {', '.join(COUNTED)}: nothing to count")
    rows = [
        {"column": said, "value": value, "images": number}
        for said, own in panels.items()
        for value, number in own.items()
    ]
    women = table["patient_id"].nunique()
    title = f"Data set {name}: {len(table):,} images of {women:,} patients, by what its tables say."
    known = {said: own.sum() for said, own in panels.items()}
    named = {said: f"{said}, known of {count:,}" for said, count in known.items() if count < len(table)}
    figure = exhibits.counts({named.get(said, said): own for said, own in panels.items()})
    return Made(pd.DataFrame(rows), exhibits.captioned(figure, title, NOTE.format(name)))


def prevalence(name: str, table: pd.DataFrame) -> Made:
    """Share of positives by image, breast and woman, their weight, and what calling none of them reaches."""
    known = table.dropna(subset=["cancer"])
    rows = []
    for unit, keys in UNITS.items():
        own = known.dropna(subset=keys)
        if own.empty:
            continue
        label = own.groupby(keys)["cancer"].max() if unit != "image" else own["cancer"]
        positive = int(label.sum())
        rows.append({"unit": unit, "cases": len(label), "positive": positive})
    numbers = pd.DataFrame(rows)
    if numbers.empty or not numbers["positive"].all():
        raise ValueError(f"{name} has no case with a label of cancer: no prevalence")
    numbers["prevalence"] = numbers["positive"] / numbers["cases"]
    numbers["pos_weight"] = numbers["cases"] / numbers["positive"] - 1
    pairs = zip(numbers["positive"], numbers["cases"], strict=True)
    numbers["accuracy_all_negative"] = [all_negative(*pair) for pair in pairs]
    panels = {
        row["unit"]: pd.Series({"cancer": row["positive"], "none": row["cases"] - row["positive"]})
        for row in rows
    }
    title = f"Data set {name}: how rare cancer is, by image, by breast and by woman."
    return Made(numbers, exhibits.captioned(exhibits.counts(panels, unit="cases"), title, NOTE.format(name)))


OF_DATA = {"data_counts": counts, "data_prevalence": prevalence}
