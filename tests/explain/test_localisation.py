"""Scores of maps against hand counts, what chance and the grid of a layer allow, intervals by woman."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from mammo_utils.evaluation import intervals
from mammo_utils.explain import localisation as scores
from mammo_utils.explain.layers import Grid

SHAPE = (32, 26)


@pytest.fixture
def lesion():
    mask = np.zeros((2, *SHAPE), bool)
    mask[0, 10:14, 6:11] = True
    mask[1, 2:20, 3:5] = True
    return mask


@pytest.fixture
def breast():
    rows, columns = np.indices(SHAPE)
    inside = ((rows - 15) / 14) ** 2 + (columns / 22) ** 2 < 1
    return np.stack([inside, inside])


def test_perfect_and_worst_maps(lesion):
    for name, score in scores.SCORES.items():
        np.testing.assert_allclose(score(lesion.astype(float), lesion), 1, err_msg=name)
        np.testing.assert_allclose(score((~lesion).astype(float), lesion), 0, err_msg=name)


@pytest.mark.parametrize("flat", [0.0, 3.0])
def test_a_map_that_is_the_same_everywhere_scores_as_its_area(lesion, flat):
    area = lesion.mean((1, 2))
    for score in (scores.pointing, scores.energy):
        np.testing.assert_allclose(score(np.full(lesion.shape, flat), lesion), area)
    # everything is above any share of the maximum
    np.testing.assert_allclose(scores.iou(np.full(lesion.shape, flat), lesion), area)


def test_iou_by_counting(lesion):
    heat = np.zeros(lesion.shape)
    heat[0, 10:14, 6:16] = 0.45  # twice the lesion
    heat[0, 10:12, 6:11] = 1.0  # half of it
    heat[1] = lesion[1]
    found = scores.iou_curve(heat, lesion, levels=[0.2, 0.4, 0.5, 0.9])
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1]])
    found = scores.iou(heat[:1] + 0.3 * (heat[:1] == 0), lesion[:1], levels=[0.2, 0.4])
    assert found == pytest.approx((20 / (32 * 26) + 0.5) / 2)


def test_likeness_is_spearmans(breast):
    rng = np.random.default_rng(0)
    a = rng.random((2, *SHAPE))
    b = a + rng.random((2, *SHAPE)).round(1)  # ties
    found = scores.likeness(a, b, breast)
    expected = [spearmanr(x[m], y[m]).statistic for x, y, m in zip(a, b, breast, strict=True)]
    np.testing.assert_allclose(found, expected)
    assert not scores.likeness(a, np.ones_like(a), breast).any()


def test_random_points_hit_as_often_as_the_lesion_is_large(lesion, breast):
    """On a grid of single pixels the hit rate of a random map is the lesion's share of the breast."""
    grid = Grid.stretched(SHAPE, SHAPE)
    inside = lesion & breast
    hits = np.mean([scores.pointing(m, inside) for m in scores.random(grid, breast, draws=2000)], axis=0)
    expected = inside.sum((1, 2)) / breast.sum((1, 2))
    np.testing.assert_allclose(hits, expected, atol=4 * np.sqrt(expected / 2000).max())
    energy = scores.chance(scores.energy, grid, breast, inside)
    np.testing.assert_allclose(energy, expected, rtol=0.1)
    assert not scores.random(grid, breast)[0][~breast].any()


def test_the_centre_prior_points_to_the_middle_and_spreads_as_the_breast(breast):
    heat = scores.centre(breast)
    points = np.argwhere(breast[0])
    top = np.unravel_index(heat[0].argmax(), SHAPE)
    np.testing.assert_allclose(top, points.mean(0), atol=0.5)
    mean, spread = points.mean(0), np.cov(points.T)
    away = np.array([20.0, 9.0]) - mean
    ratio = np.exp(-0.5 * away @ np.linalg.solve(spread, away))
    assert heat[0, 20, 9] == pytest.approx(ratio, rel=1e-4)
    assert not heat[~breast].any()


def test_edges_show_what_is_drawn_and_not_the_border_of_the_breast(breast):
    images = breast.astype(np.float32) * 0.4
    images[:, 12:18, 8:14] = 0.9
    heat = scores.edges(images, breast)
    assert heat[0, 12, 10] > 0.1
    assert heat[0, 15, 11] == 0
    assert heat[0, 20:].max() == 0


