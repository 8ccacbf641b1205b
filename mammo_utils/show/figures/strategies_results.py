"""Figures of notebook 05 about what each strategy reached, live and in the study, and at what cost.

``runs`` are rows of ``results/strategies.csv``, one a fine-tuning; colours and markers of the strategies are
those of `figures.strategies`.  Thick bars are 95 % t-intervals over seeds; with few seeds thin bars span the
runs.  ``nests`` as in `evaluation.seeds.means`: run s started from pretraining s modulo ``nests``; where
there are several sources, {source: number or None}.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mammo_utils.show.figures import RED, new
from mammo_utils.show.figures.architecture_results import GREY, bars
from mammo_utils.show.figures.sources import BAND, called, gains, heading, order, over
from mammo_utils.show.figures.strategies import COLOURS, NAMES, looks


def usual(runs: pd.DataFrame, rank: int) -> pd.DataFrame:
    """The runs without those of the sweep: adapters of ``rank`` alone."""
    return runs[runs["rank"].isna() | (runs["rank"] == rank)]


def label_efficiency(runs: pd.DataFrame, *, delta: float, nests: Mapping, against: str = "full") -> Figure:
    """Dice over labelled images for each strategy and its paired gain on ``against``; a row a source.

    Grey is what does not matter, ±``delta``.
    """
    starts = list(runs.groupby(["model", "source"], sort=False))
    figure, axes = new(len(starts), 2, size=(10.5, 3.3 * len(starts)))
    for (left, right), ((model, source), own) in zip(axes, starts, strict=True):
        amounts, styles = sorted(own["labels"].unique()), looks(own["strategy"])
        options = {"by": ["strategy", "labels"], "nests": nests[source]}
        over(left, bars(own, "dice", **options), amounts, styles)
        paired = gains(own, "dice", against=against, arm="strategy")
        over(right, bars(paired, "gain", **options), amounts, styles)
        _band(right, delta)
        left.set(xlabel="labelled images", ylabel="Dice with the truth")
        right.set(xlabel="labelled images", ylabel=f"Dice minus that of {NAMES[against]}")
        heading(left, f"{model}, from {called(source)}")
        heading(right, "the same seeds, in pairs")
        right.legend(*left.get_legend_handles_labels(), **BESIDE)
    return figure


BESIDE = {"frameon": False, "fontsize": 8, "loc": "center left", "bbox_to_anchor": (1, 0.5)}


def _band(ax: Axes, delta: float) -> None:
    ax.axhspan(-delta, delta, color=BAND, lw=0, zorder=0)
    ax.axhline(0, color=GREY, lw=1, ls="dotted", zorder=0)


def cost(runs: pd.DataFrame, *, nests: int | None) -> Figure:
    """Dice against the share of the encoder that changes, seconds to train and epochs to 95 %.

    ``runs`` of one model, source and number of labels.  Of seconds the least over the runs is shown, the run
    that other work disturbed least; of epochs the mean.  Equal shares stand side by side.
    """
    table, styles = bars(runs, "dice", ["strategy"], nests=nests), looks(runs["strategy"])
    groups = runs.groupby("strategy")
    share = 100 * groups["trainable_encoder"].mean()
    alike = share[list(styles)].groupby(share.round(3))
    beside = 3.5 * (alike.cumcount() - (alike.transform("size") - 1) / 2)
    columns = {
        "share of the encoder that changes (%)": share + beside,
        "seconds to train": groups["train_seconds"].min(),
        "epochs to 95 % of the final Dice": groups["epochs_95"].mean(),
    }
    figure, axes = new(1, 3, size=(10.5, 3.2), sharey=True)
    for ax, (label, values) in zip(axes.flat, columns.items(), strict=True):
        for name, style in styles.items():
            own = table.loc[name]
            ax.vlines(values[name], own["low"], own["high"], color=style["color"], lw=own["width"])
            ax.plot(values[name], own["estimate"], ms=7, **style | {"ls": "none"})
        ax.set(xlabel=label, xlim=(-0.1 * values.max(), 1.1 * values.max()))
    axes[0, 0].set_ylabel("Dice with the truth")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def ranks(runs: pd.DataFrame, *, nests: Mapping, against: str = "full") -> Figure:
    """Dice of adapters over their rank, and the band of ``against``; a panel a source, a line an amount."""
    starts = list(runs.groupby(["model", "source"], sort=False))
    figure, axes = new(1, len(starts), size=(5.2 * len(starts), 3.3), sharey=True)
    for ax, ((model, source), own) in zip(axes.flat, starts, strict=True):
        for amount, style in zip(sorted(own["labels"].unique()), ("dashed", "solid", "dotted"), strict=False):
            some = own[own["labels"] == amount]
            own_nests = {"nests": nests[source]}
            thin = bars(some[some["strategy"] == "lora"], "dice", ["rank"], **own_nests).sort_index()
            whole = bars(some[some["strategy"] == against], "dice", ["strategy"], **own_nests).loc[against]
            ax.vlines(thin.index, thin["low"], thin["high"], color=COLOURS["lora"], lw=thin["width"])
            ax.plot(
                thin.index, thin["estimate"], "o", ls=style, color=COLOURS["lora"], label=f"{amount} labels"
            )
            ax.axhspan(whole["low"], whole["high"], color=COLOURS[against], alpha=0.12, lw=0)
            ax.axhline(whole["estimate"], color=COLOURS[against], lw=1.2, ls=style)
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(own["rank"].dropna().unique()))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set(xlabel=f"rank of the adapters (line with band: {NAMES[against]})")
        heading(ax, f"{model}, from {called(source)}")
        ax.legend(frameon=False, fontsize=8)
    axes[0, 0].set_ylabel("Dice with the truth")
    return figure


def domains(runs: pd.DataFrame, *, nests: int | None) -> Figure:
    """Dice on women of another vendor and site against Dice on women as learnt from; and what is lost.

    ``runs`` of one model, source and number of labels.
    """
    runs = runs.assign(lost=runs["dice"] - runs["dice_shifted"])
    styles = looks(runs["strategy"])
    tables = {
        value: bars(runs, value, ["strategy"], nests=nests) for value in ("dice", "dice_shifted", "lost")
    }
    figure, axes = new(1, 2, size=(10.5, 3.8), width_ratios=(1, 1.1))
    left, right = axes[0]
    for row, (name, style) in enumerate(styles.items()):
        own, other, lost = (table.loc[name] for table in tables.values())
        left.hlines(other["estimate"], own["low"], own["high"], color=style["color"], lw=0.8)
        left.vlines(own["estimate"], other["low"], other["high"], color=style["color"], lw=0.8)
        left.plot(own["estimate"], other["estimate"], ms=8, **style | {"ls": "none"})
        right.hlines(row, lost["low"], lost["high"], color=style["color"], lw=lost["width"])
        right.plot(lost["estimate"], row, ms=8, **style | {"ls": "none"})
    left.set(xlabel="Dice, vendors and site as learnt from", ylabel="Dice, another vendor and site")
    right.set(yticks=range(len(styles)), yticklabels=[NAMES[name] for name in styles])
    right.set(xlabel="Dice that is lost on the way", ylim=(len(styles) - 0.5, -0.5))
    heading(left, "up: better elsewhere; right: better at home")
    heading(right, "left is better")
    return figure


def moved(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The means of the columns ``cka_PART`` and ``distance_PART`` over seeds, for `strategies.drift`."""
    found = {}
    for name in looks(runs["strategy"]):
        means = runs[runs["strategy"] == name].filter(regex="^(cka|distance)_").mean()
        keys = [column.partition("_")[::2] for column in means.index]
        means.index = pd.MultiIndex.from_tuples(keys)
        parts = list(dict.fromkeys(part for _, part in keys))
        found[name] = means.unstack(0).loc[parts]
    return found


