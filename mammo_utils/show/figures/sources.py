"""Figures of notebook 04 about fine-tuning: what an encoder's first weights bring for dense tissue.

``runs`` are rows of ``results/sources.csv``, one a fine-tuning.  ``a+b`` is the source b that started from a:
on every figure the colour says where an encoder learnt last, and a hollow marker of a's shape that it had
learnt elsewhere before.  Thick bars are 95 % t-intervals over seeds; with few seeds thin bars span the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammo_utils.evaluation.intervals import Interval
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, new
from mammo_utils.show.figures.architecture_results import GREY, bars

NAMES = {
    "none": "random weights",
    "fractal": "fractals",
    "imagenet": "ImageNet",
    "simclr": "SimCLR",
    "barlow_twins": "Barlow Twins",
    "masked": "masked images",
    "multiview": "multi-view",
}
COLOURS = dict(zip(NAMES, (INK, ORANGE, RED, SKY, GREEN, PINK, BLUE), strict=True))
MARKERS = dict(zip(NAMES, "XvsoDP^", strict=True))
BAND = "#E4E4E4"  # what does not matter


def called(source: str) -> str:
    """How a source is called on a figure.

    >>> called("imagenet+simclr")
    'ImageNet → SimCLR'
    """
    return " → ".join(NAMES[part] for part in source.split("+"))


def order(names: Iterable[str]) -> list[str]:
    """The different sources among ``names``, always in one order: those that learnt in two places last.

    >>> order(["fractal+multiview", "multiview", "none", "multiview"])
    ['none', 'multiview', 'fractal+multiview']
    """
    places = {name: [list(NAMES).index(part) for part in name.split("+")] for name in names}
    return sorted(places, key=lambda name: (len(places[name]), places[name]))


def heading(ax: Axes, text: str) -> None:
    """Write ``text`` over a panel."""
    ax.set_title(text, fontsize=9, fontweight="bold", color=INK)


def look(source: str) -> dict:
    """Colour and marker of a source, as matplotlib's options of a line."""
    first, last = source.split("+")[0], source.split("+")[-1]
    hollow = {"mfc": "white", "ls": "dashed"} if first != last else {}
    return {"color": COLOURS[last], "marker": MARKERS[first]} | hollow


def gains(runs: pd.DataFrame, value: str, *, against: str, arm: str = "source") -> pd.DataFrame:
    """The runs of other sources with the column ``gain``: ``value`` minus that of the source ``against``.

    In pairs: of the same model, number of labels or films, and seed; runs without such a partner are left
    out.  With another ``arm``, such as ``strategy``, the source is the same in a pair as well.
    """
    keys = [key for key in ("model", "source", "labels", "films", "seed") if key in runs and key != arm]
    base = runs[runs[arm] == against].set_index(keys)[value].rename("base")
    both = runs[runs[arm] != against].join(base, on=keys).dropna(subset=[value, "base"])
    return both.assign(gain=both[value] - both["base"]).drop(columns="base")


def label_efficiency(
    runs: pd.DataFrame, *, against: Mapping[str, str], delta: float, pretrainings: int
) -> Figure:
    """Dice over labelled images for each source, and its paired gain on one of them; a row a model.

    ``against`` {model: source that the gains are over}; grey is what does not matter, ±``delta``.  Run s
    started from pretraining s modulo ``pretrainings``, which the intervals respect.
    """
    figure, axes = new(len(against), 2, size=(10.5, 3.5 * len(against)))
    for (left, right), (model, base) in zip(axes, against.items(), strict=True):
        own = runs[runs["model"] == model]
        amounts = sorted(own["labels"].unique())
        options = {"by": ["source", "labels"], "nests": pretrainings}
        looks = {name: look(name) | {"label": called(name)} for name in order(own["source"])}
        over(left, bars(own, "dice", **options), amounts, looks)
        over(right, bars(gains(own, "dice", against=base), "gain", **options), amounts, looks)
        right.axhspan(-delta, delta, color=BAND, lw=0, zorder=0)
        right.axhline(0, color=GREY, lw=1, ls="dotted", zorder=0)
        left.set(xlabel="labelled images", ylabel="Dice with the truth")
        right.set(xlabel="labelled images", ylabel=f"Dice minus that of {called(base)}")
        heading(left, model)
        heading(right, "the same seeds, in pairs")
        right.legend(
            *left.get_legend_handles_labels(),
            frameon=False,
            fontsize=8,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        )
    return figure


def rates(table: pd.DataFrame, *, value: str = "dice_a") -> Figure:
    """Mean Dice over the rate of fine-tuning, a line a source and a panel a model; a ring is the highest.

    ``table``: rows of ``results/sources_rates.csv``; ``value``: the column that the choice went by.
    """
    models = sorted(table["model"].unique(), key=lambda model: len(table[table["model"] == model]))[::-1]
    figure, axes = new(1, len(models), size=(5.2 * len(models), 3.6), sharey=True)
    for ax, model in zip(axes.flat, models, strict=True):
        own = table[table["model"] == model]
        for name in order(own["source"]):
            line, style = own[own["source"] == name].groupby("lr")[value].mean(), look(name)
            ax.plot(line.index, line, lw=1, ms=5, label=called(name), **style)
            ax.plot(line.idxmax(), line.max(), "o", ms=12, mfc="none", mec=style["color"], zorder=0)
        ax.set(xscale="log", xlabel="learning rate of fine-tuning")
        heading(ax, model)
        ax.legend(frameon=False, fontsize=8)
    axes[0, 0].set_ylabel("Dice on women kept for tuning")
    return figure


