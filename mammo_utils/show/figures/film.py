"""Figures of segmenters on images of one's own, and of what phantom women bring for film."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mammo_utils.evaluation import segmentation
from mammo_utils.show.figures import INK, ORANGE, SKY, image, new, outline


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
