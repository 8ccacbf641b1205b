"""Figures of notebook 07 about one set of scores: who is called back, curves, a threshold, probabilities.

Scores are those of breasts or women, one each; ``label`` is 0 or 1.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator
from scipy.special import expit

from mammo_utils.evaluation import calibration, classification, operating
from mammo_utils.evaluation import curves as bands
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new

GREY, PALE = "#999999", "#D9D9D9"
CROWD = 1000
COLUMNS = 40
# What becomes of a woman: colour of her icon, in the order in which they stand.
FATES = {
    "cancer, called back": BLUE,
    "cancer, missed": RED,
    "healthy, called back": ORANGE,
    "healthy, left alone": PALE,
}


def fates(sensitivity: float, specificity: float, prevalence: float, *, women: int = CROWD) -> dict[str, int]:
    """Expected numbers of ``women`` by what becomes of them, rounded so that they add up; all shares 0–1.

    >>> fates(0.8, 0.9, 0.02)
    {'cancer, called back': 16, 'cancer, missed': 4, 'healthy, called back': 98, 'healthy, left alone': 882}

    Raises ``ValueError`` for a share outside 0–1.
    """
    if not all(0 <= share <= 1 for share in (sensitivity, specificity, prevalence)):
        raise ValueError("sensitivity, specificity and prevalence must lie between 0 and 1")
    sick = round(women * prevalence)
    found, alarms = round(sick * sensitivity), round((women - sick) * (1 - specificity))
    return dict(zip(FATES, (found, sick - found, alarms, women - sick - alarms), strict=True))


def crowd(sensitivity: float, specificity: float, prevalence: float) -> Figure:
    """``CROWD`` women as icons, coloured by what becomes of them at these rates (0–1), which are by woman."""
    counts = fates(sensitivity, specificity, prevalence)
    figure, axes = new(1, 1, size=(9.5, 6.6))
    ax = axes[0, 0]
    place = 0
    for name, colour in FATES.items():
        icons = [icon(at % COLUMNS, at // COLUMNS) for at in range(place, place + counts[name])]
        shapes = [shape for pair in icons for shape in pair]
        ax.add_collection(PatchCollection(shapes, facecolor=colour, edgecolor="none"))
        place += counts[name]
    rows = CROWD // COLUMNS
    ax.set(xlim=(-0.7, COLUMNS - 0.3), ylim=(rows - 0.2, -0.9), aspect="equal")
    ax.axis("off")
    called = counts["cancer, called back"] + counts["healthy, called back"]
    of = f"; of {called} called back {counts['cancer, called back']} have cancer" if called else ""
    ax.set_title(
        f"{CROWD} women, {100 * prevalence:.3g} % with cancer{of}", loc="left", color=INK, fontsize=11
    )
    handles = [ax.plot([], [], "o", color=colour, ms=8)[0] for colour in FATES.values()]
    labels = [f"{counts[name]} {name}" for name in FATES]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, handletextpad=0.2)
    return figure


def icon(x: float, y: float) -> tuple[Circle, PathPatch]:
    """Head and shoulders of a woman at a place of the grid, whose cells are 1×1, y downwards."""
    bend = [(-0.34, 0.44), (-0.34, 0.0), (-0.2, -0.05), (0.0, -0.05), (0.2, -0.05), (0.34, 0.0), (0.34, 0.44)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 6]
    body = Path([(x + a, y + b) for a, b in bend], codes)
    return Circle((x, y - 0.25), 0.17), PathPatch(body)


def prevalences(score, label, shares, *, groups=None, specificity: float = 0.9) -> Figure:
    """The ROC curve, which no prevalence changes, beside the precision–recall curve at each of ``shares``.

    Points: the threshold with this specificity on these very cases.  ``shares`` of positives lie between 0
    and 1; ``groups`` as in `classification.prevalence_weights`.
    """
    score, label = np.asarray(score, float), np.asarray(label)
    cut = operating.threshold_at(score, label, specificity=specificity)
    called = operating.confusion(score, label, threshold=cut)
    figure, axes = new(1, 2, size=(9.5, 4.0))
    left, right = axes[0]
    curve = classification.roc(score, label)
    left.plot(curve.false_positive_rate, curve.sensitivity, color=INK, lw=1.8)
    left.plot(1 - called.specificity, called.sensitivity, "o", color=INK, ms=8)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="dotted")
    area = classification.roc_auc(score, label)
    left.set(xlabel="false positive rate", ylabel="sensitivity")
    left.set_title(f"ROC-AUC {area:.2f} at every prevalence", loc="left", color=INK)
    for share, colour in zip(shares, (GREEN, BLUE, ORANGE, PINK, SKY), strict=False):
        weights = classification.prevalence_weights(label, share, groups=groups)
        pr = classification.pr(score, label, weights=weights)
        area = classification.average_precision(score, label, weights=weights)
        value, _ = operating.predictive_values(called.sensitivity, called.specificity, share)
        name = f"{100 * share:.3g} % positive: PR-AUC {area:.3f}"
        right.step(pr.recall, pr.precision, where="pre", color=colour, lw=1.8, label=name)
        right.plot(called.sensitivity, value, "o", color=colour, ms=8)
        right.axhline(share, color=colour, lw=1, ls="dotted")
    right.set(xlabel="sensitivity (recall)", ylabel="precision", ylim=(0, 1.03))
    right.set_title("precision falls with the prevalence", loc="left", color=INK)
    right.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def curves(score, label, *, groups, cut: float) -> Figure:
    """ROC and precision–recall curve with 95 % bands by woman and the point of the threshold ``cut``."""
    score, label = np.asarray(score, float), np.asarray(label)
    called = operating.confusion(score, label, threshold=cut)
    figure, axes = new(1, 2, size=(9.5, 4.0))
    left, right = axes[0]
    roc = bands.roc_band(score, label, groups=groups, n=300)
    pr = bands.pr_band(score, label, groups=groups, n=300)
    areas = classification.roc_auc(score, label), classification.average_precision(score, label)
    names = ("ROC-AUC", "PR-AUC")
    for ax, band, name, area in zip((left, right), (roc, pr), names, areas, strict=True):
        ax.fill_between(band.at, band.low, band.high, color=BLUE, alpha=0.15, lw=0)
        ax.plot(band.at, band.estimate, color=BLUE, lw=1.8)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03))
        ax.set_title(f"{name} {area:.3f}", loc="left", color=INK)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="dotted")
    left.plot(1 - called.specificity, called.sensitivity, "o", color=INK, ms=8)
    right.axhline(label.mean(), color=GREY, lw=1, ls="dotted")
    if called.true_positive + called.false_positive:
        right.plot(called.sensitivity, called.positive_predictive_value, "o", color=INK, ms=8)
    left.set(xlabel="false positive rate", ylabel="sensitivity")
    right.set(xlabel="sensitivity (recall)", ylabel="precision")
    return figure


def confusion(score, label, cut: float, *, prevalence: float, women: int = 10_000) -> Figure:
    """How scores fall about a threshold, and the four counts among ``women`` at a prevalence (0–1).

    Scores are those of women, one each: two breasts make more false alarms than one.
    """
    score, label = np.asarray(score, float), np.asarray(label)
    called = operating.confusion(score, label, threshold=cut)
    sick = women * prevalence
    cells = np.array(
        [
            [sick * called.sensitivity, sick * (1 - called.sensitivity)],
            [(women - sick) * (1 - called.specificity), (women - sick) * called.specificity],
        ]
    )
    figure, axes = new(1, 2, size=(9.5, 3.6), width_ratios=(1.15, 1))
    left, right = axes[0]
    bins = np.linspace(score.min(), score.max(), 40)
    for value, colour, name in ((0, GREY, "healthy"), (1, RED, "cancer")):
        left.hist(score[label == value], bins, density=True, color=colour, alpha=0.55, label=name)
    left.axvline(cut, color=INK, lw=1.5, ls="dotted")
    left.text(cut, left.get_ylim()[1], " called back", va="top", color=INK, fontsize=8)
    left.set(xlabel="score (logit)", ylabel="density within the class", yticks=[])
    left.legend(frameon=False, fontsize=8, loc="upper left")
    names = list(FATES)
    order = ((names[0], names[1]), (names[2], names[3]))
    for row in range(2):
        for column in range(2):
            name = order[row][column]
            right.add_patch(_cell(column, row, FATES[name]))
            ink = INK if FATES[name] == PALE else "white"
            right.text(column + 0.5, row + 0.42, f"{cells[row, column]:,.0f}", **_middle(ink, 15))
            right.text(column + 0.5, row + 0.72, name, **_middle(ink, 8.5))
    right.set(xlim=(0, 2), ylim=(2, 0), xticks=[], yticks=[])
    right.spines[:].set_visible(False)
    value, _ = operating.predictive_values(called.sensitivity, called.specificity, prevalence)
    right.set_title(
        f"{women:,} women: {100 * value:.2g} % of those called back are ill",
        loc="left",
        color=INK,
    )
    return figure


def _cell(column: int, row: int, colour: str) -> PathPatch:
    edges = [(0.02, 0.03), (0.98, 0.03), (0.98, 0.97), (0.02, 0.97), (0.02, 0.03)]
    return PathPatch(Path([(column + a, row + b) for a, b in edges]), facecolor=colour, edgecolor="none")


def _middle(colour: str, size: float) -> dict:
    return {"ha": "center", "va": "center", "color": colour, "fontsize": size}


def reliability(panels: dict[str, np.ndarray], label, *, groups, weights=None, bins: int = 8) -> Figure:
    """Share of positives over mean probability in bins of equal mass, with limits by woman, on log axes.

    ``panels`` {title: N logits}, e.g. before and after recalibration.  A bin without a positive has its upper
    limit alone.
    """
    figure, axes = new(1, len(panels), size=(4.8 * len(panels), 4.0), sharex=True, sharey=True)
    low = 1e-4
    for ax, (title, logit) in zip(axes.flat, panels.items(), strict=True):
        probability = expit(np.asarray(logit, float))
        table = calibration.reliability_by_woman(
            probability, label, groups=groups, weights=weights, bins=bins
        )
        options = {"bins": bins, "binning": "mass", "weights": weights}
        error = calibration.expected_calibration_error(probability, label, **options)
        some = table["observed"] > 0
        ax.plot([low, 1], [low, 1], color=GREY, lw=1, ls="dotted", zorder=0)
        ax.vlines(table["predicted"], table["low"].clip(low), table["high"], color=SKY, lw=2.5)
        ax.plot(table.loc[some, "predicted"], table.loc[some, "observed"], "o", color=BLUE, ms=7)
        none = table[~some]
        ax.plot(none["predicted"], none["high"], "v", color=SKY, ms=7)
        ax.set(xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low, 1.3), xlabel="predicted probability")
        ax.set_title(f"{title}: calibration error {100 * error:.2g} points", loc="left", color=INK)
        _percent(ax)
    axes[0, 0].set_ylabel("share that has cancer")
    return figure


def _percent(ax: Axes) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axis.set_minor_locator(NullLocator())


def sizes(views: dict[int, tuple]) -> Figure:
    """One lesion at several image heights: the view, where it lies, and what it adds to the healthy twin (the
    difference is stretched to the full scale).

    ``views`` {height in pixels: (view with the lesion, the same without)}, as `synth.breast.exam` makes them.
    """
    figure, axes = new(2, len(views), size=(3.1 * len(views), 5.4), height_ratios=(1.6, 1))
    for column, (height, (sick, healthy)) in enumerate(views.items()):
        rows, columns = np.nonzero(sick.lesion_mask)
        middle, reach = (rows.mean(), columns.mean()), 0.11 * height
        top, left = (int(max(0, at - reach)) for at in middle)
        box = slice(top, int(top + 2 * reach)), slice(left, int(left + 2 * reach))
        image(axes[0, column], sick.image, f"{height} pixels, {sick.spacing_mm:.2g} mm each")
        down, right = box[0].stop, box[1].stop
        frame = Path([(left, top), (left, down), (right, down), (right, top), (left, top)])
        axes[0, column].add_patch(PathPatch(frame, facecolor="none", edgecolor=ORANGE, lw=1.5))
        pair = [part.image[box] for part in (sick, healthy)]
        low, high = np.min(pair), np.max(pair)
        added = pair[0] - pair[1]
        parts = [*pair, low + (high - low) * added / added.max()]
        image(axes[1, column], np.hstack(parts), "with | without | difference", span=(low, high))
        for border in (1, 2):
            axes[1, column].axvline(border * added.shape[1] - 0.5, color="white", lw=1.5)
    return figure


def accuracies(rows: dict[str, tuple[float, float]]) -> Figure:
    """Accuracies beside those of calling everybody negative; ``rows`` {set: (published, negative)}, 0–1."""
    figure, axes = new(1, 1, size=(8.5, 0.5 * len(rows) + 1.1))
    ax = axes[0, 0]
    for row, (published, negative) in enumerate(rows.values()):
        ax.hlines(row, 100 * negative, 100 * published, color=PALE, lw=5, zorder=0)
        ax.plot(100 * negative, row, "s", color=ORANGE, ms=9)
        ax.plot(100 * published, row, "o", color=BLUE, ms=9)
    ax.plot([], [], "o", color=BLUE, label="published")
    ax.plot([], [], "s", color=ORANGE, label="calling everybody negative")
    ax.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel("accuracy (%)")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def implied_shares(rows: dict[str, tuple[float, float]], *, balanced: float = 0.5) -> Figure:
    """Shares of positives (0–1) that published scores leave possible, beside that of a ``balanced`` set."""
    figure, axes = new(1, 1, size=(8.5, 0.45 * len(rows) + 1.0))
    ax = axes[0, 0]
    for row, (low, high) in enumerate(rows.values()):
        ax.barh(row, 100 * (high - low), left=100 * low, height=0.5, color=BLUE)
        text = f"{100 * low:.0f} to {100 * high:.0f} %"
        ax.text(100 * high + 1, row, text, va="center", fontsize=8, color=INK)
    ax.axvline(100 * balanced, color=ORANGE, lw=1.5, ls="dashed")
    ax.text(100 * balanced + 1, -0.45, "balanced", color=ORANGE, fontsize=8, va="center")
    ax.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.75))
    ax.set(xlim=(0, 100), xlabel="positives that fit F1 and accuracy (% of images)")
    return figure
