"""Figures of notebook 06 that need no study: what a loss says of a wrong mask and where it pushes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.evaluation import segmentation
from mammo_utils.evaluation.calibration import Reliability
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, errors, image, new, outline
from mammo_utils.show.figures.losses_cases import NAMES, guess, resized, values
from mammo_utils.synth.breast import View

COLOURS = dict(zip(NAMES, (BLUE, ORANGE, GREEN, SKY, PINK, RED), strict=True))
MARKERS = dict(zip(NAMES, "osD^vX", strict=True))  # beside the colours, of which some are near each other


def signed(value: float) -> str:
    """A number with its sign and one decimal, with a true minus.

    >>> signed(2), signed(-0.26)
    ('+2.0', '−0.3')
    """
    return f"{value:+.1f}".replace("-", "−")


def zoom(axes, breast: np.ndarray, *, margin: int = 4) -> None:
    """Show the part of an image that holds the breast."""
    rows, columns = (np.flatnonzero(breast.any(axis))[[0, -1]] for axis in (1, 0))
    height, width = breast.shape
    axes.set_xlim(max(columns[0] - margin, 0) - 0.5, min(columns[1] + margin, width - 1) + 0.5)
    axes.set_ylim(min(rows[1] + margin, height - 1) + 0.5, max(rows[0] - margin, 0) - 0.5)


def cases(view: View, called: Mapping[str, np.ndarray]) -> Figure:
    """Masks beside the truth of one mammogram: overlap in colours, Dice and the error of percent density."""
    figure, axes = new(1, len(called), size=(2.8 * len(called), 4.2))
    wanted = segmentation.percent_density(view.dense_mask, view.breast_mask)
    for ax, (name, mask) in zip(axes.flat, called.items(), strict=True):
        error = segmentation.percent_density(mask, view.breast_mask) - wanted
        dice = segmentation.dice(mask, view.dense_mask)
        title = f"{name}\nDice {dice:.2f}, density {signed(error)} points"
        image(ax, errors(view.image, view.dense_mask, mask), title)
        zoom(ax, view.breast_mask)
    figure.supxlabel("white: right, blue: missed, orange: added", fontsize=9, color=INK)
    return figure


def surfaces(grids: Mapping[str, np.ndarray], *, spacing: float, reach: float = 8.0) -> Figure:
    """Maps of `losses_cases.landscape`, a cross at the lowest place; ``spacing`` in mm a pixel."""
    figure, axes = new(2, 3, size=(10, 6), sharex=True, sharey=True)
    edge = reach * spacing
    for ax, (name, grid) in zip(axes.flat, grids.items(), strict=True):
        at = np.linspace(-edge, edge, len(grid))
        drawn = ax.contourf(at, at, grid, levels=14, cmap="cividis")
        low = np.unravel_index(grid.argmin(), grid.shape)
        ax.plot(at[low[1]], at[low[0]], "x", color="white", ms=8, mew=2)
        ax.axhline(0, color="white", lw=0.6, ls="dotted")
        ax.axvline(0, color="white", lw=0.6, ls="dotted")
        ax.set_title(NAMES[name], fontsize=9, fontweight="bold", color=INK)
        figure.colorbar(
            drawn, ax=ax, shrink=0.85, ticks=np.linspace(grid.min(), grid.max(), 4), format="%.2f"
        )
    figure.supxlabel("shifted by (mm)", fontsize=9)
    figure.supylabel("border moved out by (mm)", fontsize=9)
    return figure


def confidence(table: Mapping[str, pd.DataFrame]) -> Figure:
    """Each loss over how sure a prediction is, a panel a case.

    ``table`` {title: rows of `losses_cases.values`, index the probability one pixel inside the border}.
    """
    figure, axes = new(1, len(table), size=(4.6 * len(table), 3.4))
    for ax, (title, rows) in zip(axes.flat, table.items(), strict=True):
        for name in rows.columns:
            # Broken where the curve may lie on that of its neighbour in the list, drawn before.
            style = "--" if name in ("tversky", "hybrid_density") else "-"
            ax.plot(rows.index, rows[name], style, color=COLOURS[name], lw=2, label=NAMES[name])
        ax.set_title(title, fontsize=9, fontweight="bold", color=INK)
        ax.set(xlabel="probability one pixel inside the predicted border", ylabel="loss", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def playground(view: View, threshold: float, size: float, shift: float) -> Figure:
    """A blurred and shifted guess at dense tissue of a chosen size, its six losses and its percent density.

    ``threshold``: probability (0–1) from which the guess calls dense; ``size``: dense tissue in per cent of
    the breast; ``shift``: mm away from the chest wall.
    """
    target = resized(view.dense_mask, view.breast_mask, size)
    probability = guess(target, view.breast_mask, shift=shift / view.spacing_mm, blur=3.0)
    called = probability >= threshold
    figure, axes = new(1, 3, size=(10.5, 4.4), width_ratios=(1.15, 1, 1))
    image(axes[0, 0], view.image)
    axes[0, 0].set_title("blue: truth\norange: called dense", fontsize=9)
    zoom(axes[0, 0], view.breast_mask)
    outline(axes[0, 0], target, SKY)
    outline(axes[0, 0], called, ORANGE)
    found = values(probability, target, view.breast_mask)
    axes[0, 1].barh([NAMES[name] for name in found.index], found, color=[COLOURS[n] for n in found.index])
    axes[0, 1].bar_label(axes[0, 1].containers[0], fmt=" %.3f", fontsize=8)
    axes[0, 1].invert_yaxis()
    axes[0, 1].set_xlim(0, max(1.5, 1.2 * found.max()))
    axes[0, 1].set_title("losses of the probabilities", fontsize=9)
    cuts = np.linspace(0.02, 0.98, 49)
    stack = probability >= cuts[:, None, None]
    percent = segmentation.percent_density(stack, np.broadcast_to(view.breast_mask, stack.shape))
    here = segmentation.percent_density(called, view.breast_mask)
    summed = 100 * probability[view.breast_mask].mean()
    dice = segmentation.dice(called, target)
    axes[0, 2].plot(cuts, percent, color=ORANGE, label="from the mask")
    axes[0, 2].plot(threshold, here, "o", color=INK)
    axes[0, 2].axhline(summed, color=GREEN, ls="--", lw=1.2, label="from summed probabilities")
    axes[0, 2].axhline(size, color=BLUE, lw=1.2, label="truth")
    axes[0, 2].legend(frameon=False, fontsize=8)
    axes[0, 2].set_title(f"mask: {here:.1f} % dense, Dice {dice:.2f}", fontsize=9)
    axes[0, 2].set(xlabel="threshold (probability)", ylabel="percent density", ylim=(0, 100))
    return figure


def gradients(maps: Mapping[str, np.ndarray], target, called, breast) -> Figure:
    """Maps of `losses_cases.pushes`, each on its own scale; outlined truth (orange) and guess (black)."""
    figure, axes = new(1, 6, size=(10.5, 4.2))
    for ax, (name, push) in zip(axes.flat, maps.items(), strict=True):
        largest = np.abs(push).max()
        image(ax, push / largest, span=(-1, 1), cmap="coolwarm")
        outline(ax, target, ORANGE)
        outline(ax, called, INK, width=0.8)
        ax.set_title(f"{NAMES[name]}\nlargest {largest:.1e}", fontsize=9, color=INK)
        zoom(ax, breast)
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes, location="bottom", shrink=0.3, ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["less", "0", "more"])
    return figure


def overflow(table: pd.DataFrame) -> Figure:
    """Sum of probabilities and soft Dice loss by image height, in float16 and in float32.

    ``table``: index height; columns ``sum16, sum32, loss16, loss32``; infinite sums are drawn at the top.
    """
    figure, axes = new(1, 2, size=(9, 3.2))
    left, right = axes[0]
    heights, top = table.index.to_numpy(), 4e5
    left.plot(heights, table["sum32"], "o-", color=BLUE, label="float32")
    finite = np.isfinite(table["sum16"])
    left.plot(heights[finite], table["sum16"][finite], "x", color=RED, ms=9, mew=2, label="float16")
    left.plot(
        heights[~finite], np.full((~finite).sum(), top), "^", color=RED, ms=9, label="float16: infinite"
    )
    left.axhline(65_504, color="#777777", lw=1, ls="--")
    left.text(heights[0], 72_000, "largest float16, 65,504", fontsize=8, color="#555555")
    left.set(xscale="log", yscale="log", ylim=(None, 2 * top), ylabel="sum of probabilities")
    right.plot(heights, table["loss32"], "o-", color=BLUE, label="ours (float32)")
    right.plot(heights, table["loss16"], "x--", color=RED, ms=9, mew=2, label="all in float16")
    right.set(xscale="log", ylim=(0.4, 1.05), ylabel="soft Dice loss")
    for ax in (left, right):
        ax.set_xticks(heights, [str(height) for height in heights])
        ax.minorticks_off()
        ax.set_xlabel("height and width of the image (pixels)")
        ax.legend(frameon=False, fontsize=8)
    return figure


def answers(shares, found: Mapping[str, np.ndarray]) -> Figure:
    """Left the best probability for each share of dense pixels, right the amount that follows from it.

    ``found`` {name of a loss: probabilities as of `training.optimum.answers`} for the kinds ``shares``.
    """
    figure, axes = new(1, 2, size=(10, 3.8), width_ratios=(1.2, 1))
    left, right = axes[0]
    left.plot([0, 1], [0, 1], color="#999999", lw=1, ls="dotted")
    for row, (name, probability) in enumerate(found.items()):
        left.plot(shares, probability, color=COLOURS[name], lw=2, label=NAMES[name])
        amounts = (100 * np.mean(probability), 100 * np.mean(probability >= 0.5))
        right.plot(amounts, [row, row], color=COLOURS[name], lw=1)
        right.plot(amounts[0], row, "o", color=COLOURS[name])
        right.plot(amounts[1], row, "s", color=COLOURS[name], mfc="white")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    left.set(xlabel="share of these pixels that is dense", ylabel="best probability")
    right.axvline(100 * np.mean(shares), color=INK, lw=1, ls="dotted")
    right.set_yticks(range(len(found)), [NAMES[name] for name in found])
    right.invert_yaxis()
    right.set_title("● summed probabilities   □ called from 0.5 on", fontsize=9)
    right.set_xlabel("percent density (dotted: truth)")
    return figure


def reliability(curves: Mapping[str, Reliability], errors: Mapping[str, float]) -> Figure:
    """Share of dense pixels over the predicted probability, a panel a loss, and how often each is predicted.

    ``curves`` and ``errors`` {name of a loss: `calibration.reliability` and the expected calibration error}.
    """
    figure, axes = new(2, len(curves), size=(3.8 * len(curves), 4.4), height_ratios=(3, 1), sharex=True)
    for (upper, lower), (name, curve) in zip(axes.T, curves.items(), strict=True):
        upper.plot([0, 1], [0, 1], color="#999999", lw=1, ls="dotted")
        upper.plot(curve.predicted, curve.observed, "o-", color=COLOURS[name])
        title = f"{NAMES[name]}: calibration error {errors[name]:.3f}"
        upper.set_title(title, fontsize=9)
        upper.set(ylabel="share that is dense", ylim=(0, 1))
        lower.bar(curve.predicted, curve.weight / curve.weight.sum(), width=0.06, color=COLOURS[name])
        lower.set(xlabel="predicted probability", ylabel="share of pixels", ylim=(0, 1))
    return figure