def test_a_coarse_grid_cannot_point_to_a_small_lesion_that_no_middle_of_a_cell_meets():
    """Cells of 16 pixels with their middles at 0, 16 and 32: a lesion round (8, 8) is out of reach."""
    coarse, fine = Grid((3, 2), (16, 16), (0, 0)), Grid((16, 13), (2, 2), (0, 0))
    masks = np.zeros((2, *SHAPE), bool)
    masks[0, 6:10, 6:10] = True
    masks[1, 14:19, 0:3] = True
    breast, images = np.ones((2, *SHAPE), bool), np.zeros((2, *SHAPE))
    ceiling = [
        scores.pointing(scores.references(grid, images, breast, masks)["lesion"], masks)
        for grid in (coarse, fine)
    ]
    np.testing.assert_array_equal(ceiling, [[0, 1], [1, 1]])


def test_grids_spread_and_gather_with_the_same_weights():
    grid = Grid((4, 3), (8, 8), (0, 0))
    rng = np.random.default_rng(1)
    cells, pixels = rng.random((4, 3)), rng.random(SHAPE)
    large = grid.enlarge(cells, SHAPE)
    np.testing.assert_allclose(large[::8, ::8][:4, :3], cells, rtol=1e-6)  # a cell's own value in its middle
    np.testing.assert_allclose(large[4, 4], cells[:2, :2].mean(), rtol=1e-6)
    np.testing.assert_allclose(large[24:], large[24:25].repeat(8, 0))  # goes on as it ends
    share = grid.enlarge(np.eye(12).reshape(12, 4, 3), SHAPE).reshape(12, -1).astype(float)
    np.testing.assert_allclose(share.sum(0), 1, rtol=1e-6)
    expected = (share @ pixels.ravel() / share.sum(1)).reshape(4, 3)
    np.testing.assert_allclose(grid.reduce(pixels), expected, rtol=1e-5)
    np.testing.assert_allclose(grid.passed(pixels), grid.enlarge(expected, SHAPE), rtol=1e-5)
    np.testing.assert_allclose(grid.passed(np.ones(SHAPE)), 1, rtol=1e-6)
    beyond = Grid((5, 3), (8, 8), (8, 0))  # the last cells lie in the padding of the image
    assert np.isfinite(beyond.reduce(pixels)).all()


def test_summary_resamples_women_and_pairs_with_every_rival():
    rng = np.random.default_rng(2)
    woman = np.repeat(np.arange(15), 2)
    value = rng.random(30)
    rivals = {"chance": 0.2 * rng.random(30), "centre": rng.random(30), "edges": rng.random(30)}
    table = pd.DataFrame({"woman": woman, "value": value, "ceiling": 0.9} | rivals)
    table = table.assign(method="gradcam", layer="stage4", score="energy")
    small = np.arange(30) < 12
    by = ["method", "layer", "score"]
    found = scores.summary(table, by, kinds={"small": small, "one woman": woman == 3}, n=200)
    assert list(found["lesion"]) == ["all", "small", "one woman"]
    assert list(found["women"]) == [15, 6, 1]
    assert list(found["images"]) == [30, 12, 2]
    for row, chosen in zip(found.itertuples(), (slice(None), small), strict=False):
        groups = woman[chosen]
        own = intervals.bootstrap(np.mean, value[chosen], groups=groups, n=200)
        np.testing.assert_allclose((row.estimate, row.low, row.high), own)
        for name, rival in rivals.items():
            pair = intervals.paired(np.mean, rival[chosen], value[chosen], groups=groups, n=200)
            over = [getattr(row, f"over_{name}{end}") for end in ("", "_low", "_high")]
            np.testing.assert_allclose(over, pair, atol=1e-12)
        assert row.chance == pytest.approx(rivals["chance"][chosen].mean())
        assert row.ceiling == pytest.approx(0.9)
    last = found.iloc[2]
    assert last["estimate"] == pytest.approx(value[6:8].mean())
    assert np.isnan([last["low"], last["over_edges_high"]]).all()


@pytest.mark.parametrize(
    ("maps", "masks", "words"),
    [
        (np.ones((1, 4, 4)), np.zeros((1, 4, 4), bool), "a mask is empty"),
        (np.ones((1, 4, 4)), np.ones((1, 4, 4)), "must both be"),
        (np.ones((1, 4, 4)), np.ones((4, 4), bool), "must both be"),
        (-np.ones((1, 4, 4)), np.ones((1, 4, 4), bool), "negative"),
        (np.full((1, 4, 4), np.nan), np.ones((1, 4, 4), bool), "not a number"),
    ],
)
def test_what_cannot_be_scored(maps, masks, words):
    for score in scores.SCORES.values():
        with pytest.raises(ValueError, match=words):
            score(maps, masks)
