"""The figure that stands beside every live training."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mammo_utils.show.figures import BLUE, GREEN, ORANGE, PINK, RED, SKY, new
from mammo_utils.training.history import History

COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY)


def curve(histories: Mapping[str, History], *, metric: str = "validation value") -> Figure:
    """Training loss and validation value over the epochs of one or more runs; a ring marks the best epoch.

    ``metric`` names the values on their axis.  Runs that are still going on are drawn as far as they are.
    """
    figure, axes = new(1, 2, size=(9, 2.9))
    left, right = axes[0]
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        table = history.table
        left.plot(table["epoch"], table["loss"], "o-", ms=3, color=colour, label=name)
        if history.metric in table:
            judged = table.dropna(subset=[history.metric])
            right.plot(judged["epoch"], judged[history.metric], "o-", ms=3, color=colour)
            right.plot(history.best_epoch, history.best, "o", ms=10, mfc="none", color=colour)
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel=metric)
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if histories:
        figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure
