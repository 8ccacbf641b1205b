"""Figures of segmenters on images of one's own, and of what phantom women bring for film."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.evaluation import segmentation
from mammo_utils.show.figures import BLUE, INK, ORANGE, SKY, image, new, outline


def predictions(images: np.ndarray, found, *, count: int = 8) -> Figure:
    """Labels and predictions on images spread from the lowest Dice to the highest, without identifiers.

    ``images``: N×H×W uint16 as in a cache; ``found``: their `training.tasks.Masks`.
    """
    dense, breast = found.dense >= 0.5, found.breast >= 0.5
    dice = segmentation.dice(dense, found.target)
    percent = np.nan_to_num(segmentation.percent_density(dense, breast))
    label = segmentation.percent_density(found.target, found.breast_target)
    order = np.argsort(dice, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    height, width = images.shape[1:]
    figure, axes = new(rows, columns, size=(2.3 * columns, (2.3 * height / width + 0.5) * rows + 0.4))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, k in zip(axes.flat, chosen, strict=False):
        ax.set_axis_on()
        title = f"Dice {dice[k]:.2f}\ndensity {percent[k]:.0f} % (label {label[k]:.0f} %)"
        image(ax, images[k] / 65535, title)
        outline(ax, found.breast_target[k], "white", width=0.8, style="dotted")
        outline(ax, found.target[k], SKY)
        outline(ax, dense[k], ORANGE)
    handles = [axes[0, 0].plot([], [], color=colour)[0] for colour in (SKY, ORANGE)]
    handles += axes[0, 0].plot([], [], color=INK, ls="dotted")
    names = ["label", "prediction", "breast (label; white in the picture)"]
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


NAMES = {
    "threshold": "one intensity\nthreshold",
    "scratch": "film only",
    "phantom_only": "phantom only,\nno film",
    "phantom_first": "phantom first,\nthen film",
}


def arms(values: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Dice and density error of every film in each arm, and what the phantom changes, with 95 % intervals.

    ``values`` and ``summary`` are those of `study.film`: a grey line is a film in all arms.
    """
    figure, axes = new(1, 3, size=(10.5, 3.9), width_ratios=(1.3, 1.3, 1))
    shown, places = list(NAMES), np.arange(len(NAMES))
    titles = {"dice": "Dice with the label", "bias": "density: predicted − label (points)"}
    for ax, (metric, title) in zip(axes.flat, titles.items(), strict=False):
        films = values[metric][shown].to_numpy()
        ax.plot(places, films.T, color="#BBBBBB", lw=0.7, marker="o", ms=2.5, zorder=1)
        means = summary.xs(metric, level="metric").loc[shown]
        ax.vlines(places, means["low"], means["high"], color=BLUE, lw=3, zorder=2)
        ax.plot(places, means["estimate"], "o", color=BLUE, ms=7, zorder=3)
        for place, mean in zip(places, means["estimate"], strict=True):
            text = f"{mean:.2f}" if metric == "dice" else f"{mean:+.1f}"
            ax.annotate(text, (place, mean), (8, 0), textcoords="offset points", va="center", color=BLUE)
        ax.set_xticks(places, NAMES.values(), fontsize=8)
        ax.set(title=title, xlim=(-0.3, len(places) - 0.4))
    axes[0, 0].set_ylim(0, 1)
    axes[0, 1].axhline(0, color="#999999", lw=1, ls="dotted")
    ax = axes[0, 2]
    pairs = [name for name in summary.index.unique("arm") if " - " in name]
    for row, name in enumerate(reversed(pairs)):
        estimate, low, high = summary.loc[(name, "dice")]
        after, before = (NAMES[arm].replace("\n", " ") for arm in name.split(" - "))
        ax.hlines(row, low, high, color=ORANGE, lw=3)
        ax.plot(estimate, row, "o", color=ORANGE, ms=7)
        # x in shares of the axes, y in rows
        place = {"transform": ax.get_yaxis_transform(), "fontsize": 8, "backgroundcolor": "white"}
        ax.text(0.0, row + 0.2, f"{after}\n− {before}", color=INK, **place)
        ax.text(estimate, row - 0.22, f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]", ha="center", fontsize=8)
    ax.axvline(0, color="#999999", lw=1, ls="dotted", zorder=0)
    ax.margins(x=0.25)
    ax.set(yticks=[], ylim=(-0.5, len(pairs) - 0.2), title="difference in Dice, film by film")
    ax.spines["left"].set_visible(False)
    return figure