def over(ax: Axes, table: pd.DataFrame, amounts: list, looks: Mapping[str, dict]) -> None:
    """Draw ``table`` of `bars` by (arm, amount) over ``amounts``, arms in the order and look of ``looks``.

    ``looks`` {arm: options of its line, with a label}; those that are not in the table have no line.
    """
    names = [name for name in looks if name in table.index.unique(0)]
    for shift, name in zip(np.linspace(-0.24, 0.24, len(names)), names, strict=True):
        own, style = table.loc[name].sort_index(), looks[name]
        at = np.searchsorted(amounts, own.index) + shift
        ax.vlines(at, own["low"], own["high"], color=style["color"], lw=own["width"])
        ax.plot(at, own["estimate"], zorder=3, **{"lw": 0.9, "ms": 6} | style)
    ax.set_xticks(range(len(amounts)), [f"{amount:g}" for amount in amounts])


def forest(
    groups: Mapping[str, Mapping[str, tuple[pd.Series, Interval, str]]], *, delta: float, pretrainings: int
) -> Figure:
    """Paired differences of Dice, their intervals and what these say, under the title of each group.

    ``groups`` {title: {what is compared: (difference of each seed, its interval, words)}}.  Run s started
    from pretraining s modulo ``pretrainings``, which its marker tells.
    """
    lines = sum(1 + len(members) for members in groups.values())
    figure, axes = new(1, 1, size=(10.5, 0.42 * lines + 1.2))
    ax, line, ticks = axes[0, 0], 0, {}
    place, markers = {"transform": ax.get_yaxis_transform(), "va": "center", "color": INK}, "os^DvP"
    ax.axvspan(-delta, delta, color=BAND, lw=0, zorder=0)
    ax.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
    for title, members in groups.items():
        ax.text(0.005, line, title, fontweight="bold", **place)
        for label, (differences, (mean, low, high), words) in members.items():
            line += 1
            ticks[line] = label
            ax.hlines(line, low, high, color=RED, lw=2.5)
            ax.plot(mean, line, "D", color=RED, ms=7, zorder=3)
            for number in range(pretrainings):
                own = differences[differences.index % pretrainings == number]
                ax.plot(own, np.full(len(own), line + 0.3), markers[number], color=BLUE, ms=4, alpha=0.6)
            ax.text(1.01, line, words, **place)
        line += 1
    ax.set(yticks=list(ticks), yticklabels=ticks.values(), ylim=(line - 0.3, -0.6))
    ax.set_xlabel(f"difference in Dice (grey: within ±{delta:g})")
    for number in range(pretrainings):
        label = f"a run from pretraining {number + 1}" if pretrainings > 1 else "a pair of runs"
        ax.plot([], [], markers[number], color=BLUE, ms=5, label=label)
    figure.legend(loc="outside lower center", ncols=pretrainings, frameon=False)
    return figure


def rows(ax: Axes, table: pd.DataFrame, column: str, names: list[str]) -> None:
    """A row for each source in ``names``: its values in ``column`` as points and their mean as a stroke."""
    for row, name in enumerate(names):
        values, style = table.loc[table["source"] == name, column], look(name)
        ax.plot(values, np.full(len(values), row), ms=5, alpha=0.75, **style | {"ls": "none"})
        ax.vlines(values.mean(), row - 0.32, row + 0.32, color=style["color"], lw=2)
    ax.set(yticks=range(len(names)), yticklabels=map(called, names), ylim=(len(names) - 0.4, -0.6))


def film(table: pd.DataFrame, *, against: str = "none") -> Figure:
    """Dice on real film and its difference to the source ``against`` split by split, a row a number of films.

    ``table``: rows of ``results/sources_film.csv``; a point is a split, a stroke the mean.
    """
    numbers, names = sorted(table["films"].unique()), order(table["source"])
    height = (0.32 * len(names) + 1) * len(numbers)
    figure, axes = new(len(numbers), 2, size=(10, height), sharex="col", sharey=True)
    for (left, right), number in zip(axes, numbers, strict=True):
        own = table[table["films"] == number]
        rows(left, own, "dice", names)
        rows(right, gains(own, "dice", against=against), "gain", names)
        right.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
        heading(left, f"{number} films learnt from")
        heading(right, "the same splits, in pairs")
        right.locator_params(axis="x", nbins=6)
    axes[-1, 0].set_xlabel("Dice with the expert")
    axes[-1, 1].set_xlabel(f"Dice minus that of {called(against)}")
    return figure
