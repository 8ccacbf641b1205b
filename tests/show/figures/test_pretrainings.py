"""Figures of pretraining, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from mammo_utils.show.figures import pretrainings as figures
from mammo_utils.synth.breast import LIKENESS


@pytest.fixture
def encoders():
    """Two seeds of a method from nothing, of fractals and of the method from fractals."""
    rows = [
        {"method": method, "start": start, "seed": seed, "density_r2": 0.1 * seed + 0.2, "vendor": 0.6}
        | {"identity": 0.3, "budget": budget}
        for method, start, budget in (
            ("multiview", "fractal", 120_000),
            ("multiview", "none", 60_000),
            ("fractal", "none", 60_000),
        )
        for seed in (1, 0)
    ]
    return figures.sourced(pd.DataFrame(rows))


def test_a_start_makes_another_source(encoders):
    assert encoders["source"].unique().tolist() == ["fractal+multiview", "multiview", "fractal"]


def test_trials_ring_the_highest_of_each_method():
    table = pd.DataFrame(
        {
            "source": ["simclr", "simclr", "masked", "masked"],
            "lr": [1e-3, 4e-3, 1e-3, 4e-3],
            "dice": [0.5, 0.6, 0.7, 0.4],
        }
    )
    ax = figures.trials(table, value="dice").axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SimCLR", "masked images"]
    rings = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_markersize() == 13]
    assert rings == [[0.6, 0], [0.7, 1]]
    marks = {line.get_marker(): line.get_label() for line in ax.lines if line.get_label()[0] != "_"}
    assert marks == {"o": "learning rate 0.001", "s": "learning rate 0.004"}
    fast = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "s"]
    assert fast == [[[0.6, 0]], [[0.4, 1]], []]  # the last is the legend's


def test_what_all_trials_have_to_beat_is_a_line_and_no_trial():
    table = pd.DataFrame({"source": ["none", "simclr"], "lr": [np.nan, 1e-3], "dice": [0.45, 0.5]})
    ax = figures.trials(table, value="dice").axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SimCLR"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "learning rate 0.001",
        "random weights",
    ]
    (line,) = [line for line in ax.lines if line.get_label() == "random weights"]
    assert list(line.get_xdata()) == [0.45, 0.45]


def test_probes_show_every_pretraining_its_mean_and_chance(encoders):
    density, vendor, _ = figures.probes(encoders, {"vendor": 0.5}).axes
    names = [label.get_text() for label in density.get_yticklabels()]
    assert names == ["fractals", "multi-view", "fractals → multi-view"]
    assert [sorted(line.get_xdata()) for line in density.lines] == [pytest.approx([0.2, 0.3])] * 3
    means = [lines.get_segments()[0][0, 0] for lines in density.collections]
    assert means == pytest.approx([0.25] * 3)
    assert list(vendor.lines[-1].get_xdata()) == [0.5, 0.5]


def test_a_probe_worse_than_the_mean_stays_on_the_panel(encoders):
    density = figures.probes(encoders.assign(density_r2=-0.5), {}).axes[0]
    assert density.get_xlim()[0] < -0.5


def test_likeness_joins_the_means_of_each_arm():
    rows = [
        {"method": "simclr", "likeness": 0.0, "vendors": np.nan, "positives": np.nan, "dice": value}
        for value in (0.4, 0.6)
    ]
    rows += [
        {"method": "multiview", "likeness": np.nan, "positives": "woman", "vendors": "view", "dice": 0.7}
    ]
    rows += [{"method": "multiview", "likeness": at, "positives": "breast", "dice": at} for at in (1.0, 0.0)]
    table = figures.swept(pd.DataFrame(rows))
    figure = figures.likeness(table, {"dice": "Dice"})
    lines = {line.get_label(): line for line in figure.axes[0].lines if line.get_label()[0] != "_"}
    assert {name: line.get_xydata().tolist() for name, line in lines.items()} == {
        "SimCLR": [[0, 0.5]],
        "multi-view, styles by view": [[LIKENESS, 0.7]],
        "multi-view, one breast": [[0, 0], [1, 1]],
    }
    assert not figure.axes[1].get_visible()


def test_minutes_follow_from_the_median_speed_and_include_the_start(encoders):
    runs = pd.DataFrame(
        {
            "source": ["fractal+multiview", "none", "none", "imagenet"],
            "train_seconds": [60.0, 120.0, 180.0, 60.0],
            "dice": [0.7, 0.5, 0.6, 0.6],
        }
    )
    speeds = {"method": ["multiview", "fractal"] * 3, "images_per_second": [90, 150, 100, 200, 900, 999]}
    untrained = pd.DataFrame({"source": ["none"], "method": ["none"], "budget": [np.nan]})
    found = figures.spent(runs, pd.concat([encoders, untrained]), pd.DataFrame(speeds))
    assert found.index.tolist() == ["none", "imagenet", "fractal+multiview"]
    assert found.loc["fractal+multiview"].tolist() == pytest.approx([5, 20, 1, 0.7])
    assert found.loc["none"].tolist() == pytest.approx([0, 0, 2, 0.55])
    assert found.loc["imagenet"].tolist() == pytest.approx([0, 0, 1, 0.6])
    left, right = figures.cost(found).axes
    bars = [patch for patch in left.patches if isinstance(patch, Rectangle)]
    ends = [bar.get_x() + bar.get_width() for bar in bars[-3:]]
    assert ends == pytest.approx([2, 1, 26])
    assert [line.get_xydata()[0].tolist() for line in right.lines] == [
        pytest.approx(point) for point in ([2, 0.55], [1, 0.6], [26, 0.7])
    ]
