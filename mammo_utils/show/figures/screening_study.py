"""Figures of notebook 07 about the study: first weights, warm-up and unfreezing crossed, rare positives.

``runs`` are rows of ``results/screening.csv``, one a training; `usual` and `timed` choose those that belong
together.  Thick bars are 95 % t-intervals over seeds; with few seeds thin bars span the runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammo_utils.evaluation import classification, seeds
from mammo_utils.evaluation.intervals import Interval, bootstrap, paired_t
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, new
from mammo_utils.show.figures.architecture_results import bars
from mammo_utils.synth.breast.lesions import SHAPES

GREY = "#999999"
STAGES = {"single": "one stage", "warm_up": "warm-up first", "warm_up_only": "warm-up alone"}
UNFREEZING = {"all": "all layers at once", "progressive": "layers unfrozen step by step"}
LOOKS = {"all": (BLUE, "o"), "progressive": (ORANGE, "s")}
WAYS = {
    "pos_weight": "weighted positives",
    "balanced": "balanced batches",
    "focal": "focal loss",
    "plain": "plain",
}
COLOURS = dict(zip(WAYS, (BLUE, ORANGE, GREEN, PINK), strict=True))
SITES = dict(zip(STAGES, (BLUE, SKY, RED), strict=True))
KINDS = dict(zip(SHAPES, (BLUE, SKY, RED, ORANGE, GREEN), strict=True))
SOURCES = {"none": "random weights", "simclr": "SimCLR, no labels", "lesions": "outlined lesions"}
SCORES = {
    "roc_auc": "ROC-AUC",
    "pr_auc_2": "PR-AUC at 2 %",
    "pf1_2": "pF1 at 2 %",
    "pf1_2_fixed": "pF1 at 2 %, recalibrated",
    "sensitivity_cut": "sensitivity",
    "ece_2": "calibration error at 2 %",
    "images_to_level": "images to the level",
}


def usual(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs from outlined lesions with the common number of images."""
    own = runs[runs["weights"] == "lesions"]
    return own[own["budget"] == own["budget"].min()]


def timed(runs: pd.DataFrame) -> pd.DataFrame:
    """The 2×2 in equal seconds: where layers are frozen at first, the runs that saw more images for it."""
    own = runs[(runs["weights"] == "lesions") & (runs["imbalance"] == "pos_weight")]
    some = own[own["stages"].isin(["single", "warm_up"])]
    most = some.groupby(["stages", "unfreezing"])["budget"].transform("max")
    return some[some["budget"] == most]


def sources(runs: pd.DataFrame) -> Figure:
    """Area under the ROC curve by breast and by kind of first weights, one stage and all layers at once."""
    own = runs[(runs["stages"] == "single") & (runs["unfreezing"] == "all")]
    own = own[(own["imbalance"] == "pos_weight") & (own["budget"] == own["budget"].min())]
    table = bars(own, "roc_auc", ["weights"])
    figure, axes = new(1, 1, size=(7.5, 2.2))
    ax = axes[0, 0]
    for row, source in enumerate(SOURCES):
        one = table.loc[source]
        ax.hlines(row, one["low"], one["high"], color=BLUE, lw=one["width"])
        ax.plot(one["estimate"], row, "o", color=BLUE, ms=8)
    ax.axvline(0.5, color=GREY, lw=1, ls="dotted")
    ax.text(0.5, -0.45, " chance", color=GREY, fontsize=8, va="center")
    ax.set(yticks=range(len(SOURCES)), yticklabels=list(SOURCES.values()), ylim=(len(SOURCES) - 0.5, -0.6))
    ax.set_xlabel("ROC-AUC by breast")
    return figure


def by_kind(breasts: pd.DataFrame) -> pd.DataFrame:
    """Area under the ROC curve of each kind of lesion against breasts without cancer: ``estimate`` with 95 %
    limits ``low`` and ``high`` by woman; ``breasts`` and errors as in `kinds`.
    """
    if "cohort" in breasts and breasts["cohort"].nunique() > 1:
        raise ValueError("give the breasts of one cohort: the numbers of women begin anew in each")
    found = {}
    for shape in KINDS:
        own = breasts[(breasts["shape"] == shape) | (breasts["label"] == 0)]
        pair = (own[name].to_numpy() for name in ("logit", "label"))
        found[shape] = bootstrap(
            classification.roc_auc, *pair, groups=own["woman"], stratify=own["label"], n=300
        )._asdict()
    return pd.DataFrame(found).T


