"""A reader with a machine: the arithmetic beside a simulation of the same assumptions."""

import numpy as np
import pytest

from mammo_utils.evaluation import assisted


@pytest.mark.parametrize("heeds", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("reassured", [0.0, 0.6, 1.0])
def test_the_share_is_that_of_simulated_readers(heeds, reassured):
    rng = np.random.default_rng(0)
    reader, machine = rng.random(200_000) < 0.8, rng.random(200_000) < 0.55
    follows, drops = rng.random(200_000) < heeds, rng.random(200_000) < reassured
    final = np.where(reader == machine, reader, np.where(machine, follows, ~drops))
    share = assisted.called(0.8, 0.55, heeds=heeds, reassured=reassured)
    assert share == pytest.approx(final.mean(), abs=0.005)


def test_who_listens_to_nobody_reads_alone_and_who_obeys_is_the_machine():
    assert assisted.called(0.8, 0.3, heeds=0, reassured=0) == pytest.approx(0.8)
    assert assisted.called(0.8, 0.3, heeds=1, reassured=1) == pytest.approx(0.3)


def test_at_break_even_nothing_is_gained_or_lost():
    reader, machine = np.array([0.8, 0.9, 0.5]), np.array([0.5, 0.1, 0.7])
    even = assisted.break_even(reader, machine, heeds=0.4)
    assert ((even > 0) & (even <= 1)).all()
    assert assisted.called(reader, machine, heeds=0.4, reassured=even)[:2] == pytest.approx(reader[:2])
    assert even[2] == pytest.approx(0.5 * 0.7 * 0.4 / (0.5 * 0.3))
    assert assisted.break_even(0.8, 1.0, heeds=0.0) == 1  # nothing to lose


def test_shares_lie_between_0_and_1():
    with pytest.raises(ValueError, match="between 0 and 1"):
        assisted.called(80, 0.5, heeds=0.5, reassured=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        assisted.break_even(0.8, 0.5, heeds=1.2)
