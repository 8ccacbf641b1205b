"""Every named classifier: shapes, parts, normalisation, weights from files, and what training relies on."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from mammo_utils.models import inspect, segmentation, weights
from mammo_utils.models.classification import MODELS, build

SMALL = [name for name, model in MODELS.items() if model.profile != "gpu"]
LARGE = [name for name, model in MODELS.items() if model.profile == "gpu"]


def made(name, *, size=64, seed=0, **options):
    torch.manual_seed(seed)
    return build(name, size=size, **options)


def images(number=2, shape=(64, 52), channels=1):
    return torch.rand(number, channels, *shape, generator=torch.Generator().manual_seed(1))


def check_parts(model):
    parts = model.parts
    assert [name for name, _ in parts] == ["stem", *(f"stage{n}" for n in range(1, len(parts) - 1)), "head"]
    assert 5 <= len(parts) <= 6
    held = [id(parameter) for _, module in parts for parameter in module.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.parameters()}
    encoder = [id(parameter) for _, module in parts[:-1] for parameter in module.parameters()]
    assert set(encoder) == {id(parameter) for parameter in model.encoder.parameters()}


def check_step(model, x):
    """One training step: a finite logit an image, and a gradient for every parameter."""
    logits = model.train()(x)
    assert logits.shape == (len(x), 1)
    assert logits.isfinite().all()
    F.binary_cross_entropy_with_logits(logits.float(), torch.ones(len(x), 1)).backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not idle, idle  # several processes would wait for their gradients
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_every_family_has_a_small_counterpart():
    assert {MODELS[name].family for name in SMALL} == {MODELS[name].family for name in LARGE}
    sizes = {name: sum(p.numel() for p in made(name).parameters()) for name in SMALL}
    assert max(sizes.values()) < 1e6


@pytest.mark.parametrize("name", SMALL)
def test_trains_and_its_parts_hold_every_parameter_once(name):
    model = made(name)
    check_parts(model)
    check_step(model, images())
    assert made(name, classes=8)(images()).shape == (2, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_models_train(name):
    model = made(name)
    check_parts(model)
    check_step(model, images())


def test_resnet101_is_the_published_network():
    """The weights of a plain ResNet-101 put into the encoder and the head give its logits."""
    torch.manual_seed(0)
    plain = timm.create_model("resnet101", num_classes=3).eval()
    model = made("resnet101", channels=3, classes=3).eval()
    state = plain.state_dict()
    model.encoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    model.head.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    x = images(channels=3)
    mean, std = ([[[value]] for value in three] for three in segmentation.IMAGENET)
    with torch.no_grad():
        expected = plain((x - torch.tensor(mean)) / torch.tensor(std))
        torch.testing.assert_close(model(x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_any_size_and_the_same_seed_the_same_network(name):
    with torch.no_grad():
        first, again, other = (made(name, seed=seed).eval()(images()) for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other)
        assert made(name).eval()(images(1, (101, 77))).shape == (1, 1)


@pytest.mark.parametrize("name", SMALL)
def test_bf16_and_channels_last_agree_with_fp32(name):
    model, x = made(name).eval(), images(8)
    with torch.no_grad():
        exact = model(x)
        model, last = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(last), exact, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            near = model(last).float()
    assert (near - exact).abs().max() < 0.03 * max(1, exact.abs().max())
    with torch.autocast("cpu", torch.bfloat16):
        check_step(model, last)


@pytest.mark.parametrize("name", SMALL)
def test_learns_a_bright_spot(name):
    x = torch.zeros(16, 1, 64, 52)
    target = torch.arange(16) % 2
    for number in range(0, 16, 2):
        x[number + 1, 0, 4 * (number // 2) + 8 : 4 * (number // 2) + 20, 10:30] = 1
    model = made(name).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        loss = F.binary_cross_entropy_with_logits(model(x)[:, 0], target.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.2


@pytest.mark.parametrize("name", ["mobilenetv2_050", "test_efficientnet"])
def test_the_encoder_of_a_segmenter_serves_a_classifier_of_the_same_name(name, tmp_path):
    torch.manual_seed(5)
    segmenter = segmentation.build(f"unet/{name}", size=64).eval()
    weights.save(segmenter.encoder, tmp_path / "a.safetensors", {})
    model = made(name, weights=tmp_path / "a.safetensors").eval()
    x = images()
    with torch.no_grad():
        ready = F.pad(x, (0, 12)) - segmenter.mean
        theirs = segmenter.encoder(ready / segmenter.std)[-1].mean((2, 3))
        seen = []
        model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        model(F.pad(x, (0, 12)))
    torch.testing.assert_close(seen[0], theirs)
    assert weights.file_name("simclr", name) == weights.file_name("simclr", f"unet/{name}")


@pytest.mark.parametrize("name", [name for name in SMALL if MODELS[name].family != "DenseNet"])
def test_weights_of_the_whole_network_leave_out_its_classifier(name, tmp_path):
    torch.manual_seed(6)
    plain = timm.create_model(MODELS[name].encoder)
    weights.save(plain, tmp_path / "a.safetensors", {})
    with pytest.warns(UserWarning, match="left out the classifier"):
        model = made(name, weights=tmp_path / "a.safetensors")
    first = next(m for m in plain.modules() if isinstance(m, nn.Conv2d)).weight
    mine = next(m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)).weight
    torch.testing.assert_close(mine, first.sum(1, keepdim=True))


def test_imagenet_weights_are_asked_for_and_their_absence_is_one_sentence(monkeypatch):
    def offline(name, *, pretrained=False, **options):
        assert pretrained
        raise OSError("no route to host. Details follow")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(RuntimeError, match="'imagenet' of resnet101 could be neither downloaded nor found"):
        build("resnet101", weights="imagenet", size=64)


def test_what_a_network_costs():
    cost = inspect.cost(made("mobilenetv2_050"), 64)
    assert cost["encoder parameters"] == 480_032
    assert cost["parameters"] == 480_032 + 160 + 1
    assert cost["flops"] > 1e6


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="unknown classification model 'vgg'; choose one of: test_eff"):
        build("vgg", size=64)
    with pytest.raises(ValueError, match="unknown weights for test_resnet 'radimagenet'"):
        build("test_resnet", weights="radimagenet", size=64)
    with pytest.raises(ValueError, match="images of 32×26 vanish"):
        build("test_resnet", size=32)
    with pytest.raises(FileNotFoundError, match="no weights 'simclr' of test_resnet come"):
        build("test_resnet", weights="simclr", size=64)