def kinds(visible: pd.DataFrame, breasts: pd.DataFrame, *, found: pd.DataFrame | None = None) -> Figure:
    """How well each kind of lesion can be told: by a matched filter over image heights, and by a network.

    ``visible``: rows of ``results/lesion_sizes.csv``; solid with the place unknown, dotted with it known.
    ``breasts``: those of one arm, with ``logit``, ``label``, ``woman`` and ``shape`` of the cancer; a bar is
    the 95 % interval by woman.  ``found``: what `by_kind` says of them, where it is known already.

    Raises ``ValueError`` for breasts of several cohorts.
    """
    found = by_kind(breasts) if found is None else found
    figure, axes = new(1, 2, size=(10, 3.6), width_ratios=(1.2, 1))
    left, right = axes[0]
    sizes = visible.sort_values("size").set_index("size")
    for row, (shape, colour) in enumerate(KINDS.items()):
        key = shape.replace(" ", "_")
        left.plot(sizes[f"unknown_{key}"], "o", ls="solid", color=colour, ms=6, lw=1.5, label=shape)
        left.plot(sizes[f"known_{key}"], "o", ls="dotted", color=colour, ms=3, lw=1)
        one = found.loc[shape]
        right.hlines(row, one["low"], one["high"], color=colour, lw=2.2)
        right.plot(one["estimate"], row, "o", color=colour, ms=7)
    left.set(xscale="log", xticks=sizes.index, xticklabels=sizes.index, xlabel="image height (pixels)")
    left.minorticks_off()
    left.set(ylabel="ROC-AUC of the matched filter", ylim=(0.48, 1.01))
    right.set(yticks=range(len(KINDS)), yticklabels=list(KINDS), ylim=(len(KINDS) - 0.5, -0.5))
    right.axvline(0.5, color=GREY, lw=1, ls="dotted")
    right.set_xlabel("ROC-AUC by breast of the network")
    return figure


def effects(runs: pd.DataFrame, value: str, *, level: float = 0.95) -> dict[str, Interval]:
    """Effects in the 2×2 on the seeds that all four arms have: ``warm-up`` and ``unfreezing``, each the mean
    over the other factor, and their ``interaction`` (gain of warm-up with unfreezing minus that without).

    Raises ``ValueError`` where fewer than two seeds have all four.

    Source: `intervals.paired_t`.
    """
    some = runs[(runs["imbalance"] == "pos_weight") & runs["stages"].isin(["single", "warm_up"])]
    wide = some.pivot(index="seed", columns=["stages", "unfreezing"], values=value)
    four = [(a, b) for a in ("single", "warm_up") for b in UNFREEZING]
    wide = wide.reindex(columns=four).dropna()
    if len(wide) < 2:
        raise ValueError(f"{len(wide)} seeds have all four arms; an interval needs two")
    a, b, c, d = (wide[one] for one in four)
    found = {
        "warm-up": (c + d - a - b) / 2,
        "unfreezing": (b + d - a - c) / 2,
        "interaction": (d - c) - (b - a),
    }
    return {name: paired_t(difference.to_numpy(), level=level) for name, difference in found.items()}


def crossed(runs: pd.DataFrame, *values: str, delta: float | None = 0.02, level: float = 0.95) -> Figure:
    """The 2×2 as an interaction plot beside the effects; parallel lines have no interaction.

    A row for each of ``values``, by default ROC-AUC alone; ``level`` is that of the effects' intervals.  Grey
    points are single seeds, the grey band is what does not matter, ±``delta``; the warm-up alone stands
    apart.
    """
    values = values or ("roc_auc",)
    some = runs[runs["imbalance"] == "pos_weight"]
    figure, axes = new(len(values), 2, size=(10, 3.9 * len(values)), width_ratios=(1.25, 1))
    for (left, right), value in zip(axes, values, strict=True):
        _arms(left, some, value)
        _effects(right, effects(some, value, level=level), delta)
        right.set_xlabel(f"change of {SCORES.get(value, value)}")
    return figure


def _arms(ax: Axes, runs: pd.DataFrame, value: str) -> None:
    table = bars(runs, value, ["stages", "unfreezing"])
    for shift, (way, (colour, marker)) in zip((-0.05, 0.05), LOOKS.items(), strict=True):
        there = [stage for stage in STAGES if (stage, way) in table.index]
        at = np.array([list(STAGES).index(stage) for stage in there]) + shift
        own = table.loc[[(stage, way) for stage in there]]
        pair = [stage != "warm_up_only" for stage in there]
        ax.plot(at[pair], own["estimate"][pair], color=colour, lw=1.5)
        ax.vlines(at, own["low"], own["high"], color=colour, lw=own["width"])
        ax.plot(at, own["estimate"], marker, color=colour, ms=8, label=UNFREEZING[way])
        for x, stage in zip(at, there, strict=True):
            single = runs.loc[(runs["stages"] == stage) & (runs["unfreezing"] == way), value]
            ax.plot(np.full(len(single), x + 2.2 * shift), single, ".", color=GREY, ms=4, zorder=0)
    shown = [stage for stage in STAGES if stage in set(runs["stages"])]
    ax.set(xticks=range(len(shown)), xticklabels=[STAGES[s] for s in shown], xlim=(-0.4, len(shown) - 0.6))
    ax.set_ylabel(SCORES.get(value, value))
    ax.legend(frameon=False, fontsize=8, loc="best")


