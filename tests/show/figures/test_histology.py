"""Figures of the histology notebook, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from sklearn.metrics import roc_auc_score

from mammo_utils.show.figures import histology as figures


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_contact_sheet_has_a_row_a_name_and_no_picture_too_many():
    rng = np.random.default_rng(0)
    rows = {
        "first": rng.integers(0, 255, (3, 8, 8, 3), np.uint8),
        "second": rng.integers(0, 255, (2, 8, 8, 3), np.uint8),
    }
    figure = figures.contact_sheet(rows, columns=["a", "b", "c"])
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 5
    np.testing.assert_array_equal(shown[3], rows["second"][0])
    assert {"first", "second", "a", "b", "c"} <= set(words(figure))


def test_pixels_lie_where_their_density_is():
    tiles = {"x": np.uint8([[[[239, 239, 239], [87, 119, 200]]]])}
    figure = figures.stain_vectors(tiles, {"x": np.array([[0.65, 0.7, 0.29], [0.07, 0.99, 0.11]])})
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, [[0, 0], [np.log(240 / 88), np.log(240 / 120)]], atol=1e-6)
    assert {"haematoxylin", "eosin", "x"} <= set(words(figure))


def test_a_tile_that_was_stained_anew_stands_beside_its_own_pixels():
    rng = np.random.default_rng(4)
    tiles = {name: rng.integers(20, 240, (6, 6, 3), np.uint8) for name in ("as scanned", "anew")}
    vectors = {name: np.array([[0.65, 0.7, 0.29], [0.07, 0.99, 0.11]]) for name in tiles}
    figure = figures.stained_anew(tiles, vectors)
    shown, points = figure.axes[2].images[0], figure.axes[3].collections[0].get_offsets()
    np.testing.assert_array_equal(shown.get_array(), tiles["anew"])
    wanted = np.log(240 / (tiles["anew"].reshape(-1, 3)[:, :2] + 1.0))
    np.testing.assert_allclose(points, wanted, atol=1e-5)
    assert figure.axes[2].get_title() == "anew"


def test_a_shortcut_has_a_line_from_one_group_to_the_other():
    areas = pd.DataFrame({"home": [0.95, 0.9], "away": [0.55, 0.8]}, index=["as scanned", "normalised"])
    (ax,) = figures.shortcut(areas).axes
    home, away = (line for line in ax.lines if line.get_marker() in "so")
    np.testing.assert_allclose((home.get_xdata(), away.get_xdata()), areas.to_numpy().T)
    (lines,) = (one for one in ax.collections if len(one.get_segments()) == 2)
    np.testing.assert_allclose(lines.get_segments()[0], [[0.55, 0], [0.95, 0]])
    assert [label.get_text() for label in ax.get_yticklabels()] == list(areas.index)


def test_logits_have_a_panel_for_each_kind_of_gates_on_the_same_axes():
    plain, label = np.array([-2.0, 0.0, 3.0]), np.array([0, 0, 1])
    figure = figures.logits(plain, {"identity": plain, "sigmoid": plain / 2}, label)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    benign, malignant = (one.get_offsets() for one in right.collections)
    np.testing.assert_allclose(benign, [[-2, -1], [0, 0]])
    np.testing.assert_allclose(malignant, [[3, 1.5]])


def test_learning_shows_the_first_source_behind_every_other():
    curves = pd.DataFrame(
        [
            {"source": source, "seed": seed, "tiles": tiles, "roc_auc": 0.5 + tiles / 1000 + seed / 100 + up}
            for source, up in (("none", 0), ("organs", 0.1))
            for seed in (0, 1)
            for tiles in (160, 320)
        ]
    )
    none, organs = figures.learning(curves).axes
    assert len(organs.lines) == 4
    np.testing.assert_allclose(organs.lines[0].get_ydata(), [0.66, 0.82])
    np.testing.assert_allclose(organs.lines[3].get_ydata(), [0.77, 0.93])
    assert organs.get_title() == figures.SOURCES["organs"]
    assert len(none.lines) == 4


def test_maps_of_a_row_share_a_scale_and_every_row_has_its_own():
    rng = np.random.default_rng(3)
    tiles = rng.integers(0, 255, (2, 8, 8, 3), np.uint8)
    nuclei = np.zeros((2, 8, 8), bool)
    nuclei[:, 2:5, 2:5] = True
    heats = {"weak": rng.uniform(0, 0.1, (2, 8, 8)), "strong": rng.uniform(0, 9, (2, 8, 8))}
    figure = figures.maps(tiles, nuclei, heats, ["first", "second"])
    shown = [ax.images[0] for ax in figure.axes]
    assert len(shown) == 6
    np.testing.assert_array_equal(shown[1].get_array(), tiles[1])
    assert [one.get_clim() for one in shown[2:4]] == [(0, heats["weak"].max())] * 2
    assert [one.get_clim() for one in shown[4:]] == [(0, heats["strong"].max())] * 2
    assert {"tile", "weak", "strong", "first", "second"} <= set(words(figure))


def test_magnifications_are_scored_apart_and_those_of_one_class_left_out():
    rng = np.random.default_rng(2)
    found = pd.DataFrame(
        {"patient": np.repeat(np.arange(20), 6), "magnification": np.tile([40, 100, 400] * 2, 20)}
    )
    found["label"] = np.where(found["magnification"] == 400, 1, found["patient"] % 2)
    found["probability"] = np.clip(0.3 * found["label"] + rng.uniform(0, 0.7, len(found)), 0, 1)
    figure = figures.magnifications(found)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["40×", "100×"]
    for place, power in enumerate((40, 100)):
        own = found[found["magnification"] == power]
        area = roc_auc_score(own["label"], own["probability"])
        assert left.lines[place].get_ydata()[0] == pytest.approx(area)
        share = ((own["probability"] >= 0.5) == own["label"]).mean()
        assert right.lines[place].get_ydata()[0] == pytest.approx(share)


def test_across_is_the_mean_of_the_runs():
    runs = pd.DataFrame({"magnification": [40, 40, 400, 400], "step": [0, 40, 0, 40]})
    for power in figures.POWERS:
        runs[f"roc_auc_{power}"] = 0.5 + (runs["magnification"] + power + runs["step"]) / 2000
    written = [text for text in words(figures.across(runs)) if text[:2] == "0." and len(text) == 4]
    wanted = [f"{0.5 + (m + p + 20) / 2000:.2f}" for m in (40, 400) for p in figures.POWERS]
    assert written[: len(wanted)] == wanted


def test_a_confusion_is_written_field_by_field():
    names = ["A", "F", "PT", "TA", "DC", "MC", "PC", "LC"]
    shares = pd.DataFrame(np.eye(8) * 0.75 + 0.25 / 8, names, names)
    shares.loc["LC"] = np.nan  # a subtype without a tile
    figure = figures.confusion(shares)
    written = [text for text in words(figure) if text in ("0.78", "0.03")]
    assert (written.count("0.78"), written.count("0.03")) == (7, 49)
