"""Figures of notebook 09: tiles beside each other, stains in optical density, small networks trained there.

Those of its study are in `histology_study`, but for the tables of shares, which any run can have.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mammo_utils.data.stain import density
from mammo_utils.evaluation import classification
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new, outline
from mammo_utils.show.figures.architecture_results import GREY
from mammo_utils.synth.histology import MAGNIFICATIONS

STAINS = {"haematoxylin": BLUE, "eosin": PINK}
SOURCES = {
    "none": "no transfer",
    "patterns": "patterns",
    "fractals": "fractals",
    "organs": "other organs",
    "patterns+organs": "patterns → other organs",
    "fractals+organs": "fractals → other organs",
}
COLOURS = dict(zip(SOURCES, (INK, SKY, ORANGE, GREEN, BLUE, RED), strict=True))
POWERS = tuple(MAGNIFICATIONS)
REACH = 2.2  # optical density up to which pixels are drawn


def contact_sheet(rows: Mapping[str, np.ndarray], *, columns=()) -> Figure:
    """Tiles in rows: ``rows`` {name: tiles (N, H, W, 3) uint8}, ``columns`` their titles, if any."""
    most = max(len(tiles) for tiles in rows.values())
    figure, axes = new(len(rows), most, size=(1.05 * most + 1.3, 1.05 * len(rows) + 0.25))
    for line, (name, tiles) in zip(axes, rows.items(), strict=True):
        for ax, tile in zip(line, tiles, strict=False):
            image(ax, tile)
        for ax in line[len(tiles) :]:
            ax.set_axis_off()
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], columns, strict=False):
        ax.set_title(title)
    return figure


def stain_vectors(
    tiles: Mapping[str, np.ndarray], stains: Mapping[str, np.ndarray], *, pixels: int = 3000
) -> Figure:
    """Pixels in the plane of red and green optical density, in their own colours, and the stains found.

    ``tiles`` {name: (N, H, W, 3) uint8}, ``stains`` {name: (2, 3) unit vectors of haematoxylin and eosin}.
    Light falls off along a line for each stain: a pixel with both lies between them.
    """
    figure, axes = new(1, len(tiles), size=(3.4 * len(tiles), 3.3), sharex=True, sharey=True)
    for ax, (name, own) in zip(axes[0], tiles.items(), strict=True):
        _plane(ax, own.reshape(-1, 3)[:: max(1, own.size // 3 // pixels)], stains[name])
        ax.set_title(name)
    axes[0, 0].set_ylabel("density in green")
    return figure


def stained_anew(tiles: Mapping[str, np.ndarray], stains: Mapping[str, np.ndarray]) -> Figure:
    """Single tiles (H, W, 3) uint8 by name, each beside its pixels and ``stains`` as in `stain_vectors`."""
    figure, axes = new(1, 2 * len(tiles), size=(4.6 * len(tiles), 2.6))
    for k, (name, tile) in enumerate(tiles.items()):
        image(axes[0, 2 * k], tile, name)
        _plane(axes[0, 2 * k + 1], tile.reshape(-1, 3), stains[name])
        axes[0, 2 * k + 1].set(ylabel="density in green", aspect="equal")
    return figure


def _plane(ax: Axes, pixels: np.ndarray, vectors: np.ndarray) -> None:
    """Pixels (N, 3) uint8 over red and green density, and the two stains."""
    dense = density(pixels)
    ax.scatter(dense[:, 0], dense[:, 1], s=3, c=pixels / 255.0, linewidths=0)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for (stain, colour), vector in zip(STAINS.items(), vectors, strict=True):
        arrow = {"arrowstyle": "->", "color": colour, "lw": 2}
        ax.annotate("", 1.7 * vector[:2], (0, 0), arrowprops=arrow)
        place = {"ha": "center", "va": "bottom"} if stain == "eosin" else {"ha": "left", "va": "top"}
        beside = 1.7 * vector[:2] + ((0, 0.04) if stain == "eosin" else (0.06, -0.04))
        ax.text(*beside, stain, color=colour, fontsize=8, path_effects=halo, **place)
    ax.set(xlabel="density in red", xlim=(-0.1, REACH), ylim=(-0.1, REACH))


def shortcut(areas: pd.DataFrame) -> Figure:
    """Areas under the ROC curve of ways to handle colour (rows) in two groups of patients (two columns)."""
    figure, axes = new(1, 1, size=(6.2, 0.42 * len(areas) + 1.1))
    ax = axes[0, 0]
    rows = np.arange(len(areas))
    ax.hlines(rows, areas.min(axis=1), areas.max(axis=1), color=GREY, lw=1.5)
    for name, colour, marker in zip(areas, (ORANGE, BLUE), "so", strict=True):
        ax.plot(areas[name], rows, marker, color=colour, label=name)
    ax.axvline(0.5, color=GREY, lw=1, ls="dotted")
    ax.set(yticks=rows, yticklabels=areas.index, xlabel="ROC-AUC by tile", xlim=(0.45, 1))
    ax.set_ylim(len(areas) - 0.5, -0.5)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def logits(plain: np.ndarray, gated: Mapping[str, np.ndarray], label: np.ndarray) -> Figure:
    """Logits of tiles after gates were put in, over those before: a panel each of ``gated`` {name: (N,)}."""
    figure, axes = new(1, len(gated), size=(2.5 * len(gated), 2.9), sharex=True, sharey=True)
    ends = np.array([min(map(np.min, (plain, *gated.values()))), max(map(np.max, (plain, *gated.values())))])
    for ax, (name, values) in zip(axes[0], gated.items(), strict=True):
        ax.plot(ends, ends, color=GREY, lw=1, zorder=0)
        for kind, (said, colour) in enumerate((("benign", BLUE), ("malignant", ORANGE))):
            own = label == kind
            ax.scatter(plain[own], values[own], s=6, color=colour, linewidths=0, label=said)
        ax.set(title=name, xlabel="logit before")
    axes[0, 0].set_ylabel("logit with gates")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False, markerscale=2)
    return figure


def learning(curves: pd.DataFrame) -> Figure:
    """Area under the ROC curve over tiles seen: ``curves`` has ``source``, ``seed``, ``tiles``, ``roc_auc``.

    A panel a source with its runs, and in grey those of the first source in every panel.
    """
    names = list(curves["source"].unique())
    figure, axes = new(1, len(names), size=(3 * len(names), 2.6), sharex=True, sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        for kind, colour, wide in ((names[0], GREY, 1.0), (name, COLOURS[name], 1.6)):
            for _, run in curves[curves["source"] == kind].groupby("seed"):
                ax.plot(run["tiles"], run["roc_auc"], color=colour, lw=wide)
        ax.set(title=SOURCES[name], xlabel="tiles of the target seen")
    axes[0, 0].set_ylabel("ROC-AUC, other patients")
    return figure


def maps(tiles: np.ndarray, nuclei: np.ndarray, heats: Mapping[str, np.ndarray], titles) -> Figure:
    """Tiles with the outlines of their nuclei, and below each its heat maps, a row a network or method.

    ``tiles`` (N, H, W, 3) uint8, ``nuclei`` (N, H, W) bool, ``heats`` {name: (N, H, W)}; a row has one raw
    scale from 0 to its greatest value.
    """
    count = len(tiles)
    figure, axes = new(1 + len(heats), count, size=(1.5 * count + 1.1, 1.5 * (1 + len(heats)) + 0.3))
    for k, title in enumerate(titles):
        image(axes[0, k], tiles[k], title)
        outline(axes[0, k], nuclei[k], INK, width=0.7)
        for line, heat in zip(axes[1:], heats.values(), strict=True):
            image(line[k], heat[k], span=(0, float(heat.max()) or 1), cmap="magma")
            outline(line[k], nuclei[k], "white", width=0.5)
    for line, name in zip(axes, ("tile", *heats), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def magnifications(found: pd.DataFrame) -> Figure:
    """Area under the ROC curve and accuracy at each magnification, with 95 % intervals by patient.

    ``found``: a row a tile with ``magnification``, ``patient``, ``label`` and ``probability``.  Dashes: what
    calling every tile malignant reaches.  A magnification at which a class is absent is left out.
    """
    kinds = {m: own for m, own in found.groupby("magnification") if own["label"].nunique() == 2}
    figure, axes = new(1, 2, size=(7.5, 2.8))
    for ax, (title, statistic, blind) in zip(
        axes[0],
        (
            ("ROC-AUC", lambda p, y: classification.roc_auc(p, y), lambda y: 0.5),
            ("accuracy", lambda p, y: np.mean((p >= 0.5) == y), np.mean),
        ),
        strict=True,
    ):
        for place, own in enumerate(kinds.values()):
            values = own["probability"].to_numpy(), own["label"].to_numpy()
            interval = bootstrap(statistic, *values, groups=own["patient"].to_numpy(), stratify=values[1])
            ax.vlines(place, interval.low, interval.high, color=BLUE, lw=2.2)
            ax.plot(place, interval.estimate, "o", color=BLUE)
            ax.hlines(blind(values[1]), place - 0.3, place + 0.3, color=GREY, ls="dashed", lw=1)
        ax.set(title=title, xticks=range(len(kinds)), xticklabels=[f"{m}×" for m in kinds])
        ax.set_xlabel("magnification")
        ax.set_xlim(-0.5, len(kinds) - 0.5)
    return figure


def across(runs: pd.DataFrame) -> Figure:
    """Mean area under the ROC curve of networks that learnt at one magnification, tested at each.

    ``runs``: rows with ``magnification`` and the columns ``roc_auc_40`` to ``roc_auc_400``.
    """
    table = runs.groupby("magnification")[[f"roc_auc_{power}" for power in POWERS]].mean()
    return _shares(
        table.to_numpy(),
        [f"{m:.0f}×" for m in table.index],
        [f"{m}×" for m in POWERS],
        span=(0.5, 1),
        labels=("tested at", "learnt at"),
        title="ROC-AUC by tile",
    )


def confusion(shares: pd.DataFrame) -> Figure:
    """Which subtype (columns) the tiles of each subtype (rows) were called, as shares of a row (0–1).

    The first four of eight subtypes are benign, the others malignant.
    """
    figure = _shares(
        shares.to_numpy(), shares.index, shares.columns, labels=("called", "is"), title="share of tiles"
    )
    for line in (figure.axes[0].axhline, figure.axes[0].axvline):
        line(3.5, color="white", lw=3)
    return figure


def _shares(values: np.ndarray, rows, columns, *, span=(0, 1), labels, title: str) -> Figure:
    """A matrix of numbers 0–1 in a colour map, each written into its field."""
    figure, axes = new(1, 1, size=(0.62 * len(columns) + 1.4, 0.5 * len(rows) + 1.2))
    ax = axes[0, 0]
    ax.imshow(values, cmap="cividis", vmin=span[0], vmax=span[1], aspect="auto")
    middle = sum(span) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            shade = "black" if value > middle else "white"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=8)
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    ax.set(xlabel=labels[0], ylabel=labels[1], title=title)
    ax.spines[:].set_visible(False)
    return figure
