"""Figures of notebook 04 about women with several views."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from mammo_utils.show.figures import BLUE, RED
from mammo_utils.show.figures import multiview as figures
from mammo_utils.training.history import History


def filled(axes, colour) -> int:
    return sum(patch.get_facecolor() == to_rgba(colour) for patch in axes.patches)


def test_relations_are_drawn_cell_by_cell():
    matrix = np.array([[0, 1, -1, -1], [1, 0, -1, -1], [-1, -1, 0, 1], [-1, -1, 1, 0]])
    axes = figures.relations(np.zeros((4, 8, 6)), {"one": matrix}, views=2).axes[0]
    assert filled(axes, BLUE) == 4
    assert filled(axes, figures.RELATIONS[-1][1]) == 8
    assert filled(axes, figures.RELATIONS[0][1]) == 0  # an image itself is white, not left alone


def test_apart_marks_the_mean_of_each_kind():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (6, 6))
    pairs = {name: rng.random((6, 6)) < 0.5 for name in ("one", "two", "three")}
    axes = figures.apart({"none": cosines, "simclr": cosines / 2}, pairs).axes
    for ax, values in zip(axes, (cosines, cosines / 2), strict=True):
        dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        assert dots == pytest.approx([values[own].mean() for own in pairs.values()])


def test_falling_counts_images_and_marks_the_blind_network():
    history = History([{"images": 64, "loss": 4.0}, {"images": 64, "loss": 2.0}])
    left, right = figures.falling({"simclr": history, "barlow_twins": history}, {"simclr": 4.1}).axes
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[64, 4], [128, 2]])
    assert left.lines[1].get_ydata()[0] == 4.1
    assert len(right.lines) == 1


def test_neighbours_are_measured_from_the_random_weights():
    table = pd.DataFrame({"found": [0.2, 16.0, 0.5], "chance": [0.01, 25.0, 0.4]})
    table.index = ["other breast", "density", "vendor"]
    axes = figures.neighbours({"none": table, "multiview": table.assign(found=[0.4, 12.0, 0.6])}).axes
    points = [ax.collections[-1].get_offsets()[:, 0].tolist() for ax in axes]
    np.testing.assert_allclose(points, [[20, 40], [16, 12], [50, 60]])
    assert [ax.lines[0].get_xdata()[0] for ax in axes] == pytest.approx([1, 25, 40])
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["random weights", "multi-view"]


def test_pool_images_of_labelled_women_are_red():
    images = pd.DataFrame({"image_id": list("abcdefgh"), "group": ["s"] * 4 + ["t"] * 4})
    images = images.assign(laterality=list("LLRR") * 2, view=["CC", "MLO"] * 4)
    kept = {"all": set("abcdefgh"), "images": set("bcdefgh"), "women": set("efgh")}
    figure = figures.pools(images, kept, {"a"})
    assert [filled(ax, RED) for ax in figure.axes] == [4, 3, 0]
    assert all(sum(patch.get_linewidth() > 2 for patch in ax.patches) == 1 for ax in figure.axes)