def trials(table: pd.DataFrame, *, value: str = "dice_a") -> Figure:
    """Mean scores of the trials of each strategy over the learning rate, the highest with a ring.

    A panel a source.  ``table``: rows of ``results/strategies_tuning.csv``; ``value``: the column that the
    choice went by.
    """
    starts = list(table.groupby(["model", "source"], sort=False))
    figure, axes = new(1, len(starts), size=(5.4 * len(starts), 3.6), sharey=True)
    for ax, ((model, source), some) in zip(axes.flat, starts, strict=True):
        for name, style in looks(some["strategy"]).items():
            line = some[some["strategy"] == name].groupby("lr")[value].mean()
            ax.plot(line.index, line, lw=1.2, ms=5, **style)
            ax.plot(line.idxmax(), line.max(), "o", ms=12, mfc="none", mec=style["color"])
        ax.set(xscale="log", xlabel="learning rate")
        heading(ax, f"{model}, from {called(source)}")
    axes[0, 0].set_ylabel("Dice with reader A, women of develop")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def by_source(runs: pd.DataFrame, *, delta: float, against: str = "full") -> Figure:
    """Dice minus that of ``against`` in pairs, a panel a source: a point is a seed, a stroke the mean.

    Grey is what does not matter, ±``delta``.
    """
    paired = gains(runs, "dice", against=against, arm="strategy")
    starts, styles = order(paired["source"]), looks(paired["strategy"])
    figure, axes = new(
        1, len(starts), size=(2.9 * len(starts), 0.3 * len(styles) + 1.2), sharex=True, sharey=True
    )
    for ax, source in zip(axes.flat, starts, strict=True):
        own = paired[paired["source"] == source]
        ax.axvspan(-delta, delta, color=BAND, lw=0, zorder=0)
        ax.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
        _points(ax, own, "gain", styles)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        heading(ax, called(source))
    axes[0, 0].set(yticks=range(len(styles)), yticklabels=[NAMES[name] for name in styles])
    axes[0, 0].set_ylim(len(styles) - 0.4, -0.6)
    figure.supxlabel(f"Dice minus that of {NAMES[against]}", fontsize=9)
    return figure


