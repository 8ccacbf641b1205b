"""Figures of the recipe, on small tables made up for these tests."""

import itertools

import numpy as np
import pandas as pd
import pytest

from mammo_utils.evaluation.intervals import nested_t
from mammo_utils.show.figures import recipe as figures

PUBLISHED = {"mae": (14.8, 11.8), "spearman": (0.42, 0.51)}


@pytest.fixture(scope="module")
def runs():
    """Six seeds of the four arms with full fine-tuning; multi-view takes a point off, hybrid half of one."""
    rows = []
    for seed, source, loss in itertools.product(
        range(6), ("imagenet", "imagenet+multiview"), ("bce_dice", "hybrid_density")
    ):
        error = 7 - (source != "imagenet") - 0.5 * (loss != "bce_dice") + 0.1 * seed
        rows.append({"seed": seed, "source": source, "loss": loss, "mae": error, "spearman": 1 - error / 10})
    return pd.DataFrame(rows)


def test_lines_join_the_means_of_a_start_over_the_losses(runs):
    figure = figures.crossed(runs, nests=3, published=PUBLISHED)
    error, aside, rank, _ = figure.axes
    heights = [line.get_ydata().tolist() for line in error.lines]
    assert heights == [pytest.approx([7.25, 6.75]), pytest.approx([6.25, 5.75])]
    interval = nested_t(runs.query("source == 'imagenet' and loss == 'bce_dice'")["mae"], np.arange(6) % 3)
    (bar, *_) = error.collections[0].get_segments()
    np.testing.assert_allclose(bar[:, 1], [interval.low, interval.high])
    assert aside.lines[0].get_ydata().tolist() == [14.8, 11.8]
    assert rank.get_ylabel() == "Spearman with the classes"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ImageNet", "multi-view"]


def test_an_arm_looks_as_its_parts_are():
    table = pd.DataFrame(
        {
            "source": ["imagenet", "imagenet+multiview", "imagenet+multiview"],
            "strategy": ["lora", "lora", "full"],
            "loss": ["bce_dice", "hybrid_density", "bce_dice"],
            "minutes": [1.0, 8.0, 9.0],
            "mae": [6.0, 5.0, 5.5],
        }
    )
    (ax,) = figures.cost(table).axes
    points = {tuple(np.ravel(line.get_xydata())): line for line in ax.lines if len(line.get_xdata())}
    assert set(points) == {(1, 6), (8, 5), (9, 5.5)}
    plain, adapted, full = (points[at] for at in ((1, 6), (8, 5), (9, 5.5)))
    assert plain.get_marker() == adapted.get_marker() != full.get_marker()
    assert adapted.get_color() == full.get_color() != plain.get_color()
    assert plain.get_markerfacecolor() == full.get_markerfacecolor() == "white"
    assert adapted.get_markerfacecolor() == adapted.get_color()
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(words) == ["BCE + Dice", "ImageNet", "LoRA", "full", "hybrid", "multi-view"]


def test_claims_are_counted_by_work_and_verdict():
    words = ["supported", "inconclusive", "supported", "not testable here"]
    judged = pd.DataFrame({"work": ["one", "one", "one", "two"], "verdict": words})
    figure = figures.verdicts(judged, {"one": "first: a paper", "two": "second: slides"})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"]
    widths = {bar.get_label(): [one.get_width() for one in bar] for bar in ax.containers}
    assert widths == {
        "supported": [2, 0],
        "not supported": [0, 0],
        "inconclusive": [1, 0],
        "not testable here": [0, 1],
    }
    assert [text.get_text() for text in ax.texts] == ["2", "1", "1"]


def test_steps_show_whose_mask_is_whose():
    rng = np.random.default_rng(0)
    pixels = rng.random((32, 20))
    mask = np.zeros((32, 20), bool)
    mask[4:9, 3:8] = True
    figure = figures.steps({"CC": pixels, "MLO": pixels}, pixels, mask, np.roll(mask, 5, 0), percent=12.4)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["CC", "MLO"]
    assert "12 %" in titles[3]
    lines = [ax.collections for ax in figure.axes]
    assert [len(one) for one in lines] == [0, 0, 1, 1]
    rows = [one[0].get_paths()[0].vertices[:, 1].mean() for one in lines[2:]]
    assert rows[1] - rows[0] == pytest.approx(5, abs=0.1)
