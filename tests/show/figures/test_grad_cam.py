"""Figures of maps and their scores: what they draw are the numbers that other ways give."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from mammo_utils.explain import cam, localisation
from mammo_utils.explain.perturbation import Curves
from mammo_utils.models import classification
from mammo_utils.show.figures import grad_cam as figures

SHAPE = (64, 52)


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def bars(figure):
    """The ends of the colour bars."""
    return [ax.get_ylim()[1] for ax in figure.axes if ax.get_label() == "<colorbar>"]


def test_bars_show_the_raw_scale_of_each_map_or_of_all(pixels, lesion):
    maps = {"a": pixels * 3, "b": pixels * 0.02}
    tops = [maps[name].max() for name in maps]
    assert bars(figures.case(pixels, lesion, maps)) == pytest.approx(tops)
    assert bars(figures.case(pixels, lesion, maps, common=True)) == pytest.approx([tops[0]] * 2)
    figure = figures.case(pixels, np.zeros(SHAPE, bool), {"a": 0 * pixels})
    assert "no lesion" in words(figure)
    assert not figure.axes[0].collections  # and no outline


def test_weak_and_strong_maps_look_alike_only_where_each_has_its_own_scale(pixels):
    maps = {"malignant": [pixels * 5, pixels], "benign": [pixels * 0.1, pixels * 2]}
    figure = figures.scales([pixels, pixels], maps)
    each = [ax.images[1] for ax in figure.axes[:4]]
    one = [ax.images[1] for ax in figure.axes[4:8]]
    for drawn in each:
        np.testing.assert_allclose(drawn.get_array(), cam.scaled(pixels), atol=1e-5)
    top = 5 * pixels.max()
    assert [drawn.norm.vmax for drawn in one] == pytest.approx([top] * 4)
    heights = [drawn.get_array().max() / pixels.max() for drawn in one]
    np.testing.assert_allclose(heights, [5, 0.1, 1, 2], rtol=1e-5)
    assert bars(figure) == pytest.approx([1, top])


def test_the_explorer_scores_the_map_that_it_shows(pixels, lesion):
    torch.manual_seed(0)
    model = classification.build("test_efficientnet", size=SHAPE)
    settings = {"target": 0, "method": "layercam", "layer": "stage1"}
    heat = cam.explain(model, pixels[None, None], **settings, normalise=False)[0]
    for threshold in (0.3, 0.8):
        figure = figures.explorer(model, pixels, lesion, **settings, threshold=threshold)
        np.testing.assert_allclose(figure.axes[1].images[1].get_array(), heat)
        cut = heat >= threshold * heat.max()
        overlap = (cut & lesion).sum() / (cut | lesion).sum()
        assert f"above {threshold:.0%} of the maximum IoU {overlap:.2f}" in words(figure)
    energy = localisation.energy(heat[None], lesion[None])[0]
    assert f"energy {energy:.2f}" in words(figure)
    assert "LayerCAM, stage1, benign" in words(figure)
    without = figures.explorer(model, pixels, np.zeros(SHAPE, bool))
    assert "IoU" not in words(without)
    assert "Grad-CAM, last layer, malignant" in words(without)


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    rows = [
        {"method": method, "layer": layer, "score": score, "lesion": lesion, "estimate": rng.random()}
        for method in ("edges", "gradcam", "scorecam")  # not in the order in which they stand
        for layer in ("stage3", "stage4")
        for score in figures.SCORES
        for lesion in ("all", "spiculated")
    ]
    found = pd.DataFrame(rows)
    found = found.assign(low=found["estimate"] - 0.1, high=found["estimate"] + 0.2)
    return found.assign(chance=0.05 + 0.1 * (found["score"] == "iou"), ceiling=0.9)


def test_bars_and_limits_stand_where_the_table_says(table):
    figure = figures.scores(table, layer="stage3", lesion="spiculated", names=("pointing", "iou"))
    for ax, score, chance in zip(figure.axes, ("pointing", "iou"), (0.05, 0.15), strict=True):
        own = table[(table["layer"] == "stage3") & (table["lesion"] == "spiculated")]
        own = own[own["score"] == score]
        own = own.set_index("method").loc[["gradcam", "scorecam", "edges"]]
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], own["estimate"])
        limits = [line.get_segments()[0][:, 0] for line in ax.collections]
        np.testing.assert_allclose(limits, own[["low", "high"]])
        lines = {line.get_linestyle(): line.get_xdata()[0] for line in ax.lines if len(line.get_xdata())}
        assert lines == {":": pytest.approx(chance), "--": pytest.approx(0.9)}
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["Grad-CAM", "Score-CAM", "edge detector"]


def test_curves_are_means_over_images_with_their_areas():
    share = np.linspace(0, 1, 5)
    rng = np.random.default_rng(2)
    found = {name: Curves(share, rng.random((6, 5)), rng.random((6, 5))) for name in ("gradcam", "random")}
    figure = figures.curves(found)
    for ax, kind in zip(figure.axes, ("insertion", "deletion"), strict=True):
        for line, (name, one) in zip(ax.lines, found.items(), strict=True):
            np.testing.assert_allclose(line.get_ydata(), getattr(one, kind).mean(0))
            area = np.mean((getattr(one, kind)[:, 1:] + getattr(one, kind)[:, :-1]) / 2)
            assert line.get_label() == f"{figures.NAMES.get(name, name)} {area:.2f}"


def test_another_image_stands_apart_from_the_layers():
    own = pd.DataFrame({"part": ["nothing", "head", "stem", "another image"]})
    for column in ("rank", "ssim"):
        own = own.assign(
            **{column: [1, 0.6, 0.1, 0.3], f"{column}_low": -0.1, f"{column}_high": [1, 0.7, 0.2, 0.4]}
        )
    figure = figures.sanity({"gradcam": own, "eigencam": own})
    assert "scrambled from the head up to" in words(figure)
    assert "scrambled alone" in words(figures.sanity({"gradcam": own}, order="independent"))
    ax = figure.axes[0]
    through, single = ([line for line in ax.lines if line.get_marker() == marker] for marker in "os")
    assert [len(line.get_xdata()) for line in through] == [3, 3]
    assert [list(line.get_ydata()) for line in single] == [[0.3], [0.3]]
    names = [" ".join(text.get_text().split()) for text in ax.get_xticklabels()]
    assert names == ["nothing", "head", "stem", "another image"]


def test_a_gallery_has_one_scale(pixels, lesion):
    maps = np.stack([pixels, 2 * pixels, 0 * pixels])
    figure = figures.gallery(
        np.stack([pixels] * 3), np.stack([lesion, lesion, ~lesion & lesion]), maps, list("abc"), columns=2
    )
    tops = {ax.images[1].norm.vmax for ax in figure.axes if len(ax.images) == 2}
    assert tops == {float(maps.max())}
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["a", "b", "c"]
    assert sum(len(ax.images) == 2 for ax in figure.axes) == 3
