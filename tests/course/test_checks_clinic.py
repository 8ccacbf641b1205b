"""Checks of notebook 11: right answers pass, near misses do not."""

import numpy as np
import pytest

from mammo_utils.course import checks
from mammo_utils.evaluation import assisted, conformal


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (
            checks.e11_observed,
            lambda p, y, w: (w * y).sum() / (w * p).sum(),
            lambda p, y, w: y.sum() / p.sum(),
        ),
        (checks.e11_observed, lambda p, y, w: w @ y / (w @ p), lambda p, y, w: w @ p / (w @ y)),
        (checks.e11_margin, conformal.half_width, lambda errors: np.quantile(np.abs(errors), 0.9)),
        (checks.e11_margin, conformal.half_width, lambda errors: np.sort(errors)[-1]),
        (
            checks.e11_break_even,
            lambda r, m, h: assisted.break_even(r, m, heeds=h),
            lambda r, m, h: h * (1 - r) / r,
        ),
        (
            checks.e11_break_even,
            lambda r, m, h: assisted.break_even(r, m, heeds=h),
            lambda r, m, h: (1 - r) * m / (r * (1 - m)),
        ),
    ],
)
def test_a_right_answer_passes_and_a_near_miss_does_not(check, right, wrong, capsys):
    check(right)
    check(wrong)
    check(lambda *arguments: None)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("right: ")
    assert second.startswith("not yet: ")
    assert third.startswith("your turn: ")
