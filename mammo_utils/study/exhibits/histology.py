"""Exhibits of the histology work.  Its full text could not be reached: none of its own tables was found."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammo_utils.models import se_densenet
from mammo_utils.models.classification import build
from mammo_utils.models.se_densenet import CLAIMED_MEGABYTES, CLAIMED_PARAMETERS, megabytes
from mammo_utils.show.figures import exhibits
from mammo_utils.show.figures import histology as figures
from mammo_utils.show.figures.architecture_results import bars
from mammo_utils.show.figures.histology_study import ladder
from mammo_utils.show.figures.sources import gains
from mammo_utils.study.claims.histology import WORK
from mammo_utils.study.claims.rule import DELTA
from mammo_utils.study.exhibits.registry import OVER_SEEDS, Exhibit, Made, stacked
from mammo_utils.study.histology import arm
from mammo_utils.study.histology_scores import CLASSES
from mammo_utils.study.histology_studies import DECISIVE, PLAIN
from mammo_utils.study.tiles import COHORTS
from mammo_utils.synth.histology import REGIMES, SUBTYPES

ABSENT = "its own table or figure was not found"
STAINS = {"none": "as scanned", "normalise": "normalised", "augment": "varied", "both": "both"}
GATES = {
    "no gates": PLAIN,
    "a gate a block": {},
    "the same, as published at the start": {"gates": "sigmoid"},
    "a gate a layer": {"position": "layer"},
}
GREY = f"grey: ±{DELTA['roc_auc']:g}, which does not matter"
SCORED = "scored on {} patients, {} tiles of each at a magnification".format(*COHORTS["test"])
KINDS = ", ".join(f"{key} {name.replace('_', ' ')}" for key, (name, *_) in SUBTYPES.items())
PRETRAININGS = len(DECISIVE.seeds)  # every seed has its own


def like(runs: pd.DataFrame, *free: str, **changes) -> pd.DataFrame:
    """The runs of the published system with ``changes``, whatever the settings ``free`` and the rate are."""
    for name, value in arm(**changes).items():
        if name not in ("lr", *free):
            runs = runs[runs[name] == value]
    return runs


def levels(tables: Mapping) -> Made:
    runs = like(tables["histology"], "source")
    own = {"by": ["source"], "nests": PRETRAININGS}
    paired = gains(runs, "roc_auc", against="none")
    parts = {"ROC-AUC": bars(runs, "roc_auc", **own), "minus no transfer": bars(paired, "gain", **own)}
    return Made(stacked(parts), ladder(runs, pretrainings=PRETRAININGS))


def stains(tables: Mapping) -> Made:
    runs = like(tables["histology"], "regime", "stains")
    names = {
        f"{regime}/{way}": f"colour {regime}, {said}" for regime in REGIMES for way, said in STAINS.items()
    }
    runs = runs.assign(arm=runs["regime"] + "/" + runs["stains"])
    base = runs[runs["stains"] == "none"].set_index(["regime", "seed"])["roc_auc"].rename("base")
    paired = runs[runs["stains"] != "none"].join(base, on=["regime", "seed"]).dropna(subset=["base"])
    paired = paired.assign(gain=paired["roc_auc"] - paired["base"])
    change = "minus as scanned, same seeds"
    panels = {"ROC-AUC by tile": bars(runs, "roc_auc", ["arm"]), change: bars(paired, "gain", ["arm"])}
    return Made(stacked(panels), exhibits.dots(panels, names=names, deltas={change: DELTA["roc_auc"]}))


def magnifications(tables: Mapping) -> Made:
    runs = like(tables["histology"], "magnification", tested="all")
    columns = [f"roc_auc_{power}" for power in figures.POWERS]
    groups = runs.groupby("magnification")[columns]
    numbers = groups.mean().assign(seeds=groups.size()).reset_index()
    return Made(numbers, figures.across(runs))


def subtypes(tables: Mapping) -> Made:
    numbers = tables["histology_subtypes"]
    shares = numbers.pivot(index="kind", columns="called", values="share").loc[list(CLASSES), list(CLASSES)]
    return Made(numbers[["kind", "called", "share"]], figures.confusion(shares))


def gates(tables: Mapping) -> Made:
    runs = {name: like(tables["histology"], **changes) for name, changes in GATES.items()}
    every = pd.concat([own.assign(arm=name) for name, own in runs.items()])
    values = {"ROC-AUC by tile": "roc_auc", "accuracy by patient": "accuracy_patient"}
    panels = {label: bars(every, value, ["arm"]) for label, value in values.items()}
    return Made(stacked(panels), exhibits.dots(panels, names={name: name for name in GATES}))


def size(tables: Mapping) -> Made:
    described = CLAIMED_MEGABYTES / megabytes(1)
    rows = {"1,068,993 parameters, as published": CLAIMED_PARAMETERS, "84.7 MB, as published": described}
    for name in (*se_densenet.LARGE, *(f"se_{name}" for name in se_densenet.LARGE)):
        network = build(name, size=96, channels=3)
        rows[f"{name}, one output"] = sum(weight.numel() for weight in network.parameters())
    numbers = pd.DataFrame({"parameters": rows})
    numbers["megabytes"] = megabytes(numbers["parameters"])
    figure = exhibits.sizes(numbers, claimed=CLAIMED_MEGABYTES)
    return Made(numbers.rename_axis("network").reset_index(), figure)


EXHIBITS = (
    Exhibit(
        "histology_levels",
        WORK,
        "Histology: transfer level by level, and in pairs against none.",
        ("histology",),
        levels,
        f"multi-level against single-level transfer and the comparison of sources left open; {ABSENT}",
        f"{OVER_SEEDS}; {GREY}",
        SCORED,
    ),
    Exhibit(
        "histology_gates",
        WORK,
        "Histology: squeeze-and-excitation, its start and its place, against the plain network.",
        ("histology",),
        gates,
        "the ablation of squeeze-and-excitation that the authors left open; none was found",
        scored=SCORED,
    ),
    Exhibit(
        "histology_stains",
        WORK,
        "Histology: what handling of stains does where colour is irrelevant, confounded or diagnostic.",
        ("histology",),
        stains,
        f"colour normalisation, used without an ablation; {ABSENT}",
        f"{OVER_SEEDS}; {GREY}",
        SCORED,
    ),
    Exhibit(
        "histology_magnifications",
        WORK,
        "Histology: learnt at one magnification, tested at each.",
        ("histology",),
        magnifications,
        "the results by magnification that the authors left open; no table was found",
        "means of the seeds, no interval",
        SCORED,
    ),
    Exhibit(
        "histology_subtypes",
        WORK,
        "Histology: what tiles of each of eight subtypes were called.",
        ("histology_subtypes", "histology"),
        subtypes,
        "the classification of subtypes that the authors left open",
        f"one network (seed 0); shares of a row, no interval; the first four are benign: {KINDS}",
        SCORED,
    ),
    Exhibit(
        "histology_size",
        WORK,
        "Histology: the two published sizes cannot describe one network in float32.",
        (),
        size,
        "'Model size is 84.7MB with 1,068,993 parameters'",
        "four bytes a parameter; DenseNets of timm with and without gates beside them",
    ),
)
