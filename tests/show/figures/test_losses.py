"""Predictions with a known error, what the losses say of them, and the figures drawn of both."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from mammo_utils.evaluation import calibration, segmentation
from mammo_utils.show.figures import losses as figures
from mammo_utils.show.figures import losses_cases as cases
from mammo_utils.synth.breast import exam
from mammo_utils.training import losses


def texts(figure) -> str:
    """All that is written on a figure."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


@pytest.fixture(scope="module")
def view():
    return exam(21_004, size=64, lesions=())[1]


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:41, :41] - 20
    return np.hypot(x, y) <= radius


def test_distance_to_the_border_of_a_disc_is_its_radius_less_that_of_the_pixel():
    y, x = np.mgrid[:41, :41] - 20
    np.testing.assert_allclose(cases.border(disc(10)), 10 - np.hypot(x, y), atol=1.01)


@pytest.mark.parametrize("percent", [0, 5, 30, 100])
def test_resized_takes_the_wanted_part_of_the_breast_and_keeps_its_place(view, percent):
    found = cases.resized(view.dense_mask, view.breast_mask, percent)
    half_a_pixel = 50 / view.breast_mask.sum()
    assert segmentation.percent_density(found, view.breast_mask) == pytest.approx(percent, abs=half_a_pixel)
    assert not (found & ~view.breast_mask).any()
    own = segmentation.percent_density(view.dense_mask, view.breast_mask)
    smaller, larger = (found, view.dense_mask) if percent < own else (view.dense_mask, found)
    assert not (smaller & ~larger & view.breast_mask).any()


def test_a_guess_without_an_error_calls_the_target():
    target, breast = disc(10), disc(19)
    np.testing.assert_array_equal(cases.guess(target, breast) >= 0.5, target)


def test_a_guess_is_moved_and_grown_by_as_much_as_asked():
    target, breast = disc(8), np.ones((41, 41), bool)
    moved = cases.guess(target, breast, shift=5) >= 0.5
    np.testing.assert_array_equal(moved, np.roll(target, 5, axis=1))
    for radius, by in ((8, 3), (14, -3)):
        changed = cases.guess(disc(radius), breast, grow=by) >= 0.5
        assert segmentation.dice(changed, disc(11)) > 0.95
    sure, unsure = (cases.guess(target, breast, blur=blur) for blur in (0.5, 4))
    assert np.abs(sure - 0.5).mean() > np.abs(unsure - 0.5).mean() + 0.05
    assert (cases.guess(target, disc(19), grow=30)[~disc(19)] < 0.001).all()


def test_values_are_those_of_the_losses(view):
    probability = cases.guess(view.dense_mask, view.breast_mask, grow=2)
    found = cases.values(probability, view.dense_mask, view.breast_mask, lam=4)
    p, t = probability.clip(1e-7, 1 - 1e-7).astype(float), view.dense_mask
    bce = -np.where(t, np.log(p), np.log(1 - p)).mean()
    dice = 1 - (2 * p[t].sum() + 1) / (p.sum() + t.sum() + 1)
    inside = view.breast_mask
    amount = abs((p * inside).sum() - (t & inside).sum()) / inside.sum()
    assert found["bce"] == pytest.approx(bce, rel=1e-4)
    assert found["dice"] == pytest.approx(dice, rel=1e-4)
    assert found["bce_dice"] == pytest.approx(bce + dice, rel=1e-4)
    assert found["hybrid_density"] == pytest.approx(bce + dice + 4 * amount, rel=1e-4)


def test_three_masks_of_one_dice_have_different_amounts():
    view = exam(21_004, size=128, lesions=())[1]  # fine enough for a shift of about a pixel
    found = cases.equal_dice(view, 0.8)
    dice = {name: segmentation.dice(mask, view.dense_mask) for name, mask in found.items()}
    assert dice == pytest.approx(dict.fromkeys(found, 0.8), abs=0.015)
    area = view.dense_mask.sum()
    # By hand: a part of it shares 2s / (1 + s) with the whole, one that holds it all 2 / (1 + s).
    assert found["too small"].sum() / area == pytest.approx(2 / 3, abs=0.03)
    assert found["too large"].sum() / area == pytest.approx(1.5, abs=0.03)
    assert found["shifted"].sum() == pytest.approx(area, abs=1)


def test_landscape_is_lowest_without_an_error_but_for_tversky(view):
    grids = cases.landscape(view, reach=4, steps=5)
    for name, grid in grids.items():
        growth, shift = np.unravel_index(grid.argmin(), grid.shape)
        assert shift == 2, name
        assert (growth > 2) if name == "tversky" else (growth == 2), name
    # Rows are growth: shrinking costs Dice more than growing, and both are other places than shifting.
    assert grids["dice"][0, 2] > grids["dice"][4, 2] > grids["dice"][2, 2]
    assert grids["dice"][2, 4] != grids["dice"][4, 2]


