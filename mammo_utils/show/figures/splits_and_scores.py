"""Figures of notebook 02: who is on which side of a split, and what a score is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.evaluation import classification, segmentation
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, RED, SKY, image, new, outline
from mammo_utils.synth.breast import View

VIEWS = ("R CC", "R MLO", "L CC", "L MLO")


def sides(tables: dict[str, pd.DataFrame], *, women: int = 16) -> Figure:
    """For each way to split: a row a woman, a square a mammogram, orange where it is held out."""
    figure, axes = new(1, len(tables), size=(10, 4.2), sharey=True)
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=True):
        shown = table["patient_id"].unique()[:women]
        for row, woman in enumerate(shown):
            own = table[table["patient_id"] == woman]
            place = (own["laterality"] + " " + own["view"]).map(VIEWS.index)
            for column, part in zip(place, own["split"], strict=True):
                ax.add_patch(Rectangle((column, row), 0.88, 0.8, color=BLUE if part == "train" else ORANGE))
            if own["split"].nunique() > 1:
                ax.text(4.15, row + 0.4, "◀", va="center", color=RED, fontsize=8)
        ax.set(xlim=(-0.1, 4.7), ylim=(women, -0.2), title=f"by {name}", yticks=[])
        ax.set_xticks(np.arange(4) + 0.44, VIEWS, fontsize=7)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    axes[0, 0].set_ylabel("a row is a woman")
    handles = [axes[0, 0].plot([], [], "s", color=c)[0] for c in (BLUE, ORANGE)]
    handles.append(axes[0, 0].plot([], [], "<", color=RED)[0])
    labels = ["training", "held out", "woman on both sides"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def inflation(results: pd.DataFrame, seeds: dict[tuple, np.ndarray]) -> Figure:
    """AUC by kind of split for two labels, and its difference from the split by woman, with 95 % intervals.

    ``results``: rows (label, split); columns ``estimate, low, high`` and ``change, change_low, change_high``.
    ``seeds`` {(label, split): AUC of each repeat}, drawn as small points.
    """
    labels = results.index.unique("label")
    figure, axes = new(len(labels), 2, size=(9, 1.9 * len(labels) + 0.4), sharex="col")
    for (left, right), label in zip(axes, labels, strict=True):
        part = results.loc[label]
        rows = np.arange(len(part))[::-1]
        colours = [GREEN if name == "woman" else ORANGE for name in part.index]
        for ax, columns, middle in (
            (left, ("estimate", "low", "high"), 0.5),
            (right, ("change", "change_low", "change_high"), 0.0),
        ):
            value, low, high = (part[column].to_numpy(float) for column in columns)
            ax.axvline(middle, color="#999999", lw=1, ls="dotted")
            ax.hlines(rows, low, high, color=colours, lw=2)
            ax.scatter(value, rows, color=colours, zorder=3)
            ax.set(
                yticks=rows, yticklabels=[f"by {name}" for name in part.index], ylim=(-0.6, len(part) - 0.4)
            )
        for row, name in zip(rows, part.index, strict=True):
            left.scatter(
                seeds[label, name], np.full(len(seeds[label, name]), row - 0.25), s=5, color="#888888"
            )
        left.set_title(f"label: {label}", loc="left", fontweight="bold", color=INK)
        right.set_yticklabels([])
    axes[-1, 0].set_xlabel("ROC-AUC (dotted: chance; small: single repeats)")
    axes[-1, 1].set_xlabel("difference from the split by woman")
    return figure


def overlap(view: View) -> Figure:
    """Two readers of one mammogram and where they agree."""
    a, b = view.reader_masks["A"], view.reader_masks["B"]
    figure, axes = new(1, 4, size=(10, 3.2))
    image(axes[0, 0], view.image, "mammogram")
    for ax, mask, name, colour in ((axes[0, 1], a, "A", ORANGE), (axes[0, 2], b, "B", SKY)):
        percent = segmentation.percent_density(mask, view.breast_mask)
        image(ax, view.image, f"reader {name}: {percent:.0f} % dense")
        outline(ax, mask, colour)
    colours = np.zeros((*a.shape, 3))
    colours[:] = 0.35 * view.image[..., None]
    for mask, colour in ((a & b, (0.95, 0.95, 0.95)), (a & ~b, (0.9, 0.62, 0)), (b & ~a, (0.34, 0.7, 0.91))):
        colours[mask] = colour
    axes[0, 3].imshow(colours)
    axes[0, 3].set(title="white: both, orange: A only,\nblue: B only", xticks=[], yticks=[])
    axes[0, 3].spines[:].set_visible(False)
    return figure


def threshold(view: View, level: float) -> Figure:
    """What one grey level calls dense, beside the reader, and Dice and percent density over all levels."""
    levels = np.linspace(0.05, 1, 96)
    stack = (view.image > levels[:, None, None]) & view.breast_mask
    target = view.reader_masks["A"]
    overlaps = segmentation.dice(stack, np.broadcast_to(target, stack.shape))
    percents = segmentation.percent_density(stack, np.broadcast_to(view.breast_mask, stack.shape))
    here = (view.image > level) & view.breast_mask
    figure, axes = new(1, 3, size=(10, 3.2), width_ratios=(0.8, 1.2, 1.2))
    image(axes[0, 0], view.image, f"grey above {level:.2f} (blue), reader A (orange)")
    outline(axes[0, 0], here, SKY)
    outline(axes[0, 0], target, ORANGE)
    wanted = segmentation.percent_density(target, view.breast_mask)
    curves = (
        (axes[0, 1], overlaps, "Dice with reader A", None),
        (axes[0, 2], percents, "percent density", wanted),
    )
    for ax, values, name, line in curves:
        ax.plot(levels, values, color=BLUE)
        ax.axvline(level, color=INK, lw=1, ls="dotted")
        ax.plot(level, np.interp(level, levels, values), "o", color=INK)
        if line is not None:
            ax.axhline(line, color=ORANGE, lw=1)
            ax.text(0.98, line, "reader A", color=ORANGE, ha="right", va="bottom", fontsize=8)
        ax.set(xlabel="threshold (grey level, 0 to 1)", ylabel=name)
    return figure


def bland_altman(measured, reference, names: tuple[str, str]) -> Figure:
    """Agreement of two measurements of percent density: scatter, and difference over mean with its limits.

    ``names`` of the reference and of what was measured.
    """
    measured, reference = np.asarray(measured), np.asarray(reference)
    bias, lower, upper = segmentation.agreement(measured, reference)
    figure, axes = new(1, 2, size=(9, 3.4))
    left, right = axes[0]
    left.plot([0, 100], [0, 100], color="#999999", lw=1)
    left.scatter(reference, measured, s=9, color=BLUE, alpha=0.5)
    left.set(xlabel=f"{names[0]} (% dense)", ylabel=f"{names[1]} (% dense)", xlim=(0, 90), ylim=(0, 90))
    right.scatter((measured + reference) / 2, measured - reference, s=9, color=BLUE, alpha=0.5)
    for value, name, style in ((bias, "bias", "-"), (lower, "limit", "--"), (upper, "limit", "--")):
        right.axhline(value, color=ORANGE, ls=style, lw=1.2)
        right.text(
            1.0,
            value,
            f" {name} {value:+.1f}",
            transform=right.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    right.set(xlabel="mean of both (% dense)", ylabel=f"{names[1]} − {names[0]} (points)")
    return figure


def operating_point(probability, label, cut: float, *, prevalence: float) -> Figure:
    """Where one threshold stands on the ROC and on the precision–recall curve, and how the cases fall.

    ``prevalence`` (0–1) weights the cases as if positives were that rare; the ROC curve does not notice.  In
    grey the precision of the cases as they are.
    """
    probability, label = np.asarray(probability, float), np.asarray(label)
    weights = classification.prevalence_weights(label, prevalence)
    curve = classification.roc(probability, label, weights=weights)
    pr = classification.pr(probability, label, weights=weights)
    called = probability >= cut
    sensitivity, alarms = called[label == 1].mean(), called[label == 0].mean()
    hits = weights @ (called & (label == 1))
    precision = hits / max(weights @ called, 1e-12)
    share = weights @ label / weights.sum()
    figure, axes = new(1, 3, size=(10, 3.3))
    bins = np.linspace(0, 1, 25)
    for value, colour, name in ((0, BLUE, "negative"), (1, RED, "positive")):
        axes[0, 0].hist(probability[label == value], bins, density=True, color=colour, alpha=0.55, label=name)
    axes[0, 0].axvline(cut, color=INK, ls="dotted")
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[0, 0].set(xlabel=f"predicted probability; cut at {cut:.2f}", yticks=[], ylabel="share of images")
    axes[0, 1].plot(curve.false_positive_rate, curve.sensitivity, color=BLUE)
    axes[0, 1].plot([0, 1], [0, 1], color="#999999", lw=1, ls="dotted")
    axes[0, 1].plot(alarms, sensitivity, "o", color=INK)
    area = classification.roc_auc(probability, label, weights=weights)
    axes[0, 1].set(xlabel="false positive rate", ylabel="sensitivity", title=f"ROC-AUC {area:.2f}")
    plain = classification.pr(probability, label)
    axes[0, 2].step(plain.recall, plain.precision, where="pre", color="#BBBBBB")
    axes[0, 2].step(pr.recall, pr.precision, where="pre", color=BLUE)
    axes[0, 2].axhline(share, color="#999999", lw=1, ls="dotted")
    axes[0, 2].plot(sensitivity, precision, "o", color=INK)
    area = classification.average_precision(probability, label, weights=weights)
    title = f"PR-AUC {area:.2f} at {100 * share:.1f} % positive"
    axes[0, 2].set(xlabel="sensitivity (recall)", ylabel="precision", title=title, ylim=(0, 1.03))
    return figure


def spreads(by_seed, by_women, by_images) -> Figure:
    """One AUC, three answers to how sure we are: other seeds, other women, and (wrongly) other images.

    ``by_seed``: estimates of repeated runs; ``by_women`` and ``by_images``: (estimate, low, high).
    """
    figure, axes = new(1, 1, size=(8, 2.1))
    ax = axes[0, 0]
    ax.scatter(by_seed, np.full(len(by_seed), 2), color=ORANGE, s=18)
    for row, (estimate, low, high), colour in ((1, by_women, GREEN), (0, by_images, RED)):
        ax.hlines(row, low, high, color=colour, lw=2.5)
        ax.plot(estimate, row, "o", color=colour)
    names = ["resampling images (too narrow)", "resampling women", f"{len(by_seed)} seeds, a point each"]
    ax.set(yticks=[0, 1, 2], yticklabels=names, ylim=(-0.6, 2.6), xlabel="ROC-AUC")
    return figure
