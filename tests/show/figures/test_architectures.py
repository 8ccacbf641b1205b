"""The figures of the networks show the numbers they stand for."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Circle, Rectangle

from mammo_utils.models.inspect import reach
from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import architectures, training
from mammo_utils.study.architectures import RATES
from mammo_utils.training.history import History


def test_every_network_of_the_study_has_its_colour_and_name():
    assert set(architectures.COLOURS) == set(RATES)
    assert len(set(architectures.COLOURS.values())) == len(
        set(map(architectures.short, architectures.COLOURS))
    )


def test_the_bars_of_a_network_add_up_to_its_parameters():
    networks = {name: build(name, size=64) for name in ("unet/mobilenetv2_050", "sam/small")}
    figure = architectures.parts(networks)
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    for row, network in enumerate(networks.values()):
        own = [bar for bar in bars if round(bar.get_y() + bar.get_height() / 2) == row]
        drawn = sum(bar.get_width() for bar in own)
        assert drawn * 1e6 == pytest.approx(sum(p.numel() for p in network.parameters()))
        ends = [bar.get_x() + bar.get_width() for bar in own]
        assert [bar.get_x() for bar in own[1:]] == pytest.approx(ends[:-1])


def test_circles_hold_half_of_the_field():
    wide = np.ones((40, 32))
    near = np.zeros((40, 32))
    near[18:23, 14:19] = 1
    figure = architectures.fields({"before": {"a": wide, "b": near}, "after": {"a": near, "b": near}})
    panels = [ax for ax in figure.axes if ax.images and ax.get_xlabel().startswith("radius")]
    circles = [next(p for p in ax.patches if isinstance(p, Circle)) for ax in panels]
    wanted = [reach(field, 0.5) for field in (wide, near, near, near)]
    assert [circle.radius for circle in circles] == wanted
    assert [ax.get_title() for ax in panels] == ["a", "b", "", ""]
    assert [ax.get_ylabel() for ax in panels] == ["before", "", "after", ""]


def test_sketches_show_five_ways():
    titles = [ax.get_title() for ax in architectures.sketches().axes]
    assert len(titles) == 5
    assert any("SAM" in title for title in titles)


def rows(losses, values):
    return [
        {"epoch": n, "loss": loss} | ({} if value is None else {"valid": value})
        for n, (loss, value) in enumerate(zip(losses, values, strict=True), 1)
    ]


def test_the_curve_draws_what_the_history_holds():
    done = History(rows=rows([2.0, 1.5, 1.2], [None, 0.6, 0.5]), metric="valid", best_epoch=2)
    figure = training.curve({"net": done}, metric="Dice")
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[1, 2.0], [2, 1.5], [3, 1.2]]
    assert right.lines[0].get_xydata().tolist() == [[2, 0.6], [3, 0.5]]
    assert right.lines[1].get_xydata().tolist() == [[2, 0.6]]
    assert right.get_ylabel() == "Dice"


def test_a_curve_without_validation_or_without_runs():
    only = training.curve({"net": History(rows=rows([2.0, 1.0], [None, None]))})
    assert not only.axes[1].lines
    assert not training.curve({}).axes[0].lines


def test_time_is_drawn_against_operations():
    costs = pd.DataFrame({"flops": {"dpt/test_vit": 2e8, "sam/small": 1e8}})
    figure = architectures.time_against_operations(costs, {"dpt/test_vit": 30.0, "sam/small": 20.0})
    *points, equal = figure.axes[0].lines
    assert [tuple(line.get_xydata()[0]) for line in points] == [(200.0, 30.0), (100.0, 20.0)]
    assert equal.get_xy1() == (0, 0)
    assert equal.get_slope() == pytest.approx(0.175)  # between 0.15 and 0.20 ms a million
    assert figure.axes[0].get_xscale() == "linear"
