"""Figures of notebook 03 about the study: scores of the networks, with how many labels, and where they fail.

``runs`` is the table of the study, one row a run (`study.grid.read`).  Thick bars are 95 % t-intervals over
seeds; with fewer than ``ENOUGH`` seeds, where such an interval says little, a thin bar spans the single runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammo_utils.evaluation import intervals, seeds
from mammo_utils.show.figures import INK, errors, image, new
from mammo_utils.show.figures.architectures import COLOURS, short

GREY = "#888888"
ENOUGH = 5


def ranking(runs: pd.DataFrame, controls: Mapping[str, float]) -> Figure:
    """Dice and density error of each network: means with intervals, single seeds as small points.

    ``runs`` of one number of labels; ``controls`` {name: Dice} stand as dashed lines.
    """
    order = _names(runs)
    figure, axes = new(1, 2, size=(10, 0.42 * len(order) + 1.6), sharey=True)
    left, right = axes[0]
    _dots(left, runs, "dice", order)
    _dots(right, runs, "mae", order, shift=-0.12)
    _dots(right, runs, "mae_true_breast", order, shift=0.16, hollow=True)
    scores = [*runs["dice"], *controls.values()]
    span = max(scores) - min(scores)
    left.set_xlim(min(scores) - 0.08 * span, max(scores) + 0.08 * span)
    for place, (name, value) in enumerate(controls.items()):
        left.axvline(value, color=GREY, ls="dashed", lw=1)
        side = "left" if value < min(scores) + span / 2 else "right"
        text = f" {name} {value:.2f} "
        at = len(order) - 0.3 + 0.45 * place
        written = left.text(value, at, text, fontsize=8, color=INK, ha=side, va="center")
        written.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # over the next line
    bottom = len(order) - 0.3 + 0.45 * len(controls)
    left.set(yticks=range(len(order)), yticklabels=map(short, order), ylim=(bottom, -0.6))
    left.set_xlabel("Dice with the truth")
    right.set_xlabel(
        "mean absolute error of percent density (points)\n"
        "filled: in the predicted breast, hollow: in the true one"
    )
    right.set_xlim(left=0)
    return figure


def _dots(
    ax: Axes, runs: pd.DataFrame, value: str, order: list[str], *, shift: float = 0.0, hollow: bool = False
) -> None:
    table = bars(runs, value, ["model"])
    for row, name in enumerate(order):
        own, colour = table.loc[name], COLOURS[name]
        ax.hlines(row + shift, own["low"], own["high"], color=colour, lw=own["width"])
        ax.plot(own["estimate"], row + shift, "o", color=colour, mfc="white" if hollow else colour, zorder=3)
        if not hollow:
            single = runs.loc[runs["model"] == name, value]
            ax.scatter(single, np.full(len(single), row + shift - 0.2), s=5, color=GREY)


def bars(runs: pd.DataFrame, value: str, by: Sequence[str], *, nests: int | None = None) -> pd.DataFrame:
    """`evaluation.seeds.means` with ``low`` and ``high`` of the bar to draw and its ``width`` in points."""
    table = seeds.means(runs, value, by, nests=nests)
    few = table["seeds"] < ENOUGH
    runs = runs.groupby(list(by))[value]
    table["low"] = table["low"].where(~few, runs.min())
    table["high"] = table["high"].where(~few, runs.max())
    return table.assign(width=np.where(few, 0.8, 2.2))


def accuracy_against_cost(runs: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Dice of each network against parameters, operations, seconds to train and peak memory.

    ``runs`` of one number of labels; ``costs``: a row each network, columns ``parameters`` and ``flops``.
    Of seconds and memory the least over the runs is shown, the run that other work disturbed least.
    """
    table = bars(runs, "dice", ["model"])
    measured = runs.groupby("model")[["train_seconds", "memory_mib"]].min()
    columns = {
        "parameters (million)": costs["parameters"] / 1e6,
        "operations an image (million)": costs["flops"] / 1e6,
        "seconds to train": measured["train_seconds"],
        "peak memory (MiB)": measured["memory_mib"],
    }
    figure, axes = new(1, 4, size=(10, 3.2), sharey=True)
    for ax, (label, values) in zip(axes.flat, columns.items(), strict=True):
        for name in _names(runs):
            own = table.loc[name]
            ax.vlines(values[name], own["low"], own["high"], color=COLOURS[name], lw=own["width"])
            ax.plot(values[name], own["estimate"], "o", color=COLOURS[name])
        ax.set(xlabel=label, xlim=(0, 1.12 * values[_names(runs)].max()))
    axes[0, 0].set_ylabel("Dice with the truth")
    _legend(figure, axes[0, 0], _names(runs))
    return figure


