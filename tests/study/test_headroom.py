"""The controls of the phantom, recomputed another way and held in the range that leaves room for networks."""

import numpy as np
import pytest

from mammo_utils.study import headroom
from mammo_utils.synth import breast
from mammo_utils.synth.exams import cohort


@pytest.fixture(scope="module")
def tables():
    return headroom.measure(women=60, size=64)


def overlap(a, b):
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else 1.0


def test_threshold_and_second_reader_equal_a_plain_recomputation(tables):
    women = list(cohort("develop")[:60])
    exams = {woman: breast.exam(woman, size=64, lesions=()) for woman in women}

    def mean_dice(level, some, target):
        return np.mean(
            [overlap((v.image > level) & v.breast_mask, target(v)) for woman in some for v in exams[woman]]
        )

    def reader_a(view):
        return view.reader_masks["A"]

    fitted = max(headroom.LEVELS, key=lambda level: mean_dice(level, women[::2], reader_a))
    controls = tables["controls"]
    row = controls.loc[f"intensity threshold {fitted:.2f}"]
    assert row["Dice with reader A"] == pytest.approx(mean_dice(fitted, women[1::2], reader_a), abs=1e-3)
    truth = mean_dice(fitted, women[1::2], lambda view: view.dense_mask)
    assert row["Dice with the truth"] == pytest.approx(truth, abs=1e-3)
    views = [view for woman in women[1::2] for view in exams[woman]]
    second = np.mean([overlap(view.reader_masks["B"], view.reader_masks["A"]) for view in views])
    assert controls.loc["reader B", "Dice with reader A"] == pytest.approx(second, abs=1e-3)


def test_density_table_counts_every_view_and_keeps_the_published_columns(tables):
    density = tables["density"]
    assert density["count"].sum() == 60 * 4
    assert density["published mean"].to_dict() == {"A": 4.3, "B": 19.3, "C": 40.4, "D": 62.3}


@pytest.mark.slow
@pytest.mark.parametrize("size", [128, 256])
def test_difficulty_leaves_room(size):
    controls = headroom.measure(women=100, size=size)["controls"]["Dice with reader A"]
    threshold = controls[controls.index.str.startswith("intensity")].item()
    assert 0.35 < threshold < 0.55
    assert 0.71 < controls["reader B"] < 0.81
