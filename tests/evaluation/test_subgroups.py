"""Rates of parts of the women: counts by hand, limits, and what must not be there."""

import numpy as np
import pandas as pd
import pytest

from mammo_utils.evaluation import operating, subgroups
from mammo_utils.evaluation.intervals import wilson


@pytest.fixture
def cases():
    """Two breasts of 60 women in three classes, a cancer in one breast of every third."""
    rng = np.random.default_rng(0)
    label = np.zeros((60, 2), int)
    label[::3, 0] = 1
    score = rng.normal(size=120) + label.ravel()
    return score, label.ravel(), np.repeat(rng.choice(list("ABC"), 60), 2), np.repeat(np.arange(60), 2)


def test_every_subgroup_has_the_rates_of_its_own_cases(cases):
    score, label, part, woman = cases
    found = subgroups.rates(score, label, subgroup=part, threshold=0.5, groups=woman)
    assert found["subgroup"].tolist() == ["A", "A", "B", "B", "C", "C"]
    for row in found.itertuples():
        own = part == row.subgroup
        alone = operating.confusion(score[own], label[own], threshold=0.5)
        assert row.estimate == pytest.approx(getattr(alone, row.rate))
        of = own & (label == (row.rate == "sensitivity"))
        assert (row.cases, row.women) == (of.sum(), len(set(woman[of])))
        assert (row.low, row.high) == pytest.approx(wilson(row.estimate, row.women))


def test_two_breasts_of_a_woman_are_no_more_certain_than_one():
    score, label = np.array([0.0, 1, 0, 1, 0, 1]), np.zeros(6, int)
    own = {"label": label, "subgroup": ["a"] * 6, "threshold": 0.5}
    twice = subgroups.rates(np.repeat(score, 2)[:6], **own, groups=[1, 1, 2, 2, 3, 3]).iloc[1]
    once = subgroups.rates(np.repeat(score, 2)[:6], **own, groups=range(6)).iloc[1]
    assert twice["estimate"] == once["estimate"]
    assert twice["high"] - twice["low"] > once["high"] - once["low"]


def test_a_subgroup_without_cancers_has_no_sensitivity_and_keeps_its_place():
    part = pd.Series(pd.Categorical(["old", "young", "young"], categories=["young", "old", "oldest"]))
    found = subgroups.rates([0.2, 0.9, 0.1], [0, 1, 0], subgroup=part, threshold=0.5, groups=[1, 2, 3])
    assert found["subgroup"].tolist() == ["young", "young", "old", "old", "oldest", "oldest"]
    assert found["women"].tolist() == [1, 1, 0, 1, 0, 0]
    assert np.isnan(found["estimate"]).tolist() == [False, False, True, False, True, True]
    assert found.loc[0, "low"] > 0.2  # one case, found: by no means certain, and no point either
    assert found.loc[0, "high"] == 1


def test_rows_without_a_subgroup_or_a_woman_are_refused(cases):
    score, label, part, woman = cases
    with pytest.raises(ValueError, match="each of the 120 rows"):
        subgroups.rates(score, label, subgroup=part[:-1], threshold=0, groups=woman)
    part = pd.Series(part).mask(woman == 3)
    with pytest.raises(ValueError, match="each of the 120 rows"):
        subgroups.rates(score, label, subgroup=part, threshold=0, groups=woman)
