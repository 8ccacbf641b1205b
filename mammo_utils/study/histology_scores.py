"""What a histology network says of tiles: a table, and the scores of a run by tile and by patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mammo_utils import profile
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.study.results import text
from mammo_utils.study.tiles import CLASSES
from mammo_utils.synth.histology import SUBTYPES, VERSION
from mammo_utils.training.classes import Classes

MALIGNANT = np.array([SUBTYPES[name][1] for name in CLASSES], bool)


def told(found: Classes, table: pd.DataFrame) -> pd.DataFrame:
    """A row a tile: ``patient`` (a number), ``label``, ``probability`` of malignant and, for subtypes, more.

    A network of eight classes has the probability of all malignant ones; ``called`` is then the number of its
    likeliest subtype and ``kind``, where the table has it, that of its true one.
    """
    share = found.probability
    subtypes = share.shape[1] == len(CLASSES)
    frame = pd.DataFrame({"patient": found.patient, "label": table["cancer"].iloc[found.row].to_numpy(int)})
    frame["probability"] = share[:, MALIGNANT].sum(1) if subtypes else share[:, 1]
    if subtypes and "kind" in table:  # tiles from elsewhere may be benign or malignant and no more
        frame["kind"] = table["kind"].iloc[found.row].to_numpy(int)
    if subtypes:
        frame["called"] = share.argmax(1)
    return frame


def kept(settings: dict) -> Path:
    """The table of `told` that keeps what the arm's run with seed 0 says; beside it lie its weights."""
    name = "_".join(text(value) for value in settings.values())
    return profile.cache_dir() / f"histology_{VERSION}" / "trained" / f"{name}.csv"


def auc(tiles: pd.DataFrame) -> float:
    """Area under the ROC curve by tile."""
    return float(roc_auc(tiles["probability"].to_numpy(), tiles["label"].to_numpy()))


def by_patient(tiles: pd.DataFrame) -> pd.DataFrame:
    """A row a patient: her ``label`` and the mean ``probability`` of her tiles."""
    return tiles.groupby("patient")[["label", "probability"]].mean()


def scored(tiles: pd.DataFrame) -> dict[str, float]:
    """Scores of a table of `told`.

    ``accuracy``, ``sensitivity`` and ``specificity`` by tile at a probability of one half;
    ``accuracy_patient``: the share of a patient's tiles that are right, averaged over patients, as BreakHis
    defines it; ``roc_auc_patient`` by the mean over her tiles.  ``accuracy_subtype`` and ``balanced_subtype``
    (the mean over subtypes) where eight classes were learnt.

    Source: Spanhol 2016, 10.1109/TBME.2015.2496264 (recognition rate by patient).
    """
    label, called = tiles["label"].to_numpy(bool), tiles["probability"].to_numpy() >= 0.5
    right = pd.Series(called == label)
    people = by_patient(tiles)
    result = {
        "roc_auc": auc(tiles),
        "roc_auc_patient": float(roc_auc(people["probability"].to_numpy(), people["label"].to_numpy())),
        "accuracy": right.mean(),
        "accuracy_patient": right.groupby(tiles["patient"].to_numpy()).mean().mean(),
        "sensitivity": called[label].mean(),
        "specificity": (~called[~label]).mean(),
    }
    if "kind" in tiles:
        hit = tiles["kind"] == tiles["called"]
        result |= {
            "accuracy_subtype": hit.mean(),
            "balanced_subtype": hit.groupby(tiles["kind"]).mean().mean(),
        }
    return {name: float(value) for name, value in result.items()}


def confusion(tiles: pd.DataFrame) -> pd.DataFrame:
    """Share of the tiles of each subtype (rows) that were called each subtype (columns), 0–1."""
    counts = pd.crosstab(tiles["kind"], tiles["called"]).reindex(
        index=range(len(CLASSES)), columns=range(len(CLASSES)), fill_value=0
    )
    shares = counts.div(counts.sum(axis=1), axis=0)
    return shares.set_axis(CLASSES).set_axis(CLASSES, axis=1)
