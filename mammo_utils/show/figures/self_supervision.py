"""Figures of notebook 04 that need no study: where weights come from and what self-supervision asks for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.data.augment import Ranges
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new, outline
from mammo_utils.show.figures.self_supervision_cases import Painting, Versions, prepared, pushes, versions
from mammo_utils.show.figures.sources import heading
from mammo_utils.synth import fractals
from mammo_utils.synth.breast import View

MAPS = (BLUE, ORANGE, GREEN, PINK, SKY, RED, INK)  # of an iterated function system, at most seven


def scarce(labelled: int, unlabelled: int, *, each: int = 20, tall: int = 15) -> Figure:
    """A square for every ``each`` images: those with labels in orange, before those without."""
    figure, axes = new(size=(10, 2.15))
    number = np.arange(round((labelled + unlabelled) / each))
    colours = np.where(number < labelled / each, ORANGE, "#C9D3DA")
    axes[0, 0].scatter(number // tall, -(number % tall), s=48, c=colours, lw=0, marker="s")
    axes[0, 0].set(xticks=[], yticks=[], aspect="equal")
    axes[0, 0].margins(0.01, 0.06)
    axes[0, 0].spines[:].set_visible(False)
    return figure


def origins(pictures: list[np.ndarray], asked: list[str]) -> Figure:
    """A specimen of each origin of first weights that needs no photograph, in 0–1, and what the network is
    ``asked`` there."""
    figure, axes = new(1, len(pictures), size=(10, 3.6))
    titles = ("random numbers", "formulas", "unlabelled mammograms")
    for ax, pixels, title, question in zip(axes.flat, pictures, titles, asked, strict=True):
        image(ax, pixels)
        heading(ax, title)
        ax.set_xlabel(question, fontsize=9, color=INK)
    return figure


def chaos(dots: np.ndarray, maps: np.ndarray, counts: list[int]) -> Figure:
    """The first dots of a chaos game, a panel for each of ``counts``; the last one coloured by map.

    ``dots`` (N, 2) places; ``maps`` (N,) the number of the map that brought each of them there.
    """
    figure, axes = new(1, len(counts) + 1, size=(10, 2.9))
    low, high = dots.min(0), dots.max(0)
    middle, reach = (low + high) / 2, 0.54 * max(high - low)
    titles = [*(f"{count:,} dots" for count in counts), "coloured by their last map"]
    for ax, count, title in zip(axes.flat, [*counts, len(dots)], titles, strict=True):
        colour = INK if ax is not axes.flat[-1] else np.array(MAPS)[maps]
        ax.scatter(*dots[:count].T, s=max(0.15, 40 * count**-0.5), c=colour, lw=0)
        ax.set(xlim=(middle[0] - reach, middle[0] + reach), xticks=[], yticks=[])
        ax.set(ylim=(middle[1] - reach, middle[1] + reach), aspect="equal")
        ax.spines[:].set_visible(False)
        heading(ax, title)
    return figure


def sheet(images: np.ndarray, weighting: np.ndarray) -> Figure:
    """Fractals, a row a category and a column an instance, with what was scaled in all maps of a category.

    ``images`` (categories, instances, H, W) in 0–0.5 and ``weighting`` as from `fractals.variants`.
    """
    rows, columns = weighting.shape
    figure, axes = new(rows, columns, size=(10, 10 / columns * rows + 0.2 * rows))
    for place, ax in np.ndenumerate(axes):
        factors = fractals.WEIGHTS[weighting[place]]
        which = np.flatnonzero(factors != 1)
        words = f"{'abcdef'[which[0]]} × {factors[which[0]]:g}" if which.size else "as it is"
        image(ax, images[place], words, span=(0, 0.5), cmap="gray_r")
        ax.title.set_fontsize(8)
    return figure


def _version(ax: Axes, made: Versions, number: int, *, name: str = "") -> None:
    """One version with its dense tissue and the percent density of what is visible."""
    percent = made.density[number]
    image(ax, made.image[number])
    outline(ax, made.dense[number], ORANGE, width=0.9)
    ax.set_title("no breast" if np.isnan(percent) else f"{name}{percent:.0f} %", fontsize=8.5)
    ax.title.set_color(BLUE if name else INK)


def changes(view: View, kinds: Mapping[str, Ranges], *, count: int = 7, seed: int = 1) -> Figure:
    """The image and ``count`` of its versions for each kind of change, with the density that is left."""
    figure, axes = new(len(kinds), count + 1, size=(8.6, 1.5 * len(kinds)))
    for row, (name, ranges) in zip(axes, kinds.items(), strict=True):
        made = versions(view, ranges, count, seed=seed)
        _version(row[0], prepared(view), 0, name="original ")
        for number, ax in enumerate(row[1:]):
            _version(ax, made, number)
        row[0].set_ylabel(name, fontsize=9, fontweight="bold", color=INK)
    return figure


def kept(table: pd.DataFrame, *, level: float) -> Figure:
    """Two readings of every version, a column a kind of change and a colour a woman; rows of `spread`."""
    figure, axes = new(1, 2, size=(10, 3.7), sharex=True)
    kinds, women = table["kind"].unique(), table["woman"].unique()
    draw = np.random.default_rng(0)
    columns = {
        "density": "percent density of what is visible",
        "brighter": f"breast brighter than {level:g} (%)",
    }
    for ax, (column, label) in zip(axes.flat, columns.items(), strict=True):
        for number, woman in enumerate(women):
            for place, kind in enumerate(kinds):
                values = table.loc[(table["kind"] == kind) & (table["woman"] == woman), column]
                x = place + 0.19 * (number - (len(women) - 1) / 2) + draw.uniform(-0.06, 0.06, len(values))
                label_once = woman if place == 0 else None
                ax.scatter(x, values, s=5, lw=0, alpha=0.6, color=MAPS[number], label=label_once)
        ax.set(ylabel=label, ylim=(-4, 104))
        ax.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds], fontsize=8)
        ax.tick_params(axis="x", length=0)
        for edge in np.arange(1, len(kinds)) - 0.5:
            ax.axvline(edge, color="#DDDDDD", lw=0.8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(women), frameon=False, markerscale=2.5
    )
    return figure


def strength(view: View, ranges: Ranges, *, count: int = 200, seed: int = 1) -> Figure:
    """Five versions by ``ranges`` and the percent density of ``count`` of them."""
    made = versions(view, ranges, count, seed=seed)
    figure, axes = new(1, 7, size=(10, 2.1), width_ratios=[1] * 6 + [2.2])
    _version(axes[0, 0], prepared(view), 0, name="original ")
    for number, ax in enumerate(axes[0, 1:6]):
        _version(ax, made, number)
    percent, last = made.density[~np.isnan(made.density)], axes[0, 6]
    last.hist(percent, bins=np.arange(0, 102, 2), color=ORANGE)
    last.axvline(*prepared(view).density, color=BLUE, lw=1.5)
    last.set(xlim=(0, 100), yticks=[], xlabel="percent density of what is visible")
    last.spines["left"].set_visible(False)
    words = f"±{percent.std():.0f} points" if len(percent) else "no breast"
    last.set_title(f"{count} versions: {words}", fontsize=9, color=INK)
    return figure


def margin(ax: Axes, images: np.ndarray) -> None:
    """The images along the left and upper edge of a matrix whose cells are 1 × 1."""
    n = len(images)
    for place, pixels in enumerate(images):
        for extent in ((-1.25, -0.3, place + 0.95, place + 0.05), (place + 0.05, place + 0.95, -0.3, -1.25)):
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto", clip_on=False)
    ax.set(xlim=(-1.35, n), ylim=(n, -1.35), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def similarities(images: np.ndarray, panels: Mapping[str, np.ndarray], partner: np.ndarray) -> Figure:
    """Matrices of cosines (N, N) of the same images, framed where ``partner`` (N,) is the other version."""
    figure, axes = new(1, len(panels), size=(10, 10 / len(panels) + 0.4))
    n = len(images)
    for ax, (title, matrix) in zip(axes.flat, panels.items(), strict=True):
        drawn = ax.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr", extent=(0, n, n, 0))
        for own in range(n):
            ax.add_patch(Rectangle((own, own), 1, 1, color="#BBBBBB", lw=0))
        margin(ax, images)
        for row, column in enumerate(partner):
            ax.add_patch(Rectangle((column, row), 1, 1, fill=False, color=INK, lw=1.2))
        heading(ax, title)
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="cosine", ticks=[-1, 0, 1], pad=0.01)
    return figure


def temperature(
    images: np.ndarray, similarity: np.ndarray, anchor: int, hers: np.ndarray, value: float
) -> Figure:
    """The negatives of one image, most similar first, and how the push on it is shared among them.

    ``images`` (2N, H, W): N images, then another version of each; ``similarity`` (2N, 2N) their cosines;
    ``anchor`` below N; ``hers`` (2N,) bool: of the same woman; ``value``: the temperature.
    """
    partner, own = anchor + len(images) // 2, similarity[anchor]
    negatives = np.setdiff1d(np.arange(len(images)), [anchor, partner])
    negatives = negatives[np.argsort(-own[negatives], kind="stable")]
    share = 100 * pushes(own[negatives], value)
    figure, axes = new(2, 7, size=(10, 3.7), width_ratios=[1] * 6 + [3.4])
    for ax in axes[:, 6]:
        ax.remove()
    places = axes[:, :6].ravel()
    image(places[0], images[anchor], "\nan image")
    image(places[1], images[partner], f"its other version\ncosine {own[partner]:.2f}")
    for ax, rank in zip(places[2:], [0, 1, 2, 3, 4, 5, 7, 11, 23, len(negatives) - 1], strict=True):
        row = negatives[rank]
        whose = ", hers" if hers[row] else ""
        image(
            ax,
            images[row],
            f"{rank + 1}.: {own[row]:.2f}{whose}\n".replace("-", "−") + f"{share[rank]:.1f} % of push",
        )
        ax.title.set_color(RED if hers[row] else INK)
    for ax in places:
        ax.title.set_fontsize(8)
    for ax in places[:2]:
        ax.title.set_color(BLUE)
    ax = figure.add_subplot(axes[0, 0].get_gridspec()[:, 6])
    ranks = np.arange(len(negatives) + 1)
    for one, colour in ((0.05, RED), (0.1, GREEN), (0.5, SKY)):
        if np.isclose(one, value):
            continue
        summed = np.r_[0, 100 * pushes(own[negatives], one).cumsum()]
        ax.plot(ranks, summed, color=colour, lw=1.6, ls="--", label=f"temperature {one:g}")
    ax.plot(ranks, np.r_[0, share.cumsum()], color=INK, lw=3, label=f"temperature {value:g}, chosen")
    ax.plot(ranks, 100 * ranks / ranks[-1], color="#999999", lw=1, ls="dotted", label="all pushed alike")
    ax.set(xlabel="number of negatives, the most similar first", ylim=(0, 102))
    heading(ax, "their share of the push, added up (%)")
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def correlations(panels: Mapping[str, np.ndarray]) -> Figure:
    """Correlation matrices of the dimensions of two versions, with what the loss asks for as the last one."""
    figure, axes = new(1, len(panels) + 1, size=(10, 3.6))
    wanted = {"what the loss asks for": np.eye(len(next(iter(panels.values()))))}
    for ax, (title, matrix) in zip(axes.flat, ({**panels} | wanted).items(), strict=True):
        drawn = ax.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr")
        ax.set(xticks=[], yticks=[], xlabel="dimensions of version B", ylabel="dimensions of version A")
        heading(ax, title)
    figure.colorbar(drawn, ax=axes, shrink=0.75, label="correlation", ticks=[-1, 0, 1], pad=0.01)
    return figure


def painted(found: Painting, rows: list[int]) -> Figure:
    """Images, what the network sees of them, and what it paints; hidden squares are blue.

    What is hidden outside the breast does not count and stays blue, darker, in the last row.
    """
    figure, axes = new(3, len(rows), size=(10, 3 * 12.3 / len(rows) + 0.3))
    for column, row in zip(axes.T, rows, strict=True):
        pixels, hidden, asked = found.image[row], found.hidden[row], found.hidden[row] & found.breast[row]
        seen, filled = (np.repeat(grey[..., None], 3, -1) for grey in (pixels, found.painted[row]))
        result = np.where(asked[..., None], filled, seen)
        seen[hidden], result[hidden & ~asked] = (0.34, 0.71, 0.91), (0.12, 0.22, 0.3)
        for ax, shown in zip(column, (pixels, seen, result), strict=True):
            image(ax, shown)
    for ax, label in zip(axes[:, 0], ("image", "what it sees", "what it paints"), strict=True):
        ax.set_ylabel(label, fontsize=9, fontweight="bold", color=INK)
    words = f"error of the hidden pixels {found.error:.3f}, of the mean visible grey {found.plain:.3f}"
    figure.supxlabel(words, fontsize=9, color=INK)
    return figure
