"""Exhibits of the density work.  Its full text could not be reached: none of its own tables was found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mammo_utils.evaluation import intervals, seeds
from mammo_utils.models import inspect
from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import architecture_results, exhibits, losses_study, pretrainings
from mammo_utils.show.figures import sources as origins
from mammo_utils.show.figures import strategies_results as tunings
from mammo_utils.show.figures.architecture_results import bars
from mammo_utils.show.figures.losses import COLOURS
from mammo_utils.show.figures.losses_cases import NAMES
from mammo_utils.study import claims, strategies
from mammo_utils.study.claims.density import CNN, TRANSFORMER, WORK
from mammo_utils.study.encoders import LARGE, SEEDS, SMALL
from mammo_utils.study.exhibits.registry import OVER_SEEDS, Exhibit, Made, level, percent, stacked
from mammo_utils.study.losses import LAM
from mammo_utils.study.phantoms import WOMEN

ABSENT = "its own table or figure was not found"
AGAINST = {SMALL: "none", LARGE: "imagenet"}  # what the gains of each network are over
NESTS = {"imagenet": None, "imagenet+multiview": SEEDS}
DECIDED = percent(level(WORK, "architectures"))
GREY = f"grey: ±{claims.DELTA['dice']:g}, which does not matter"
SCORED = f"scored on {WOMEN['test']} women"


def architectures(tables: Mapping) -> Made:
    runs, at = tables["architectures"], level(WORK, "architectures")
    arms = {"arm": "model", "first": CNN, "second": TRANSFORMER, "level": at}
    two = runs[runs["model"].isin([CNN, TRANSFORMER])]
    gains = seeds.slopes(two, "dice", arm="model")
    rates = seeds.means(gains, "slope", ["model"])
    rates.loc["transformer minus CNN"] = seeds.contrasts(gains, "slope", **arms).iloc[0]
    parts = {
        "Dice": bars(runs, "dice", ["model", "labels"]),
        "Dice, transformer minus CNN": seeds.contrasts(runs, "dice", by="labels", **arms),
        "Dice a doubling of labels": rates,
    }
    return Made(stacked(parts), architecture_results.label_efficiency(runs, CNN, TRANSFORMER, level=at))


def classes(tables: Mapping) -> Made:
    images = tables["architectures_images"]
    images = images.assign(group=images["image_id"].str.split("_").str[0])
    images["error"] = images["predicted"] - images["truth"]
    rows = []
    for (arm, grade), own in images.groupby(["arm", "density"], sort=False):
        if own["group"].nunique() > 1:
            for value in ("dice", "error"):
                found = intervals.bootstrap(np.mean, own[value], groups=own["group"], n=200)
                about = {"arm": arm, "density": grade, "women": own["group"].nunique(), "value": value}
                rows.append(about | found._asdict())
    return Made(pd.DataFrame(rows), architecture_results.by_density(images))


def cost(tables: Mapping) -> Made:
    runs = tables["architectures"]
    most = runs[runs["labels"] == runs["labels"].max()]
    (size,) = most["size"].unique()
    made = {name: inspect.cost(build(name, size=int(size)), int(size)) for name in most["model"].unique()}
    costs = pd.DataFrame(made).T
    spent = most.groupby("model")[["train_seconds", "memory_mib"]].min()
    numbers = bars(most, "dice", ["model"]).join(costs[["parameters", "flops"]]).join(spent)
    return Made(stacked({"Dice": numbers}), architecture_results.accuracy_against_cost(most, costs))


def sources(tables: Mapping) -> Made:
    runs, parts = tables["sources"], {}
    for model, base in AGAINST.items():
        own, options = runs[runs["model"] == model], {"by": ["model", "source", "labels"], "nests": SEEDS}
        parts[f"Dice, {model}"] = bars(own, "dice", **options)
        paired = origins.gains(own, "dice", against=base)
        parts[f"Dice minus that of {origins.called(base)}, {model}"] = bars(paired, "gain", **options)
    figure = origins.label_efficiency(runs, against=AGAINST, delta=claims.DELTA["dice"], pretrainings=SEEDS)
    return Made(stacked(parts), figure)


def sources_cost(tables: Mapping) -> Made:
    runs, probed = tables["sources"], pretrainings.sourced(tables["encoders"])
    one = runs[(runs["model"] == SMALL) & (runs["labels"] == 64) & (runs["seed"] < SEEDS)]
    found = pretrainings.spent(one, probed[probed["model"] == SMALL], tables["encoders_cost"])
    counted = one.groupby("source")["seed"].nunique().rename("seeds")
    return Made(found.rename_axis("source").join(counted).reset_index(), pretrainings.cost(found))


def _tuned(runs: pd.DataFrame) -> pd.DataFrame:
    return tunings.usual(runs, strategies.RANK)[lambda own: own["source"].isin(NESTS)]


def tuning(tables: Mapping) -> Made:
    runs, parts = _tuned(tables["strategies"]), {}
    for source, nests in NESTS.items():
        own, options = (
            runs[runs["source"] == source],
            {"by": ["source", "strategy", "labels"], "nests": nests},
        )
        parts[f"Dice, from {origins.called(source)}"] = bars(own, "dice", **options)
        paired = origins.gains(own, "dice", against="full", arm="strategy")
        parts[f"Dice minus that of full, from {origins.called(source)}"] = bars(paired, "gain", **options)
    figure = tunings.label_efficiency(runs, delta=claims.DELTA["dice"], nests=NESTS)
    return Made(stacked(parts), figure)


def _most(runs: pd.DataFrame) -> pd.DataFrame:
    own = _tuned(runs)
    return own[(own["source"] == strategies.DECISIVE_SOURCE) & (own["labels"] == max(strategies.LABELS))]


def tuning_away(tables: Mapping) -> Made:
    runs = _most(tables["strategies"]).assign(lost=lambda own: own["dice"] - own["dice_shifted"])
    values = {"Dice": "dice", "Dice away": "dice_shifted", "Dice lost on the way": "lost"}
    parts = {name: bars(runs, value, ["strategy"]) for name, value in values.items()}
    return Made(stacked(parts), tunings.domains(runs, nests=None))


def tuning_cost(tables: Mapping) -> Made:
    runs = _most(tables["strategies"])
    groups = runs.groupby("strategy")
    spent = groups.agg({"trainable_encoder": "mean", "train_seconds": "min", "epochs_95": "mean"})
    numbers = stacked({"Dice": bars(runs, "dice", ["strategy"]).join(spent)})
    return Made(numbers, tunings.cost(runs, nests=None))


def losses(tables: Mapping) -> Made:
    runs = losses_study.main(tables["losses"], lam=LAM)
    values = {"Dice": "dice", "MAE of density (points)": "mae", "bias of density (points)": "bias"}
    values["Spearman with the classes"] = "spearman"
    panels = {label: bars(runs, value, ["loss"]) for label, value in values.items()}
    return Made(stacked(panels), exhibits.dots(panels, names=NAMES, colours=COLOURS))


def weight(tables: Mapping) -> Made:
    runs = tables["losses"]
    runs = runs[(runs["target"] == "reader_A") & (runs["seed"] < 3)]
    runs = runs[runs["loss"].isin(["bce_dice", "hybrid_density"])]
    runs = losses_study.shared(runs, "loss", "lam")
    means = {value: runs.groupby(["loss", "lam"], dropna=False)[value] for value in ("dice", "mae", "bias")}
    parts = {
        value: own.agg(estimate="mean", low="min", high="max", seeds="size") for value, own in means.items()
    }
    return Made(stacked(parts), losses_study.weights(runs))


EXHIBITS = (
    Exhibit(
        "density_architectures",
        WORK,
        "Dense tissue: Dice of six networks of every family over the number of labels, from random weights.",
        ("architectures",),
        architectures,
        f"the abstract's ranking of backbones (CNN, transformer, SAM-like); {ABSENT}",
        f"{OVER_SEEDS}; differences: {DECIDED}, {GREY}; from random weights: inductive bias only",
        SCORED,
    ),
    Exhibit(
        "density_classes",
        WORK,
        "Dense tissue: too much or nearly none? Dice and error of density in the four density classes.",
        ("architectures_images", "architectures"),
        classes,
        "the summary's words that transformers drew far too much or nearly nothing; " + ABSENT,
        "one network an arm (seed 0, 256 labels); women: of a class; bars: 95 % bootstrap intervals by woman",
    ),
    Exhibit(
        "density_cost",
        WORK,
        "Dense tissue: accuracy over what a network costs in parameters, operations, seconds and memory.",
        ("architectures",),
        cost,
        "the trade of accuracy for hours on a GPU, which the abstract mentions; " + ABSENT,
        f"{OVER_SEEDS}; cost: the least over the runs, on two cores",
        SCORED,
    ),
    Exhibit(
        "density_sources",
        WORK,
        "Dense tissue: what first weights bring, by labels, and in pairs over random or ImageNet weights.",
        ("sources",),
        sources,
        "the comparison of SimCLR, Barlow Twins, masked images and multi-view with ImageNet; " + ABSENT,
        f"{OVER_SEEDS}, nested in pretrainings; {GREY}",
        SCORED,
    ),
    Exhibit(
        "density_sources_cost",
        WORK,
        "Dense tissue: minutes of pretraining and fine-tuning of each source, and the Dice they lead to.",
        ("sources", "encoders", "encoders_cost"),
        sources_cost,
        "the hours on a GPU of each pretraining, which the paper counts; " + ABSENT,
        "Dice: mean of the seeds, no interval; minutes: on two cores, from the speed of each method",
        SCORED,
    ),
    Exhibit(
        "density_strategies",
        WORK,
        "Dense tissue: eight ways to fine-tune with 16 and 64 labels, and in pairs against full fine-tuning.",
        ("strategies",),
        tuning,
        "the comparison of full, layer-wise and parameter-efficient updates; " + ABSENT,
        f"{OVER_SEEDS}; {GREY}",
        SCORED,
    ),
    Exhibit(
        "density_strategies_away",
        WORK,
        "Dense tissue: the eight strategies from ImageNet on women of another vendor and site, 64 labels.",
        ("strategies",),
        tuning_away,
        "no published exhibit: our own question",
        scored=f"{SCORED} at home and {strategies.AWAY} away",
    ),
    Exhibit(
        "density_strategies_cost",
        WORK,
        "Dense tissue: Dice of the eight strategies over what changes, seconds and epochs, 64 labels.",
        ("strategies",),
        tuning_cost,
        "the cost of the fine-tuning strategies; " + ABSENT,
        f"{OVER_SEEDS}; seconds: the least over the runs, on two cores",
        SCORED,
    ),
    Exhibit(
        "density_losses",
        WORK,
        "Dense tissue: overlap, error and rank of density after training with each of six losses.",
        ("losses",),
        losses,
        "the hybrid loss against others (MAE 14.8 → 11.8 points, Spearman 0.42 → 0.51 with multi-view); "
        + ABSENT,
        "thin bars: range of the runs",
        SCORED,
    ),
    Exhibit(
        "density_losses_weight",
        WORK,
        "Dense tissue: overlap and density over the weight λ of the density term of the hybrid loss.",
        ("losses",),
        weight,
        "the weights of the hybrid loss, which were not found",
        "grey points: single runs, line: their mean, no interval; green: BCE + Dice, without the term",
        SCORED,
    ),
)
