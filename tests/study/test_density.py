"""One run of the density work on phantoms: what it is scored by, and that it learns."""

import numpy as np
import pytest

from mammo_utils.data.batches import Arrays
from mammo_utils.study import density, phantoms
from mammo_utils.training.tasks import Masks


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield phantoms.women("develop", size=64, count=8)


def test_women_come_in_order_and_are_written_once(eight):
    assert len(eight) == 32
    names = eight.table["group"].to_numpy(str)
    assert (names == np.sort(names)).all()
    assert set(names[phantoms.draw(eight, 2, 3)]) == set(np.unique(names)[2:5])
    assert len(phantoms.draw(eight, 2, 3)) == 12


def test_women_who_are_not_there_are_never_made_up_for_by_fewer(eight):
    assert (phantoms.draw(eight, 5) == phantoms.draw(eight, 5, 3)).all()
    for first, count in ((6, 4), (8, 1), (8, None), (-1, 2)):
        with pytest.raises(ValueError, match="there are 0 to 7"):
            phantoms.draw(eight, first, count)


@pytest.mark.parametrize("labels", [0, 6, 4 * phantoms.DRAW + 4])
@pytest.mark.parametrize("cohort", ["train", "develop"])
def test_labels_beyond_a_draw_would_be_women_who_are_scored(labels, cohort):
    with pytest.raises(ValueError, match="four a woman, of up to 64 women"):
        density.segment(density.arm(labels=labels, cohort=cohort), 0)


def test_controls_know_the_readers_and_cannot_beat_them(eight):
    table = phantoms.controls(eight, phantoms.draw(eight, 0, 4), phantoms.draw(eight, 4, 4))
    assert table.loc["reader A", "Dice with reader A"] == 1
    rows, masks = phantoms.draw(eight, 4, 4), eight.masks
    a, b = (masks[f"reader_{name}"][rows] for name in "AB")
    both, total = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    wanted = np.mean([1.0 if t == 0 else 2 * o / t for o, t in zip(both, total, strict=True)])
    assert table.loc["reader B", "Dice with reader A"] == pytest.approx(wanted, abs=5e-4)
    assert (table.iloc[:2]["Dice with reader A"] < wanted).all()
    truth, area = masks["dense"][rows].sum((1, 2)), masks["breast"][rows].sum((1, 2))
    error = 100 * np.abs((b.sum((1, 2)) - truth) / area).mean()
    assert table.loc["reader B", "density MAE"] == pytest.approx(error, abs=0.3)  # readers leave the breast


def test_controls_may_be_scored_on_another_cache(eight):
    one, other = (phantoms.draw(eight, first, 4) for first in (0, 4))
    half = Arrays(eight.images[other], {n: m[other] for n, m in eight.masks.items()}, eight.table.iloc[other])
    moved = phantoms.controls(eight, one, np.arange(16), scored=half)
    assert moved.equals(phantoms.controls(eight, one, other))


def found(eight, dense, breast):
    truth, whole = eight.masks["dense"][:], eight.masks["breast"][:]
    rows = np.arange(len(eight))
    return Masks(dense.astype(np.float32), breast.astype(np.float32), truth, whole, rows // 4, rows)


def test_perfect_predictions_have_perfect_scores(eight):
    scores = density.scored(found(eight, eight.masks["dense"], eight.masks["breast"]), eight, 0.5)
    assert scores["dice"] == scores["dice_breast"] == scores["sensitivity"] == scores["precision"] == 1
    for name in ("mae", "bias", "lower", "upper", "mae_true_breast", "mae_soft", "mae_tuned", "ece"):
        assert scores[name] == pytest.approx(0, abs=1e-6), name


def test_probabilities_that_are_too_low_are_cured_by_a_tuned_threshold(eight):
    masks = found(eight, 0.3 * eight.masks["dense"], eight.masks["breast"])
    threshold = density.tuned(masks)
    assert threshold <= 0.3
    scores = density.scored(masks, eight, threshold)
    truth = 100 * (masks.target & masks.breast_target).sum((1, 2)) / masks.breast_target.sum((1, 2))
    assert scores["mae"] == pytest.approx(truth.mean())
    assert scores["bias"] == pytest.approx(-truth.mean())
    assert scores["bias_soft"] == pytest.approx(-0.7 * truth.mean(), rel=1e-5)
    assert (scores["mae_tuned"], scores["dice_tuned"]) == (0, 1)


def test_without_a_predicted_breast_the_density_is_zero(eight):
    nothing = np.zeros(eight.masks["breast"].shape)
    assert not density.amounts(found(eight, eight.masks["dense"], nothing)).any()


def test_a_few_steps_lower_the_loss(eight):
    import torch

    from mammo_utils.models.segmentation import build

    torch.manual_seed(0)
    model = build("unet/test_efficientnet", size=64)
    images = Arrays(eight.images, eight.masks, eight.table)
    settings = {"target": "reader_A", "loss": "hybrid_density", "lam": 1.0, "budget": 128, "lr": 3e-3}
    history = density.learn(model, images, np.arange(32), seed=0, **settings)
    losses = history.table["loss"]
    assert len(losses) == 4
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]
