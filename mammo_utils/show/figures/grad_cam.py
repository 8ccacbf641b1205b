"""Figures of notebook 08: maps of one case, their scale, the scores of all methods, sanity, a shortcut.

``heat`` is a map of `explain.cam.explain`, in its raw scale where a bar says so; images are prepared ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from mammo_utils.explain import localisation
from mammo_utils.explain.cam import METHODS, explain, scaled
from mammo_utils.explain.perturbation import Curves
from mammo_utils.explain.sanity import ALIKE, ANOTHER, ORDERS
from mammo_utils.profile import choose
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new, outline

MAP = "inferno"  # perceptually uniform, and as dark at 0 as the background of a film
RAINBOW = "jet"  # what most published maps are drawn in: red is highest, yellow less
GREY, PALE = "#999999", "#D9D9D9"
NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "scorecam": "Score-CAM",
    "centre prior": "centre prior",
    "edges": "edge detector",
}
COLOURS = dict(zip(NAMES, (BLUE, SKY, GREEN, ORANGE, PINK, RED, GREY, GREY), strict=True))
SCORES = {
    "pointing": "pointing game",
    "energy": "energy in the lesion",
    "iou": "mean IoU",
    "twin": "AUC of what the twin lacks",
    "insertion": "insertion",
    "deletion": "deletion (low is good)",
}
CLASSES = ("benign", "malignant")


def overlay(
    axes: Axes,
    pixels: np.ndarray,
    heat: np.ndarray,
    title: str = "",
    *,
    top: float | None = None,
    rainbow: bool = False,
):
    """The image with the map over it, the more opaque the higher; returns what a colour bar needs.

    ``top``: the value of the brightest colour, by default the map's own maximum.  ``rainbow``: in the colours
    that are usual, as opaque where the map is 0.
    """
    top = float(heat.max()) if top is None else top
    image(axes, pixels, title)
    alpha = 0.5 if rainbow else np.clip(0.75 * heat / (top or 1), 0, 0.75)
    options = {"cmap": RAINBOW if rainbow else MAP, "vmin": 0, "vmax": top or 1, "alpha": alpha}
    return axes.imshow(heat, interpolation="nearest", **options)


def case(
    pixels: np.ndarray,
    lesion: np.ndarray,
    maps: dict[str, np.ndarray],
    *,
    common: bool = False,
    columns: int = 4,
) -> Figure:
    """One image with its lesion, and maps of it, each with its bar in its own raw scale.

    ``pixels``: H×W in 0–1; ``lesion``: H×W bool, empty where there is none; ``maps`` {title: H×W}.  With
    ``common`` the highest value of all maps ends every bar.
    """
    rows, columns = -(-(1 + len(maps)) // columns), min(columns, 1 + len(maps))
    figure, axes = new(rows, columns, size=(2.4 * columns + 0.4, 2.75 * rows + 0.1))
    for ax in axes.flat:
        ax.set_axis_off()
    first, *others = axes.flat[: 1 + len(maps)]
    image(first, pixels, "image, lesion outlined" if lesion.any() else "image, no lesion")
    outline(first, lesion, SKY)
    top = max(float(heat.max()) for heat in maps.values()) if common else None
    for ax, (title, heat) in zip(others, maps.items(), strict=True):
        drawn = overlay(ax, pixels, heat, title, top=top)
        outline(ax, lesion, SKY)
        figure.colorbar(drawn, ax=ax, shrink=0.6, pad=0.02).ax.tick_params(labelsize=7)
    return figure


def explorer(
    model: nn.Module,
    pixels: np.ndarray,
    lesion: np.ndarray,
    *,
    target: int = 1,
    method: str = "gradcam",
    layer: str | None = None,
    threshold: float = 0.5,
) -> Figure:
    """The map of one case: over the image, cut at a share ``threshold`` of its maximum, and its scores.

    ``target``, ``method`` and ``layer`` as in `cam.explain`, ``pixels`` and ``lesion`` as in `case`.
    """
    options = {"target": target, "method": method, "layer": layer, "normalise": False}
    heat = explain(model, np.asarray(pixels, np.float32)[None, None], **options)[0]
    cut = (heat >= threshold * heat.max()) & (heat.max() > 0)
    figure, axes = new(1, 3, size=(7.8, 3.6))
    left, middle, right = axes[0]
    image(left, pixels, "image, lesion outlined" if lesion.any() else "image, no lesion")
    outline(left, lesion, SKY)
    drawn = overlay(middle, pixels, heat, f"{NAMES[method]}, {layer or 'last layer'}, {CLASSES[target]}")
    figure.colorbar(drawn, ax=middle, shrink=0.6, pad=0.02).ax.tick_params(labelsize=7)
    outline(middle, lesion, SKY)
    title = f"above {threshold:.0%} of the maximum"
    if lesion.any():
        hit = localisation.pointing(heat[None], lesion[None])[0]
        share = localisation.energy(heat[None], lesion[None])[0]
        overlap = localisation.iou_curve(heat[None], lesion[None], [threshold])[0, 0]
        title += f"\nIoU {overlap:.2f}, energy {share:.2f}, {'hit' if hit > 0.5 else 'no hit'}"
    image(right, pixels, title)
    outline(right, cut, ORANGE, width=1.5)
    outline(right, lesion, SKY)
    for name, colour in (("lesion", SKY), ("map above the threshold", ORANGE)):
        right.plot([], [], color=colour, label=name)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def scales(pixels: Sequence[np.ndarray], maps: dict[str, Sequence[np.ndarray]]) -> Figure:
    """The same maps as they are usually drawn, each scaled by itself in a rainbow, and in one raw scale.

    ``pixels``: images; ``maps`` {title of a class: its map of every image}, all in raw scale.
    """
    columns = [(title, k) for k in range(len(pixels)) for title in maps]
    top = max(float(np.max(heat)) for own in maps.values() for heat in own)
    figure, axes = new(2, len(columns), size=(2.0 * len(columns) + 0.8, 5.2))
    for column, (title, k) in enumerate(columns):
        heat = maps[title][k]
        each = overlay(axes[0, column], pixels[k], scaled(heat), f"view {k + 1}: {title}", rainbow=True)
        one = overlay(axes[1, column], pixels[k], heat, f"highest {heat.max():.2g}", top=top)
    for row, (drawn, words) in enumerate(((each, "0–1 each by itself"), (one, "one raw scale"))):
        figure.colorbar(drawn, ax=axes[row].tolist(), shrink=0.7, pad=0.01, label=words)
    return figure


def scores(
    table: pd.DataFrame, *, layer: str, lesion: str = "all", names: Sequence[str] = tuple(SCORES)
) -> Figure:
    """Every method's scores in one layer with 95 % intervals by woman, beside chance and ceiling.

    ``table`` of `study.explained.table`; ``names`` of scores.
    """
    own = table[(table["layer"] == layer) & (table["lesion"] == lesion)]
    methods = [name for name in NAMES if name in set(own["method"])]
    figure, axes = new(1, len(names), size=(2.1 * len(names) + 1.2, 0.36 * len(methods) + 1.5), sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        rows = own[own["score"] == name].set_index("method").loc[methods]
        for at, (method, row) in enumerate(rows.iterrows()):
            ax.barh(at, row["estimate"], height=0.6, color=COLOURS[method], alpha=0.75)
            ax.hlines(at, row["low"], row["high"], color=INK, lw=1.6)
        ax.axvline(rows["chance"].iloc[0], color=INK, lw=1.2, ls="dotted")
        ax.axvline(rows["ceiling"].iloc[0], color=INK, lw=1.2, ls="dashed")
        ax.set_title(SCORES[name], fontsize=8.5)
        if name == "twin":  # an area under a ROC curve: chance is at 0.5
            ax.set_xlim(0.35, 1.02)
        ax.set(yticks=range(len(methods)), yticklabels=[NAMES[m] for m in methods])
        ax.set_ylim(len(methods) - 0.4, -0.6)
    for words, style in (("random map", "dotted"), ("the lesion itself on this grid", "dashed")):
        axes[0, 0].plot([], [], color=INK, lw=1.2, ls=style, label=words)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def curves(found: dict[str, Curves]) -> Figure:
    """Mean probability while pixels are inserted and deleted in the order of each map, with mean areas.

    ``found`` {method, or any other name: its curves on the same images}.
    """
    figure, axes = new(1, 2, size=(9.0, 3.8), sharey=True)
    spare = iter((INK, "#0B7A75", "#7A5195", "#8C564B"))
    for name, one in found.items():
        colour = COLOURS[name] if name in METHODS else next(spare, GREY)
        style = "solid" if name in METHODS else "dashed"
        for ax, curve, area in zip(axes[0], (one.insertion, one.deletion), one.areas, strict=True):
            label = f"{NAMES.get(name, name)} {area.mean():.2f}"
            ax.plot(100 * one.share, curve.mean(0), color=colour, ls=style, lw=1.6, label=label)
    for ax, verb in zip(axes[0], ("inserted", "deleted"), strict=True):
        ax.set(xlabel=f"pixels {verb} (%)", ylim=(-0.02, 1.02))
        ax.legend(frameon=False, fontsize=7.5, loc="best", title="area", title_fontsize=7.5)
    axes[0, 0].set_ylabel("sigmoid of the logit")
    return figure


def sanity(tables: dict[str, pd.DataFrame], *, order: str = "cascading") -> Figure:
    """Likeness of each method's map to its own when parts of the network are scrambled.

    ``tables`` {method: `explain.sanity.summary`}; the last part may be ``another image``.  ``order``: the one
    in which they were scrambled.
    """
    choose("order", order, ORDERS)
    figure, axes = new(1, 2, size=(9.5, 3.9), sharey=True)
    for (method, own), shift in zip(tables.items(), np.linspace(-0.12, 0.12, len(tables)), strict=True):
        parts = own["part"].to_list()
        places = np.arange(len(parts)) + shift
        ends = len(parts) - (parts[-1] == ANOTHER)
        for ax, column in zip(axes[0], ("rank", "ssim"), strict=True):
            ax.vlines(places, own[f"{column}_low"], own[f"{column}_high"], color=COLOURS[method], lw=1)
            style = {"color": COLOURS[method], "ms": 4, "lw": 1.4, "label": NAMES[method]}
            ax.plot(places[:ends], own[column][:ends], "o-", **style)
            ax.plot(places[ends:], own[column][ends:], "s", color=COLOURS[method], ms=5)
    names = [part.replace("another ", "another\n") for part in parts]
    for ax, title in zip(axes[0], ("rank correlation", "structural similarity"), strict=True):
        ax.set_xticks(range(len(parts)), names, fontsize=8)
        ax.set_title(title)
    axes[0, 0].axhline(ALIKE, color=GREY, lw=1, ls="dotted")
    said = {"cascading": "scrambled from the head up to", "independent": "scrambled alone"}[order]
    axes[0, 0].set(ylabel="likeness to the network's own map")
    for ax in axes[0]:
        ax.set_xlabel(said)
    axes[0, 0].legend(frameon=False, fontsize=7.5, loc="best")
    return figure


def gallery(
    pixels: np.ndarray, marks: np.ndarray, maps: np.ndarray, titles: Sequence[str], *, columns: int = 6
) -> Figure:
    """Cases with what should be found outlined (a lesion, a planted marker), below each its map.

    ``pixels``, ``marks`` and ``maps``: (N, H, W); all maps in one raw scale.
    """
    rows = -(-len(pixels) // columns)
    columns = min(columns, len(pixels))
    figure, axes = new(2 * rows, columns, size=(1.75 * columns + 0.6, 4.4 * rows))
    for ax in axes.flat:
        ax.set_axis_off()
    for k, title in enumerate(titles):
        upper, lower = (axes[2 * (k // columns) + part, k % columns] for part in (0, 1))
        image(upper, pixels[k], title)
        drawn = overlay(lower, pixels[k], maps[k], top=float(maps.max()))
        for ax in (upper, lower):
            outline(ax, marks[k], SKY)
    figure.colorbar(drawn, ax=axes.ravel().tolist(), shrink=0.5, pad=0.01, label="map, raw scale")
    return figure
