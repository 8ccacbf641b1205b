"""Widgets redraw on every change of a control and never swallow an error that is not about a value."""

import pytest

from mammo_utils.show import widgets
from mammo_utils.show.figures import new


def drawing(calls):
    def draw(level, side):
        if level > 0.9:
            raise ValueError("level is too high")
        calls.append((level, side))
        figure, axes = new(size=(2, 1))
        axes[0, 0].plot([0, level])
        return figure

    return draw


def test_a_moved_control_redraws_with_all_values():
    calls = []
    level, side = widgets.slider("level", 0, 1, 0.5), widgets.choice("side", ["L", "R"])
    box = widgets.explore(drawing(calls), alt="a line", level=level, side=side)
    before = box.children[-1].value
    level.value = 0.25
    side.value = "R"
    assert calls == [(0.5, "L"), (0.25, "L"), (0.25, "R")]
    assert box.children[-1].value != before
    assert "a line" in box.children[-2].value


def test_a_value_that_cannot_be_drawn_says_why_and_keeps_the_picture():
    level = widgets.slider("level", 0, 1, 0.5)
    box = widgets.explore(drawing([]), alt="a line", level=level, side=widgets.choice("side", ["L"]))
    before = box.children[-1].value
    level.value = 1.0
    assert "too high" in box.children[-2].value
    assert box.children[-1].value == before
    level.value = 0.4
    assert "a line" in box.children[-2].value


def test_a_fault_of_the_program_is_raised():
    def broken(level):
        raise TypeError("not about the value")

    with pytest.raises(TypeError):
        widgets.explore(broken, alt="", level=widgets.slider("level", 0, 1, 0.5))


def test_a_live_picture_shows_each_state_it_is_told():
    def draw(values):
        figure, axes = new(size=(2, 1))
        axes[0, 0].plot(values)
        return figure

    box, redraw = widgets.live(draw, alt="a growing line")
    assert "a growing line" in box.children[0].value
    seen = [box.children[-1].value]
    for values in ([1], [1, 2], [1, 2, 0]):
        redraw(values)
        seen.append(box.children[-1].value)
    assert seen[0] == b""
    assert len(set(seen)) == 4
