"""A few local cases: what is fitted on them keeps its promise on average; more of them come closer."""

import numpy as np
import pytest

from mammo_utils.evaluation import conformal, local, operating


def test_a_margin_covers_on_average_what_conformal_prediction_promises():
    errors = np.random.default_rng(0).standard_t(3, size=2000)
    found = local.margins(errors, counts=[9, 99], level=0.9, repeats=400)
    of = found.groupby("women")["covered"]
    for count, share in of.mean().items():
        assert 0.9 - 0.01 < share < 0.9 + 1 / (count + 1) + 0.01
    assert of.std()[99] < of.std()[9] / 2
    row = found[found["women"] == 99].iloc[0]
    assert row["margin"] in np.abs(errors)


def test_the_draws_and_the_scored_are_different_women():
    errors = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 100.0])
    found = local.margins(errors, counts=[9], repeats=30)
    drawn = found["margin"] == 100
    assert 0 < drawn.mean() < 1 or drawn.all()
    assert (found.loc[drawn, "covered"] == 1).all()
    assert (found.loc[~drawn, "covered"] == 0).all()
    with pytest.raises(ValueError, match="leave some"):
        local.margins(errors, counts=[10])
    with pytest.raises(ValueError, match="missing values"):
        local.margins([np.nan, 1, 2], counts=[1])
    assert conformal.half_width(errors[:9]) == 0


def test_a_threshold_of_many_healthy_women_is_that_of_all():
    rng = np.random.default_rng(0)
    label = np.zeros((1200, 2), int)
    label[:200, 0] = 1
    score, label, woman = (
        rng.normal(size=2400) + 1.5 * label.ravel(),
        label.ravel(),
        np.repeat(range(1200), 2),
    )
    found = local.thresholds(score, label, groups=woman, counts=[20, 500], repeats=100)
    of = found.groupby("women")
    assert of["specificity"].mean()[500] == pytest.approx(0.9, abs=0.01)
    assert of["specificity"].std()[500] < of["specificity"].std()[20] / 3
    whole = operating.threshold_at(score, label, specificity=0.9)
    assert of["threshold"].mean()[500] == pytest.approx(whole, abs=0.05)
    sensitivity = (score[label == 1] >= whole).mean()
    assert of["sensitivity"].mean()[500] == pytest.approx(sensitivity, abs=0.02)


def test_women_with_cancer_are_not_drawn():
    score = np.array(
        [9.0, 9, 0, 0, 1, 1, 2, 2]
    )  # the healthy breast of the sick woman would raise the threshold
    label, woman = np.array([1, 0, 0, 0, 0, 0, 0, 0]), np.repeat(range(4), 2)
    found = local.thresholds(score, label, groups=woman, counts=[2], repeats=20)
    assert found["threshold"].max() <= 2
    assert (found["sensitivity"] == 1).all()
    with pytest.raises(ValueError, match="leave some"):
        local.thresholds(score, label, groups=woman, counts=[3])
    with pytest.raises(ValueError, match="between 0 and 1"):
        local.thresholds(score, label, groups=woman, counts=[1], specificity=1)
