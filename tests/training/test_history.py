import pytest

from mammo_utils.training.history import milestones


def test_a_curve_that_reaches_its_level_tells_when_it_first_did():
    curve = {100: 0.60, 200: 0.75, 300: 0.70, 400: 0.80}
    found = milestones(curve, 0.75)
    assert found["watched"] == 0.80
    assert found["watched_mean"] == pytest.approx(2.85 / 4)
    assert (found["reached"], found["images_to_level"]) == (1.0, 200.0)


def test_a_curve_that_stays_below_has_its_whole_length_and_says_so():
    found = milestones({100: 0.60, 200: 0.70}, 0.75)
    assert (found["reached"], found["images_to_level"]) == (0.0, 200.0)


def test_a_level_held_before_the_first_image_takes_none():
    assert milestones({0: 0.9, 100: 0.95}, 0.75)["images_to_level"] == 0.0
