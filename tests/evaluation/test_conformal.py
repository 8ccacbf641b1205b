"""Split conformal margins: by hand, by what they promise, and one view a woman."""

import numpy as np
import pytest

from mammo_utils.evaluation.conformal import half_width, one_each


@pytest.mark.parametrize(
    ("count", "level", "expected"),
    [(9, 0.9, 9.0), (10, 0.9, 10.0), (19, 0.9, 18.0), (9, 0.5, 5.0), (4, 0.8, 4.0), (99, 0.95, 95.0)],
)
def test_the_margin_is_the_error_of_the_right_rank(count, level, expected):
    errors = np.arange(1, count + 1) * np.where(np.arange(count) % 2, -1, 1)
    assert half_width(np.random.default_rng(0).permutation(errors), level=level) == expected


def test_a_new_case_is_covered_as_often_as_promised():
    """Errors that are skewed and have heavy tails: nothing but the order of their sizes counts."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(6000):
        errors = rng.standard_cauchy(20) ** 2 - 1
        covered.append(abs(errors[0]) <= half_width(errors[1:], level=0.9))
    assert np.mean(covered) == pytest.approx(18 / 20, abs=0.012)  # k / (n + 1) without ties


@pytest.mark.parametrize(
    ("errors", "level", "message"),
    [
        (np.ones(8), 0.9, "takes 9 cases or more, not 8"),
        (np.ones(18), 0.95, "takes 19 cases"),
        ([1, np.nan] * 9, 0.9, "finite"),
        (np.ones((9, 2)), 0.9, "list of"),
        (np.ones(9), 1.0, "between 0 and 1"),
    ],
)
def test_what_cannot_be_promised_is_refused(errors, level, message):
    with pytest.raises(ValueError, match=message):
        half_width(errors, level=level)


def test_every_woman_enters_once_with_any_of_her_views():
    groups = np.array(["c", "a", "a", "b", "a", "c", "b", "d"])
    seen = set()
    for seed in range(60):
        rows = one_each(groups, seed=seed)
        assert sorted(groups[rows]) == ["a", "b", "c", "d"]
        assert (np.diff(rows) > 0).all()
        seen |= set(rows.tolist())
    assert seen == set(range(8))
    np.testing.assert_array_equal(one_each(groups, seed=3), one_each(groups, seed=3))
