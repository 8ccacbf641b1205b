"""The controls of the phantom, recomputed another way and held in the range that leaves room for networks."""

import numpy as np
import pytest

from mammo_utils.study import headroom, phantoms


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tables(folder):
    return headroom.measure(women=40, size=64)


def overlap(a, b):
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else 1.0


def test_threshold_equals_a_plain_recomputation(tables):
    images = phantoms.women("develop", size=64, count=40)
    women = images.table["patient_id"].astype(str)
    first = sorted(set(women))[::2]
    fit, held = (np.flatnonzero(women.isin(first) == kept) for kept in (True, False))

    def mean_dice(level, rows, mask):
        above = [(images.images[row] / 65535 > level) & images.masks["breast"][row] for row in rows]
        return np.mean([overlap(a, images.masks[mask][row]) for a, row in zip(above, rows, strict=True)])

    fitted = max(phantoms.LEVELS, key=lambda level: mean_dice(level, fit, "reader_A"))
    row = tables["controls"].loc[f"intensity threshold {fitted:.2f}"]
    assert row["Dice with reader A"] == pytest.approx(mean_dice(fitted, held, "reader_A"), abs=1e-3)
    assert row["Dice with truth"] == pytest.approx(mean_dice(fitted, held, "dense"), abs=1e-3)


def test_a_network_stands_beside_the_controls():
    controls = headroom.measure(women=8, size=64, unet=32)["controls"]
    assert controls.index[-1] == "U-Net, 16 labels"
    assert controls.iloc[-1, :2].between(0, 1).all()


def test_density_table_counts_every_view_and_keeps_the_published_columns(tables):
    density = tables["density"]
    assert density["count"].sum() == 40 * 4
    assert density["published mean"].to_dict() == {"A": 4.3, "B": 19.3, "C": 40.4, "D": 62.3}


@pytest.mark.slow
@pytest.mark.parametrize("size", [128, 256])
def test_difficulty_leaves_room(size):
    controls = headroom.measure(women=100, size=size)["controls"]["Dice with reader A"]
    threshold = controls[controls.index.str.startswith("intensity")].item()
    assert 0.35 < threshold < 0.55
    assert 0.71 < controls["reader B"] < 0.81