def label_efficiency(
    runs: pd.DataFrame, first: str, second: str, *, value: str = "dice", delta: float = 0.02, level=0.95
) -> Figure:
    """Scores over labelled images; ``second`` − ``first`` on shared seeds; its gain per doubling of labels.

    ``delta`` is the smallest difference that matters, drawn as a band; ``level`` is that of the intervals of
    differences, all others have 95 %.
    """
    figure, axes = new(1, 3, size=(10, 3.4), width_ratios=(1.5, 1.2, 0.8))
    left, middle, right = axes[0]
    table = bars(runs, value, ["model", "labels"])
    amounts = sorted(runs["labels"].unique())
    for place, name in enumerate(_names(runs)):
        own = table.loc[name].sort_index()
        at = own.index * 2 ** (0.12 * (place - 2.5))  # beside each other, or the bars would hide one another
        left.plot(at, own["estimate"], "o-", ms=4, color=COLOURS[name])
        left.vlines(at, own["low"], own["high"], color=COLOURS[name], lw=own["width"])
    left.set(xlabel="labelled images", ylabel=f"{value.capitalize()} with the truth")
    arms = {"arm": "model", "first": first, "second": second, "level": level}
    pairs = seeds.contrasts(runs, value, by="labels", **arms)
    middle.axhspan(-delta, delta, color="#EEEEEE", zorder=0)
    middle.axhline(0, color=GREY, lw=1)
    middle.vlines(pairs.index, pairs["low"], pairs["high"], color=INK, lw=2)
    middle.plot(pairs.index, pairs["estimate"], "o", color=INK)
    for labels, number in pairs["seeds"].items():
        middle.annotate(
            f"{number:.0f} seeds",
            (labels, 1.0),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=GREY,
        )
    middle.set(xlabel="labelled images", ylabel=f"{short(second)} − {short(first)}, same seeds")
    for ax in (left, middle):
        ax.set_xscale("log", base=2)
        ax.set(xlim=(amounts[0] / 1.7, amounts[-1] * 1.7), xticks=amounts, xticklabels=amounts)
        ax.minorticks_off()
    gains = seeds.slopes(runs[runs["model"].isin([first, second])], value, arm="model")
    rates = seeds.means(gains, "slope", ["model"])
    rates.loc["difference"] = seeds.contrasts(gains, "slope", **arms).iloc[0]
    for row, name in enumerate([first, second, "difference"]):
        own, colour = rates.loc[name], COLOURS.get(name, INK)
        right.vlines(row, own["low"], own["high"], color=colour, lw=2)
        right.plot(row, own["estimate"], "o", color=colour)
    names = [short(first), short(second), "difference"]
    right.set(xticks=range(3), xlim=(-0.6, 2.6), ylabel=f"{value.capitalize()} per doubling of labels")
    right.set_xticklabels(names, rotation=25, ha="right")
    right.axhline(0, color=GREY, lw=1)
    _legend(figure, left, _names(runs))
    return figure


def by_density(images: pd.DataFrame) -> Figure:
    """Dice and density error of each network in the four density classes, with intervals that resample women.

    ``images``: a row each network and test image, columns ``arm, group, density, truth, predicted, dice``.
    """
    arms = [name for name in COLOURS if name in set(images["arm"])]
    figure, axes = new(1, 2, size=(10, 3.3))
    images = images.assign(error=images["predicted"] - images["truth"])
    labels = {"dice": "Dice with the truth", "error": "predicted − true density (points)"}
    for ax, (value, label) in zip(axes.flat, labels.items(), strict=True):
        for place, name in enumerate(arms):
            own = images[images["arm"] == name]
            for column, grade in enumerate("ABCD"):
                part = own[own["density"] == grade]
                if part["group"].nunique() < 2:
                    continue
                mean, low, high = intervals.bootstrap(np.mean, part[value], groups=part["group"], n=200)
                at = column + 0.12 * (place - (len(arms) - 1) / 2)
                ax.vlines(at, low, high, color=COLOURS[name], lw=1.5)
                ax.plot(at, mean, "o", ms=4, color=COLOURS[name])
        ax.set(xticks=range(4), xticklabels="ABCD", xlabel="density class", ylabel=label)
    axes[0, 1].axhline(0, color=GREY, lw=1)
    axes[0, 1].text(1, 0.98, "too much", transform=axes[0, 1].transAxes, ha="right", va="top", color=GREY)
    axes[0, 1].text(0.02, 0.02, "too little", transform=axes[0, 1].transAxes, color=GREY)
    _legend(figure, axes[0, 0], arms)
    return figure


def failures(cases: Sequence[Sequence[tuple]]) -> Figure:
    """A grid of overlays (`errors`): rows of (title, image, true mask, predicted mask or None)."""
    columns = max(map(len, cases))
    figure, axes = new(len(cases), columns, size=(10, 2.45 * len(cases) * 6 / max(columns, 6) + 0.3))
    for ax in axes.flat:
        ax.axis("off")
    for line, row in zip(axes, cases, strict=True):
        for ax, (title, pixels, truth, found) in zip(line, row, strict=False):
            image(ax, pixels if found is None else errors(pixels, truth, found), title)
    keys = (("found", "#F2F2F2"), ("missed", "#57B3E8"), ("invented", "#E69F00"))
    handles = [axes[0, 0].plot([], [], "s", color=c, mec="#BBBBBB", label=name)[0] for name, c in keys]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _names(runs: pd.DataFrame) -> list[str]:
    return [name for name in COLOURS if name in set(runs["model"])]


def _legend(figure: Figure, ax: Axes, names: list[str]) -> None:
    handles = [ax.plot([], [], "o-", color=COLOURS[name], label=short(name))[0] for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
