import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammo_utils.study import claims

# The rule of a claim that something goes up, worked by hand with delta 1, and of one that it hardly moves.
UP = [
    (0.5, 2.0, "supported"),
    (0.1, 0.9, "not supported"),  # surely above 0, and surely too little
    (-0.5, 0.9, "not supported"),
    (-3.0, -2.0, "not supported"),
    (-0.5, 1.5, "inconclusive"),
    (0.0, 1.5, "inconclusive"),  # 0 itself is not above 0
    (0.1, 1.0, "supported"),  # the upper limit is not below delta
]
LITTLE = [
    (-0.5, 0.5, "supported"),
    (0.2, 0.9, "supported"),
    (1.1, 2.0, "not supported"),
    (-2.0, -1.1, "not supported"),
    (-0.5, 1.5, "inconclusive"),
    (0.5, 1.0, "inconclusive"),
    (-2.0, 2.0, "inconclusive"),
]


@pytest.mark.parametrize(("low", "high", "expected"), UP)
def test_a_claim_of_a_direction(low, high, expected):
    assert claims.verdict(low, high, delta=1, direction="up") == expected
    assert claims.verdict(-high, -low, delta=1, direction="down") == expected


@pytest.mark.parametrize(("low", "high", "expected"), LITTLE)
def test_a_claim_of_little_effect_has_no_sign(low, high, expected):
    assert claims.verdict(low, high, delta=1, direction="little") == expected
    assert claims.verdict(-high, -low, delta=1, direction="little") == expected


@given(st.floats(-9, 9), st.floats(0, 9), st.floats(0.01, 5), st.sampled_from(["up", "down"]))
def test_a_wider_interval_never_turns_one_verdict_into_its_opposite(middle, half, delta, direction):
    narrow = claims.verdict(middle - half, middle + half, delta=delta, direction=direction)
    wide = claims.verdict(middle - half - 1, middle + half + 1, delta=delta, direction=direction)
    assert narrow == wide or wide == "inconclusive" or (narrow, wide) == ("not supported", "supported")


@given(st.floats(-9, 9), st.floats(0, 9), st.floats(0.01, 5))
def test_no_effect_supports_both_a_direction_and_its_opposite(low, width, delta):
    found = [claims.verdict(low, low + width, delta=delta, direction=name) for name in ("up", "down")]
    assert found != ["supported", "supported"]


@pytest.mark.parametrize(
    ("low", "high", "options", "words"),
    [
        (1, 0, {"delta": 1, "direction": "up"}, "low limit"),
        (math.nan, 1, {"delta": 1, "direction": "up"}, "low limit"),
        (0, 1, {"delta": 0, "direction": "up"}, "above 0"),
        (0, 1, {"delta": math.nan, "direction": "up"}, "above 0"),
        (0, 1, {"delta": 1, "direction": "sideways"}, "choose one of: up, down, little"),
    ],
)
def test_what_makes_no_sense_is_refused(low, high, options, words):
    with pytest.raises(ValueError, match=words):
        claims.verdict(low, high, **options)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "not supported"], "not supported"),
        (["inconclusive", "not supported"], "not supported"),
        (["inconclusive", "supported"], "inconclusive"),
        (["inconclusive"], "inconclusive"),
    ],
)
def test_a_claim_stands_only_if_all_of_it_does(parts, whole):
    assert claims.joined(parts) == claims.joined(parts[::-1]) == whole


@pytest.mark.parametrize(("parts", "words"), [([], "without parts"), ([""], "choose one of: supported")])
def test_parts_without_a_verdict_make_no_whole(parts, words):
    with pytest.raises(ValueError, match=words):
        claims.joined(parts)
