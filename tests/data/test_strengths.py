"""Ranges are checked where they are written, not when a batch fails."""

import pytest

from mammo_utils.data.strengths import STRENGTHS, Ranges, ranges_of


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": (5, -5)},
        {"scale": (0, 1)},
        {"gamma": (-1, 1)},
        {"elastic": (0, 0.2)},
        {"blur": (0, 3)},
        {"noise": (-0.1, 0)},
        {"vertical_flip": 1.5},
        {"gain": (0, float("inf"))},
        {"offset": (float("nan"), 0)},
    ],
)
def test_ranges_that_cannot_be_drawn_name_their_parameter(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Ranges(**wrong)


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(ValueError, match="'heavy'; choose one of: none, light, standard, strong"):
        ranges_of("heavy")
    assert ranges_of(STRENGTHS["light"]) is STRENGTHS["light"]


def test_the_chest_wall_stays_left():
    assert all(ranges.horizontal_flip == 0 for ranges in STRENGTHS.values())
