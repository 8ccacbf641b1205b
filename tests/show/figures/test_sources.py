"""Figures of fine-tuning from several sources, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from mammo_utils.evaluation import seeds
from mammo_utils.evaluation.intervals import paired_t
from mammo_utils.show.figures import sources as figures

SMALL, LARGE = "small", "large"
ARMS = {SMALL: ("none", "multiview", "fractal+multiview"), LARGE: ("imagenet", "none", "imagenet+simclr")}


@pytest.fixture
def runs():
    """Three sources of two models with two numbers of labels; six seeds, two of one source."""
    rng = np.random.default_rng(0)
    rows = [
        {"source": source, "model": model, "labels": labels, "seed": seed, "dice": rng.uniform(0.5, 0.7)}
        for model, arms in ARMS.items()
        for source in arms
        for labels in (8, 64)
        for seed in range(2 if source == "fractal+multiview" else 6)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def drawn(ax) -> dict:
    """The heights of each named line."""
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines if line.get_label()[0] != "_"}


def test_a_source_is_told_by_where_it_learnt_last_and_where_it_started():
    simple, second = figures.look("multiview"), figures.look("fractal+multiview")
    assert simple["color"] == second["color"] == figures.COLOURS["multiview"]
    assert simple["marker"] != second["marker"] == figures.look("fractal")["marker"]
    assert second["mfc"] == "white"
    assert "mfc" not in simple
    looks = [
        tuple(figures.look(name).items())
        for name in (*figures.NAMES, "fractal+multiview", "imagenet+multiview", "imagenet+simclr")
    ]
    assert len(set(looks)) == len(looks)


def test_gains_are_of_the_same_model_labels_and_seed(runs):
    own = runs[runs["model"] == SMALL]
    found = figures.gains(own, "dice", against="none")
    assert set(found["source"]) == {"multiview", "fractal+multiview"}
    for row in found.itertuples():
        base = own[(own["source"] == "none") & (own["labels"] == row.labels) & (own["seed"] == row.seed)]
        assert row.gain == pytest.approx(row.dice - base["dice"].item())
    # a model that never ran from there has no gain over it
    assert figures.gains(runs, "dice", against="imagenet")["model"].unique().tolist() == [LARGE]
    behind = own[~((own["source"] == "none") & (own["seed"] == 3))]
    assert 3 not in set(figures.gains(behind, "dice", against="none")["seed"])


def test_gains_on_film_are_of_the_same_split():
    table = pd.DataFrame(
        {
            "source": ["none", "none", "simclr", "simclr"],
            "films": [5, 10, 10, 5],
            "seed": 0,
            "dice": [0.4, 0.5, 0.7, 0.5],
        }
    )
    assert figures.gains(table, "dice", against="none")["gain"].tolist() == pytest.approx([0.2, 0.1])


def test_label_efficiency_draws_means_and_paired_gains(runs):
    figure = figures.label_efficiency(
        runs, against={SMALL: "none", LARGE: "imagenet"}, delta=0.02, pretrainings=3
    )
    left, right, low_left, low_right = figure.axes
    means = runs.groupby(["model", "source", "labels"])["dice"].mean()
    for ax, model in ((left, SMALL), (low_left, LARGE)):
        wanted = {figures.called(name): pytest.approx(list(means[model, name])) for name in ARMS[model]}
        assert drawn(ax) == wanted
    pairs = seeds.contrasts(
        runs[runs["model"] == LARGE],
        "dice",
        arm="source",
        first="imagenet",
        second="imagenet+simclr",
        by="labels",
    )
    assert drawn(low_right)["ImageNet → SimCLR"] == pytest.approx(list(pairs["estimate"]))
    assert "ImageNet" not in drawn(low_right)
    assert "Dice minus that of random weights" in words(figure)
    band = right.patches[0].get_extents().transformed(right.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((-0.02, 0.02))


def test_rates_ring_the_highest_of_each_source():
    rows = [
        ("none", 1e-3, 0.5),
        ("none", 1e-1, 0.7),
        ("none", 1e-2, 0.5),
        ("none", 1e-2, 0.7),
        ("simclr", 1e-3, 0.65),
        ("simclr", 1e-2, 0.6),
    ]
    table = pd.DataFrame(rows, columns=["source", "lr", "dice"]).assign(model=SMALL)
    ax = figures.rates(table, value="dice").axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines if line.get_label()[0] != "_"}
    assert lines["random weights"] == [[1e-3, 0.5], [1e-2, 0.6], [1e-1, 0.7]]
    rings = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_markersize() == 12]
    assert rings == [[1e-1, 0.7], [1e-3, 0.65]]
    assert ax.get_xscale() == "log"


def test_few_seeds_show_their_range_and_many_an_interval(runs):
    own = runs[runs["model"] == SMALL]
    left = figures.label_efficiency(own, against={SMALL: "none"}, delta=0.02, pretrainings=3).axes[0]
    spans = {
        (to_rgba(lines.get_color()[0]), lines.get_linewidth()[0]): lines.get_segments()[0][:, 1]
        for lines in left.collections
    }
    few = own[(own["source"] == "fractal+multiview") & (own["labels"] == 8)]["dice"]
    many = seeds.means(own[own["source"] == "none"], "dice", ["labels"], nests=3).loc[8]
    colours = [to_rgba(figures.look(name)["color"]) for name in ("fractal+multiview", "none")]
    assert spans[colours[0], 0.8] == pytest.approx([few.min(), few.max()])
    assert spans[colours[1], 2.2] == pytest.approx([many["low"], many["high"]])


def test_two_rates_of_one_arm_are_refused(runs):
    again = runs[runs["model"] == SMALL][:1]
    with pytest.raises(ValueError, match="several runs"):
        figures.label_efficiency(
            pd.concat([runs, again]), against={SMALL: "none"}, delta=0.02, pretrainings=3
        )


def test_the_forest_shows_each_pair_by_its_pretraining():
    differences = pd.Series([0.01, 0.02, 0.03, 0.06], index=[0, 1, 2, 3])
    interval = paired_t(differences)
    groups = {"first": {"16 labels": (differences, interval, "supported")}}
    groups["second"] = {"64 labels": (differences - 0.1, paired_t(differences - 0.1), "not supported")}
    figure = figures.forest(groups, delta=0.02, pretrainings=3)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["16 labels", "64 labels"]
    places = dict(zip(("first", "second"), ax.get_yticks(), strict=True))
    text = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert text["supported"] == places["first"] > text["first"]
    assert text["not supported"] == places["second"] > text["second"] > places["first"]
    points = [line for line in ax.lines if line.get_color() == figures.BLUE and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in points[:3]] == [[0.01, 0.06], [0.02], [0.03]]
    assert len({line.get_marker() for line in points[:3]}) == 3
    spans = [segment for lines in ax.collections for segment in lines.get_segments()]
    assert spans[0][:, 0] == pytest.approx([interval.low, interval.high])
    assert spans[1][:, 0] == pytest.approx([interval.low - 0.1, interval.high - 0.1])


def test_film_has_the_same_rows_on_both_sides():
    rows = [
        {"source": source, "model": SMALL, "films": films, "seed": seed, "dice": 0.1 * seed + gain}
        for source, gain in {"multiview": 0.05, "none": 0.0}.items()
        for films in (5, 10)
        for seed in range(3)
    ]
    figure = figures.film(pd.DataFrame(rows))
    left, right = figure.axes[:2]
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["random weights", "multi-view"]
    gain = [line for line in right.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in gain] == [[1, 1, 1]]
    assert gain[0].get_xdata() == pytest.approx([0.05] * 3)
    assert "10 films learnt from" in words(figure)
