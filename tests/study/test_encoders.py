"""Pretrainings of a study: each arm's settings, its file, and what a source starts from."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mammo_utils.__main__ import main
from mammo_utils.models import weights
from mammo_utils.study import encoder_file, encoders, transfer, transfer_film
from mammo_utils.training.pretraining import RECIPES

TINY = {"model": "unet/test_efficientnet", "budget": 64, "size": 64, "batch_size": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    monkeypatch.delenv(encoders.IMAGENET, raising=False)


def test_an_arm_has_the_settings_that_its_method_depends_on():
    chosen = encoders.arm("multiview", positives="breast")
    assert chosen["positives"] == "breast"
    assert chosen["temperature"] == RECIPES["multiview"].temperature
    assert "patch" not in chosen
    assert "off_diagonal" not in chosen
    with pytest.raises(ValueError, match="setting of masked 'temperature'.*patch, ratio"):
        encoders.arm("masked", temperature=0.5)
    assert encoders.arm("fractal")["pool"] is None
    assert encoders.arm("masked")["pool"] == encoders.POOL


def test_a_pretraining_is_done_once_and_says_how_it_was_made():
    settings = encoders.arm("fractal", classes=8, instances=2, **TINY)
    path = encoders.weights(settings, 0)
    made, first = weights.made(path), path.read_bytes()
    assert settings.items() <= made["settings"].items()
    assert {"seed": 0, "weight_decay": RECIPES["fractal"].weight_decay}.items() <= made["settings"].items()
    assert made["images_through"] == 64
    assert encoders.weights(settings, 0) == path
    assert path.read_bytes() == first
    assert not list(path.parent.glob("*.pt"))


def test_the_file_of_the_package_serves_only_if_it_is_of_this_very_pretraining(tmp_path, monkeypatch):
    settings, ready = encoders.arm("fractal", classes=8, instances=2, **TINY), tmp_path / "x.safetensors"
    monkeypatch.setattr(encoder_file, "shipped", lambda name: ready)
    weights.save(torch.nn.Linear(1, 1), ready, {})  # says nothing of its making
    own = encoders.weights(settings, 1)
    assert own != ready
    shutil.copy(own, ready)
    assert encoders.weights(settings, 0) != ready
    assert encoders.weights(settings, 1) == ready


def test_an_encoder_of_the_course_is_made_again_although_it_is_there(tmp_path, monkeypatch, capsys):
    settings = encoders.arm("fractal", classes=8, instances=2, **TINY)
    monkeypatch.setattr(transfer, "pretraining", lambda model, method: settings)
    first = encoders.learnt(settings, 3).read_bytes()
    ready = tmp_path / "ready.safetensors"
    ready.write_bytes(first)
    monkeypatch.setattr(encoder_file, "shipped", lambda name: ready)
    encoders.learnt(settings, 3).unlink()
    assert main(["encoder", "fractal", "--seed", "3", "--out", str(tmp_path / "new")]) == 0
    assert "16 images, 64 through the encoder" in capsys.readouterr().out
    (again,) = (tmp_path / "new").iterdir()
    one, other = load_file(ready), load_file(again)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert main(["encoder", "fractal", "--seed", "-1", "--out", str(tmp_path)]) == 1


def test_seeds_and_settings_have_files_of_their_own(monkeypatch):
    settings = encoders.arm("fractal", classes=8, instances=2, **TINY)
    one, other = encoders.weights(settings, 0), encoders.weights(settings, 1)
    hotter = encoders.weights(settings | {"lr": 1e-2}, 0)
    assert len({one, other, hotter}) == 3
    recipe = replace(RECIPES["fractal"], weight_decay=0.5)
    monkeypatch.setitem(encoders.RECIPES, "fractal", recipe)  # no column of a table
    assert encoders.weights(settings, 0) not in {one, other, hotter}
    name = "conv_stem.weight"
    assert not torch.equal(load_file(one)[name], load_file(other)[name])


def test_a_pretraining_starts_from_the_one_on_fractals_where_it_says_so(monkeypatch):
    small = encoders.arm("fractal", classes=8, instances=2, **TINY)
    monkeypatch.setattr(encoders, "arm", lambda *_, **__: small)
    start = encoders.start_of({"start": "fractal", "model": TINY["model"], "size": 64}, 2)
    assert start == encoders.weights(small, 2)
    with pytest.raises(ValueError, match="none, fractal, imagenet"):
        encoders.start_of({"start": "cats"}, 0)


def test_a_cost_is_that_of_the_very_pretraining_and_nothing_is_kept(tmp_path):
    settings = encoders.arm("fractal", classes=8, instances=2, **TINY)
    found = encoders.cost(settings, 1)
    assert not list(tmp_path.rglob("*.safetensors"))
    made = weights.made(encoders.weights(settings, 1))
    assert found["loss"] == made["loss"]
    assert 0 < found["images_per_second"] < float("inf")


def test_sources_are_pretrainings_of_this_study_or_none():
    assert transfer.pretraining(encoders.SMALL, "none") is None
    assert transfer.pretraining(encoders.LARGE, "imagenet") is None
    both = transfer.pretraining(encoders.LARGE, "imagenet+simclr")
    assert (both["start"], both["method"], both["model"]) == ("imagenet", "simclr", encoders.LARGE)
    assert transfer.pretraining(encoders.SMALL, "fractal+multiview")["start"] == "fractal"
    assert transfer.pretraining(encoders.SMALL, "masked")["start"] == "none"
    for model, sources in transfer.SOURCES.items():
        for source in sources:
            assert transfer.arm(source, model=model, labels=16, lr=1e-3)["source"] == source
    with pytest.raises(ValueError, match="fractal\\+multiview"):
        transfer.arm("imagenet", labels=16, lr=1e-3)


def test_runs_are_nested_in_pretrainings(monkeypatch):
    asked = []
    monkeypatch.setattr(encoders, "weights", lambda settings, seed: asked.append(seed) or seed)
    for seed in range(7):
        transfer.initial(encoders.SMALL, "simclr", seed)
    assert asked == [0, 1, 2, 0, 1, 2, 0]
    assert transfer.initial(encoders.SMALL, "none", 5) == "none"
    asked.clear()
    for source in ("simclr", "imagenet+simclr"):  # the first decides nothing on this network
        for seed in (3, 4):
            transfer.initial(encoders.LARGE, source, seed)
    assert asked == [0, 0, 0, 1]
    twice = [settings["method"] for settings in transfer.ENCODERS_REPEATED.settings]
    assert sorted(twice) == ["multiview", "multiview", "simclr", "simclr"]


def test_weights_and_films_that_are_not_at_hand_are_asked_for(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=f"{encoders.IMAGENET}.*safetensors"):
        transfer.initial(encoders.LARGE, "imagenet", 0)
    monkeypatch.setenv(encoders.IMAGENET, str(tmp_path / "weights.safetensors"))
    assert transfer.initial(encoders.LARGE, "imagenet", 0) == tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=encoders.IMAGENET):
        encoders.imagenet(encoders.SMALL)
    monkeypatch.delenv(transfer_film.ROOT, raising=False)
    with pytest.raises(ValueError, match=transfer_film.ROOT):
        transfer_film.films()


def test_films_that_are_not_learnt_from_are_scored(tmp_path, monkeypatch):
    for folder in ("images", "labels"):
        (tmp_path / "films" / folder).mkdir(parents=True)
    for number in range(7):
        label = np.zeros((160, 120), np.uint8)
        label[10:150, : 70 + number] = 128
        label[50:110, 10 : 20 + 5 * number] = 192
        Image.fromarray(label).save(tmp_path / "films" / "labels" / f"{number}.png")
        grey = np.random.default_rng(number).normal(0, 4, label.shape) * (label > 0) + label
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(
            tmp_path / "films" / "images" / f"{number}.png"
        )
    monkeypatch.setenv(transfer_film.ROOT, str(tmp_path / "films"))
    monkeypatch.setattr(transfer_film, "BUDGET", 150)
    settings = {"source": "none", "model": encoders.SMALL, "films": 5}
    with pytest.warns(UserWarning, match="woman of her own"):
        found, other = (transfer_film.fine_tune(settings, seed) for seed in (0, 1))
    assert found["dice"] > 0.5  # brightness alone tells dense tissue here
    assert abs(found["bias"]) <= found["mae"]
    assert other["dice"] != found["dice"]
