"""Figures of notebook 06 from the study of losses: bias, agreement, labels, read-outs and the contrast.

``table``: rows of ``results/losses.csv``; densities and their errors in points of per cent.  Every function
draws the losses that are there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.evaluation.intervals import Interval
from mammo_utils.evaluation.segmentation import CLASSES, agreement
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, RED, new
from mammo_utils.show.figures.losses import COLOURS, MARKERS, signed
from mammo_utils.show.figures.losses_cases import NAMES

LABELS = {"dense": "exact truth", "reader_A": "reader A", "reader_B": "reader B"}
READOUTS = {"mask, cut 0.5": "", "mask, tuned cut": "_tuned", "summed probabilities": "_soft"}


def main(table: pd.DataFrame, *, lam: float, seeds: int = 3, target: str = "reader_A") -> pd.DataFrame:
    """The rows that compare the six losses: labels ``target``, `hybrid_density` at ``lam``, equal seeds.

    Of the first ``seeds`` seeds those that every loss has run.
    """
    table = table[(table["target"] == target) & (table["seed"] < seeds)]
    return shared(table[(table["loss"] != "hybrid_density") | (table["lam"] == lam)], "loss")


def shared(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows of those seeds that every arm has run; an arm is a combination of ``columns`` in ``table``."""
    runs = table.groupby(list(columns), dropna=False)["seed"]
    return table[table["seed"].isin(set.intersection(*(set(seeds) for _, seeds in runs)))]


def order(names) -> list[str]:
    """Those of the six losses that are among ``names``, always in one order."""
    return [name for name in NAMES if name in set(names)]


def limits(images: pd.DataFrame, *, target: str = "truth") -> pd.DataFrame:
    """Bias and limits of agreement of the predicted density with the column ``target``, a row a loss."""
    parts = {name: images[images["arm"] == name] for name in order(images["arm"])}
    rows = {name: agreement(part["predicted"], part[target]) for name, part in parts.items()}
    return pd.DataFrame(rows, index=["bias", "lower", "upper"]).T


