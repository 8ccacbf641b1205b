"""Weights of encoders: what loads gives the encoder that timm has, and what does not fit is named."""

import argparse
import json
import os
from itertools import combinations
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mammo_utils import profile
from mammo_utils.models import weights
from mammo_utils.models.segmentation import MODELS, build
from mammo_utils.study import pretrain_command
from mammo_utils.training.pretraining import RECIPES


def saved(path, name, **options):
    """A file as timm would publish it: the whole classifier, three channels."""
    torch.manual_seed(5)
    source = timm.create_model(name, **options).eval()
    state = {key: value.clone().contiguous() for key, value in source.state_dict().items()}
    save_file(state, path)
    return source


def features(model, x):
    """The encoder's maps, as timm returns them, behind the normalisation that belongs to the model."""
    with torch.no_grad():
        return model.eval().encoder((x - model.mean) / model.std)


def test_grey_encoder_equals_the_colour_network_on_three_equal_channels(tmp_path):
    path = tmp_path / "mobilenet.safetensors"
    source = saved(path, "mobilenetv2_100", pad_type="same")
    with pytest.warns(UserWarning, match="left out the classifier: bn2.bias, .*classifier.bias"):
        model = build("unet/tf_mobilenetv2_100", size=64, weights=path)
    grey = torch.rand(2, 1, 64, 64)
    found = features(model, grey)[-1]
    with torch.no_grad():
        colour = (grey.expand(-1, 3, -1, -1) - 0.5) / 0.5
        expected = source.forward_intermediates(colour, indices=[-1], intermediates_only=True)[-1]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_unequal_means_make_grey_and_colour_nearly_equal(tmp_path):
    path = tmp_path / "e.safetensors"
    saved(path, "test_efficientnet")
    with pytest.warns(UserWarning, match="left out"):
        grey, colour = (
            build("unet/test_efficientnet", size=64, weights=path, channels=channels) for channels in (1, 3)
        )
    x = torch.rand(1, 1, 64, 64)
    stem = grey.encoder.conv_stem((x - grey.mean) / grey.std)
    three = colour.encoder.conv_stem((x.expand(-1, 3, -1, -1) - colour.mean) / colour.std)
    assert torch.corrcoef(torch.stack([stem.flatten(), three.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("name", "source", "options"),
    [
        ("dpt/test_vit", "test_vit", {}),
        ("upernet/swin_tiny", "swin_tiny_patch4_window7_224", {}),
        ("unet/efficientnet-b0", "efficientnet_b0", {}),
    ],
)
def test_a_whole_network_of_timm_loads_into_its_encoder(tmp_path, name, source, options):
    path = tmp_path / "whole.safetensors"
    network = saved(path, source, **options)
    with pytest.warns(UserWarning, match="left out the classifier"):
        model = build(name, size=64, weights=path, channels=3)
    theirs = {parameter.double().sum().item() for parameter in network.parameters()}
    ours = [parameter.double().sum().item() for parameter in model.encoder.parameters()]
    assert set(ours) <= theirs
    assert len(ours) > 50


def test_saved_encoder_loads_again_without_a_word(tmp_path, recwarn):
    first = build("segformer/small", size=64)
    save_file(first.encoder.state_dict(), tmp_path / "own.safetensors")
    second = build("segformer/small", size=64, weights=tmp_path / "own.safetensors")
    for one, other in zip(first.encoder.parameters(), second.encoder.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.profile != "gpu"])
def test_what_was_kept_is_built_again_for_images_of_any_size(name, tmp_path, recwarn):
    model, path = build(name, size=64).to(memory_format=torch.channels_last), tmp_path / "own.safetensors"
    model.train()(torch.rand(2, 1, 64, 52))  # moves the statistics of normalisation
    weights.save(model.encoder, path, {"method": "masked", "seed": 3, "shares": [0.5, None]})
    again = build(name, size=(160, 100), weights=path)
    wanted = model.encoder.state_dict()
    assert set(wanted) == set(again.encoder.state_dict())
    for key, tensor in again.encoder.state_dict().items():
        assert torch.equal(tensor, wanted[key]), key
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["made"]) == {"method": "masked", "seed": 3, "shares": [0.5, None]}
    assert [file.name for file in tmp_path.iterdir()] == ["own.safetensors"]
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


