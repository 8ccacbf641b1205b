"""Figures of notebook 11 about two sites: calibration, subgroups, local cases, abstention, and a reader.

A ``site`` is a DataFrame of `study.clinic.breasts` or of `study.clinic.densities`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullLocator
from scipy.special import expit

from mammo_utils.evaluation import assisted, calibration, classification, selective
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, new

GREY, PALE = "#999999", "#D9D9D9"
COLOURS = (BLUE, ORANGE, GREEN, PINK)  # of sites, in their order
LOWEST, HIGHEST = 5e-4, 0.4  # where the axes of `reliability` begin and, unless more is needed, end


def weights_of(site: pd.DataFrame, prevalence: float) -> np.ndarray:
    """Case weights of enriched breasts under which this share of them (0–1) has cancer."""
    return classification.prevalence_weights(site["label"], prevalence, groups=site["patient"])


def reliability(panels: dict[str, tuple], *, bins: int = 8) -> Figure:
    """Share of positives over the mean probability in bins of equal mass, a panel a site, on log axes.

    ``panels`` {title: (site, recalibrated logits, prevalence 0–1 that its breasts are weighted to)}.  Bars
    are 95 % limits by woman; a bin without a positive has its upper limit alone.
    """
    figure, axes = new(1, len(panels), size=(3.1 * len(panels) + 0.2, 3.5), sharex=True, sharey=True)
    top = HIGHEST
    for ax, (title, (site, logit, prevalence)), colour in zip(axes[0], panels.items(), COLOURS, strict=False):
        table = calibration.reliability_by_woman(
            expit(logit),
            site["label"],
            groups=site["patient"],
            bins=bins,
            weights=weights_of(site, prevalence),
        )
        some = table[table["observed"] > 0]
        none = table[table["observed"] == 0]
        ax.plot([LOWEST, 1], [LOWEST, 1], color=GREY, lw=1, ls="dotted", zorder=0)
        top = max(top, 1.3 * table[["predicted", "high"]].max(axis=None))
        ax.vlines(
            table["predicted"], table["low"].clip(LOWEST), table["high"], color=colour, alpha=0.4, lw=2.5
        )
        ax.plot(some["predicted"], some["observed"], "o", color=colour, ms=6)
        ax.plot(none["predicted"], none["high"], "v", color=colour, ms=6, alpha=0.5)
        ax.set(xscale="log", yscale="log", xlabel="predicted probability")
        ax.set_title(title, loc="left", color=INK)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
            axis.set_minor_locator(NullLocator())
    axes[0, 0].set(ylabel="share that has cancer", xlim=(LOWEST, top), ylim=(LOWEST, top))
    return figure


def densities(sites: dict[str, pd.DataFrame], margin: float) -> Figure:
    """Error of percent density over its truth, a panel a site; blue within the margin, orange outside."""
    figure, axes = new(1, len(sites), size=(4.3 * len(sites), 3.5), sharex=True, sharey=True)
    for ax, (title, site) in zip(axes[0], sites.items(), strict=True):
        error = site["found"] - site["truth"]
        ax.axhspan(-margin, margin, color=PALE, alpha=0.5, lw=0)
        ax.axhline(0, color=GREY, lw=1)
        for inside, colour in ((error.abs() <= margin, BLUE), (error.abs() > margin, ORANGE)):
            ax.plot(site.loc[inside, "truth"], error[inside], ".", color=colour, ms=3.5, alpha=0.6)
        share = (error.abs() <= margin)[error.notna()].mean()
        ax.set_title(f"{title}: {share:.0%} within ± {margin:.1f} points", loc="left", color=INK)
        ax.set_xlabel("true percent density (%)")
    axes[0, 0].set_ylabel("found minus true (points)")
    return figure


def mended(panels: dict[str, tuple]) -> Figure:
    """What a rule does to new cases when it was fitted on a few local women, over how many.

    ``panels`` {title: (table of `evaluation.local`, its column, wanted share, share with what came from
    home)}.  Dots are means over the draws, bars hold nine draws in ten; shares are 0–1.
    """
    figure, axes = new(1, len(panels), size=(4.5 * len(panels), 3.5))
    for ax, (title, (table, column, wanted, home)) in zip(axes[0], panels.items(), strict=True):
        of = table.groupby("women")[column]
        at, low, high = of.mean(), of.quantile(0.05), of.quantile(0.95)
        ax.axhline(wanted, color=GREY, lw=1, ls="dotted", label="wanted")
        ax.axhline(home, color=ORANGE, lw=1.5, label="as it came from home")
        ax.vlines(at.index, low, high, color=SKY, lw=4, label="fitted here: nine draws in ten")
        ax.plot(at.index, at, "o", color=BLUE, ms=6, label="mean of the draws")
        ax.set(xscale="log", xlabel="local women it was fitted on", ylabel=title)
        ax.set_xticks(at.index, [str(count) for count in at.index])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def subgroups(tables: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    """Rates of parts of the women, a row a part: left sensitivity, right specificity, a colour a site.

    ``tables`` {what the parts are by: {site: table of `evaluation.subgroups.rates`}}.
    """
    names = [(by, part) for by, sites in tables.items() for one in sites.values() for part in one["subgroup"]]
    names = list(dict.fromkeys((by, str(part)) for by, part in names))
    order = {by: place for place, by in enumerate(tables)}
    place = {name: row + 0.7 * order[name[0]] for row, name in enumerate(names)}
    figure, axes = new(1, 2, size=(8.6, 0.34 * len(names) + 1.3), sharey=True)
    for ax, rate in zip(axes[0], ("sensitivity", "specificity"), strict=True):
        for by, sites in tables.items():
            for number, (site, table) in enumerate(sites.items()):
                own = table[(table["rate"] == rate) & (table["women"] > 0)]
                y = [
                    place[by, str(part)] + 0.24 * (number - (len(sites) - 1) / 2) for part in own["subgroup"]
                ]
                colour, label = COLOURS[number], site if by == next(iter(tables)) else None
                ax.hlines(y, own["low"], own["high"], color=colour, alpha=0.45, lw=3)
                ax.plot(own["estimate"], y, "o", color=colour, ms=5, label=label)
        ax.set(xlabel=rate, yticks=list(place.values()))
        ax.set_yticklabels([f"{by} {part}" for by, part in names])
        ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        low, high = ax.get_xlim()
        ax.xaxis.set_major_locator(MultipleLocator(0.05 if high - low < 0.3 else 0.2))
        ax.grid(axis="x", color=PALE, lw=0.6)
    axes[0, 0].invert_yaxis()
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def abstaining(
    sites: dict[str, pd.DataFrame], densities: dict[str, pd.DataFrame], *, prevalence: float, limit: float
) -> Figure:
    """Left: cancers among breasts dismissed unread, surest first; right: error of the densities kept.

    ``sites`` {name: breasts}, weighted to ``prevalence`` (0–1), with bands of 95 % by woman; ``densities``
    {name: views}, the nearest to the training women first, with the ``limit`` beyond which they are refused.
    """
    figure, axes = new(1, 2, size=(9, 3.8))
    left, right = axes[0]
    shares = np.linspace(0, 1, 51)

    def statistic(score, label, weights):
        return selective.lost(score, label, shares=shares, weights=weights)

    for (name, site), colour in zip(sites.items(), COLOURS, strict=False):
        arrays = site["logit"], site["label"], weights_of(site, prevalence)
        band = bootstrap(statistic, *arrays, groups=site["patient"], stratify=site["label"], n=200)
        left.fill_between(shares, band.low, band.high, color=colour, alpha=0.15, lw=0)
        left.plot(shares, band.estimate, color=colour, lw=1.8, label=name)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="dotted", label="dismissed by lot")
    left.set(xlabel="breasts dismissed without a reader", ylabel="cancers among them")
    for (name, views), colour in zip(densities.items(), COLOURS, strict=False):
        known = views.dropna(subset="found")
        loss = (known["found"] - known["truth"]).abs()
        curve = selective.risk_coverage(known["distance"], loss)
        best = selective.risk_coverage(loss, loss)
        right.plot(curve.coverage, curve.risk, color=colour, lw=1.8, label=name)
        right.plot(best.coverage, best.risk, color=colour, lw=1, ls="dotted")
        kept = (known["distance"] <= limit).mean()
        right.plot(kept, np.interp(kept, curve.coverage, curve.risk), "o", color=colour, ms=7)
    right.set(xlabel="views kept, the most familiar first", ylabel="mean error of density (points)")
    right.set_ylim(0, None)
    for ax in axes[0]:
        ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    left.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    right.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def dismissed(
    site: pd.DataFrame, valid: pd.DataFrame, share: float, *, prevalence: float
) -> dict[str, float]:
    """What becomes of 10,000 breasts when those below a threshold from home are dismissed without a reader.

    The threshold dismisses ``share`` (0–1) of the breasts ``valid``; both are weighted to ``prevalence``.
    """
    order = np.argsort(valid["logit"].to_numpy())
    mass = np.cumsum(weights_of(valid, prevalence)[order])
    at = np.searchsorted(mass, share * mass[-1])
    cut = valid["logit"].to_numpy()[order][min(at, len(order) - 1)] if share < 1 else np.inf
    weights, label = weights_of(site, prevalence), site["label"].to_numpy()
    unread = site["logit"].to_numpy() < cut
    scale = 10_000 / weights.sum()
    lost, cancers = (float(scale * weights @ (label * part)) for part in (unread, np.ones(len(label))))
    return {"read": float(scale * weights @ ~unread), "cancers": cancers, "lost": lost}


def workload(
    sites: dict[str, pd.DataFrame], valid: pd.DataFrame, share: float, *, site: str, prevalence: float = 0.02
) -> Figure:
    """One point of `abstaining` in numbers: breasts left to read, and cancers lost, of 10,000."""
    counts = dismissed(sites[site], valid, share, prevalence=prevalence)
    figure, axes = new(2, 1, size=(8, 2.9))
    bars = (
        ("breasts", counts["read"], 10_000 - counts["read"], "left to read", "dismissed unread", SKY, PALE),
        ("cancers", counts["cancers"] - counts["lost"], counts["lost"], "still read", "dismissed", BLUE, RED),
    )
    for ax, (name, first, second, one, other, colour, rest) in zip(axes.flat, bars, strict=True):
        ax.barh([name], [first], color=colour)
        ax.barh([name], [second], left=[first], color=rest)
        ax.set_title(f"{name}: {first:,.0f} {one}, {second:,.0f} {other}", loc="left", color=INK)
        ax.set(xlim=(0, first + second), yticks=[])
        ax.spines[:].set_visible(False)
    axes[1, 0].set_xlabel(f"of 10,000 breasts, {site}, {100 * prevalence:g} % with cancer")
    return figure


def readers(
    machine: dict[str, float], *, alarms: float, sensitivity: float, false_alarms: float, heeds: float
) -> Figure:
    """A reader with a machine, over how readily they are reassured by it: arithmetic on assumptions.

    ``machine`` {kind of cancer: share that the machine calls}, ``alarms`` the share of healthy breasts that
    it calls; ``sensitivity`` and ``false_alarms`` the same shares of the reader alone, alike for all kinds;
    ``heeds`` as in `assisted.called`; all 0–1.  Dotted: the reader alone.  Rings: where they break even.
    """
    reassured = np.linspace(0, 1, 101)
    figure, axes = new(1, 2, size=(9, 3.7))
    left, right = axes[0]
    for (kind, share), colour in zip(machine.items(), (BLUE, RED, GREEN, PINK, ORANGE), strict=False):
        found = assisted.called(sensitivity, share, heeds=heeds, reassured=reassured)
        left.plot(reassured, found, color=colour, lw=1.8, label=f"{kind} (machine {share:.0%})")
        even = float(assisted.break_even(sensitivity, share, heeds=heeds))
        if even < 1:
            left.plot(even, sensitivity, "o", mfc="white", mec=colour, ms=7)
    left.axhline(sensitivity, color=GREY, lw=1, ls="dotted")
    calls = assisted.called(false_alarms, alarms, heeds=heeds, reassured=reassured)
    right.plot(reassured, calls, color=INK, lw=1.8, label="reader with the machine")
    right.axhline(false_alarms, color=GREY, lw=1, ls="dotted", label="reader alone")
    left.set(ylabel="cancers that the reader calls", ylim=(0, 1.02))
    right.set(ylabel="healthy breasts that the reader calls", ylim=(0, None))
    for ax in axes[0]:
        ax.set_xlabel("own findings dropped when the machine is silent")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        ax.legend(frameon=False, fontsize=8, loc="lower left")
    return figure
