"""Figures of notebook 10: the recipe in pictures, first weights crossed with the loss, costs and verdicts.

``runs`` are rows of ``results/recipe.csv`` of one network, one a training; they differ in ``source``,
``strategy``, ``loss`` and ``seed`` alone.  Run s started from pretraining s modulo ``nests``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.show.figures import BLUE, GREEN, ORANGE, PINK, RED, image, new, outline
from mammo_utils.show.figures.architecture_results import GREY, bars

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
LOOKS = {"imagenet": (BLUE, "o"), "imagenet+multiview": (ORANGE, "s")}
VERDICTS = {"supported": GREEN, "not supported": RED, "inconclusive": ORANGE, "not testable here": GREY}


def steps(views: Mapping[str, np.ndarray], labelled, reader, predicted, *, percent: float) -> Figure:
    """The recipe from left to right: two views of a woman without labels, an outline by a reader, what the
    network calls dense in the same image, and the percent density that follows.

    ``views`` {title: image}, the others (H, W) too: images 0–1, masks bool; ``percent``: 0–100.
    """
    figure, axes = new(1, 4, size=(9.5, 3.4))
    for ax, (title, pixels) in zip(axes[0], views.items(), strict=False):
        image(ax, pixels, title)
    for ax, title, mask, colour in (
        (axes[0, 2], "2 · few labels:\nwhat a reader outlined", reader, ORANGE),
        (axes[0, 3], f"3 · the network calls dense\n{percent:.0f} % of the breast", predicted, GREEN),
    ):
        image(ax, labelled, title)
        outline(ax, mask, colour)
    return figure


def crossed(runs: pd.DataFrame, *, nests: int, published: Mapping[str, tuple[float, float]]) -> Figure:
    """First weights crossed with the loss: a line a start, over the two losses; single runs small.

    ``runs`` of one strategy; ``published`` {metric: (before, after)}: a step between the two ends of the
    recipe as its abstract gives it, of other images, in a panel of its own scale.
    """
    figure, axes = new(1, 2 * len(published), size=(10, 3.2), width_ratios=(2.4, 1) * len(published))
    losses = ("bce_dice", "hybrid_density")
    for ax, aside, (metric, step) in zip(axes[0, ::2], axes[0, 1::2], published.items(), strict=True):
        table = bars(runs, metric, ["source", "loss"], nests=nests)
        for (source, (colour, marker)), shift in zip(LOOKS.items(), (-0.06, 0.06), strict=True):
            own = table.loc[source].loc[list(losses)]
            places = np.arange(2) + shift
            ax.vlines(places, own["low"], own["high"], color=colour, lw=own["width"])
            ax.plot(places, own["estimate"], marker=marker, color=colour, label=SAID[source])
            single = runs[runs["source"] == source]
            for place, loss in zip(places, losses, strict=True):
                values = single.loc[single["loss"] == loss, metric]
                ax.scatter(np.full(len(values), place + 2 * shift), values, s=5, color=GREY)
        ax.set(xticks=(0, 1), xticklabels=[SAID[loss] for loss in losses], xlim=(-0.4, 1.4))
        ax.set(ylabel=METRICS[metric], title="here")
        aside.plot((0, 1), step, "o-", color=PINK)
        for place, height in enumerate(step):
            aside.annotate(f"{height:g}", (place, height), (0, 7), textcoords="offset points", ha="center")
        aside.set(xticks=(0, 1), xticklabels=("before", "both"), xlim=(-0.5, 1.5), title="published")
        aside.margins(y=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def cost(table: pd.DataFrame, *, value: str = "mae") -> Figure:
    """What is reached over the minutes that it takes: a point an arm, its look that of its parts.

    ``table``: a row an arm with ``source``, ``strategy``, ``loss``, ``minutes`` and the mean ``value``.
    """
    figure, axes = new(1, 1, size=(7.5, 3.2))
    ax, seen = axes[0, 0], set()
    for (source, strategy, loss), own in table.groupby(["source", "strategy", "loss"]):
        colour, marker = LOOKS[source][0], {"full": "o", "lora": "^"}[strategy]
        face = colour if loss == "hybrid_density" else "white"
        ax.plot(own["minutes"], own[value], marker, color=colour, mfc=face, ms=7)
        seen |= {(SAID[source], colour, "o", colour), (SAID[strategy], GREY, marker, GREY)}
        seen |= {(SAID[loss], GREY, "s", GREY if loss == "hybrid_density" else "white")}
    for label, colour, marker, face in sorted(seen, key=lambda one: (one[2], one[1] == GREY, one[0])):
        ax.plot([], [], marker, color=colour, mfc=face, label=label)
    ax.set(xlabel="minutes of one core, pretraining included", ylabel=METRICS[value])
    ax.set_xlim(0, 1.1 * table["minutes"].max())
    ax.margins(y=0.12)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def verdicts(judged: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """How many claims of each work have which verdict; ``judged`` as of `claims.verdicts`."""
    counted = judged.groupby("work", sort=False)["verdict"].value_counts().unstack(fill_value=0)
    figure, axes = new(1, 1, size=(9, 0.55 * len(counted) + 1.1))
    ax, left = axes[0, 0], np.zeros(len(counted))
    for words, colour in VERDICTS.items():
        wide = counted.get(words, pd.Series(0, counted.index)).to_numpy()
        ax.barh(range(len(counted)), wide, left=left, height=0.6, color=colour, label=words)
        for row in np.flatnonzero(wide):
            ax.text(left[row] + wide[row] / 2, row, wide[row], ha="center", va="center", color="white")
        left += wide
    ax.set(yticks=range(len(counted)), yticklabels=[titles[work].partition(":")[0] for work in counted.index])
    ax.set(ylim=(len(counted) - 0.5, -0.5), xlabel="claims")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
