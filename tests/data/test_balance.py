import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammo_utils.data.balance import BalancedBatches, pos_weight, subset
from mammo_utils.data.batches import Arrays


def arrays(label, each=2):
    rng = np.random.default_rng(0)
    n = len(label)
    table = pd.DataFrame({"group": [f"w{i // each}" for i in range(n)], "cancer": np.asarray(label)})
    images = rng.integers(1, 65536, (n, 6, 5), dtype=np.uint16)
    return Arrays(images, {"breast": np.ones((n, 6, 5), bool)}, table)


LABEL = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0])


def batches(label=LABEL, **options):
    return BalancedBatches(arrays(label), **{"target": "cancer", "batch_size": 4, "workers": 0} | options)


def epoch(found, number):
    found.set_epoch(number)
    return np.concatenate([batch.row.numpy() for batch in found])


@pytest.mark.parametrize("negatives", [1, 2, 13 / 3])
def test_an_epoch_has_every_positive_once_and_fresh_negatives(negatives):
    found = batches(negatives=negatives)
    seen, orders = set(), set()
    for number in range(30):
        rows = epoch(found, number)
        assert len(rows) == len(set(rows)) == 3 + round(3 * negatives) == found.count
        assert sum(len(batch.row) for batch in found) == len(rows)
        assert {2, 7, 14} <= set(rows)
        assert np.array_equal(epoch(found, number), rows)
        seen |= set(rows)
        orders.add(tuple(rows))
    assert seen == set(range(16))
    assert len(orders) == 30


def test_negatives_come_equally_often_and_each_class_anywhere():
    found = batches()
    rows = np.array([epoch(found, number) for number in range(600)])
    share = np.bincount(rows.ravel(), minlength=16)[LABEL == 0] / 600
    assert np.abs(share - 3 / 13).max() < 0.07
    first = LABEL[rows[:, 0]].mean()
    assert 0.4 < first < 0.6


def test_chosen_rows_batches_and_processes():
    rows = np.arange(2, 15)
    found = batches(rows=rows, negatives=2, drop_last=True)
    assert len(found) == 2
    assert set(epoch(found, 3)) <= set(rows)
    shares = [epoch(found.part(rank, 2), 3) for rank in range(2)]
    assert sorted(np.concatenate(shares)) == sorted(epoch(found, 3))
    for batch in found:
        assert (batch.target.numpy() == LABEL[batch.row.numpy()]).all()
    assert set(epoch(batches(seed=1), 0)) != set(epoch(batches(seed=2), 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "breast"}, "is a mask"),
        ({"negatives": 5}, "5 negatives to each of 3 positives are 15, and there are 13"),
        ({"negatives": 0.1}, "are 0, and"),
        ({"rows": [0, 1]}, "0 of 2 labels are positive"),
        ({"label": LABEL * 2}, "labels must be 0 or 1"),
        ({"batch_size": 8, "drop_last": True}, "6 images do not fill one batch of 8"),
    ],
)
def test_settings_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        batches(**options)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2), st.integers(0, 5))
def test_the_subset_has_all_positive_groups_and_as_many_others(rows, seed):
    groups, label = (np.array(column) for column in zip(*rows, strict=True))
    positive = {g for g, y in rows if y}
    negative = set(groups.tolist()) - positive
    if not positive or label.all() or len(positive) > len(negative):
        with pytest.raises(ValueError, match="groups have a positive image|both classes are needed"):
            subset(label, groups, seed=seed)
        return
    chosen = subset(label, groups, seed=seed)
    names = set(groups[chosen].tolist())
    assert positive <= names
    assert len(names - positive) == len(positive)
    assert (chosen == np.isin(groups, list(names))).all()


def test_the_subset_of_a_published_system_lets_a_woman_be_on_both_sides():
    """Grouped by breast, the healthy breasts of women with cancer count as negatives."""
    women = np.repeat(np.arange(20), 4)
    breasts = np.repeat(np.arange(40), 2)
    label = np.zeros(80)
    label[[0, 1, 8, 9]] = 1
    by_breast, by_woman = (subset(label, key, seed=0) for key in (breasts, women))
    assert (by_breast.sum(), by_woman.sum()) == (8, 16)
    assert pos_weight(label[by_breast]) == 1
    assert pos_weight(label[by_woman]) == 3
    assert pos_weight(label) == 19


def test_the_subset_depends_on_the_seed():
    label, groups = np.array([1] + [0] * 50), np.arange(51)
    assert len({tuple(subset(label, groups, seed=seed)) for seed in range(20)}) > 10


def test_missing_groups_and_labels_are_named():
    with pytest.raises(ValueError, match="needs the key of its group"):
        subset([1, 0, 0], ["a", None, "b"])
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        pos_weight([1, 0, np.nan])
    with pytest.raises(ValueError, match="0 of 2 labels are positive"):
        pos_weight([0, 0])
