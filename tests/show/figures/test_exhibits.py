"""Figures of the exhibits on small tables made up for these tests."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from matplotlib.text import Text

from mammo_utils.show.figures import GREEN, RED, exhibits, new


def places(ax) -> dict:
    """{(x, y): marker's colour and face} of the points of a panel."""
    return {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line
        for line in ax.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }


KEYS = ("A title", "what is measured", "a line", "a note")  # from top to bottom


def test_title_and_note_stand_clear_of_a_legend_outside():
    figure, axes = new(1, 1, size=(5, 3))
    axes[0, 0].plot([0, 1], [0, 1], label="a line")
    axes[0, 0].set_xlabel("what is measured")
    figure.legend(loc="outside lower center")
    exhibits.captioned(figure, "A title " * 12, "a note " * 40)
    drawn = io.BytesIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", bbox_inches="tight")
    # One line alone has x and y, lines of one text have a transform each.
    found = r'<text [^>]*?(?:translate\([\d.]+ |y=")([\d.]+)[^>]*>([^<]+)'
    lines = re.findall(found, drawn.getvalue().decode())
    heights = {key: [float(y) for y, said in lines if key in said] for key in KEYS}
    assert all(heights.values())
    spans = [(min(own), max(own)) for own in heights.values()]
    assert all(upper[1] + 7 < lower[0] for upper, lower in zip(spans, spans[1:], strict=False))
    assert len(heights["A title"]) > 1
    assert all(len(said) < 5 * 72 / 4 for _, said in lines)


def test_dots_stand_in_the_order_of_the_names_with_their_bars():
    table = pd.DataFrame(
        {"estimate": [0.2, 0.4], "low": [0.1, 0.3], "high": [0.3, 0.6], "width": [2.2, 0.8]}, index=["b", "a"]
    )
    names = {"a": "first", "missing": "nowhere", "b": "second"}
    figure = exhibits.dots({"score": table, "change": table}, names=names, deltas={"change": 0.05})
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["first", "second"]
    assert set(places(left)) == {(0.4, 0), (0.2, 1)}
    bars = [(*bar.get_segments()[0][:, 0], bar.get_linewidths()[0]) for bar in left.collections]
    assert bars == [(0.3, 0.6, 0.8), (0.1, 0.3, 2.2)]
    assert len(left.patches) == 0
    (band,) = right.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((-0.05, 0.1))


def test_claims_stand_in_multiples_of_what_matters_in_the_colour_of_their_verdict():
    one = {"work": "w", "direction": "up", "delta": 0.02}
    rows = [
        one
        | {"claim": "a", "claim_verdict": "supported", "asks": "b minus a", "verdict": "supported"}
        | {"estimate": 0.03, "low": 0.01, "high": 0.05},
        one
        | {"claim": "c", "claim_verdict": "not testable here", "asks": "d minus c"}
        | {"verdict": "not supported", "estimate": -0.01, "low": -0.02, "high": 0.0},
        {"work": "w", "claim": "e", "claim_verdict": "not testable here"},
    ]
    figure = exhibits.forest(pd.DataFrame(rows), {"w": "the work"})
    (ax,) = figure.axes
    found = sorted(places(ax).items(), key=lambda item: item[0][1])
    assert [at[0] for at, _ in found] == pytest.approx([1.5, -0.5])
    for (_, line), wanted in zip(found, (GREEN, RED), strict=True):
        assert same_color(line.get_color(), wanted)
    assert same_color(found[0][1].get_markerfacecolor(), GREEN)
    assert same_color(found[1][1].get_markerfacecolor(), "white")
    said = [text.get_text() for text in figure.findobj(Text)]
    assert "The work" in said
    assert "e: no question can be asked here" in said
    assert said.count("not testable here") == 2


def test_scores_of_maps_are_shaded_by_layer():
    keys = [(m, layer, s) for m in ("x", "y") for layer in ("one", "two") for s in ("hit", "area")]
    table = pd.DataFrame(keys, columns=["method", "layer", "score"])
    table["estimate"] = np.arange(len(table)) / 10
    table = table.assign(low=table["estimate"] - 0.05, high=table["estimate"] + 0.05, chance=0.3)
    figure = exhibits.by_layer(
        table, methods={"x": "X", "y": "Y"}, scores={"hit": "hits", "area": "AREA"}, layers=["one", "two"]
    )
    left, right = figure.axes
    assert sorted(x for x, _ in places(left)) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert right.get_xlabel() == "AREA"
    colours = {at[1]: line.get_color() for at, line in places(left).items()}
    assert len({tuple(colour) for colour in colours.values()}) == 2


def test_counts_are_written_beside_their_bars():
    panels = {"view": pd.Series({"CC": 3, "MLO": 1}), "side": pd.Series({"L": 4})}
    figure = exhibits.counts(panels)
    said = " ".join(text.get_text() for text in figure.findobj(Text))
    assert re.search(r"3 \(75.0%\)", said)
    assert [patch.get_width() for patch in figure.axes[0].patches] == [3, 1]


def test_sizes_stand_beside_the_claimed_one():
    table = pd.DataFrame({"parameters": [1e6, 5e6], "megabytes": [4.0, 20.0]}, index=["small", "large"])
    (ax,) = exhibits.sizes(table, claimed=84.7).axes
    assert [patch.get_width() for patch in ax.patches] == [4, 20]
    assert [line.get_xdata()[0] for line in ax.lines] == [84.7]
    assert ax.get_xlim()[1] > 84.7


def test_chance_follows_the_prevalence():
    shares = [0.01, 0.1, 0.4]
    table = pd.DataFrame({"score": "PR-AUC", "prevalence": shares, "estimate": [0.1, 0.3, 0.6]})
    (ax,) = exhibits.over_prevalence(table.assign(low=0.0, high=0.7)).axes
    chance = ax.lines[-1]
    assert chance.get_xdata().tolist() == chance.get_ydata().tolist() == shares
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1 %", "10 %", "40 %"]
