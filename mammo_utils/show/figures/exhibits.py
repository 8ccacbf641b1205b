"""Figures of the exhibits that no notebook has, and the lines over and under every exhibit.

A bar is the interval that its table holds in ``low`` and ``high``, `architecture_results.bars` as a rule:
thick for t-intervals over seeds, thin where it spans a few runs (``width``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, RED, new
from mammo_utils.show.figures.architecture_results import GREY
from mammo_utils.show.figures.sources import BAND

VERDICTS = {"supported": GREEN, "not supported": RED, "inconclusive": ORANGE}
LINEAR = 2.0  # multiples of δ up to which the scale of `forest` is linear; logarithmic beyond
CHARACTERS = {9: 13.0, 7: 17.0}  # that fit an inch, by size of the letters


def captioned(figure: Figure, title: str, note: str) -> Figure:
    """Write ``title`` over the figure and ``note`` under it, outside of what is drawn already.

    Both are broken into lines as wide as the figure, whose layout is final; save it with
    ``bbox_inches="tight"``.
    """
    height = figure.get_figheight()
    # All stays where the layout put it: a legend outside of the axes would move to the edge of what is saved.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    for text, size, weight, at, side in ((title, 9, "bold", 1, "bottom"), (note, 7, "normal", 0, "top")):
        lines = textwrap.wrap(text, int(figure.get_figwidth() * CHARACTERS[size]))
        gap = 0.12 / height * (1 if at else -1)
        options = {"fontsize": size, "fontweight": weight, "color": INK if at else "#666666", "va": side}
        figure.text(0.01, at + gap, "\n".join(lines), **options)
    return figure


def dots(
    panels: Mapping[str, pd.DataFrame],
    *,
    names: Mapping[str, str],
    colours: Mapping[str, str] | None = None,
    deltas: Mapping[str, float] | None = None,
) -> Figure:
    """A row an arm and a panel a metric: the estimate as a point, its interval as a bar.

    ``panels`` {label of the axis: table of `bars` by arm}; ``names`` {arm: how it is called}, in order, of
    which those in the tables are drawn.  A panel in ``deltas`` shows differences: 0 is marked, and in grey
    what does not matter, ±δ.
    """
    there = [name for name in names if any(name in table.index for table in panels.values())]
    colours, deltas = colours or {}, deltas or {}
    size = (2.7 * len(panels) + 1.6, 0.32 * len(there) + 1.1)
    figure, axes = new(1, len(panels), size=size, sharey=True)
    for ax, (label, table) in zip(axes[0], panels.items(), strict=True):
        for row, name in enumerate(there):
            if name in table.index:
                own, colour = table.loc[name], colours.get(name, BLUE)
                ax.hlines(row, own["low"], own["high"], color=colour, lw=own["width"])
                ax.plot(own["estimate"], row, "o", color=colour, zorder=3)
        if label in deltas:
            ax.axvspan(-deltas[label], deltas[label], color=BAND, lw=0, zorder=0)
            ax.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
        ax.set_xlabel(label)
        ax.locator_params(axis="x", nbins=5)
        ax.margins(x=0.1)
    axes[0, 0].set(yticks=range(len(there)), yticklabels=[names[name] for name in there])
    axes[0, 0].set_ylim(len(there) - 0.5, -0.5)
    return figure


def over_prevalence(table: pd.DataFrame) -> Figure:
    """Scores over the share of positives on a logarithmic axis, with bands; dotted what chance reaches.

    ``table``: columns ``score``, ``prevalence`` (0–1), ``estimate``, ``low``, ``high``.
    """
    figure, axes = new(1, 1, size=(7.5, 3.4))
    ax = axes[0, 0]
    for (name, own), colour in zip(table.groupby("score", sort=False), (BLUE, ORANGE, GREEN), strict=False):
        ax.fill_between(own["prevalence"], own["low"], own["high"], color=colour, alpha=0.2, lw=0)
        ax.plot(own["prevalence"], own["estimate"], "o-", ms=4, color=colour, label=name)
    shares = np.sort(table["prevalence"].unique())
    ax.plot(shares, shares, color=GREY, lw=1, ls="dotted", label="chance: PR-AUC and PPV")
    ax.set(xscale="log", xticks=shares, xticklabels=[f"{100 * share:g} %" for share in shares])
    ax.minorticks_off()
    ax.set(xlabel="share of breasts with cancer", ylabel="score", ylim=(0, 1))
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def by_layer(
    table: pd.DataFrame, *, methods: Mapping[str, str], scores: Mapping[str, str], layers: Sequence[str]
) -> Figure:
    """Scores of heat maps with intervals: a panel a score, a row a method, a shade a layer.

    ``table``: rows of ``results/explained.csv`` of one group of lesions; ``methods`` and ``scores`` {name:
    how it is called}; ``layers`` from shallow to deep, the deeper the darker.  Dotted: a random map.
    """
    shades = dict(zip(layers, colormaps["viridis_r"](np.linspace(0.15, 1, len(layers))), strict=True))
    figure, axes = new(1, len(scores), size=(2.5 * len(scores) + 1.6, 0.5 * len(methods) + 1.1), sharey=True)
    shifts = dict(zip(layers, np.linspace(-0.3, 0.3, len(layers)), strict=True))
    for ax, (score, label) in zip(axes[0], scores.items(), strict=True):
        own = table[table["score"] == score]
        for row, method in enumerate(methods):
            for _, one in own[own["method"] == method].iterrows():
                at, colour = row + shifts[one["layer"]], shades[one["layer"]]
                ax.hlines(at, one["low"], one["high"], color=colour, lw=1.6)
                ax.plot(one["estimate"], at, "o", ms=4, color=colour)
        ax.axvline(own["chance"].mean(), color=INK, lw=1, ls="dotted")
        ax.set_xlabel(label)
    axes[0, 0].set(yticks=range(len(methods)), yticklabels=list(methods.values()))
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    for layer, colour in shades.items():
        axes[0, 0].plot([], [], "o-", ms=4, color=colour, label=layer)
    axes[0, 0].plot([], [], color=INK, lw=1, ls="dotted", label="random map")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(layers) + 1, frameon=False)
    return figure


def sizes(table: pd.DataFrame, *, claimed: float) -> Figure:
    """Sizes of networks as bars beside a ``claimed`` one, in MB; ``table``: ``parameters``, ``megabytes``."""
    figure, axes = new(1, 1, size=(8.5, 0.42 * len(table) + 1.0))
    ax = axes[0, 0]
    for row, (_, own) in enumerate(table.iterrows()):
        ax.barh(row, own["megabytes"], height=0.55, color=BLUE)
        text = f" {own['megabytes']:.1f} MB, {own['parameters'] / 1e6:.2f} million parameters"
        written = ax.text(own["megabytes"] + 1, row, text, va="center", fontsize=8, color=INK)
        written.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # over the dashed line
    ax.axvline(claimed, color=ORANGE, lw=1.5, ls="dashed", label=f"published size, {claimed:g} MB")
    ax.set(yticks=range(len(table)), yticklabels=list(table.index), ylim=(len(table) - 0.5, -0.5))
    ax.set(xlabel="size in float32 (MB)", xlim=(0, 1.7 * max(claimed, table["megabytes"].max())))
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def forest(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Every question to every claim: its difference in multiples of δ, in the colour of the verdict.

    ``table``: a row a question, and one for a claim without any: ``work``, ``claim``, ``claim_verdict``,
    ``asks``, ``direction``, ``estimate``, ``low``, ``high``, ``delta`` and ``verdict``.  ``titles`` {work:
    its title}.  A claim's own verdict stands beside its first row; hollow are questions whose claim is not
    testable here, which decide nothing of it.  Grey is what does not matter, ±δ; beyond ±``LINEAR`` δ the
    scale is logarithmic.
    """
    lines = len(table) + 1.5 * table["work"].nunique()
    figure, axes = new(1, 1, size=(11, 0.185 * lines + 1.2))
    ax, line, ticks, before = axes[0, 0], 0.0, {}, None
    ax.axvspan(-1, 1, color=BAND, lw=0, zorder=0)
    ax.axvline(0, color=GREY, lw=1, ls="dotted", zorder=0)
    beside = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
    for work, own in table.groupby("work", sort=False):
        title = titles[work][0].upper() + titles[work][1:]
        ax.text(-0.01, line, title, fontweight="bold", ha="right", color=INK, **beside)
        for _, row in own.iterrows():
            line += 1
            if row["claim"] != before:
                shade = VERDICTS.get(row["claim_verdict"], GREY)
                ax.text(1.01, line, row["claim_verdict"], color=shade, **beside)
                ax.axhline(line - 0.5, color="#EEEEEE", lw=0.6, zorder=0)
            before = row["claim"]
            if pd.isna(row["estimate"]):
                ticks[line] = f"{row['claim']}: no question can be asked here"
                continue
            ticks[line] = f"{row['claim']}: {row['asks']} (claimed {row['direction']})"
            colour = VERDICTS.get(row["verdict"], GREY)
            empty = row["claim_verdict"] not in VERDICTS
            ax.hlines(line, row["low"] / row["delta"], row["high"] / row["delta"], color=colour, lw=1.6)
            face = "white" if empty else colour
            ax.plot(row["estimate"] / row["delta"], line, "o", ms=4.5, color=colour, mfc=face, zorder=3)
        line += 1.5
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=1.2)
    marks = [-100, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 100]
    ends = table[["low", "high", "estimate"]].div(table["delta"], axis=0)
    low, high = 1.3 * min(ends.min().min(), -2), 1.3 * max(ends.max().max(), 2)
    shown = [mark for mark in marks if low <= mark <= high]
    ax.set_xticks(shown, [f"{mark:g}" for mark in shown], minor=False)
    ax.minorticks_off()
    ax.set(xlim=(low, high), yticks=list(ticks), ylim=(line - 0.8, -0.9))
    ax.set_yticklabels(ticks.values(), fontsize=7)
    ax.set_xlabel("difference in multiples of δ, the smallest that matters (grey: within ±δ)")
    for words, colour in VERDICTS.items():
        ax.plot([], [], "o-", ms=4.5, color=colour, label=words)
    ax.plot([], [], "o", ms=4.5, color=GREY, mfc="white", label="its claim is not testable here")
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def counts(panels: Mapping[str, pd.Series], *, unit: str = "images") -> Figure:
    """How many images there are of each value: a panel a column, ``panels`` {title: counts by value}."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    most = max(map(len, panels.values()))
    figure, axes = new(rows, columns, size=(3.6 * columns, rows * (0.28 * most + 0.9)))
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, own) in zip(axes.flat, panels.items(), strict=False):
        ax.barh(range(len(own)), own, height=0.6, color=BLUE)
        for row, number in enumerate(own):
            ax.text(number, row, f" {number:,} ({number / own.sum():.1%})", va="center", fontsize=7.5)
        ax.set(yticks=range(len(own)), yticklabels=map(str, own.index), ylim=(len(own) - 0.4, -0.6))
        ax.set(title=title, xlabel=unit, xlim=(0, 1.6 * own.max()))
        ax.locator_params(axis="x", nbins=4)
    return figure
