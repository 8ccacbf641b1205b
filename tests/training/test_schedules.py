import math

import pytest

from mammo_utils.training.schedules import SCHEDULES, factor


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_warm_up_rises_to_the_full_rate(name):
    rising = [factor(name, step, 40, warmup=0.1) for step in range(5)]
    assert rising == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_and_linear_end_near_zero_and_halve_in_the_middle():
    for name in ("cosine", "linear"):
        values = [factor(name, step, 100) for step in range(100)]
        assert values == sorted(values, reverse=True)
        assert values[0] == 1
        assert values[50] == pytest.approx(0.5)
        assert 0 < values[-1] < 0.02
    assert factor("cosine", 25, 100) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_plateau_falls_tenfold_after_five_values_without_a_best():
    values = [0.1, 0.3, 0.2, 0.3, 0.3, 0.1, 0.2]  # the best at the second, then five in vain
    assert [factor("plateau", 9, 10, values=values[:k]) for k in (0, 5, 6, 7)] == [1, 1, 1, 0.1]
    more = values + [0.0] * 5
    assert factor("plateau", 9, 10, values=more[:11]) == pytest.approx(0.1)
    assert factor("plateau", 9, 10, values=more) == pytest.approx(0.01)
    assert factor("plateau", 9, 10, values=[*values, 0.4, *[0.0] * 4]) == pytest.approx(0.1)


def test_constant_stays():
    assert {factor("constant", step, 30) for step in range(30)} == {1.0}


def test_a_wrong_name_lists_the_schedules():
    with pytest.raises(ValueError, match="constant, linear, cosine, plateau"):
        factor("step", 1, 3)
