"""Figures of notebook 09 about the study: transfer level by level, stains, paired differences, splits, sizes.

``runs`` are rows of ``results/histology.csv``, one a training.  Thick bars are 95 % t-intervals over seeds;
thin bars span fewer than five runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.show.figures import BLUE, GREEN, ORANGE, PINK, new
from mammo_utils.show.figures.architecture_results import GREY, bars
from mammo_utils.show.figures.histology import COLOURS, SOURCES
from mammo_utils.show.figures.sources import gains

REGIMES = {
    "irrelevant": "colour is irrelevant",
    "confounded": "colour is confounded",
    "diagnostic": "colour is diagnostic",
}
STAINS = {"none": "as scanned", "normalise": "normalised", "augment": "varied", "both": "both"}
WAYS = dict(zip(STAINS, (GREY, BLUE, ORANGE, GREEN), strict=True))
BAND = "#EEEEEE"


def ladder(
    runs: pd.DataFrame,
    *,
    pretrainings: int,
    value: str = "roc_auc",
    against: str = "none",
    delta: float = 0.02,
    label: str = "ROC-AUC by tile",
) -> Figure:
    """Scores after each way of transfer, and their paired differences from ``against`` on shared seeds.

    ``runs``: rows that differ in ``source`` and ``seed`` alone.  Run s started from pretraining s modulo
    ``pretrainings``, which the intervals respect.  Thick bars are 95 % t-intervals over seeds, thin ones span
    fewer than five runs; the band is ±``delta``, the smallest difference that matters.  ``label``: what the
    ``value`` is, for the axis.

    Raises ``ValueError`` where a source has several runs of one seed.
    """
    names = [name for name in SOURCES if name in set(runs["source"])]
    table, paired = bars(runs, value, ["source"], nests=pretrainings), gains(runs, value, against=against)
    gained = bars(paired, "gain", ["source"], nests=pretrainings)
    figure, axes = new(1, 2, size=(9, 0.42 * len(names) + 1.1), sharey=True)
    left, right = axes[0]
    for row, name in enumerate(names):
        own = table.loc[name]
        left.hlines(row, own["low"], own["high"], color=COLOURS[name], lw=own["width"])
        left.plot(own["estimate"], row, "o", color=COLOURS[name])
        single = runs.loc[runs["source"] == name, value]
        left.scatter(single, np.full(len(single), row - 0.22), s=5, color=GREY)
        if name != against:
            pair = gained.loc[name]
            right.hlines(row, pair["low"], pair["high"], color=COLOURS[name], lw=pair["width"])
            right.plot(pair["estimate"], row, "o", color=COLOURS[name])
    right.axvspan(-delta, delta, color=BAND, lw=0, zorder=0)
    right.axvline(0, color=GREY, lw=1)
    left.set(yticks=range(len(names)), yticklabels=[SOURCES[name] for name in names])
    left.set(ylim=(len(names) - 0.5, -0.6), xlabel=label)
    right.set_xlabel(f"minus that of {SOURCES[against]}, same seeds")
    return figure


def paired(differences: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A row for each of ``differences`` {name: a value for each seed}: its mean and the ends of its bar.

    Columns ``estimate``, ``low``, ``high``, ``seeds`` and ``width``; seeds without a value are left out.
    """
    parts = [
        pd.DataFrame({"arm": name, "seed": one.index, "gain": one.to_numpy()}).dropna()
        for name, one in differences.items()
    ]
    return bars(pd.concat(parts), "gain", ["arm"])


def contrasts(differences: Mapping[str, pd.Series], *, delta: float, label: str) -> Figure:
    """Paired differences between arms, one for each seed: mean, bar and the single ones.

    ``differences`` as in `paired`; the band is ±``delta``; ``label``: what is subtracted from what.
    """
    table = paired(differences)
    figure, axes = new(1, 1, size=(7, 0.42 * len(table) + 0.9))
    ax = axes[0, 0]
    for row, (name, own) in enumerate(table.iterrows()):
        single = differences[name].dropna()
        ax.hlines(row, own["low"], own["high"], color=BLUE, lw=own["width"])
        ax.plot(own["estimate"], row, "o", color=BLUE)
        ax.scatter(single, np.full(len(single), row + 0.24), s=5, color=GREY)
    ax.axvspan(-delta, delta, color=BAND, lw=0, zorder=0)
    ax.axvline(0, color=GREY, lw=1)
    ax.set(yticks=range(len(table)), yticklabels=table.index, xlabel=label)
    ax.set_ylim(len(table) - 0.4, -0.6)
    return figure