def bland_altman(images: pd.DataFrame, *, target: str = "truth") -> Figure:
    """Difference of predicted and true density over their mean, a panel a loss, with the limits of agreement.

    ``images``: columns ``arm`` (name of the loss), ``predicted`` and ``target``.
    """
    found = limits(images, target=target)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = new(rows, columns, size=(3.4 * columns, 2.6 * rows + 0.3), sharex=True, sharey=True)
    for ax in axes.flat[len(found) :]:
        ax.set_visible(False)
    for ax, (name, row) in zip(axes.flat, found.iterrows(), strict=False):
        part = images[images["arm"] == name]
        mean, difference = (part["predicted"] + part[target]) / 2, part["predicted"] - part[target]
        ax.scatter(mean, difference, s=6, color=COLOURS[name], alpha=0.45, lw=0)
        ax.axhline(0, color="#999999", lw=1, ls="dotted")
        for value, style in ((row["bias"], "-"), (row["lower"], "--"), (row["upper"], "--")):
            ax.axhline(value, color=INK, ls=style, lw=1.1)
            ax.annotate(
                signed(value),
                (1, value),
                xycoords=ax.get_yaxis_transform(),
                xytext=(-2, 2),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        ax.set_title(NAMES[name], fontsize=9, fontweight="bold", color=INK)
    figure.supxlabel("mean of predicted and true percent density", fontsize=9)
    figure.supylabel("predicted − true (points)", fontsize=9)
    return figure


def by_class(table: pd.DataFrame) -> Figure:
    """Bias by density class A–D: a line a loss (mean of the seeds), a small point a seed."""
    figure, axes = new(1, 1, size=(8, 3.6))
    ax = axes[0, 0]
    names = order(table["loss"])
    for offset, name in zip(np.linspace(-0.2, 0.2, len(names)), names, strict=True):
        part = table.loc[table["loss"] == name, [f"bias_{grade}" for grade in CLASSES]].to_numpy()
        at = np.arange(len(CLASSES)) + offset
        ax.plot(np.tile(at, len(part)), part.ravel(), ".", color=COLOURS[name], ms=4, alpha=0.6)
        ax.plot(at, part.mean(0), MARKERS[name] + "-", color=COLOURS[name], lw=1.5, ms=6, label=NAMES[name])
    ax.axhline(0, color="#999999", lw=1, ls="dotted")
    ax.set_xticks(range(len(CLASSES)), [f"class {grade}" for grade in CLASSES])
    ax.set_ylabel("predicted − true density (points)")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def crossed(table: pd.DataFrame, reader_bias: Mapping[str, float]) -> Figure:
    """Bias against the truth for each loss and each kind of label; a dotted line where the labels stand.

    ``table``: rows of several ``target``s; ``reader_bias`` {target: bias of these labels in points}.
    """
    shown = [target for target in LABELS if target in set(table["target"])]
    figure, axes = new(1, len(shown), size=(3.4 * len(shown), 3.2), sharey=True, sharex=True)
    names = order(table["loss"])
    for ax, target in zip(axes.flat, shown, strict=True):
        for row, name in enumerate(names):
            part = table[(table["loss"] == name) & (table["target"] == target)]["bias"]
            ax.plot(part, np.full(len(part), row), ".", color=COLOURS[name], alpha=0.6)
            ax.plot(part.mean(), row, "D", color=COLOURS[name], ms=7)
        ax.axvline(0, color="#999999", lw=1)
        ax.axvline(reader_bias[target], color=INK, lw=1.2, ls="dotted")
        title = f"{LABELS[target]} ({signed(reader_bias[target])})"
        ax.set_title(f"labels: {title}", fontsize=9, fontweight="bold", color=INK)
    axes[0, 0].set_yticks(range(len(names)), [NAMES[name] for name in names])
    axes[0, 0].invert_yaxis()
    figure.supxlabel("bias of percent density against the truth (points); dotted: of the labels", fontsize=9)
    return figure


def readouts(table: pd.DataFrame) -> Figure:
    """Error and bias of percent density for each loss, read in three ways (mean of the seeds)."""
    figure, axes = new(1, 2, size=(9.4, 3.3), sharey=True)
    names = order(table["loss"])
    styles = zip(READOUTS.items(), ("o", "s", "D"), (BLUE, ORANGE, GREEN), (-0.18, 0, 0.18), strict=True)
    for (label, ending), marker, colour, offset in styles:
        for ax, metric in zip(axes.flat, ("mae", "bias"), strict=True):
            means = [table.loc[table["loss"] == name, metric + ending].mean() for name in names]
            ax.plot(means, np.arange(len(names)) + offset, marker, color=colour, label=label)
    axes[0, 1].axvline(0, color="#999999", lw=1, ls="dotted")
    axes[0, 0].set_xlim(left=0)
    axes[0, 0].set_yticks(range(len(names)), [NAMES[name] for name in names])
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlabel("mean absolute error of percent density (points)")
    axes[0, 1].set_xlabel("bias of percent density (points)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def weights(table: pd.DataFrame) -> Figure:
    """Dice, error and bias over the weight λ of the density term; at the left `bce_dice`, which has none.

    ``table``: rows of `bce_dice` and of `hybrid_density` with any ``lam``, one kind of labels, equal seeds.
    """
    metrics = {"dice": "Dice", "mae": "density MAE (points)", "bias": "density bias (points)"}
    swept, plain = (table[table["loss"] == name] for name in ("hybrid_density", "bce_dice"))
    lams = sorted(swept["lam"].unique())
    at = np.arange(len(lams) + 1)
    figure, axes = new(1, 3, size=(10, 3))
    for ax, (metric, label) in zip(axes.flat, metrics.items(), strict=True):
        groups = [plain[metric], *(swept.loc[swept["lam"] == lam, metric] for lam in lams)]
        for place, values in zip(at, groups, strict=True):
            ax.plot(np.full(len(values), place), values, ".", color="#888888")
        ax.plot(at, [values.mean() for values in groups], "o-", color=RED)
        ax.plot(at[0], groups[0].mean(), "o", color=GREEN)
        ax.set_xticks(at, ["none", *(f"{lam:g}" for lam in lams)])
        ax.set(xlabel="weight λ of the density term", ylabel=label)
    axes[0, 2].axhline(0, color="#999999", lw=1, ls="dotted")
    return figure


def pairs(
    table: pd.DataFrame, metric: str, *, lam: float, rival: str = "", target: str = "reader_A"
) -> pd.Series:
    """`hybrid_density` with the weight ``lam`` minus `bce_dice` for each seed that both have run.

    ``rival``: the metric of `bce_dice` where it is another one, such as ``mae_tuned``.
    """
    table = table[table["target"] == target]
    hybrid = table[(table["loss"] == "hybrid_density") & (table["lam"] == lam)].set_index("seed")[metric]
    return (hybrid - table[table["loss"] == "bce_dice"].set_index("seed")[rival or metric]).dropna()


def contrast(found: Mapping[str, tuple[pd.Series, Interval, float, str]]) -> Figure:
    """Paired differences and their interval, a panel a metric, in grey what does not matter.

    ``found`` {label of the metric: (difference of each seed, its interval, δ, verdict in words)}.
    """
    figure, axes = new(1, len(found), size=(4.8 * len(found), 2.2))
    for ax, (label, (differences, (mean, low, high), delta, words)) in zip(
        axes.flat, found.items(), strict=True
    ):
        ax.axvspan(-delta, delta, color="#DDDDDD", lw=0)
        ax.axvline(0, color="#777777", lw=1, ls="dotted")
        ax.plot(differences, np.full(len(differences), 0.0), "o", color=BLUE, alpha=0.6)
        ax.hlines(1, low, high, color=RED, lw=2.5)
        ax.plot(mean, 1, "D", color=RED)
        ax.set_yticks([0, 1], [f"{len(differences)} seeds", "interval"])
        ax.set_ylim(-0.6, 1.6)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel(f"{label}: hybrid − BCE + Dice (grey: within ±{delta:g})")
        ax.set_title(words, fontsize=9, fontweight="bold", color=INK)
    return figure
