"""What pictures of representations say, on features whose answers can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.data.batches import Arrays, Batches
from mammo_utils.models import pretext
from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import representations as figures

WOMEN = 6


@pytest.fixture
def images():
    """Four views each of six women: noise in a rectangle, women from 10 to 60 % dense, two vendors."""
    rows = [
        {"group": f"w{woman}", "laterality": side, "view": view, "percent_density": 10.0 * (woman + 1)}
        | {"machine": f"vendor {woman % 2}"}
        for woman in reversed(range(WOMEN))
        for side in "LR"
        for view in ("CC", "MLO")
    ]
    pixels = np.zeros((len(rows), 64, 52), np.uint16)
    pixels[:, 8:56, :40] = np.random.default_rng(0).integers(9000, 60000, (len(rows), 48, 40))
    return Arrays(pixels, {"breast": pixels > 0}, pd.DataFrame(rows))


def vectors(table, **weights) -> np.ndarray:
    """Features with a direction of their own for each value of each column, as long as ``weights`` say."""
    parts = [weight * pd.get_dummies(table[name]).to_numpy(float) for name, weight in weights.items()]
    own = 0.01 * np.random.default_rng(1).normal(size=(len(table), 8))
    return np.concatenate([*parts, own], 1)


def test_every_image_has_one_other_view_one_other_breast_and_other_women(images):
    counts = {name: set(pairs.sum(1)) for name, pairs in figures.relatives(images.table).items()}
    assert list(counts.values()) == [{1}, {1}, {2 * (WOMEN - 1)}]


def test_chosen_images_are_of_one_view_and_rise_in_density(images):
    rows = figures.chosen(images.table, 3)
    own = images.table.loc[rows]
    assert own["percent_density"].tolist() == [20, 40, 60]
    assert set(own["laterality"] + own["view"]) == {"LCC"}


def test_features_of_the_woman_find_her_other_breast_and_features_of_the_view_do_not(images):
    table = images.table
    z = {"multiview": vectors(table, group=1), "none": vectors(table, view=1)}
    found = figures.nearest(z, table)
    own = table.loc[found["multiview"]]
    assert (own["group"].to_numpy() == table["group"].to_numpy()).all()
    assert (own["laterality"].to_numpy() != table["laterality"].to_numpy()).all()
    shares = figures.kinship(found, table)
    assert shares.loc["multiview", ["woman", "vendor", "gap"]].tolist() == [1, 1, 0]
    assert shares.loc["none", "view"] == 1
    assert shares.loc["none", "woman"] < 0.5
    lot = shares.loc["by lot"]
    assert lot["woman"] == pytest.approx(2 / 22)
    assert lot["view"] == pytest.approx(0.5)
    assert lot["vendor"] == pytest.approx(10 / 22)
    # 2 of the 22 candidates are her own; the others lie 10 to 50 points away, 70/3 on the average
    assert lot["gap"] == pytest.approx(20 / 22 * 70 / 3)


def test_the_grid_names_her_own_breast_and_the_gap_of_others(images):
    rows = figures.chosen(images.table, 2)
    nearest = figures.nearest({"multiview": vectors(images.table, group=1)}, images.table)
    elsewhere = (np.arange(len(images.table)) + 4) % len(images.table)  # the woman with 10 points less
    found = nearest.assign(simclr=elsewhere)
    axes = figures.neighbours(images, found, rows).axes
    assert [ax.get_title() for ax in axes[:3]] == ["image", "multi-view", "SimCLR"]
    assert [ax.get_xlabel() for ax in axes[:3]] == ["", "same woman", "−10 points"]
    np.testing.assert_array_equal(axes[5].images[0].get_array(), images.images[elsewhere[rows[1]]] / 65535)


def test_the_map_joins_the_images_of_a_woman(images):
    z = {"none": vectors(images.table, view=1), "multiview": vectors(images.table, group=1)}
    axes = np.array(figures.maps(z, images.table, women=2).axes[:8]).reshape(4, 2)
    joined = [line for line in axes[0, 1].lines if len(line.get_xdata()) == 2]
    assert len(joined) == 2 * 4
    assert len({line.get_color() for line in joined}) == 2
    lengths = {
        name: np.mean(
            [np.ptp(line.get_xydata(), axis=0).max() for line in ax.lines if len(line.get_xdata()) == 2]
        )
        for name, ax in zip(z, axes[0], strict=True)
    }
    assert lengths["multiview"] < 0.1 < lengths["none"]
    assert [line.get_label() for line in axes[1, 0].lines] == ["CC", "MLO"]
    assert axes[2, 0].collections[0].get_array().tolist() == images.table["percent_density"].tolist()
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["2 women", "view", "density", "vendor"]


def test_evenness_has_both_alignments_over_one_uniformity():
    table = pd.DataFrame({"uniformity": [-2.0], "views": [0.5], "versions": [0.1]}, index=["simclr"])
    ax = figures.evenness(table).axes[0]
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[-2, 0.1], [-2, 0.5]],
        [[-2, 0.5]],
        [[-2, 0.1]],
    ]


def test_closeness_tells_what_features_see(images):
    table = images.table
    z = vectors(table, group=1)
    found = figures.closeness(z, {"same": z, "turned": 2 * z.mean(0) - z}, table)
    assert found["same"] == pytest.approx(1)
    assert found["turned"] == pytest.approx(-1)
    assert found[:-1].drop(["same", "turned"]).to_numpy() == pytest.approx([1, 1], abs=0.01)
    # of six directions around their mean any two have the cosine -1/5
    assert found["another woman,\nsame view"] == pytest.approx(-1 / 5, abs=0.01)
    seen = figures.closeness(vectors(table, view=1), {}, table)
    assert seen.to_numpy() == pytest.approx([-1, 1, 1], abs=0.01)


def test_closeness_does_not_depend_on_a_direction_that_all_share(images):
    z = vectors(images.table, group=1, view=0.5)
    shifted = figures.closeness(z + 100, {"same": z + 100}, images.table)
    pd.testing.assert_series_equal(shifted, figures.closeness(z, {"same": z}, images.table))


def test_examples_are_the_versions_that_were_embedded(images):
    torch.manual_seed(0)
    encoder = build("unet/test_efficientnet", size=64)
    row = 5
    pictures = figures.examples(images, row, seed=3)
    assert len(pictures) == 1 + len(figures.CHANGES) + 3
    np.testing.assert_array_equal(pictures[0], images.images[row] / 65535)
    changed = figures.changed(encoder, images, seed=3)
    for picture, features in zip(pictures[1:], changed.values(), strict=False):
        pixels = np.round(picture * 65535).astype(np.uint16)[None]
        again = Arrays(pixels, {"breast": pixels > 0}, images.table[row : row + 1].reset_index(drop=True))
        own = pretext.embed(encoder, Batches(again, target="breast")).numpy()[0]
        np.testing.assert_allclose(own, features[row], atol=2e-3 * np.abs(features[row]).max())
    other = images.table.loc[[row]].iloc[0]
    for picture, pairs in zip(pictures[-3:], figures.relatives(images.table).values(), strict=True):
        at = [at for at in np.flatnonzero(pairs[row]) if np.array_equal(picture, images.images[at] / 65535)]
        assert len(at) == 1, other


def test_grey_values_change_in_place_and_geometry_keeps_them(images):
    inside = images.images[:1] > 0
    flat = Arrays((inside * np.uint16(30000)).repeat(24, 0), images.masks, images.table)
    image, grey, moved, cropped, *_ = figures.examples(flat, 0)
    np.testing.assert_array_equal(grey > 0, image > 0)
    assert np.std(grey[inside[0]]) > 0.001  # noise
    for changed in (moved, cropped):
        assert np.median(changed[changed > 0]) == pytest.approx(30000 / 65535, abs=1e-4)
        assert not np.array_equal(changed > 0, image > 0)


def test_the_matrix_writes_its_numbers_below_the_pictures(images):
    names = [*figures.CHANGES, *figures.relatives(images.table)]
    table = pd.DataFrame([[0.9, 0.5, -0.001, -0.2, 0.1, 0.0]], index=["imagenet"], columns=names)
    figure = figures.invariance(table, figures.examples(images, 0))
    *pictures, matrix = figure.axes
    assert [ax.get_title() for ax in pictures] == ["image", *names]
    assert [text.get_text() for text in matrix.texts] == ["0.90", "0.50", "0.00", "−0.20", "0.10", "0.00"]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["ImageNet"]
