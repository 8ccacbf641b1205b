"""Exhibits of the density recipe taken apart, and of the claims of all works."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammo_utils.evaluation.intervals import nested_t
from mammo_utils.show.figures import BLUE, RED, SKY, exhibits
from mammo_utils.show.figures.architecture_results import GREY, bars
from mammo_utils.show.figures.recipe import METRICS, SAID
from mammo_utils.study import claims
from mammo_utils.study.claims.density import WORK
from mammo_utils.study.claims_command import flat
from mammo_utils.study.encoders import LARGE, SEEDS
from mammo_utils.study.exhibits.registry import OVER_SEEDS, Exhibit, Made, percent, stacked
from mammo_utils.study.ingredients import INGREDIENTS, RECIPE
from mammo_utils.study.phantoms import WOMEN

PLAIN = {name: instead for name, (instead, _) in INGREDIENTS.items()}
NAMES = {"source": "multi-view", "strategy": "full fine-tuning", "loss": "hybrid loss"}
CONTROLS = {"mae": "density MAE", "dice": "Dice with truth"}  # metric, and its column of the controls
SCORED = f"scored on {WOMEN['final']} women"
LEVEL = 1 - 0.05 / 5  # the five differences that `study.ingredients` decides


def _key(one: Mapping) -> tuple:
    return tuple(one[name] for name in INGREDIENTS)


def arms(tables: Mapping) -> Made:
    runs, controls = tables["recipe"], tables["recipe_controls"].set_index("control")
    controls = controls[controls.index.str.startswith("reader")]  # the others would stretch the axes
    keys = list(INGREDIENTS)
    own = (runs["model"] + "/").where(runs["model"] != LARGE, "") + runs[keys].agg("/".join, axis=1)
    runs, whole = runs.assign(arm=own), "/".join(_key(RECIPE))
    names = {}
    for one, rows in runs.groupby("arm"):
        said = ", ".join(SAID[value] for value in rows.iloc[0][keys])
        names[one] = said if rows["model"].iloc[0] == LARGE else f"{rows['model'].iloc[0]}: {said}"
    order = sorted(names, key=lambda one: (one != whole, len(names[one].split(":")), one))
    names = {one: names[one] for one in order} | {one: one for one in controls.index}
    values = METRICS | {"train_seconds": "seconds to train"}
    panels = {label: bars(runs, value, ["arm"], nests=SEEDS) for value, label in values.items()}
    for value, column in CONTROLS.items():
        level = controls[column]
        rows = pd.DataFrame({"estimate": level, "low": level, "high": level, "width": 0.8})
        panels[METRICS[value]] = pd.concat([panels[METRICS[value]], rows.rename_axis("arm")])
    colours = {whole: RED} | dict.fromkeys(controls.index, GREY)
    figure = exhibits.dots(panels, names=names, colours=colours)
    numbers = stacked(panels)
    return Made(numbers.assign(arm=numbers["arm"].map(names)), figure)


def changes() -> dict[str, tuple[dict, dict]]:
    """What is compared, second minus first, behind what it is called: each ingredient added to the arm that
    has none, and to that with the two others; then multi-view and hybrid loss together, with the third."""
    found = {}
    for name, said in NAMES.items():
        found[f"{said}, alone"] = PLAIN, PLAIN | {name: RECIPE[name]}
        found[f"{said}, to the others"] = RECIPE | {name: PLAIN[name]}, RECIPE
    both = f"{NAMES['source']} and {NAMES['loss']}"
    return found | {both: (PLAIN | {"strategy": RECIPE["strategy"]}, RECIPE)}


def ablation(tables: Mapping) -> Made:
    runs, panels, deltas = tables["recipe"], {}, {}
    runs = runs[runs["model"] == LARGE]
    for value, label in METRICS.items():
        wide, found = runs.pivot(index="seed", columns=list(INGREDIENTS), values=value), {}
        for name, (first, second) in changes().items():
            pairs = (wide[_key(second)] - wide[_key(first)]).dropna()
            row = nested_t(pairs, pairs.index % SEEDS, level=LEVEL)._asdict()
            found[name] = row | {"seeds": len(pairs), "width": 2.2}
        panels[f"change of {label}"] = pd.DataFrame(found).T.rename_axis("ingredient")
        deltas[f"change of {label}"] = claims.DELTA[value]
    colours = {name: SKY if name.endswith("alone") else BLUE for name in found}
    figure = exhibits.dots(panels, names={name: name for name in found}, colours=colours, deltas=deltas)
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
        ("recipe", "recipe_controls"),
        arms,
        "the recommended recipe (MAE 14.8 → 11.8 points, Spearman 0.42 → 0.51); its own table was not found",
        f"{OVER_SEEDS}, nested in pretrainings; red: the recipe; grey: the readers' own masks",
        SCORED,
    ),
    Exhibit(
        "recipe_ablation",
        WORK,
        "What each ingredient changes, alone and beside the two others, in pairs on the same seeds.",
        ("recipe",),
        ablation,
        "no ablation of the recipe was found",
        f"bars: {percent(LEVEL)} t-intervals over seeds, nested in pretrainings; light blue: to the arm "
        "without any ingredient; grey: what does not matter",
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
