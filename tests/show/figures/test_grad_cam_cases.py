"""Figures that look inside a network: points, cells and numbers stand where the data says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from mammo_utils.explain.layers import Grid
from mammo_utils.explain.twins import Pair
from mammo_utils.show.figures import grad_cam_cases as figures
from mammo_utils.study.explained_cases import KINDS

SHAPE = (64, 52)


@pytest.fixture
def views():
    kind = ["cancer", "cancer", "benign finding", "normal", "normal"]
    table = pd.DataFrame({"kind": kind, "logit": [2.0, -1.0, 0.5, -2.0, 1.5]})
    return table.assign(called=table["logit"] >= 1)


def test_every_view_stands_at_its_logit_filled_if_it_is_called(views):
    assert tuple(figures.KINDS) == KINDS
    ax = figures.calls(views, 1.0).axes[0]
    points = {}
    for drawn in ax.collections:
        for (x, y), face in zip(drawn.get_offsets(), np.resize(drawn.get_facecolor(), (9, 4)), strict=False):
            points[float(x)] = (round(y), bool(len(drawn.get_facecolor())) and face[3] > 0)
    row = {name: at for at, name in enumerate(KINDS)}
    assert points == {v.logit: (row[v.kind], v.called) for v in views.itertuples()}
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] == [1.0]


def test_cells_stand_at_their_places_and_the_map_is_what_is_positive(pixels, lesion):
    grid = Grid((2, 2), (32.0, 32.0), (1.0, 3.0))
    shares = np.array([[0.5, -0.25], [0.0, -1.0]])
    figure = figures.cells(pixels, lesion, shares, grid)
    middle, right = figure.axes[1:3]
    texts = {(text.get_position()): text.get_text() for text in middle.texts}
    assert texts == {(3, 1): "+0.50", (35, 1): "-0.25", (3, 33): "+0.00", (35, 33): "-1.00"}
    for box, value in zip(middle.patches, shares.flat, strict=True):
        red, _, blue, _ = box.get_facecolor()
        assert np.sign(round(red - blue, 1)) == np.sign(value)
    first = middle.patches[0]
    assert (first.get_x(), first.get_y(), first.get_width()) == (3 - 16, 1 - 16, 32)
    np.testing.assert_allclose(right.images[1].get_array(), grid.enlarge(np.maximum(shares, 0), SHAPE))


def test_dots_are_the_middles_and_rings_those_of_a_stretched_map(pixels):
    grids = {"fine": Grid((8, 7), (8.0, 8.0), (0.0, 0.0)), "coarse": Grid((2, 2), (32.0, 32.0), (0.0, 1.0))}
    figure = figures.places(pixels, grids)
    for ax, (name, grid) in zip(figure.axes, grids.items(), strict=True):
        dots, rings = (np.asarray(drawn.get_offsets()) for drawn in ax.collections[:2])
        assert ax.get_title() == f"{name}: {grid.shape[0]}×{grid.shape[1]} cells"
        assert sorted(set(dots[:, 0])) == [grid.first[1] + grid.stride[1] * k for k in range(grid.shape[1])]
        assert dots[:, 1].max() == grid.first[0] + grid.stride[0] * (grid.shape[0] - 1)
        plain = Grid.stretched(grid.shape, SHAPE)
        assert rings[:, 1].min() == plain.first[0]
        assert len(dots) == len(rings) == np.prod(grid.shape)


def test_every_number_stands_over_its_logit_and_what_is_missing_nowhere(views):
    values = {"height": np.array([5.0, 1, 2, 0, 3]), "spot": np.array([0.1, 0.2, np.nan, 0.4, 0.5])}
    for ax, own in zip(figures.looks(views, values, 1.0).axes, values.values(), strict=True):
        found = np.concatenate([drawn.get_offsets() for drawn in ax.collections])
        expected = np.column_stack([views["logit"], own])
        shown = found[np.isfinite(np.ma.filled(found, np.nan)).all(1)]
        expected = expected[np.isfinite(expected).all(1)]
        np.testing.assert_allclose(shown[np.argsort(shown[:, 0])], expected[np.argsort(expected[:, 0])])


def test_both_maps_of_a_pair_have_one_scale(pixels, lesion):
    pair = Pair(pixels, pixels * ~lesion, lesion, pixels > -1, "L", "CC", ())
    figure = figures.twin(pair, (3 * pixels, pixels), (1.25, -0.5))
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), pixels * lesion)
    assert {ax.images[1].norm.vmax for ax in figure.axes[3:5]} == {3 * pixels.max()}
    assert [ax.get_title() for ax in figure.axes[3:5]] == ["map, logit +1.25", "map, logit -0.50"]


def test_a_line_is_a_woman_and_the_thick_one_their_mean():
    effects = pd.DataFrame({"smooth": [0.0, 1.0], "spiky": [2.0, 5.0]})
    ax = figures.shapes(effects).axes[0]
    lines = [list(line.get_ydata()) for line in ax.lines[:3]]
    assert lines == [[0, 2], [1, 5], [0.5, 3.5]]
    assert to_rgba(ax.lines[2].get_color()) == to_rgba(figures.ORANGE)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["smooth", "spiky"]
