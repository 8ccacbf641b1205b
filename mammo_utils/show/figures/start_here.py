"""Figures of notebook 00: one woman in four views, and the map of the course."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.evaluation.segmentation import percent_density
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new, outline
from mammo_utils.synth.breast import View


def four_views(views: list[View]) -> Figure:
    """The four mammograms as they hang on a viewing station, and below them what is known about each."""
    by_name = {view.laterality + view.view: view for view in views}
    figure, axes = new(2, 4, size=(10, 5.4))
    for column, name in enumerate(("RCC", "LCC", "RMLO", "LMLO")):
        view = by_name[name]
        image(axes[0, column], view.image, f"{name[0]} {name[1:]}")
        drawn = percent_density(view.reader_masks["A"], view.breast_mask)
        title = f"dense: truth {view.percent_density:.0f} %,\nreader A {drawn:.0f} %"
        image(axes[1, column], view.image, title, span=(0, 1.35))
        outline(axes[1, column], view.breast_mask, SKY, style="dotted")
        outline(axes[1, column], view.pectoral_mask, GREEN)
        outline(axes[1, column], view.reader_masks["A"], ORANGE)
        outline(axes[1, column], view.lesion_mask, PINK, width=2.5)
    keys = (("breast", SKY), ("muscle", GREEN), ("dense tissue, reader A", ORANGE), ("lesion", PINK))
    handles = [axes[1, 0].plot([], [], color=colour, label=name)[0] for name, colour in keys]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def twins(views: list[View], others: list[View]) -> Figure:
    """One view with its lesion, the same without it, and what the lesion changed."""
    pairs = list(zip(views, others, strict=True))
    view, twin = next((a, b) for a, b in pairs if a.cancer and a.view == "CC")
    rows, columns = np.nonzero(view.lesion_mask)
    half = view.image.shape[0] // 8
    middle = np.clip([int(rows.mean()), int(columns.mean())], half, np.array(view.image.shape) - half)
    crop = tuple(slice(m - half, m + half) for m in middle)
    figure, axes = new(1, 4, size=(10, 2.7))
    image(axes[0, 0], view.image, "whole view, with the crop")
    axes[0, 0].add_patch(
        Rectangle((middle[1] - half, middle[0] - half), 2 * half, 2 * half, fill=False, color=RED)
    )
    image(axes[0, 1], view.image[crop], "with the lesion")
    image(axes[0, 2], twin.image[crop], "the twin")
    change = view.image - twin.image
    top = float(np.abs(change).max())
    image(
        axes[0, 3], change[crop], f"difference, ±{top:.2f} of the grey scale", span=(-top, top), cmap="PuOr_r"
    )
    return figure


COURSE = (
    ("00", "start here"),
    ("01", "preprocessing"),
    ("02", "splits and scores"),
    ("03", "architectures"),
    ("04", "self-supervision"),
    ("05", "fine-tuning"),
    ("06", "losses"),
    ("07", "screening"),
    ("08", "Grad-CAM"),
    ("09", "histology"),
    ("10", "the recipe"),
    ("11", "before the clinic"),
)


def course_map(views: list[View]) -> Figure:
    """The twelve notebooks as tiles, each with a sketch of its idea (sketches, not results)."""
    figure, axes = new(3, 4, size=(10, 6.1))
    sketches = (
        _views,
        _window,
        _split,
        _network,
        _pairs,
        _frozen,
        _valley,
        _rare,
        _heat,
        _cells,
        _steps,
        _checks,
    )
    for (number, title), sketch, ax in zip(COURSE, sketches, axes.flat, strict=True):
        ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], box_aspect=0.62)
        sketch(ax, views)
        ax.set_title(f"{number}  {title}", loc="left", fontweight="bold", color=INK)
        ax.spines[:].set(visible=True, color="#BBBBBB")
    return figure


def _place(ax: Axes, pixels: np.ndarray, left: float, width: float, **options) -> None:
    options = {"cmap": "gray", "vmin": 0, "vmax": 1, "aspect": "auto"} | options
    ax.imshow(pixels, extent=(left, left + width, 0.06, 0.94), **options)


def _views(ax, views):
    for number, place in enumerate((2, 0, 3, 1)):  # as they hang: right breast on the left
        _place(ax, views[place].image, 0.03 + 0.24 * number, 0.22)


def _window(ax, views):
    view = views[1].image
    _place(ax, 1 - 0.25 * view, 0.08, 0.34, vmin=0.6)
    _place(ax, view, 0.58, 0.34)
    ax.annotate("", (0.56, 0.5), (0.44, 0.5), arrowprops={"arrowstyle": "->", "color": INK})


def _split(ax, views):
    women = np.random.default_rng(0).choice(3, (6, 10), p=(0.6, 0.2, 0.2))
    for (row, column), part in np.ndenumerate(women):
        spot = (0.06 + 0.09 * column, 0.1 + 0.145 * row)
        ax.add_patch(Rectangle(spot, 0.07, 0.1, color=(BLUE, ORANGE, GREEN)[part]))


def _network(ax, views):
    heights = (0.8, 0.6, 0.4, 0.2, 0.4, 0.6, 0.8)
    for number, height in enumerate(heights):
        colour = BLUE if number < 3 else INK if number == 3 else ORANGE
        ax.add_patch(Rectangle((0.08 + 0.125 * number, 0.5 - height / 2), 0.08, height, color=colour))
    for number in range(3):
        ends = (0.16 + 0.125 * number, 0.83 - 0.125 * number)
        ax.plot(ends, [0.5 + heights[number] / 2 - 0.06] * 2, color="#999999", lw=1, ls="dotted")


def _pairs(ax, views):
    _place(ax, views[0].image, 0.08, 0.3)
    _place(ax, views[1].image, 0.62, 0.3)
    ax.annotate("", (0.6, 0.5), (0.4, 0.5), arrowprops={"arrowstyle": "<->", "color": RED, "lw": 2})


def _frozen(ax, views):
    for row in range(4):
        for layer in range(6):
            trained = (True, layer > 2, layer > 4, layer % 2 == 0)[row]
            spot = (0.1 + 0.14 * layer, 0.75 - 0.2 * row)
            ax.add_patch(Rectangle(spot, 0.11, 0.13, color=ORANGE if trained else "#C8D4DE"))


def _valley(ax, views):
    x, y = np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 60))
    ax.contourf(
        x, y, (x - 0.6) ** 2 + 2 * (y - 0.4) ** 2 + 0.1 * np.sin(9 * x) * np.cos(7 * y), 14, cmap="viridis"
    )
    ax.plot([0.1, 0.22, 0.36, 0.48, 0.57], [0.9, 0.68, 0.55, 0.46, 0.42], "o-", color="white", ms=3)


def _rare(ax, views):
    x, y = np.meshgrid(np.linspace(0.06, 0.94, 15), np.linspace(0.1, 0.9, 7))
    ax.scatter(x, y, s=26, color="#C8D4DE")
    ax.scatter(x[2, [4]], y[2, [4]], s=30, color=RED)
    ax.scatter(x[5, [11]], y[5, [11]], s=30, color=RED)


def _heat(ax, views):
    _place(ax, views[1].image, 0.3, 0.4)
    x, y = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60))
    _place(ax, np.exp(-((x - 0.3) ** 2 + (y - 0.5) ** 2) / 0.02), 0.3, 0.4, cmap="magma", alpha=0.55)


def _cells(ax, views):
    rng = np.random.default_rng(1)
    ax.set_facecolor("#F6D9E6")
    ax.scatter(*rng.uniform(0.05, 0.95, (2, 60)), s=rng.uniform(15, 60, 60), color="#7B4B94", alpha=0.8)
    ax.scatter(*rng.uniform(0.05, 0.95, (2, 25)), s=260, color=PINK, alpha=0.25)


def _steps(ax, views):
    for number, name in enumerate(("backbone", "pretrain", "fine-tune", "loss")):
        ax.add_patch(
            Rectangle(
                (0.06 + 0.22 * number, 0.08), 0.2, 0.2 + 0.17 * number, color=BLUE, alpha=0.35 + 0.2 * number
            )
        )
        ax.text(
            0.16 + 0.22 * number, 0.12, name, ha="center", fontsize=7, color="white" if number > 1 else INK
        )


def _checks(ax, views):
    for row, name in enumerate(("who was scored?", "which machine?", "how sure?", "who decides?")):
        ax.add_patch(Rectangle((0.12, 0.74 - 0.2 * row), 0.06, 0.1, fill=False, color=INK))
        ax.text(0.24, 0.79 - 0.2 * row, name, va="center", color=INK)