def _effects(ax: Axes, found: Mapping[str, Interval], delta: float | None) -> None:
    if delta is not None:
        ax.axvspan(-delta, delta, color=GREY, alpha=0.18, lw=0)
    ax.axvline(0, color=GREY, lw=1, ls="dotted")
    for row, one in enumerate(found.values()):
        ax.hlines(row, one.low, one.high, color=INK, lw=2.2)
        ax.plot(one.estimate, row, "D", color=INK, ms=7)
    ax.set(yticks=range(len(found)), yticklabels=list(found), ylim=(len(found) - 0.5, -0.5))


def rare(runs: pd.DataFrame) -> Figure:
    """Ways to meet rare positives: what they do to the ranking, to pF1 and to the probabilities.

    Filled: probabilities as learnt; hollow: recalibrated on validation women.
    """
    own = runs[(runs["stages"] == "single") & (runs["unfreezing"] == "all")]
    there = [way for way in WAYS if way in set(own["imbalance"])]
    panels = (("roc_auc", None), ("pr_auc_2", None), ("pf1_2", "pf1_2_fixed"), ("ece_2", "ece_2_fixed"))
    figure, axes = new(1, len(panels), size=(11, 0.42 * len(there) + 1.5), sharey=True)
    for ax, (value, fixed) in zip(axes.flat, panels, strict=True):
        for shift, column, hollow in ((-0.12 * (fixed is not None), value, False), (0.16, fixed, True)):
            if column is None:
                continue
            table = bars(own, column, ["imbalance"])
            for row, way in enumerate(there):
                one, colour = table.loc[way], COLOURS[way]
                ax.hlines(row + shift, one["low"], one["high"], color=colour, lw=one["width"])
                face = "white" if hollow else colour
                ax.plot(one["estimate"], row + shift, "o", color=colour, mfc=face, ms=7, zorder=3)
        ax.set_xlabel(SCORES[value])
        ax.margins(x=0.12)
    axes[0, 0].set(yticks=range(len(there)), yticklabels=[WAYS[way] for way in there])
    axes[0, 0].set_ylim(len(there) - 0.5, -0.5)
    return figure


def external(runs: pd.DataFrame) -> Figure:
    """Scores at home and at the other site; a line an arm, mean over seeds; sensitivity and specificity are
    at the one threshold chosen at home."""
    own = runs.assign(arm=runs["stages"] + "/" + runs["unfreezing"] + "/" + runs["imbalance"])
    values = ("roc_auc", "sensitivity_cut", "specificity_cut")
    figure, axes = new(1, len(values), size=(10, 3.4))
    names = [*dict.fromkeys(own["arm"])]
    for ax, value in zip(axes.flat, values, strict=True):
        for name in names:
            some = own[own["arm"] == name]
            stages, unfreezing, way = name.split("/")
            colour = COLOURS[way] if way != "pos_weight" else SITES[stages]
            style = "solid" if unfreezing == "all" else "dashed"
            pair = some[[value, f"{value}_external"]].mean()
            ax.plot([0, 1], pair, "o", ls=style, color=colour, ms=6, label=_called(name))
        ax.set(xticks=[0, 1], xticklabels=["same site", "other site"], xlim=(-0.25, 1.25))
        ax.set_title(SCORES.get(value, "specificity"), loc="left", color=INK)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _called(arm: str) -> str:
    stages, unfreezing, way = arm.split("/")
    if way != "pos_weight":
        return WAYS[way]
    return f"{STAGES[stages]}, {UNFREEZING[unfreezing]}"


def summary(runs: pd.DataFrame, values=tuple(SCORES)) -> pd.DataFrame:
    """Mean, limits and seeds of each arm in the columns ``values``, a row an arm and score."""
    own = runs.assign(arm=runs["stages"] + "/" + runs["unfreezing"] + "/" + runs["imbalance"])
    tables = {SCORES.get(value, value): seeds.means(own, value, ["arm"]) for value in values}
    table = pd.concat(tables, names=["score"]).reset_index()
    return table.assign(arm=table["arm"].map(_called)).set_index(["arm", "score"])
