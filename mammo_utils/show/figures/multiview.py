"""Figures of notebook 04 about women with several views: who attracts whom, what that taught, who leaks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.stats import gaussian_kde

from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, RED, SKY, new
from mammo_utils.show.figures.self_supervision import margin
from mammo_utils.show.figures.sources import COLOURS, called, heading
from mammo_utils.training.history import History

RELATIONS = {1: ("attract", BLUE), 0: ("neither", "#ECECEC"), -1: ("repel", "#F5D08A")}


def relations(images: np.ndarray, panels: Mapping[str, np.ndarray], *, views: int = 4) -> Figure:
    """Who attracts and who repels in a batch, a panel a scheme; ``panels`` {title: `cases.relations`}.

    The images are those of women with ``views`` each, woman after woman.
    """
    figure, axes = new(1, len(panels), size=(10, 10 / len(panels) + 0.5))
    for ax, (title, matrix) in zip(axes.flat, panels.items(), strict=True):
        for (row, column), relation in np.ndenumerate(matrix):
            colour = RELATIONS[int(relation)][1]
            if row == column and not relation:
                colour = "white"
            ax.add_patch(Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, color=colour, lw=0))
        margin(ax, images)
        for edge in range(0, len(images) + 1, views):
            ax.plot([-1.3, len(images)], [edge, edge], color=INK, lw=1.0)
            ax.plot([edge, edge], [-1.3, len(images)], color=INK, lw=1.0)
        heading(ax, title)
    handles = [axes[0, 0].plot([], [], "s", color=colour)[0] for _, colour in RELATIONS.values()]
    labels = [word for word, _ in RELATIONS.values()]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def apart(networks: Mapping[str, np.ndarray], pairs: Mapping[str, np.ndarray]) -> Figure:
    """How alike pairs of images are, a panel a network and a hill a kind of pair, with a dot at its mean.

    ``networks`` {source: (N, N) cosines}; ``pairs`` {kind: (N, N) bool}, as `representations.relatives`.
    """
    figure, axes = new(1, len(networks), size=(10, 2.6), sharex=True, sharey=True)
    at = np.linspace(-1, 1, 201)
    for ax, (source, cosines) in zip(axes.flat, networks.items(), strict=True):
        for row, (own, colour) in enumerate(zip(pairs.values(), (BLUE, GREEN, ORANGE), strict=True)):
            values = cosines[own]
            hill = gaussian_kde(values, 0.2)(at)
            base = len(pairs) - 1 - row
            ax.fill_between(at, base, base + 0.85 * hill / hill.max(), color=colour, alpha=0.4, lw=0)
            ax.plot(at, base + 0.85 * hill / hill.max(), color=colour, lw=1.2)
            ax.plot(values.mean(), base, "o", color=colour, ms=7, clip_on=False, zorder=3)
        ax.axvline(0, color="#999999", lw=0.8, ls="dotted")
        ax.set(xlim=(-1, 1), ylim=(0, len(pairs)), xlabel="cosine of two images")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        heading(ax, called(source))
    axes[0, 0].set_yticks(np.arange(len(pairs))[::-1] + 0.3, list(pairs))
    return figure


def falling(histories: Mapping[str, History], blind: Mapping[str, float] | None = None) -> Figure:
    """The loss of each method over the images that went through its encoder, a panel a method.

    ``blind`` {method: loss of a network that tells nothing apart} is dotted.
    """
    figure, axes = new(1, len(histories), size=(2.5 * max(len(histories), 2), 2.5))
    for ax, (method, history) in zip(axes.flat, histories.items(), strict=True):
        table = history.table
        ax.plot(table["images"].cumsum(), table["loss"], color=COLOURS[method], lw=1.8)
        level = (blind or {}).get(method)
        if level is not None:
            ax.axhline(level, color="#777777", lw=1, ls="dotted")
        heading(ax, called(method))
        ax.set(xlabel="images", ylabel="loss" if ax is axes[0, 0] else "", ylim=(0, None))
    return figure


def neighbours(found: Mapping[str, pd.DataFrame]) -> Figure:
    """What nearest neighbours have in common, a row a network, the first without training.

    ``found`` {source: `self_supervision_cases.neighbourhood`}; dotted is a neighbour drawn by lot.
    """
    titles = {
        "other breast": "same woman, not the same breast (%)\nhigher: knows her",
        "density": "difference of density to another woman\nlower: knows density",
        "vendor": "same vendor, another woman (%)\nhigher: knows the machine",
    }
    figure, axes = new(1, 3, size=(10, 0.34 * len(found) + 1.4), sharey=True)
    rows = np.arange(len(found))[::-1]
    colours = [COLOURS[source] for source in found]
    for ax, (measure, title) in zip(axes.flat, titles.items(), strict=True):
        times = 1 if measure == "density" else 100
        values, lots = (
            times * np.array([table.loc[measure, column] for table in found.values()])
            for column in ("found", "chance")
        )
        ax.axvline(lots[0], color="#777777", lw=1.2, ls="dotted")
        ax.axvline(values[0], color="#BBBBBB", lw=1)
        ax.hlines(rows, values[0], values, color=colours, lw=2)
        ax.scatter(values, rows, color=colours, s=40, zorder=3)
        ax.set(xlim=(0, 1.08 * max(*values, lots[0])), ylim=(-0.6, len(found) - 0.4))
        ax.set_title(title, fontsize=8.5, color=INK)
        ax.set_yticks(rows, [called(source) for source in found])
    return figure


def pools(images: pd.DataFrame, kept: Mapping[str, set], labelled: set) -> Figure:
    """Which images of each woman stand in the pool, a row a way to make it and a block a woman.

    ``images``: columns ``image_id``, ``group``, ``laterality``, ``view``; ``kept`` {way: ids of the pool}.
    A pool image of a woman with labels is a leak.
    """
    women = images["group"].unique()
    theirs = set(images.loc[images["image_id"].isin(labelled), "group"])
    figure, axes = new(len(kept), 1, size=(10, 0.95 * len(kept) + 0.5))
    for ax, (way, ids) in zip(axes.flat, kept.items(), strict=True):
        for _, one in images.iterrows():
            x = 1.35 * np.flatnonzero(women == one["group"])[0] + 0.5 * (one["laterality"] == "L")
            y = 0.5 * (one["view"] == "MLO")
            inside = one["image_id"] in ids
            fill = "white" if not inside else RED if one["group"] in theirs else SKY
            edge = INK if one["image_id"] in labelled else "#BBBBBB"
            width = 2.2 if one["image_id"] in labelled else 0.8
            ax.add_patch(Rectangle((x, y), 0.42, 0.42, facecolor=fill, edgecolor=edge, lw=width))
        ax.set(xlim=(-0.1, 1.35 * len(women)), ylim=(1.0, -0.08), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(way, rotation=0, ha="right", va="center", color=INK, fontsize=9)
    marks = [("in the pool", SKY, "#BBBBBB", 0.8), ("left out", "white", "#BBBBBB", 0.8)]
    marks += [("has labels", "white", INK, 2.2), ("in the pool, of a labelled woman", RED, "#BBBBBB", 0.8)]
    handles = [Rectangle((0, 0), 1, 1, facecolor=fill, edgecolor=edge, lw=w) for _, fill, edge, w in marks]
    figure.legend(handles, [word for word, *_ in marks], loc="outside lower center", ncols=4, frameon=False)
    return figure