def test_to_be_sure_and_wrong_costs_cross_entropy_more_and_dice_less(view):
    target, breast = view.dense_mask, view.breast_mask
    right, wrong = cases.surer(target, breast), cases.surer(target, breast, shift=4)
    assert right.index.is_monotonic_increasing
    assert (right.iloc[-1] < right.iloc[0]).all()
    assert wrong["bce"].iloc[-1] > 2 * wrong["bce"].min()
    assert wrong["dice"].iloc[-1] < wrong["dice"].iloc[0]
    one_pixel = cases.guess(disc(10), disc(19), blur=1 / 0.2)[20, 29]
    assert cases.surer(disc(10), disc(19)).index[0] == pytest.approx(one_pixel, abs=0.05)
    drawn = figures.confidence({"right": right, "wrong": wrong}).axes[1].lines[0]
    np.testing.assert_allclose(drawn.get_ydata(), wrong["bce"])


def test_pushes_are_minus_the_slope_of_the_loss(view):
    target, breast = view.dense_mask, view.breast_mask
    probability = cases.guess(target, breast, grow=2, shift=2, blur=2)
    found = cases.pushes(probability, target, breast)
    # Cross-entropy in closed form; the others by a step at two pixels.
    clipped = probability.clip(1e-7, 1 - 1e-7)
    np.testing.assert_allclose(found["bce"], (target - clipped) / target.size, atol=1e-7)
    logit = torch.logit(torch.tensor(probability)[None, None].double(), eps=1e-7)
    masks = [torch.tensor(mask)[None, None].double() for mask in (target, breast)]
    for name in cases.NAMES:
        for place in (np.argwhere(target & (probability < 0.7))[0], np.argwhere(~target & breast)[0]):
            ends = []
            for step in (-1e-3, 1e-3):
                moved = logit.clone()
                moved[0, 0, place[0], place[1]] += step
                ends.append(losses.LOSSES[name](moved, masks[0], breast=masks[1]).item())
            assert found[name][tuple(place)] == pytest.approx(-(ends[1] - ends[0]) / 2e-3, rel=1e-3, abs=1e-9)


def test_titles_say_what_the_pictures_show(view):
    called = cases.equal_dice(view, 0.8)
    written = texts(figures.cases(view, called))
    own = segmentation.percent_density(view.dense_mask, view.breast_mask)
    for name, mask in called.items():
        error = segmentation.percent_density(mask, view.breast_mask) - own
        assert (
            f"{name} Dice {segmentation.dice(mask, view.dense_mask):.2f}, density {error:+.1f}".replace(
                "-", "−"
            )
            in written
        )


def test_playground_follows_its_controls(view):
    written = texts(figures.playground(view, 0.5, 30.0, 0.0))
    assert "mask: 30." in written or "mask: 29." in written
    higher, lower = (figures.playground(view, cut, 30.0, 0.0).axes[2].lines[1] for cut in (0.3, 0.7))
    assert higher.get_ydata()[0] > lower.get_ydata()[0] + 5
    still, moved = (
        [bar.get_width() for bar in figures.playground(view, 0.5, 30.0, shift).axes[1].patches]
        for shift in (0, 10)
    )
    assert all(after > before for before, after in zip(still, moved, strict=True))


def test_surfaces_mark_the_lowest_place_in_millimetres():
    grid = np.ones((5, 5))
    grid[4, 1] = 0
    grids = dict.fromkeys(cases.NAMES, grid)
    axes = figures.surfaces(grids, spacing=2.0, reach=4.0).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[-4, 8]]


def test_gradients_share_no_scale(view):
    target, breast = view.dense_mask, view.breast_mask
    maps = {name: np.where(target, 1e-5, -2e-5) for name in cases.NAMES} | {"bce": np.where(target, 3.0, -1)}
    figure = figures.gradients(maps, target, target, breast)
    assert "BCE largest 3.0e+00" in texts(figure)
    assert [axes.images[0].get_array().max() for axes in figure.axes[:2]] == [1, 0.5]


def test_infinite_sums_are_drawn_apart():
    table = pd.DataFrame(
        {"sum16": [100.0, np.inf], "sum32": [100.0, 1e5], "loss16": [0.5, 1.0], "loss32": [0.5, 0.5]},
        index=[64, 512],
    )
    axes = figures.overflow(table).axes[0]
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert drawn["float16"] == [64]
    assert drawn["float16: infinite"] == [512]


def test_answers_show_both_amounts():
    shares = np.array([0.1, 0.4, 0.6, 0.9])
    right = figures.answers(shares, {"dice": np.array([0, 0, 1, 1]), "bce": shares}).axes[1]
    amounts = [line.get_xdata()[0] for line in right.lines if line.get_marker() in "os"]
    assert amounts == pytest.approx([50, 50, 50, 50])
    assert [text.get_text() for text in right.get_yticklabels()] == ["Dice", "BCE"]


def test_reliability_draws_curve_and_weights():
    curve = calibration.reliability([0.1, 0.3, 0.8, 0.8], [0, 0, 1, 0], bins=2)
    figure = figures.reliability({"bce": curve}, {"bce": 0.25})
    upper, lower = figure.axes
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [[0.2, 0], [0.8, 0.5]])
    assert [bar.get_height() for bar in lower.patches] == [0.5, 0.5]
    assert "BCE: calibration error 0.250" in texts(figure)
