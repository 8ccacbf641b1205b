"""Figures of the study of losses, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from mammo_utils.evaluation.intervals import paired_t
from mammo_utils.show.figures import losses_study as figures
from mammo_utils.show.figures.losses_cases import NAMES


def texts(figure) -> str:
    """All that is written on a figure."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def row(loss, seed, *, lam=np.nan, target="reader_A", bias=0.0, mae=5.0):
    values = {"loss": loss, "lam": lam, "target": target, "seed": seed, "dice": 0.7, "bias": bias, "mae": mae}
    values |= {f"bias_{grade}": bias + add for grade, add in zip("ABCD", range(4), strict=True)}
    values |= {f"{name}_{way}": add for name, add in (("mae", 4), ("bias", -1)) for way in ("soft", "tuned")}
    return values


@pytest.fixture
def table():
    rows = [row("bce_dice", seed, bias=3, mae=7 + 0.1 * seed) for seed in range(5)]
    rows += [row("hybrid_density", seed, lam=1, bias=1, mae=5 + 0.2 * seed) for seed in range(4)]
    rows += [row("hybrid_density", seed, lam=lam, bias=0, mae=6) for lam in (30, 0.3) for seed in range(3)]
    rows += [row("bce_dice", seed, target="dense", bias=2) for seed in range(3)]
    rows += [row("hybrid_density", seed, lam=1, target="dense", bias=-2) for seed in range(3)]
    return pd.DataFrame(rows)


@pytest.fixture
def images():
    true = np.array([10.0, 20, 30, 40])
    errors = {"tversky": [9, 11, 9, 11], "bce": [-1, 1, -1, 1]}
    parts = [pd.DataFrame({"arm": arm, "truth": true, "predicted": true + e}) for arm, e in errors.items()]
    return pd.concat(parts, ignore_index=True)


def test_main_takes_equal_seeds_one_weight_and_one_kind_of_labels(table):
    found = figures.main(table, lam=1)
    assert found.groupby("loss").size().to_dict() == {"bce_dice": 3, "hybrid_density": 3}
    assert set(found["target"]) == {"reader_A"}
    assert set(found["lam"].dropna()) == {1}


def test_main_leaves_out_a_seed_that_a_loss_has_not_run(table):
    behind = pd.DataFrame([row("dice", seed) for seed in (0, 2)])
    found = figures.main(pd.concat([table, behind]), lam=1)
    assert found.groupby("loss")["seed"].agg(set).to_dict() == dict.fromkeys(
        ("bce_dice", "dice", "hybrid_density"), {0, 2}
    )


def test_shared_seeds_are_those_of_every_arm(table):
    part = table[table["target"] == "reader_A"]
    assert set(part["seed"]) == {0, 1, 2, 3, 4}
    assert set(figures.shared(part, "loss")["seed"]) == {0, 1, 2, 3}
    # every weight is an arm of its own, and none (NaN) is one too
    rows = figures.shared(part, "loss", "lam")
    assert rows.groupby("lam", dropna=False)["seed"].agg(set).tolist() == [{0, 1, 2}] * 4


def test_pairs_are_by_seed_and_of_the_fixed_weight(table):
    found = figures.pairs(table.sample(frac=1, random_state=0), "mae", lam=1)
    np.testing.assert_allclose(found.sort_index(), -2 + 0.1 * np.arange(4))
    assert list(found.sort_index().index) == [0, 1, 2, 3]  # the fifth seed has no partner
    against = figures.pairs(table, "mae", lam=1, rival="mae_tuned")
    np.testing.assert_allclose(against.sort_index(), 1 + 0.2 * np.arange(4))


def test_limits_of_agreement_by_hand(images):
    found = figures.limits(images)
    assert list(found.index) == ["bce", "tversky"]
    assert found["bias"].tolist() == [0, 10]
    np.testing.assert_allclose(found["upper"] - found["bias"], 1.96 * np.sqrt(4 / 3))


def test_bland_altman_draws_each_loss_on_its_own_panel(images):
    shown = [axes for axes in figures.bland_altman(images).axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["BCE", "Tversky"]
    np.testing.assert_allclose(
        shown[1].collections[0].get_offsets(), [[14.5, 9], [25.5, 11], [34.5, 9], [45.5, 11]]
    )
    assert "+10.0" in texts(shown[1].figure)


def test_bias_by_class_is_the_mean_of_the_seeds(table):
    axes = figures.by_class(figures.main(table, lam=1)).axes[0]
    means = {
        line.get_label(): line.get_ydata().tolist()
        for line in axes.lines
        if line.get_label() in NAMES.values()
    }
    assert means == {"BCE + Dice": [3, 4, 5, 6], "hybrid (ours)": [1, 2, 3, 4]}


def test_crossed_has_a_panel_for_each_kind_of_labels(table):
    rows = table[(table["lam"] != 30) & (table["lam"] != 0.3)]
    figure = figures.crossed(rows, {"dense": 0.0, "reader_A": 1.0})
    assert [axes.get_title() for axes in figure.axes] == [
        "labels: exact truth (+0.0)",
        "labels: reader A (+1.0)",
    ]
    places = [
        [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] for axes in figure.axes
    ]
    assert places == [[2, -2], [3, 1]]


def test_readouts_show_three_ways_for_each_loss(table):
    left, right = figures.readouts(figures.main(table, lam=1)).axes
    assert [line.get_xdata()[0] for line in left.lines] == pytest.approx([7.1, 4, 4])
    assert [line.get_xdata()[1] for line in right.lines[:3]] == [1, -1, -1]


def test_weights_rise_from_none(table):
    part = table[(table["target"] == "reader_A") & (table["seed"] < 3)]
    axes = figures.weights(part).axes[1]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "0.3", "1", "30"]
    joined = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    assert joined.get_ydata() == pytest.approx([7.1, 6, 5.2, 6])


def test_contrast_shows_the_differences_and_the_band(table):
    differences = figures.pairs(table, "mae", lam=1)
    interval = paired_t(differences)
    figure = figures.contrast({"density MAE": (differences, interval, 1.0, "supported")})
    axes = figure.axes[0]
    assert axes.get_title() == "supported"
    assert "4 seeds" in texts(figure)
    assert axes.lines[-1].get_xdata()[0] == pytest.approx(interval.estimate)
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-1, 1))
