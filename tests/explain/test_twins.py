"""Twins differ by the lesion alone, and a planted marker stands where it says."""

import numpy as np
import pytest
import torch
from torch import nn

from mammo_utils.explain import shortcut, twins
from mammo_utils.study import screened

PATIENTS = (6, 9)


@pytest.fixture(scope="module")
def found():
    return [pair for patient in PATIENTS for pair in twins.pairs(patient, size=96)]


def test_twins_differ_where_the_lesion_lies(found):
    assert len(found) >= 4
    for pair in found:
        assert pair.image.shape == pair.twin.shape == (96, 78)
        assert pair.lesions
        away = np.abs(pair.image - pair.twin)
        assert away[pair.lesion].max() > 0.01
        rows, columns = np.nonzero(pair.lesion)
        near = np.zeros(away.shape, bool)
        reach = 26  # spicules end 40 mm from the middle, specks of a cluster are outlined one by one
        near[
            max(0, rows.min() - reach) : rows.max() + reach,
            max(0, columns.min() - reach) : columns.max() + reach,
        ] = True
        assert away[~near].max() < 1e-6
        assert not pair.lesion[pair.image == 0].any()
        assert pair.breast[pair.image > 0].mean() > 0.9  # muscle as well: a fifth of some views


def test_one_view_is_that_of_the_cache(found, monkeypatch, tmp_path):
    """As far as twelve bits of the file and a second scaling allow."""
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    images = screened.women("test", size=96, positive=1, negative=1)
    rows = np.flatnonzero(images.table["cancer"])
    record = images.table.iloc[rows[0]]
    own = twins.pairs(int(record["patient_id"][1:]), size=96)
    pair = next(p for p in own if (p.laterality, p.view) == (record["laterality"], record["view"]))
    np.testing.assert_allclose(pair.image, images.images[rows[0]] / 65535, atol=0.03)
    both = pair.lesion & images.masks["lesion"][rows[0]]
    assert both.sum() > 0.9 * pair.lesion.sum()


def test_a_lesion_of_another_shape_stays_where_it_was(found):
    shapes = ("circumscribed", "spiculated")
    other = twins.reshaped(PATIENTS[0], shapes, size=96)
    assert list(other) == list(shapes)
    own = [pair for pair in found if pair.lesions[0].malignant][: len(other["spiculated"])]
    for shape in shapes:
        for pair, before in zip(other[shape], own, strict=True):
            [lesion] = pair.lesions
            assert lesion.shape == shape
            assert (lesion.place, lesion.size) == (before.lesions[0].place, before.lesions[0].size)
            np.testing.assert_array_equal(pair.twin, before.twin)
            middles = [np.argwhere(one.lesion).mean(0) for one in (pair, before)]
            assert np.abs(np.subtract(*middles)).max() < 5
    first, second = (other[shape][0].image for shape in shapes)
    assert np.abs(first - second).max() > 0.01
    with pytest.raises(ValueError, match="unknown lesion shape"):
        twins.reshaped(PATIENTS[0], ["stellate"], size=96)


def test_what_a_lesion_adds_to_the_logit(found):
    """A network whose logit is the mean brightness of the image."""

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0))

        def forward(self, x):
            return self.scale * x.mean((1, 2, 3))[:, None] - 7

    expected = [3 * (float(pair.image.mean()) - float(pair.twin.mean())) for pair in found]
    np.testing.assert_allclose(twins.effect(Mean(), found), expected, atol=1e-5)
    np.testing.assert_array_equal(twins.difference(found)[0], np.abs(found[0].image - found[0].twin))


def test_agreement_is_the_share_of_pairs_in_the_right_order(found):
    change = twins.difference(found)
    np.testing.assert_allclose(twins.agreement(change, found), 1)
    np.testing.assert_allclose(twins.agreement(-change, found), 0)
    np.testing.assert_allclose(twins.agreement(np.ones_like(change), found), 0.5)
    heat = np.random.default_rng(0).integers(0, 9, change.shape)
    there = change[0] > 0.1 * change[0].max()
    high, low = heat[0][there], heat[0][found[0].breast & ~there]
    pairs = np.sign(high[:, None] - low).mean() / 2 + 0.5
    assert twins.agreement(heat, found)[0] == pytest.approx(pairs)


def test_women_without_a_lesion_have_no_pair():
    assert [len(twins.pairs(patient, size=48, cancers=False)) for patient in (0, 1, 2, 3)].count(0) >= 2


@pytest.mark.parametrize("agreement", [0.5, 0.9, 1.0])
def test_a_marker_goes_with_the_label_as_often_as_it_says(agreement):
    label = np.random.default_rng(0).random(4000) < 0.3
    carrying = shortcut.carriers(label, agreement=agreement, seed=1)
    assert carrying[label].mean() == pytest.approx(agreement, abs=0.04)
    assert carrying[~label].mean() == pytest.approx(1 - agreement, abs=0.04)
    np.testing.assert_array_equal(carrying, shortcut.carriers(label, agreement=agreement, seed=1))
    with pytest.raises(ValueError, match="from 0 to 1"):
        shortcut.carriers(label, agreement=90)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_a_marker_stands_in_the_corner_and_nothing_else_changes(kind):
    images = (np.random.default_rng(0).random((3, 128, 104)) * (1 if kind == np.float32 else 60000)).astype(
        kind
    )
    before = images.copy()
    planted = shortcut.plant(images, [True, False, True])
    mask = shortcut.place((128, 104))
    assert mask[:64, 52:].sum() == mask.sum() == 8 * 13
    assert (planted[[0, 2]][:, mask] == (1 if kind == np.float32 else 65535)).all()
    np.testing.assert_array_equal(planted[:, ~mask], images[:, ~mask])
    np.testing.assert_array_equal(planted[1], images[1])
    np.testing.assert_array_equal(images, before)
    assert planted.dtype == kind
