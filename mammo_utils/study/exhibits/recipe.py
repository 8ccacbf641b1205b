"""Exhibits of the density recipe taken apart, and of the claims of all works."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammo_utils.evaluation.intervals import nested_t
from mammo_utils.show.figures import BLUE, RED, exhibits
from mammo_utils.show.figures.architecture_results import bars
from mammo_utils.study import claims
from mammo_utils.study.claims.density import WORK
from mammo_utils.study.claims_command import flat
from mammo_utils.study.encoders import LARGE, SEEDS
from mammo_utils.study.exhibits.registry import OVER_SEEDS, Exhibit, Made, percent, stacked
from mammo_utils.study.ingredients import INGREDIENTS, RECIPE
from mammo_utils.study.phantoms import WOMEN

SAID = {
    "imagenet": "ImageNet",
    "imagenet+multiview": "multi-view",
    "lora": "LoRA",
    "full": "full",
    "bce_dice": "BCE + Dice",
    "hybrid_density": "hybrid",
    "none": "random weights",
}
METRICS = {"mae": "MAE of density (points)", "spearman": "Spearman with the classes", "dice": "Dice"}
DELTAS = {"mae": claims.DELTA["mae"], "spearman": 0.05, "dice": claims.DELTA["dice"]}
PLAIN = {name: other for name, (other, _) in INGREDIENTS.items()}
# What is left of the recipe, behind the name of what is taken away.
BASELINES = {
    "multi-view": RECIPE | {"source": PLAIN["source"]},
    "full fine-tuning": RECIPE | {"strategy": PLAIN["strategy"]},
    "hybrid loss": RECIPE | {"loss": PLAIN["loss"]},
    "multi-view and hybrid loss": PLAIN | {"strategy": RECIPE["strategy"]},
}
SCORED = f"scored on {WOMEN['final']} women"
LEVEL = 1 - 0.05 / 5  # the five differences that `study.ingredients` decides


def _key(one: Mapping) -> tuple:
    return tuple(one[name] for name in INGREDIENTS)


def arms(tables: Mapping) -> Made:
    runs = tables["recipe"]
    keys = list(INGREDIENTS)
    own = (runs["model"] + "/").where(runs["model"] != LARGE, "") + runs[keys].agg("/".join, axis=1)
    runs, whole = runs.assign(arm=own), "/".join(_key(RECIPE))
    names = {}
    for one, rows in runs.groupby("arm"):
        said = ", ".join(SAID[value] for value in rows.iloc[0][keys])
        names[one] = said if rows["model"].iloc[0] == LARGE else f"{rows['model'].iloc[0]}: {said}"
    order = sorted(names, key=lambda one: (one != whole, len(names[one].split(":")), one))
    values = METRICS | {"train_seconds": "seconds to train"}
    panels = {label: bars(runs, value, ["arm"]) for value, label in values.items()}
    figure = exhibits.dots(panels, names={one: names[one] for one in order}, colours={whole: RED})
    numbers = stacked(panels)
    return Made(numbers.assign(arm=numbers["arm"].map(names)), figure)


def ablation(tables: Mapping) -> Made:
    runs, panels, deltas = tables["recipe"], {}, {}
    runs = runs[runs["model"] == LARGE]
    for value, label in METRICS.items():
        wide, found = runs.pivot(index="seed", columns=list(INGREDIENTS), values=value), {}
        for name, other in BASELINES.items():
            pairs = (wide[_key(RECIPE)] - wide[_key(other)]).dropna()
            row = nested_t(pairs, pairs.index % SEEDS, level=LEVEL)._asdict()
            found[name] = row | {"seeds": len(pairs), "width": 2.2}
        panels[f"change of {label}"] = pd.DataFrame(found).T.rename_axis("ingredient")
        deltas[f"change of {label}"] = DELTAS[value]
    names = {name: f"adding {name}" for name in BASELINES}
    figure = exhibits.dots(panels, names=names, colours=dict.fromkeys(names, BLUE), deltas=deltas)
    return Made(stacked(panels), figure)


def judged(tables: Mapping) -> Made:
    """All claims; they are judged by ``tables`` alone."""
    numbers = flat(claims.verdicts(tables), claims.intervals(tables))
    return Made(numbers, exhibits.forest(numbers, claims.TITLES))


EXHIBITS = (
    Exhibit(
        "recipe",
        WORK,
        "The recipe and its parts on women whom no other study opens: first weights, fine-tuning, loss.",
        ("recipe",),
        arms,
        "the recommended recipe (MAE 14.8 → 11.8 points, Spearman 0.42 → 0.51); its own table was not found",
        f"{OVER_SEEDS}; red: the recipe",
        SCORED,
    ),
    Exhibit(
        "recipe_ablation",
        WORK,
        "What each ingredient adds to the recipe, in pairs on the same seeds.",
        ("recipe",),
        ablation,
        "no ablation of the recipe was found",
        f"bars: {percent(LEVEL)} t-intervals over seeds, nested in pretrainings; grey: what does not matter",
        SCORED,
    ),
    Exhibit(
        "claims",
        "all works",
        "Claims of the published works: measured differences in multiples of what matters, and verdicts.",
        tuple(claims.tables()),
        judged,
        "the statements of those works whose tables are there, in our words",
        "bars: t-intervals over seeds at 95 %, Bonferroni-adjusted within a study where decided; for single "
        "networks intervals by woman; arithmetic on published figures has the limits that it leaves open",
    ),
)