def test_what_cannot_be_kept_leaves_the_earlier_file(tmp_path):
    encoder, path = build("unet/test_efficientnet", size=64).encoder, tmp_path / "own.safetensors"
    weights.save(encoder, path, {"seed": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        weights.save(encoder, path, {"seed": torch.ones(1)})  # not a plain value
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["own.safetensors"]


def test_what_does_not_fit_is_listed_and_nothing_is_copied(tmp_path):
    model = build("nnunet/small", size=64)
    state = {name: value + 1 for name, value in model.encoder.state_dict().items()}
    state["stages.1.0.weight"] = torch.zeros(3, 3)
    del state["stages.2.0.bias"]
    state["aorta.weight"] = torch.zeros(2)
    save_file(state, tmp_path / "other.safetensors")
    before = model.encoder.stages[0][0].weight.clone()
    with pytest.raises(ValueError, match="3 of .* weights differ") as caught:
        weights.load(model.encoder, tmp_path / "other.safetensors")
    message = str(caught.value)
    assert "other.safetensors" in message
    assert "stages.2.0.bias is missing" in message
    assert "aorta.weight is unknown" in message
    assert "stages.1.0.weight is (3, 3), not (32, 16, 3, 3)" in message
    assert torch.equal(model.encoder.stages[0][0].weight, before)


@pytest.mark.parametrize("name", ["moco", "Fractal", "weights.pth"])
def test_unknown_weights_list_what_can_be_had(name):
    listed = "none, imagenet, " + ", ".join(weights.SHIPPED) + ", the path of a .safetensors"
    with pytest.raises(ValueError, match=f"{name}.*: {listed}"):
        build("unet/mobilenetv2_050", size=64, weights=name)


def test_models_without_published_weights_do_not_offer_them():
    with pytest.raises(ValueError, match=r"choose one of: none, fractal, "):
        build("nnunet/small", size=64, weights="imagenet")
    with pytest.raises(ValueError, match=r"choose one of: none, sa1b, fractal, "):
        build("sam/vit_b", size=64, weights="imagenet")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A clone of this project in which nothing is shipped yet; its folder of weights."""
    monkeypatch.setattr(profile, "__file__", str(tmp_path / "mammo_utils" / "profile.py"))
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    return folder


def test_the_names_are_those_of_the_methods_of_pretraining():
    assert set(weights.METHODS) == set(RECIPES)


@pytest.mark.parametrize("method", weights.METHODS)
def test_a_name_stands_for_the_file_that_comes_with_the_package(method, home):
    torch.manual_seed(3)
    first = build("unet/test_efficientnet", size=64)
    weights.save(first.encoder, home / f"test_efficientnet_{method}.safetensors", {})
    torch.manual_seed(4)
    second = build("unet/test_efficientnet", size=64, weights=method)
    for one, other in zip(first.encoder.parameters(), second.encoder.parameters(), strict=True):
        assert torch.equal(one, other)


def test_no_two_models_with_different_encoders_share_a_name(home):
    files = {name: weights.file_name("masked", name) for name in MODELS}
    for a, b in combinations(MODELS, 2):
        if files[a] == files[b]:
            one, other = (build(name, size=64).encoder.state_dict() for name in (a, b))
            assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in other.items()}, (a, b)


def test_a_name_without_a_file_lists_those_there_are_and_the_command_that_makes_one(home):
    (home / "README.md").touch()
    with pytest.raises(FileNotFoundError, match="there are: none") as caught:
        build("unet/test_efficientnet", size=64, weights="fractal")
    command = str(caught.value).splitlines()[1].split("mammo_utils ")[1].split()
    parser = argparse.ArgumentParser()
    pretrain_command.arguments(parser)
    options = parser.parse_args(command[1:])
    assert command[0] == "pretrain"
    assert (options.method, options.model) == ("fractal", "unet/test_efficientnet")
    assert options.out.name == "test_efficientnet_fractal.safetensors"

    (home / "mobilenetv2_050_multiview.safetensors").touch()
    with pytest.raises(
        FileNotFoundError, match=r"there are: mobilenetv2_050_multiview.safetensors\."
    ) as caught:
        build("unet/test_efficientnet", size=64, weights="masked")
    assert "pretrain masked --model unet/test_efficientnet --data CATALOGUE --root DIR" in str(caught.value)


def test_what_was_written_beside_the_weights_is_read_again(tmp_path):
    encoder = build("unet/test_efficientnet", size=64).encoder
    weights.save(encoder, tmp_path / "a.safetensors", {"method": "masked", "seed": 3})
    assert weights.made(tmp_path / "a.safetensors") == {"method": "masked", "seed": 3}
    save_file(encoder.state_dict(), tmp_path / "b.safetensors")
    assert weights.made(tmp_path / "b.safetensors") == {}
    (tmp_path / "c.safetensors").write_bytes(b"not a header")
    with pytest.raises(ValueError, match=r"c\.safetensors: not a readable"):
        weights.made(tmp_path / "c.safetensors")


def test_absent_and_damaged_files_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lost.safetensors: no such file; give the path"):
        build("unet/test_efficientnet", size=64, weights=tmp_path / "lost.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a header")
    with pytest.raises(ValueError, match=r"damaged.safetensors: not a readable safetensors file"):
        build("unet/test_efficientnet", size=64, weights=str(damaged))


@pytest.mark.parametrize(
    "name",
    [n for n, model in MODELS.items() if model.download and model.profile != "gpu"] + ["segformer/mit_b0"],
)
def test_offline_without_a_cache_one_sentence_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError) as caught:
        build(name, size=64, weights="imagenet")
    message = str(caught.value)
    assert all(word in message for word in (name, "HF_HUB_OFFLINE", "HF_HUB_CACHE", ".safetensors"))
    assert "\n" not in message


def test_real_imagenet_weights_load_and_see(tmp_path):
    samples = os.environ.get("MAMMO_SAMPLES")
    if not samples:
        pytest.skip("MAMMO_SAMPLES is not set: no real ImageNet weights at hand")
    path = Path(samples) / "weights" / "mobilenetv2_100.imagenet.safetensors"
    with pytest.warns(UserWarning, match="left out the classifier"):
        model = build("unet/tf_mobilenetv2_100", size=64, weights=path)
    folded = load_file(path)["conv_stem.weight"].sum(dim=1, keepdim=True)
    assert torch.equal(model.encoder.conv_stem.weight, folded)
    # trained weights keep the scale of their batch norms: the maps neither vanish nor explode
    for level in features(model, torch.rand(1, 1, 128, 104)):
        assert 0.05 < level.std() < 20
