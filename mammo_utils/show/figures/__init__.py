"""One module of figure functions for each notebook; every function returns a matplotlib ``Figure``.

The colours are those of Okabe and Ito, told apart by readers with any colour vision; maps are perceptually
uniform.  A figure is closed at once, so that a notebook shows it only where it stands as the last expression.
"""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
INK = "#333333"


def new(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options
) -> tuple[Figure, np.ndarray]:
    """A closed figure of ``size`` inches with a grid of axes (always a rows×columns array)."""
    style = {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            rows, columns, figsize=size, dpi=100, layout="constrained", squeeze=False, **options
        )
    plt.close(figure)
    return figure, axes


def image(
    axes: Axes, pixels: np.ndarray, title: str = "", *, span: tuple[float, float] = (0, 1), **options
) -> None:
    """Show an image in grey (or as ``options`` say), without ticks."""
    axes.imshow(
        pixels, **{"cmap": "gray", "vmin": span[0], "vmax": span[1], "interpolation": "nearest"} | options
    )
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def outline(axes: Axes, mask: np.ndarray, colour: str, *, width: float = 1.2, style: str = "solid") -> None:
    """Draw the border of a mask; an empty or full one has none."""
    if mask.any() and not mask.all():
        axes.contour(mask, [0.5], colors=colour, linewidths=width, linestyles=style)


def errors(pixels: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image in grey (H×W×3) with what both call dense in white, missed in blue and invented in orange."""
    shown = np.repeat(0.55 * pixels[..., None], 3, axis=-1)
    for mask, colour in (
        (truth & found, (0.95, 0.95, 0.95)),
        (truth & ~found, (0.34, 0.7, 0.91)),
        (found & ~truth, (0.9, 0.62, 0)),
    ):
        shown[mask] = colour
    return shown
