"""Figures of two sites and of a reader: what they draw are the numbers that other ways give."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from mammo_utils.evaluation import calibration, local, operating, selective, subgroups
from mammo_utils.show.figures import clinic as figures


def site(seed, women=300):
    """Two breasts of each woman, a sixth of them with cancer in one."""
    rng = np.random.default_rng(seed)
    label = np.zeros((women, 2), int)
    label[: women // 6, 0] = 1
    table = pd.DataFrame({"patient": np.repeat(np.arange(women), 2), "label": label.ravel()})
    return table.assign(logit=rng.normal(size=2 * women) + 1.2 * table["label"] - 1)


def views(seed, women=200):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 80, women)
    table = pd.DataFrame({"truth": truth, "found": truth + rng.normal(0, 5, women)})
    return table.assign(distance=rng.uniform(2, 8, women))


def points(ax, marker):
    return [tuple(xy) for line in ax.lines if line.get_marker() == marker for xy in line.get_xydata()]


def words(figure):
    return [text.get_text() for ax in figure.axes for text in (ax.title, ax._left_title, *ax.texts)]


def test_bins_of_a_site_stand_where_the_table_of_reliability_has_them():
    one = site(0)
    logit = one["logit"] - 2
    figure = figures.reliability({"a": (one, logit, 0.02), "b": (one, logit - 1, 0.005)}, bins=5)
    weights = figures.weights_of(one, 0.02)
    assert np.average(one["label"], weights=weights) == pytest.approx(0.02)
    table = calibration.reliability_by_woman(
        1 / (1 + np.exp(-logit)), one["label"], groups=one["patient"], bins=5, weights=weights
    )
    drawn = points(figure.axes[0], "o") + points(figure.axes[0], "v")
    assert len(drawn) == 5
    some = table[table["observed"] > 0]
    assert points(figure.axes[0], "o") == [
        pytest.approx(tuple(row)) for row in some[["predicted", "observed"]].to_numpy()
    ]


def test_every_view_is_drawn_inside_or_outside_of_the_margin():
    one = views(0)
    one.loc[3, "found"] = np.nan
    figure = figures.densities({"home": one, "away": one.assign(found=one["found"] + 20)}, 6.0)
    error = (one["found"] - one["truth"]).dropna()
    inside, outside = (line for line in figure.axes[0].lines if line.get_marker() == ".")
    assert len(inside.get_xdata()) == (error.abs() <= 6).sum()
    assert len(outside.get_xdata()) == (error.abs() > 6).sum()
    assert f"home: {(error.abs() <= 6).mean():.0%} within ± 6.0 points" in words(figure)


def test_draws_are_summed_up_by_their_mean_and_nine_in_ten():
    table = local.margins(np.random.default_rng(0).normal(size=200), counts=[9, 50], repeats=20)
    figure = figures.mended({"covered": (table, "covered", 0.9, 0.7)})
    [ax] = figure.axes
    assert points(ax, "o") == [
        pytest.approx((count, table.loc[table["women"] == count, "covered"].mean())) for count in (9, 50)
    ]
    (bars,) = [part for part in ax.collections if isinstance(part, LineCollection)]
    low = table.groupby("women")["covered"].quantile(0.05)
    assert [segment[0, 1] for segment in bars.get_segments()] == pytest.approx(low.tolist())
    assert {0.9, 0.7} <= {line.get_ydata()[0] for line in ax.lines}


def test_each_part_has_a_row_and_each_site_a_point_in_it():
    one, rng = site(0), np.random.default_rng(1)
    parts = rng.choice(list("AB"), len(one))
    table = subgroups.rates(one["logit"], one["label"], subgroup=parts, threshold=0.0, groups=one["patient"])
    figure = figures.subgroups({"class": {"home": table, "away": table}, "age": {"home": table}})
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["class A", "class B", "age A", "age B"]
    for ax, rate in ((left, "sensitivity"), (right, "specificity")):
        wanted = table.loc[table["rate"] == rate, "estimate"].tolist()
        assert [x for x, _ in points(ax, "o")] == pytest.approx(wanted * 3)
    rows = [y for _, y in points(left, "o")]
    assert len(set(rows)) == 6
    assert left.yaxis_inverted()


def test_curves_of_abstaining_end_where_everybody_is_kept():
    ones, others = {"home": site(0), "away": site(1)}, {"home": views(0), "away": views(1)}
    figure = figures.abstaining(ones, others, prevalence=0.02, limit=6.0)
    left, right = figure.axes
    line = left.lines[0]
    weights = figures.weights_of(ones["home"], 0.02)
    wanted = selective.lost(ones["home"]["logit"], ones["home"]["label"], shares=[0.5], weights=weights)
    assert np.interp(0.5, *line.get_xydata().T) == pytest.approx(wanted[0])
    kept = [x for x, _ in points(right, "o")]
    assert kept == [pytest.approx((one["distance"] <= 6).mean()) for one in others.values()]
    error = (others["home"]["found"] - others["home"]["truth"]).abs()
    assert right.lines[0].get_ydata()[-1] == pytest.approx(error.mean())


def test_what_is_dismissed_and_what_is_read_make_up_ten_thousand_breasts():
    home, valid = site(0), site(2)
    found = figures.dismissed(valid, valid, 0.5, prevalence=0.02)
    assert found["read"] == pytest.approx(5000, abs=60)
    assert found["cancers"] == pytest.approx(200)
    for share in (0.2, 0.9):
        found = figures.dismissed(home, valid, share, prevalence=0.02)
        weights = figures.weights_of(valid, 0.02)
        order = np.argsort(valid["logit"])
        cut = valid["logit"].iloc[order[np.searchsorted(np.cumsum(weights[order]), share * weights.sum())]]
        own = operating.confusion(home["logit"], home["label"], threshold=cut)
        assert found["lost"] == pytest.approx(200 * (1 - own.sensitivity))
    assert figures.dismissed(home, valid, 0.0, prevalence=0.02)["lost"] == pytest.approx(0, abs=1)
    everybody = figures.dismissed(home, valid, 1.0, prevalence=0.02)
    assert (everybody["read"], everybody["lost"]) == (0, pytest.approx(200))
    figure = figures.workload({"home": home}, valid, 1.0, site="home")
    assert "cancers: 0 still read, 200 dismissed" in words(figure)


def test_a_ring_stands_where_the_curve_crosses_the_reader_alone():
    figure = figures.readers(
        {"seen": 0.7, "unseen": 0.1}, alarms=0.1, sensitivity=0.8, false_alarms=0.1, heeds=0.5
    )
    left, right = figure.axes
    rings = points(left, "o")
    assert len(rings) == 2
    for line, (x, y) in zip((left.lines[0], left.lines[2]), rings, strict=True):
        assert y == 0.8
        assert np.interp(x, *line.get_xydata().T) == pytest.approx(0.8, abs=1e-6)
    assert right.lines[0].get_ydata()[0] == pytest.approx(0.1 + 0.9 * 0.1 * 0.5)