def _points(ax: Axes, table: pd.DataFrame, column: str, styles: Mapping[str, dict]) -> None:
    """A row a strategy that is in ``table``: its runs as points and their mean as a stroke."""
    for row, (name, style) in enumerate(styles.items()):
        values = table.loc[table["strategy"] == name, column]
        ax.plot(values, [row] * len(values), ms=5, alpha=0.75, **style | {"ls": "none"})
        ax.vlines(values.mean(), row - 0.32, row + 0.32, color=style["color"], lw=2)


def film(table: pd.DataFrame, *, against: str = "full") -> Figure:
    """Dice on real film and its difference to ``against`` in pairs, a row a number of films learnt from.

    ``table``: rows of ``results/strategies_film.csv`` and, with ``films`` 0, of ``strategies_abroad.csv``; a
    point is a split or a seed, a stroke the mean.
    """
    numbers, styles = sorted(table["films"].unique()), looks(table["strategy"])
    figure, axes = new(
        len(numbers), 2, size=(10, (0.3 * len(styles) + 0.9) * len(numbers)), sharex="col", sharey=True
    )
    for (left, right), number in zip(axes, numbers, strict=True):
        own = table[table["films"] == number]
        paired = gains(own, "dice", against=against, arm="strategy")
        _points(left, own, "dice", styles)
        _points(right, paired, "gain", styles)
        left.set(yticks=range(len(styles)), yticklabels=[NAMES[name] for name in styles])
        left.set_ylim(len(styles) - 0.4, -0.6)
        right.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
        heading(left, f"{number} films learnt from")
        heading(right, "the same in pairs")
    axes[-1, 0].set_xlabel("Dice with the expert")
    axes[-1, 1].set_xlabel(f"Dice minus that of {NAMES[against]}")
    return figure


def converging(curves: Mapping[str, pd.Series], *, share: float = 0.95) -> Figure:
    """Score over epochs of each strategy; a ring marks the first that is ``share`` of the last one."""
    figure, axes = new(1, 1, size=(8.5, 3.3))
    ax = axes[0, 0]
    for name, style in looks(curves).items():
        curve = curves[name]
        ax.plot(curve.index, curve, lw=1.2, ms=4, **style)
        first = curve.index[curve >= share * curve.iloc[-1]][0]
        ax.plot(first, curve[first], "o", ms=13, mfc="none", mec=style["color"], zorder=4)
    ax.set(xlabel="epoch", ylabel="Dice on women not learnt from")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def statistics(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Running means of frozen batch norm before and after a training; ``panels`` {title: (before, after)}."""
    figure, axes = new(1, len(panels), size=(3.6 * len(panels), 3.4), sharex=True, sharey=True)
    for ax, (title, (before, after)) in zip(axes.flat, panels.items(), strict=True):
        ax.axline((0, 0), slope=1, color=GREY, lw=1, ls="dotted", zorder=0)
        ax.plot(before, after, "o", ms=3.5, color=RED, alpha=0.6, mew=0)
        ax.set(xlabel="running mean before")
        heading(ax, title)
    axes[0, 0].set_ylabel("running mean after")
    return figure