def stains(runs: pd.DataFrame) -> Figure:
    """Area under the ROC curve for each way to handle stains, in each regime of colour.

    ``runs`` that differ in ``regime``, ``stains`` and ``seed`` alone.  Hollow: test patients of the same
    laboratories (``roc_auc_home``), where colour is confounded.
    """
    here, home = bars(runs, "roc_auc", ["regime", "stains"]), runs.dropna(subset=["roc_auc_home"])
    at_home = home.groupby("stains")["roc_auc_home"].mean()
    figure, axes = new(1, len(REGIMES), size=(9, 3), sharex=True, sharey=True)
    for ax, (regime, title) in zip(axes[0], REGIMES.items(), strict=True):
        for place, (way, colour) in enumerate(WAYS.items()):
            if (regime, way) in here.index:
                own = here.loc[regime, way]
                ax.vlines(place, own["low"], own["high"], color=colour, lw=own["width"])
                ax.plot(place, own["estimate"], "o", color=colour)
            if regime == "confounded" and way in at_home:
                ax.plot(place, at_home[way], "o", mfc="none", color=colour)
        ax.set(title=title, xticks=range(len(STAINS)), xlim=(-0.5, len(STAINS) - 0.5))
        ax.set_xticklabels(STAINS.values(), rotation=30, ha="right")
    axes[0, 0].set_ylabel("ROC-AUC by tile")
    return figure


def splits(runs: pd.DataFrame, arms: Mapping[str, pd.DataFrame]) -> Figure:
    """What a split by image would have said (``roc_auc_same``) over what patients not learnt from say.

    A dot a run, those of ``arms`` {name: runs} in colour; on the line both say the same.
    """
    figure, axes = new(1, 1, size=(6.4, 4))
    ax = axes[0, 0]
    both = runs[["roc_auc", "roc_auc_same"]].to_numpy()
    ends = [both.min() - 0.02, min(1, both.max() + 0.02)]
    ax.plot(ends, ends, color=GREY, lw=1)
    ax.scatter(both[:, 0], both[:, 1], s=12, color="#CCCCCC", label="all others", linewidths=0)
    for (name, own), colour in zip(arms.items(), (BLUE, ORANGE, GREEN, PINK), strict=False):
        ax.scatter(own["roc_auc"], own["roc_auc_same"], s=20, color=colour, label=name)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel="ROC-AUC, other patients")
    ax.set_ylabel("ROC-AUC, other tiles of the same patients")
    figure.legend(loc="outside right center", frameon=False)
    return figure


def sizes(arms: Mapping[str, pd.DataFrame]) -> Figure:
    """Area under the ROC curve and accuracy of ``arms`` {name: runs}, with their millions of parameters."""
    figure, axes = new(1, 2, size=(9, 0.5 * len(arms) + 1), sharey=True)
    labels = [f"{name} ({runs['parameters'].mean() / 1e6:.2f} M)" for name, runs in arms.items()]
    scores = {"roc_auc": "ROC-AUC by tile", "accuracy": "accuracy by tile"}
    for ax, (value, title) in zip(axes[0], scores.items(), strict=True):
        for row, runs in enumerate(arms.values()):
            own = bars(runs.assign(arm=row), value, ["arm"]).loc[row]
            ax.hlines(row, own["low"], own["high"], color=BLUE, lw=own["width"])
            ax.plot(own["estimate"], row, "o", color=BLUE)
            ax.scatter(runs[value], np.full(len(runs), row + 0.24), s=5, color=GREY)
        ax.set(yticks=range(len(arms)), yticklabels=labels, xlabel=title, ylim=(len(arms) - 0.4, -0.6))
    return figure
