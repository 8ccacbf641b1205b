"""Figures of notebook 08 that look inside: logits and threshold, cells and their places, twins, looks.

Images are prepared ones, H×W in 0–1; maps are in their raw scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.explain.layers import Grid
from mammo_utils.explain.twins import Pair
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, SKY, image, new, outline
from mammo_utils.show.figures.grad_cam import overlay

KINDS = {"cancer": ORANGE, "benign finding": BLUE, "normal": GREEN}  # as in `study.explained_cases.KINDS`
SIGNED = "RdBu_r"


def calls(views: pd.DataFrame, threshold: float) -> Figure:
    """The logit of every view by what it shows, and the threshold from which views are called.

    ``views`` of `study.explained_cases.called`.
    """
    figure, axes = new(size=(7.6, 2.6))
    ax, rng = axes[0, 0], np.random.default_rng(0)
    for at, (kind, colour) in enumerate(KINDS.items()):
        own = views[views["kind"] == kind]
        height = at + rng.uniform(-0.3, 0.3, len(own))
        filled = own["called"].to_numpy()
        for chosen, face in ((filled, colour), (~filled, "none")):
            ax.scatter(own["logit"][chosen], height[chosen], s=16, facecolor=face, edgecolor=colour, lw=0.9)
    ax.axvline(threshold, color=INK, lw=1.2, ls="dashed", label="threshold: filled views are called")
    ax.set(yticks=range(len(KINDS)), yticklabels=list(KINDS), xlabel="logit (log odds of cancer, as learnt)")
    ax.invert_yaxis()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def cells(pixels: np.ndarray, lesion: np.ndarray, shares: np.ndarray, grid: Grid) -> Figure:
    """What each cell of a layer adds to the logit, where the cell lies, and the map that is made of it.

    ``shares`` (cells), signed; the map is what is positive of them, spread over the image.
    """
    figure, axes = new(1, 3, size=(9.2, 3.7))
    left, middle, right = axes[0]
    image(left, pixels, "image, lesion outlined" if lesion.any() else "image, no lesion")
    top = np.abs(shares).max()
    image(middle, 0.6 * pixels, "what each cell adds to the logit")
    for row, column in np.ndindex(shares.shape):
        high, wide = (f + k * s for f, k, s in zip(grid.first, (row, column), grid.stride, strict=True))
        value = shares[row, column]
        box = (wide - grid.stride[1] / 2, high - grid.stride[0] / 2), grid.stride[1], grid.stride[0]
        colour = colormaps[SIGNED](0.5 + 0.5 * value / top)
        middle.add_patch(Rectangle(*box, facecolor=colour, edgecolor="white", lw=0.6, alpha=0.9))
        ink = "white" if abs(value) > 0.6 * top else "black"
        middle.text(wide, high, f"{value:+.2f}", ha="center", va="center", fontsize=7.5, color=ink)
    heat = grid.enlarge(np.maximum(shares, 0), pixels.shape)
    drawn = overlay(right, pixels, heat, "its positive part, spread: the map")
    figure.colorbar(drawn, ax=right, shrink=0.7, pad=0.02).ax.tick_params(labelsize=7)
    for ax in axes[0]:
        outline(ax, lesion, SKY)
    # Cells at the border see beyond the image: the middle panel shows them whole.
    ends = [
        (min(-0.5, f - s / 2), max(side - 0.5, f + s * (n - 0.5)))
        for f, s, n, side in zip(grid.first, grid.stride, grid.shape, pixels.shape, strict=True)
    ]
    middle.set(xlim=ends[1], ylim=ends[0][::-1])
    return figure


def places(pixels: np.ndarray, grids: dict[str, Grid]) -> Figure:
    """Where the middles of the cells of each layer lie (dots), and where plain stretching puts them (rings).

    ``grids`` {layer: its grid}.
    """
    figure, axes = new(1, len(grids), size=(2.4 * len(grids), 3.4))
    for ax, (name, grid) in zip(axes[0], grids.items(), strict=True):
        image(ax, 0.7 * pixels, f"{name}: {grid.shape[0]}×{grid.shape[1]} cells")
        plain = Grid.stretched(grid.shape, pixels.shape)
        size = 0.35 * grid.stride[0]  # points², so that dots of a fine layer do not run together
        for one, style in ((grid, {"c": ORANGE}), (plain, {"facecolors": "none", "edgecolors": SKY})):
            rows, columns = (
                f + s * np.arange(n) for f, s, n in zip(one.first, one.stride, one.shape, strict=True)
            )
            ax.scatter(*np.meshgrid(columns, rows), s=size, lw=0.9, **style)
        ax.set(xlim=(-0.5, pixels.shape[1] - 0.5), ylim=(pixels.shape[0] - 0.5, -0.5))
    first = axes[0, 0]
    first.scatter([], [], s=14, c=ORANGE, label="middle of the cell")
    first.scatter([], [], s=14, facecolors="none", edgecolors=SKY, label="where stretching puts it")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def looks(views: pd.DataFrame, found: dict[str, np.ndarray], threshold: float) -> Figure:
    """What the map of each view looks like, in one number, over its logit.

    ``views`` of `study.explained_cases.called`, ``found`` {title of a panel: a number a view, NaN for none}.
    """
    figure, axes = new(1, len(found), size=(3.5 * len(found) + 0.6, 3.4), sharex=True)
    for ax, (title, values) in zip(axes[0], found.items(), strict=True):
        for kind, colour in KINDS.items():
            chosen = (views["kind"] == kind).to_numpy()
            ax.scatter(views["logit"][chosen], values[chosen], s=13, color=colour, alpha=0.7, label=kind)
        ax.axvline(threshold, color=INK, lw=1, ls="dashed")
        ax.set_title(title, fontsize=9)
        ax.set(xlabel="logit", ylim=(0, 1.1 * np.nanmax(values)))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def twin(pair: Pair, maps: Sequence[np.ndarray], logits: Sequence[float]) -> Figure:
    """A view with its lesion and without, where the two differ, and the map of each in one raw scale.

    ``maps`` and ``logits`` are those of the view and of its twin.
    """
    figure, axes = new(1, 5, size=(11.4, 3.3))
    for ax, pixels, title in zip(axes[0], (pair.image, pair.twin), ("with", "without"), strict=False):
        image(ax, pixels, f"{title} her lesion")
    change = np.abs(pair.image - pair.twin)
    image(axes[0, 2], change, "difference", span=(0, change.max()))
    top = max(float(heat.max()) for heat in maps)
    for ax, pixels, heat, logit in zip(axes[0, 3:], (pair.image, pair.twin), maps, logits, strict=True):
        drawn = overlay(ax, pixels, heat, f"map, logit {logit:+.2f}", top=top)
    figure.colorbar(drawn, ax=axes[0, 4], shrink=0.7, pad=0.02, label="raw scale")
    for ax in axes[0, [0, 3, 4]]:
        outline(ax, pair.lesion, SKY)
    return figure


def shapes(effects: pd.DataFrame) -> Figure:
    """What a lesion adds to the logit by its shape: a line a woman, everything else being equal.

    ``effects``: a row a woman, a column a shape.
    """
    figure, axes = new(size=(5.6, 3.2))
    ax, at = axes[0, 0], range(effects.shape[1])
    for _, own in effects.iterrows():
        ax.plot(at, own, color="#BBBBBB", lw=0.9, marker="o", ms=3)
    ax.plot(at, effects.mean(), color=ORANGE, lw=2.2, marker="o", label="mean of the women")
    ax.axhline(0, color=INK, lw=0.8, ls="dotted")
    ax.set(xticks=list(at), xticklabels=list(effects), ylabel="what the lesion adds to the logit")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure
