"""Figures of notebook 05 about the strategies themselves: what may change, how fast, and how far it went.

``table`` and ``tables`` are those of `training.strategies.trainable`, by the name of a strategy or a title.
What is frozen is of a cold grey; what changes is the darker the faster.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mammo_utils.models.lora import NEW
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, new
from mammo_utils.show.figures.architecture_results import GREY
from mammo_utils.show.figures.sources import heading

NAMES = {
    "full": "full",
    "layerwise": "layer-wise",
    "gradual": "gradual",
    "lp_ft": "LP-FT",
    "l2_sp": "L2-SP",
    "bnbitfit": "BNBitFit",
    "lora": "LoRA",
    "head": "new parts only",
}
COLOURS = dict(zip(NAMES, (INK, BLUE, SKY, GREEN, "#8C6BB1", PINK, RED, ORANGE), strict=True))
MARKERS = dict(zip(NAMES, "os^vDPXd", strict=True))
PARTLY = ("bnbitfit", "lora", "head")  # most of the encoder is as it was to the end
FROZEN = "#D3DCE6"
WARM = LinearSegmentedColormap.from_list("warm", colormaps["YlOrBr"](np.linspace(0.3, 0.85, 256)))
SLOWEST = 1e-3  # of the highest rate: what is slower has the lightest shade


def looks(names) -> dict[str, dict]:
    """Colour, marker and label of each strategy in ``names``, in one order; hollow where most is frozen."""
    return {
        name: {"color": COLOURS[name], "marker": MARKERS[name], "label": NAMES[name]}
        | ({"mfc": "white", "ls": "dashed"} if name in PARTLY else {})
        for name in NAMES
        if name in set(names)
    }


def networks(panels: Mapping[str, pd.DataFrame], *, marks: Mapping[str, str] | None = None) -> Figure:
    """The network under each of ``panels`` {title: table}: a block a part, filled as far as it may change.

    ``marks`` {title: mark}: with ``"beside"`` what may change stands beside the blocks of the encoder
    (adapters), with ``"springs"`` these blocks hang on their first weights.
    """
    columns, top = 4 if len(panels) % 3 else 3, max(table["lr"].max() for table in panels.values())
    lines = -(-len(panels) // columns)
    figure, axes = new(lines, columns, size=(10.5, 2.15 * lines + 0.6))
    scale = LogNorm(SLOWEST, 1, clip=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, table) in zip(axes.flat, panels.items(), strict=False):
        _network(ax, table.assign(lr=table["lr"] / top), scale, (marks or {}).get(title, ""))
        heading(ax, title)
    bar = figure.colorbar(
        ScalarMappable(scale, WARM),
        ax=axes,
        orientation="horizontal",
        shrink=0.35,
        aspect=28,
        pad=0.04,
        extend="min",
    )
    bar.set_label("learning rate over the highest one", fontsize=8)
    figure.legend([Patch(color=FROZEN)], ["frozen"], loc="lower left", frameon=False, fontsize=9)
    return figure


def _network(ax: Axes, table: pd.DataFrame, scale, mark: str) -> None:
    encoder = [name for name in table.index if name not in NEW]
    tall = np.linspace(1, 0.34, len(encoder))
    blocks = [*zip(encoder, tall, strict=True), *(("decoder", high) for high in tall[-2::-1]), ("head", 1.0)]
    for place, (part, high) in enumerate(blocks):
        own, wide = table.loc[part], 0.4 if part == "head" else 0.74
        beside, colour = mark == "beside" and part in encoder, WARM(scale(own["lr"]))
        ax.add_patch(Rectangle((place, 0), wide, high, color=FROZEN, lw=0))
        share = own["trainable"] / own["all"]
        if share and beside:
            ax.add_patch(Rectangle((place + wide + 0.03, 0), 0.17, high, color=colour, lw=0))
        elif share:  # a sliver that can still be seen
            level = high if share == 1 else max(share * high, 0.06)
            ax.add_patch(Rectangle((place, 0), wide, level, color=colour, lw=0))
        if mark == "springs" and part in encoder:
            along, coil = np.linspace(high + 0.01, 1.2, 13), [1, -1] * 4
            ax.plot(place + wide / 2 + 0.13 * np.array([0, 0, *coil, 1, 0, 0]), along, color=INK, lw=0.9)
    if mark == "springs":
        ax.plot([0, len(encoder) - 0.26], [1.2, 1.2], color=INK, lw=1.6)
    names = {name: place for place, name in enumerate(["stem", *range(1, len(encoder))])}
    names |= {"decoder": len(encoder) + (len(encoder) - 2) / 2, "head": len(blocks) - 1.15}
    for name, place in names.items():
        ax.text(place + 0.37, -0.06, name, ha="center", va="top", fontsize=7, color=INK)
    ax.set(xlim=(-0.1, len(blocks) - 0.4), ylim=(-0.24, 1.25), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def rates(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Learning rate of each part (rows, head on top) in each epoch; ``panels`` {title: parts × epochs}."""
    top = max(table.to_numpy().max() for table in panels.values())
    figure, axes = new(1, len(panels), size=(10.5, 2.9), sharey=True)
    cold = WARM.with_extremes(bad=FROZEN)
    for ax, (title, table) in zip(axes.flat, panels.items(), strict=True):
        shown = np.ma.masked_equal(table.to_numpy(float), 0)
        drawn = ax.pcolormesh(shown, cmap=cold, norm=LogNorm(SLOWEST * top, top), edgecolor="white", lw=1)
        ax.set_facecolor(FROZEN)
        places = np.arange(0, table.shape[1], max(1, table.shape[1] // 6))
        ax.set(xlabel="epoch", xticks=places + 0.5, xticklabels=table.columns[places] + 1)
        ax.set(yticks=np.arange(len(table)) + 0.5, yticklabels=table.index)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        heading(ax, title)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, extend="min")
    bar.set_label("learning rate (grey: frozen)", fontsize=8)
    return figure


def shares(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """What of the network changes under each strategy, from stem to head; ``tables`` {strategy: table}.

    The width of a piece is that of its parameters over those of the network; beside the bars the share.
    """
    figure, axes = new(1, 1, size=(10, 0.42 * len(tables) + 1.3))
    ax = axes[0, 0]
    for row, table in enumerate(tables.values()):
        start, whole = 0.0, table["all"].sum()
        for part, own in table.iterrows():
            moving, wide = own["trainable"] / whole, own["all"] / whole
            colour = ORANGE if part in NEW else RED
            ax.barh(row, wide, left=start, height=0.62, color=FROZEN)
            ax.barh(row, moving, left=start, height=0.62, color=colour)
            ax.vlines(start + wide, row - 0.31, row + 0.31, color="white", lw=1.2)
            start += wide
        old = table.drop([name for name in NEW if name in table.index])
        some, inside = (100 * one["trainable"].sum() / one["all"].sum() for one in (table, old))
        text = f"{some:.3g} % of all, {inside:.3g} % of the encoder"
        ax.text(1.01, row, text, va="center", fontsize=8, color=INK)
    names = [NAMES.get(name, name) for name in tables]
    ax.set(yticks=range(len(tables)), yticklabels=names, xlim=(0, 1.36), ylim=(len(tables) - 0.5, -0.6))
    ax.set(xlabel="share of the parameters, from stem to head", xticks=np.linspace(0, 1, 5))
    ax.spines["bottom"].set_bounds(0, 1)
    labels = {"changes, encoder": RED, "changes, decoder and head": ORANGE, "frozen": FROZEN}
    figure.legend(
        [Patch(color=colour) for colour in labels.values()],
        labels,
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def drift(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How far each part has moved: ``tables`` {strategy: `models.inspect.drift`}.

    Weights only of the encoder: new parts start from random numbers, and are far from them in no time.
    """
    figure, axes = new(1, 2, size=(10.5, 3.4))
    styles = looks(tables)
    words = {
        "cka": "alikeness of its features with the first ones (CKA)",
        "distance": "distance of its weights, over their length",
    }
    for ax, (column, label) in zip(axes.flat, words.items(), strict=True):
        for name, style in styles.items():
            values = tables[name][column]
            values = values if column == "cka" else values.drop(list(NEW))
            ax.plot(range(len(values)), values, ms=6, lw=1.2, **style)
        ax.set_xticks(range(len(values)), values.index)
        heading(ax, label)
    left, right = axes.flat
    left.set_ylim(top=1.03)
    right.set_ylim(bottom=0)
    new_from = len(values) - 0.5
    left.axvspan(new_from, new_from + len(NEW), color="#F1F1F1", lw=0, zorder=0)
    place = left.get_xaxis_transform()
    left.text(new_from + len(NEW) / 2, 0.02, "new", transform=place, ha="center", color=GREY)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def low_rank(weight: np.ndarray, b: np.ndarray, a: np.ndarray, *, scale: float) -> Figure:
    """An adapted weight (outputs, inputs) as pictures: what it was, ``scale`` · ``b`` · ``a``, and the sum.

    Every picture has a scale of its own, from minus to plus the number that stands below it.
    """
    change = scale * b @ a
    figure, axes = new(1, 5, size=(10.5, 3.0), width_ratios=(1, 0.3, 1, 1, 1))
    pictures = {
        "W, frozen": weight,
        "B": b,
        "A": a,
        f"{scale:g} · B · A": change,
        "W and what is added": weight + change,
    }
    for ax, (title, values) in zip(axes.flat, pictures.items(), strict=True):
        limit = np.abs(values).max() or 1.0
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
        ax.set(xticks=[], yticks=[], xlabel=f"{values.shape[0]} × {values.shape[1]}\n± {limit:.2g}")
        ax.spines[:].set_color("#BBBBBB")
        ax.spines[:].set_visible(True)
        heading(ax, title)
    axes[0, 2].set_box_aspect(min(1.0, max(0.12, len(a) / len(b))))
    return figure


def close_up(table: pd.DataFrame, *, mark: str = "") -> Figure:
    """One network as in `networks`, and beside it the numbers of its parameters by part, on a log scale."""
    figure, axes = new(1, 2, size=(10.5, 2.7), width_ratios=(1.15, 1))
    left, right = axes[0]
    top = table["lr"].max() or 1.0
    _network(left, table.assign(lr=table["lr"] / top), LogNorm(SLOWEST, 1, clip=True), mark)
    places = np.arange(len(table))[::-1]
    right.barh(places, table["all"], color=FROZEN, label="all")
    right.barh(places, table["trainable"], color=RED, height=0.5, label="may change")
    for place, (_, own) in zip(places, table.iterrows(), strict=True):
        right.text(1.2 * own["all"], place, f"{own['trainable']:,.0f}", va="center", fontsize=8, color=INK)
    right.set(xscale="log", xlim=(30, 8 * table["all"].max()), yticks=places, yticklabels=table.index)
    right.set_xlabel("parameters (number: those that may change)")
    right.legend(frameon=False, fontsize=8, loc="upper right")
    some, whole = table["trainable"].sum(), table["all"].sum()
    heading(left, f"{some:,.0f} of {whole:,.0f} parameters may change: {100 * some / whole:.3g} %")
    return figure
