"""Permuted labels: which breasts are positive changes, how many are and what else is known does not."""

import numpy as np
import pytest

from mammo_utils.study import relabelled, screened, screening


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(screened.WOMEN, "train", screened.WOMEN["train"]._replace(positive=3, negative=9))
        patch.setitem(screening.DRAWN, "train", (3, 9))
        patch.setattr(screening, "PORTION", 16)
        patch.setattr(screening, "BATCH", 4)
        yield


def test_labels_change_places_between_breasts_of_the_chosen_rows(few):
    images = screened.women("train", size=64)
    rows = screened.draw(images, positive=2, negative=6, seed=1)
    found = relabelled.permuted(images, rows, seed=0)
    before, after = (one.table["cancer"].to_numpy(int) for one in (images, found))
    others = np.setdiff1d(np.arange(len(images)), rows)
    np.testing.assert_array_equal(before[others], after[others])
    breasts = screening.breasts_of(images.table)[rows]
    label = {name: set(after[rows][breasts == name]) for name in breasts}
    assert all(len(values) == 1 for values in label.values())
    assert sum(max(values) for values in label.values()) == 2
    positive = {name for name, values in label.items() if values == {1}}
    assert positive != set(breasts[before[rows] == 1])
    assert found.table.drop(columns="cancer").equals(images.table.drop(columns="cancer"))
    assert found.images is images.images
    again = relabelled.permuted(images, rows, seed=0).table["cancer"]
    np.testing.assert_array_equal(again, found.table["cancer"])


@pytest.mark.slow
def test_a_network_learns_the_permuted_labels(few):
    """Twelve women are learnt by heart, and what was learnt says nothing of who has cancer."""
    settings = screening.arm(model="test_efficientnet", weights="none", size=64, budget=1600, lr=1e-2)
    found = relabelled.learn(settings, seed=0)
    assert not found.model.training
    assert found.fitted > 0.8
