"""Figures of the strategies: what is coloured, how full the blocks are, which numbers are drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import strategies as figures
from mammo_utils.training.strategies import STRATEGIES, trainable

PARTS = ["stem", "stage1", "stage2", "decoder", "head"]


def table(trainable, lr, whole=100):
    return pd.DataFrame({"trainable": trainable, "all": whole, "lr": lr}, index=PARTS)


def words(figure) -> list[str]:
    return [" ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_text()]


def blocks(ax) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_every_strategy_has_a_look_of_its_own_and_hollow_ones_freeze():
    assert set(figures.NAMES) == set(STRATEGIES)
    looks = figures.looks(STRATEGIES)
    assert len({(style["color"], style["marker"]) for style in looks.values()}) == len(STRATEGIES)
    model = build("unet/test_efficientnet", size=64)
    whole = sum(p.numel() for p in model.parameters())
    for name in STRATEGIES:
        one = build("unet/test_efficientnet", size=64)
        plan = STRATEGIES[name](one, lr=1.0, epochs=12)
        most = trainable(one, plan, 11)["trainable"].sum() == whole
        assert most == ("mfc" not in looks[name]), name


def test_a_block_is_as_full_as_its_part_may_change_and_frozen_ones_are_grey():
    figure = figures.networks({"some": table([0, 50, 100, 100, 100], [0, 1e-2, 1e-1, 1.0, 1.0])})
    ax = figure.axes[0]
    grey = [one for one in blocks(ax) if to_hex(one.get_facecolor()) == figures.FROZEN.lower()]
    warm = [one for one in blocks(ax) if one not in grey]
    assert len(grey) == 3 + 2 + 1  # encoder, decoder as it rises, head
    assert [one.get_x() for one in warm] == [1, 2, 3, 4, 5]
    high = {one.get_x(): one.get_height() for one in grey}
    assert [one.get_height() / high[one.get_x()] for one in warm] == [0.5, 1, 1, 1, 1]
    light = [sum(to_rgb(one.get_facecolor())) for one in warm]
    assert light[0] > light[1] > light[2] == light[-1]  # the faster the darker
    assert "some" in words(figure)


def test_adapters_stand_beside_and_springs_hold_the_encoder():
    panels = {name: table([10, 10, 10, 100, 100], 1.0) for name in ("plain", "beside", "springs")}
    figure = figures.networks(panels, marks={"beside": "beside", "springs": "springs"})
    plain, beside, springs = figure.axes[:3]
    assert len(blocks(plain)) == len(blocks(beside)) == 12
    assert sum(one.get_x() % 1 > 0.7 for one in blocks(beside)) == 3
    assert not any(one.get_x() % 1 for one in blocks(plain))
    assert (len(plain.lines), len(springs.lines)) == (0, 4)


def test_four_panels_stand_in_a_row_and_empty_places_stay_empty():
    figure = figures.networks(dict.fromkeys("abcde", table([1] * 5, 1.0)))
    assert [ax.get_visible() for ax in figure.axes[:8]] == [True] * 5 + [False] * 3


def test_rates_are_drawn_part_by_epoch_and_zero_is_frozen():
    shown = pd.DataFrame({0: [0, 0, 0, 1e-2, 1e-2], 1: [0, 0, 1e-3, 1e-2, 1e-2]}, index=PARTS)
    figure = figures.rates({"gradual": shown, "other": shown / 10})
    mesh = figure.axes[0].collections[0]
    found = mesh.get_array().reshape(5, 2)
    assert np.ma.getmaskarray(found).tolist() == (shown.to_numpy() == 0).tolist()
    assert found.filled(0) == pytest.approx(shown.to_numpy())
    assert mesh.norm.vmax == figure.axes[1].collections[0].norm.vmax == 1e-2
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == PARTS
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2"]


def test_shares_are_widths_and_percentages():
    figure = figures.shares({"lora": table([5, 10, 15, 100, 100], 1.0)})
    ax = figure.axes[0]
    moving = [p for p in blocks(ax) if to_hex(p.get_facecolor()) != figures.FROZEN.lower()]
    assert [p.get_width() for p in moving] == pytest.approx([0.01, 0.02, 0.03, 0.2, 0.2])
    assert [p.get_x() for p in moving] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert "46 % of all, 10 % of the encoder" in words(figure)


def test_drift_draws_each_strategy_over_the_parts():
    tables = {
        name: pd.DataFrame({"cka": value, "distance": [0.1, 0.2, 0.3, 0.4, value]}, index=PARTS)
        for name, value in {"lora": 0.9, "full": 0.5}.items()
    }
    left, right = figures.drift(tables).axes
    assert [line.get_label() for line in left.lines] == ["full", "LoRA"]
    assert right.lines[1].get_ydata() == pytest.approx([0.1, 0.2, 0.3])  # what is new has no past
    assert left.lines[0].get_ydata() == pytest.approx([0.5] * 5)


def test_the_update_is_the_product_and_the_last_picture_the_sum():
    rng = np.random.default_rng(0)
    weight, b, a = rng.normal(size=(6, 9)), rng.normal(size=(6, 2)), rng.normal(size=(2, 9))
    figure = figures.low_rank(weight, b, a, scale=0.5)
    drawn = [ax.images[0].get_array() for ax in figure.axes]
    added = [[0.5 * sum(b[i, k] * a[k, j] for k in range(2)) for j in range(9)] for i in range(6)]
    np.testing.assert_allclose(drawn[3], added)
    np.testing.assert_allclose(drawn[4], weight + added)
    assert figure.axes[0].images[0].norm.vmax == pytest.approx(np.abs(weight).max())
    figures.low_rank(weight, 0 * b, a, scale=1.0)  # before the first step there is nothing to scale by


def test_a_close_up_counts_what_may_change():
    figure = figures.close_up(table([0, 10, 50, 100, 100], [0, 1, 1, 1, 1]), mark="beside")
    left, right = figure.axes
    assert left.get_title() == "260 of 500 parameters may change: 52 %"
    widths = [bar.get_width() for bar in blocks(right)]
    assert widths == [100] * 5 + [0, 10, 50, 100, 100]
    assert [text.get_text() for text in right.get_yticklabels()] == PARTS
    figures.close_up(table([0] * 5, 0.0))
