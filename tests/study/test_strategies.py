"""The studies of fine-tuning: what one run says of itself, and which arms are compared with which."""

import collections
import math

import numpy as np
import pytest
import torch

from mammo_utils.models.segmentation import build
from mammo_utils.study import density, grid, phantoms, strategies, transfer_film
from mammo_utils.study.encoders import LARGE, SMALL
from mammo_utils.training.strategies import STRATEGIES, trainable

STUDIES = ("TUNING", "DECISIVE", "STUDY", "SWEEP", "ABROAD", "FILM")
TINY = {"model": "unet/test_efficientnet", "size": 64, "budget": 48}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Twelve women are enough to see that a run is counted and scored as it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, number in {"train": 2, "valid": 2, "test": 4}.items():
            patch.setitem(phantoms.WOMEN, name, number)
        patch.setattr(strategies, "AWAY", 4)
        yield


def tiny(strategy, **changes):
    return strategies.arm(strategy, source="none", model=SMALL, labels=8, lr=3e-3, **changes) | TINY


def test_abroad_the_network_of_that_very_run_is_scored_on_every_film(few, monkeypatch):
    films = phantoms.women("valid", size=64)
    monkeypatch.setattr(strategies.transfer_film, "films", lambda: films)
    seen = {}
    monkeypatch.setattr(
        strategies.transfer_film,
        "scored",
        lambda model, images, rows, own=transfer_film.scored: (
            seen.update(model=model, rows=list(rows)) or own(model, images, rows)
        ),
    )
    found = strategies.abroad(tiny("lora", rank=2), 0)
    assert set(found) == set(strategies.ABROAD.tolerance)
    assert seen["rows"] == list(range(len(films)))
    drawn = density.women_of(tiny("lora", rank=2), 0)
    _, model, plan, _ = strategies.prepared(tiny("lora", rank=2), 0, drawn)
    strategies.learn(model, plan, drawn, tiny("lora", rank=2), 0)
    for one, other in zip(model.parameters(), seen["model"].parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("strategy", ["full", "gradual", "lora"])
def test_a_run_is_scored_and_says_what_changed(few, strategy):
    found = strategies.fine_tune(tiny(strategy, rank=2), 0)
    assert set(strategies.TOLERANCE) - set(found) == {"images_per_second"}
    assert all(isinstance(value, float) for value in found.values())
    assert 0 <= found["dice_shifted"] <= 1
    assert found["mae_shifted"] != found["mae"]
    assert found["epochs_95"] in range(1, 7)
    stages = {name: found[f"distance_{name}"] for name in strategies.PARTS[:-2]}
    assert all(stages.values())  # six epochs are enough for every part to have thawed
    assert found["distance_head"] > 0
    if strategy == "lora":
        model = build(TINY["model"], size=64)
        whole = {
            name: sum(p.numel() for p in part.parameters()) for name, part in (("", model), *model.parts)
        }
        # The first and the last convolution of a layer are (outputs, inputs); rank 2 of both.
        kinds = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
        thin = sum(
            min(2, m.out_channels, size) * (m.out_channels + size)
            for m in kinds
            for size in [m.in_channels // m.groups * math.prod(m.kernel_size)]
        )
        new = whole["decoder"] + whole["head"]
        assert found["trainable"] == pytest.approx((thin + new) / (thin + whole[""]))
        assert found["trainable_encoder"] == pytest.approx(thin / (thin + whole[""] - new))
    else:
        assert found["trainable"] == found["trainable_encoder"] == 1


def test_what_is_frozen_has_not_moved_and_a_seed_repeats_a_run(few):
    found, again = (strategies.fine_tune(tiny("head"), 0) for _ in range(2))
    timed = ("train_seconds",)
    assert {k: v for k, v in found.items() if k not in timed} == pytest.approx(
        {k: v for k, v in again.items() if k not in timed}, nan_ok=True
    )
    for name in strategies.PARTS[:-2]:
        assert found[f"distance_{name}"] == 0
        assert found[f"cka_{name}"] == pytest.approx(1)
    assert found["trainable_encoder"] == 0
    assert found["distance_decoder"] > 0


def test_full_fine_tuning_is_the_run_of_the_other_studies(few):
    settings = tiny("full")
    own, other = strategies.fine_tune(settings, 0), density.segment(settings, 0)
    for name in ("dice", "mae", "threshold", "dice_b"):
        assert own[name] == pytest.approx(other[name], abs=1e-4), name


@pytest.mark.parametrize(("epochs", "every"), [(256, 25), (64, 6), (4, 1)])
def test_a_part_thaws_at_a_time_over_half_of_the_run(epochs, every):
    model = build(TINY["model"], size=64)
    chosen = strategies.options(tiny("gradual"), model, epochs)
    assert chosen == {"every": every}
    plan = STRATEGIES["gradual"](model, lr=1.0, epochs=epochs, **chosen)
    moving = [trainable(model, plan, epoch)["trainable"] for epoch in range(epochs)]
    thawed = [epoch for epoch in range(epochs) if moving[epoch]["stem"] > 0]
    if epochs > 4:
        assert 0.45 * epochs < thawed[0] <= 0.5 * epochs


def test_convergence_is_told_by_the_last_score():
    assert strategies.reached({1: 0.2, 2: 0.4, 3: 0.4}) == 2
    assert strategies.reached({1: 0.6, 2: 0.2, 3: 0.5}) == 1
    assert strategies.reached({4: 0.0}) == 4


def test_only_adapters_have_a_rank_and_names_are_checked():
    assert strategies.arm("lora", source="none", labels=16, lr=0.1)["rank"] == strategies.RANK
    assert strategies.arm("full", source="none", labels=16, lr=0.1)["rank"] is None
    with pytest.raises(ValueError, match="strategy 'ful'.*full, layerwise"):
        strategies.arm("ful", source="none", labels=16, lr=0.1)
    with pytest.raises(ValueError, match="source 'imagenet'"):
        strategies.arm("full", source="imagenet", model=SMALL, labels=16, lr=0.1)
    own = strategies.arm("full", labels=16, lr=0.1)
    assert (own["source"], own["model"]) == ("imagenet", LARGE)


def test_every_strategy_has_as_many_trials_on_women_who_are_not_scored():
    trials = strategies.TUNING.settings
    count = collections.Counter((one["source"], one["strategy"]) for one in trials)
    assert {name for source, name in count if source == "imagenet"} == set(STRATEGIES)
    assert {name for source, name in count if source != "imagenet"} == {*strategies.DECIDING, "head"}
    extra = {arm: len(rates) for arm, rates in strategies.BEYOND.items()}
    assert count == {arm: len(strategies.TRIALS) + extra.get(arm, 0) for arm in count}
    assert {one["cohort"] for one in trials} == {"develop"}


def test_the_contrasts_that_decide_are_of_pretrained_weights_and_share_their_seeds():
    decisive = strategies.DECISIVE
    assert list(decisive.seeds) == list(range(10))
    arms = [(one["model"], one["source"], one["labels"], one["strategy"]) for one in decisive.settings]
    assert arms == [(LARGE, "imagenet", amount, name) for amount in (16, 64) for name in strategies.DECIDING]


def test_studies_of_one_table_have_no_two_settings_of_one_arm():
    every = {}
    for name in ("DECISIVE", "STUDY", "SWEEP"):
        study = getattr(strategies, name)
        assert (study.result or study.name) == "strategies"
        for one in study.settings:
            key = tuple(one[k] for k in ("model", "source", "strategy", "rank", "labels"))
            assert every.setdefault(key, one) == one
    assert {key[3] for key in every if key[2] == "lora"} == {1, 4, 16}
    assert {key[3] for key in every if key[2] != "lora"} == {None}


def test_film_learns_with_the_strategy_and_rate_of_its_arm(monkeypatch):
    seen = []

    class Enough(Exception):
        pass

    class Films(list):
        images = np.zeros((15, 64, 48), np.uint16)

    def learn(model, images, rows, **options):
        seen.append(options)
        raise Enough

    monkeypatch.setattr(transfer_film, "films", lambda: Films(range(15)))
    monkeypatch.setattr(transfer_film, "initial", lambda model, source, seed: "none")
    monkeypatch.setattr(transfer_film.density, "learn", learn)
    for settings in (strategies.FILM.settings[1], transfer_film.STUDY.settings[0]):
        with pytest.raises(Enough):
            transfer_film.fine_tune(settings, 0)
    assert (seen[0]["strategy"], seen[0]["lr"]) == ("lp_ft", strategies.FILM.settings[1]["lr"])
    assert "strategy" not in seen[1]
    assert seen[1]["lr"] == transfer_film.CHOSEN["lr"]
    assert seen[0]["budget"] == seen[1]["budget"]


@pytest.mark.parametrize("name", STUDIES)
def test_studies_are_found_by_their_place(name):
    study = grid.find(f"mammo_utils.study.strategies:{name}")
    assert {"dice", "mae"} <= set(study.tolerance)
    assert study.runs()
