"""Figures of notebook 04 about pretraining: how it was tuned, what frozen features hold, what it costs.

``encoders`` are rows of ``results/encoders.csv``, one a pretraining; colours are those of `figures.sources`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.show.figures import INK, new
from mammo_utils.show.figures.architecture_results import GREY
from mammo_utils.show.figures.sources import COLOURS, NAMES, called, heading, look, order, rows
from mammo_utils.synth.breast import LIKENESS

# What a probe reads off frozen features: column of ``encoders`` -> what is read.
PROBES = {
    "density_r2": "percent density (R² of a line)",
    "vendor": "vendor (balanced accuracy)",
    "identity": "the woman (nearest image, other breast)",
}


def sourced(encoders: pd.DataFrame) -> pd.DataFrame:
    """``encoders`` with the column ``source``, as `study.transfer` calls what started from ``start``."""
    start = encoders["start"].fillna("none").map(lambda start: "" if start == "none" else f"{start}+")
    return encoders.assign(source=start + encoders["method"])


def trials(table: pd.DataFrame, *, value: str = "dice_a") -> Figure:
    """Dice of every trial of a method, the highest with a ring; the marker tells the learning rate.

    ``table``: rows of ``results/sources_tuning.csv`` as of `sourced`; ``value``: the column that the choice
    went by.  A row without a learning rate, such as that of random weights, is a dotted line to beat.
    """
    base, table = table[table["lr"].isna()], table[table["lr"].notna()]
    names, rates = order(table["source"]), sorted(table["lr"].unique())
    markers = dict(zip(rates, "osD^vP", strict=False))
    figure, axes = new(1, 1, size=(8.5, 0.42 * len(names) + 1.2))
    ax = axes[0, 0]
    for line, name in enumerate(names):
        own = table[table["source"] == name]
        for rate, marker in markers.items():
            found = own.loc[own["lr"] == rate, value]
            ax.plot(found, np.full(len(found), line), marker, color=look(name)["color"], alpha=0.75)
        ax.plot(own[value].max(), line, "o", ms=13, mfc="none", mec=INK)
    for rate, marker in markers.items():
        ax.plot([], [], marker, color=GREY, label=f"learning rate {rate:g}")
    for name, level in zip(base["source"], base[value], strict=True):
        ax.axvline(level, color=COLOURS[name], lw=1, ls="dotted", zorder=0, label=called(name))
    ax.set(yticks=range(len(names)), yticklabels=map(called, names), ylim=(len(names) - 0.5, -0.5))
    ax.set_xlabel("Dice after fine-tuning with few labels of other women")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def probes(encoders: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """What can be read off the frozen features of each source: a point a pretraining, a stroke the mean.

    ``encoders`` as of `sourced`; ``chance`` {column: what guessing would reach}, a broken line.
    """
    names = order(encoders["source"])
    figure, axes = new(1, len(PROBES), size=(10.5, 0.36 * len(names) + 1.3), sharey=True)
    for ax, (column, label) in zip(axes.flat, PROBES.items(), strict=True):
        rows(ax, encoders, column, names)
        if column in chance:
            ax.axvline(chance[column], color=GREY, lw=1, ls="dashed", zorder=0)
        values = encoders[column]
        ax.set_xlim(min(0, 1.1 * values.min()), 1 if values.max() > 0.5 else 1.2 * values.max())
        heading(ax, label)
    return figure


def swept(encoders: pd.DataFrame) -> pd.DataFrame:
    """Rows of the study of likeness with the defaults filled in where a setting is blank."""
    return encoders.fillna({"likeness": LIKENESS, "vendors": "woman", "positives": "woman"})


def likeness(encoders: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """What changes as the two breasts of a woman in the pool grow alike, a panel for each of ``metrics``.

    ``encoders`` as of `swept`; a small point is a pretraining.
    """
    high = -(-len(metrics) // 2)
    figure, axes = new(high, 2, size=(9.6, 2.7 * high + 0.6))
    for ax, (column, label) in zip(axes.flat, metrics.items(), strict=False):
        arms = encoders.groupby(["method", "positives", "vendors"])
        for (method, positives, vendors), own in sorted(arms, key=lambda arm: arm[0], reverse=True):
            mean = own.groupby("likeness")[column].mean()
            marker = "X" if vendors == "view" else "D" if positives == "breast" else "o"
            name = NAMES[method] + ", one breast" * (positives == "breast")
            name += ", styles by view" * (vendors == "view")
            style = {"color": COLOURS[method], "ls": "dashed" if positives == "breast" else "solid"}
            ax.plot(own["likeness"], own[column], marker, color=COLOURS[method], ms=3.5, alpha=0.45)
            ax.plot(mean.index, mean, marker=marker, lw=1.3, ms=7, label=name, **style)
        ax.set(xlabel="likeness of left and right", xticks=sorted(set(encoders["likeness"])))
        heading(ax, label)
    for ax in axes.flat[len(metrics) :]:
        ax.set_visible(False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def spent(runs: pd.DataFrame, encoders: pd.DataFrame, speeds: pd.DataFrame) -> pd.DataFrame:
    """Minutes that the sources of ``runs``, of one model and number of labels, take: a row a source.

    Columns ``start`` (the pretraining that another one started from), ``pretraining``, ``fine_tuning`` and
    the mean ``dice``.  A pretraining takes its images by the median speed of its method in ``speeds``, rows
    of ``results/encoders_cost.csv``; of fine-tunings the quickest counts, which other work disturbed least.
    What is not in ``encoders``, as ImageNet's, is not known and counts nothing.  ``encoders`` as of
    `sourced`, of the same model.
    """
    speed = speeds.groupby("method")["images_per_second"].median()
    images = encoders.drop_duplicates("source").set_index("source")
    least = (images["budget"] / images["method"].map(speed) / 60).dropna()
    found = {}
    for name in order(runs["source"]):
        own = runs[runs["source"] == name]
        found[name] = {
            "start": least.get(name.rpartition("+")[0], 0.0),
            "pretraining": least.get(name, 0.0),
            "fine_tuning": own["train_seconds"].min() / 60,
            "dice": own["dice"].mean(),
        }
    return pd.DataFrame(found).T


def cost(table: pd.DataFrame) -> Figure:
    """Minutes of each source as bars, and its Dice over all its minutes; ``table`` as of `spent`."""
    figure, axes = new(1, 2, size=(10.5, 0.34 * len(table) + 1.5), width_ratios=(1, 1.1))
    (left, right), lines = axes[0], np.arange(len(table))
    last, first = ([COLOURS[name.split("+")[end]] for name in table.index] for end in (-1, 0))
    total = np.zeros(len(table))
    for column, colours in {"start": first, "pretraining": last, "fine_tuning": "#BBBBBB"}.items():
        left.barh(lines, table[column], left=total, color=colours)
        total = total + table[column].to_numpy()
    left.set(yticks=lines, yticklabels=map(called, table.index), ylim=(len(table) - 0.4, -0.6))
    left.set_xlabel("minutes (colour: pretraining, grey: fine-tuning)")
    for name, minutes, dice in zip(table.index, total, table["dice"], strict=True):
        right.plot(minutes, dice, ms=8, **look(name) | {"ls": "none"})
    right.set(xscale="log", xlabel="minutes in all", ylabel="Dice with the truth")
    right.xaxis.set_major_formatter("{x:g}")
    return figure
