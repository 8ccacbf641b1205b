"""The figures of the study draw its numbers, from full tables and from those that are still filling up."""

import numpy as np
import pandas as pd
import pytest

from mammo_utils.evaluation import seeds
from mammo_utils.show.figures import architecture_results as figures
from mammo_utils.show.figures import errors

CNN, TRANSFORMER = "unet/mobilenetv2_050", "segformer/small"


@pytest.fixture
def runs():
    """Made-up rows: two networks with four seeds, a third one with a single run."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "model": model,
            "labels": labels,
            "seed": seed,
            "dice": 0.5 + 0.02 * np.log2(labels) - 0.03 * (model == TRANSFORMER) + rng.normal(0, 0.01),
            "mae": 8 + rng.normal(0, 0.5),
            "mae_true_breast": 7 + rng.normal(0, 0.5),
            "train_seconds": 60.0 + seed,
            "memory_mib": 1400.0,
        }
        for model in (CNN, TRANSFORMER)
        for labels in (8, 256)
        for seed in range(4)
    ]
    alone = rows[4] | {"model": "dpt/test_vit", "dice": 0.4}
    return pd.DataFrame([*rows, alone])


def points(ax, *, axis=0):
    """Coordinates of the single markers of a panel."""
    data = [line.get_xydata() for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    return [float(xy[0, axis]) for xy in data]


def test_the_ranking_draws_means_and_controls(runs):
    few = runs[runs["labels"] == 256]
    figure = figures.ranking(few, {"intensity threshold": 0.45, "reader B": 0.66})
    left, right = figure.axes
    wanted = seeds.means(few, "dice", ["model"])["estimate"]
    assert points(left) == pytest.approx([wanted[CNN], wanted[TRANSFORMER], 0.4])
    errors = [seeds.means(few, value, ["model"])["estimate"] for value in ("mae", "mae_true_breast")]
    order = [CNN, TRANSFORMER, "dpt/test_vit"]
    assert points(right) == pytest.approx([error[name] for error in errors for name in order])
    words = [text.get_text().strip() for text in left.texts]
    assert words == ["intensity threshold 0.45", "reader B 0.66"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["U-Net", "SegFormer", "DPT (ViT)"]


def test_cost_panels_share_the_dice(runs):
    few = runs[runs["labels"] == 256]
    costs = pd.DataFrame(
        {"parameters": [7e5, 5e5, 6e5], "flops": [5e8, 1e8, 2e8]}, index=[CNN, TRANSFORMER, "dpt/test_vit"]
    )
    figure = figures.accuracy_against_cost(few, costs)
    assert [points(ax)[0] for ax in figure.axes] == pytest.approx([0.7, 500, 60, 1400])
    assert len({tuple(points(ax, axis=1)) for ax in figure.axes}) == 1


def test_label_efficiency_draws_the_paired_difference_and_the_slopes(runs):
    figure = figures.label_efficiency(runs, CNN, TRANSFORMER)
    _, middle, right = figure.axes
    wide = runs.pivot(index=["labels", "seed"], columns="model", values="dice")
    difference = (wide[TRANSFORMER] - wide[CNN]).groupby("labels").mean()
    drawn = [line for line in middle.lines if line.get_marker() == "o"][0].get_ydata()
    assert list(drawn) == pytest.approx(list(difference))
    slopes = [(wide.loc[256, name] - wide.loc[8, name]).mean() / 5 for name in (CNN, TRANSFORMER)]
    assert points(right, axis=1) == pytest.approx([*slopes, slopes[1] - slopes[0]])
    assert [text.get_text() for text in middle.texts] == ["4 seeds", "4 seeds"]


def test_classes_that_no_woman_has_are_left_out():
    rows = [
        {"arm": CNN, "group": f"P{n // 2}", "density": "ABC"[n // 4], "truth": 20.0, "predicted": 21.0 + n}
        for n in range(12)
    ]
    figure = figures.by_density(pd.DataFrame(rows).assign(dice=0.5))
    assert points(figure.axes[1]) == [0, 1, 2]
    assert points(figure.axes[1], axis=1) == pytest.approx([2.5, 6.5, 10.5])


def test_overlays_tell_found_missed_and_invented_apart():
    truth, found = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    shown = errors(np.full((1, 4), 0.5), truth, found)
    white, blue, orange, grey = shown[0]
    assert white.min() > 0.9
    assert blue.argmax() == 2
    assert orange.argmin() == 2
    assert grey.tolist() == [grey[0]] * 3
    assert grey[0] < 0.5


def test_failures_stand_in_rows_of_any_length():
    pixels, mask = np.zeros((8, 6)), np.zeros((8, 6), bool)
    cases = [[("one", pixels, mask, None), ("two", pixels, mask, mask)], [("three", pixels, mask, mask)]]
    figure = figures.failures(cases)
    assert [ax.get_title() for ax in figure.axes if ax.images] == ["one", "two", "three"]


def test_a_bar_is_an_interval_of_many_seeds_and_the_range_of_few():
    table = pd.DataFrame({"model": ["few"] * 3 + ["many"] * 6, "seed": [0, 1, 2, *range(6)]})
    table["dice"] = [0.5, 0.7, 0.6, *np.linspace(0.5, 0.6, 6)]
    found = figures.bars(table, "dice", ["model"])
    assert found.loc["few", ["low", "high"]].tolist() == [0.5, 0.7]
    half = 2.5706 * np.linspace(0.5, 0.6, 6).std(ddof=1) / np.sqrt(6)
    assert found.loc["many", ["low", "high"]].tolist() == pytest.approx([0.55 - half, 0.55 + half], abs=1e-5)
    assert found.loc["few", "width"] < found.loc["many", "width"]
