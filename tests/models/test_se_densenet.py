"""DenseNet with gates against timm's own DenseNet, a hand-worked gate and the published counts."""

import pytest
import timm
import torch
from torch import nn

from mammo_utils.models import se_densenet, segmentation, weights
from mammo_utils.models.classification import build


def made(name, *, seed=0, size=64, **options):
    torch.manual_seed(seed)
    return build(name, size=size, channels=3, **options).eval()


def images(number=3, size=64):
    return torch.rand(number, 3, size, size, generator=torch.Generator().manual_seed(1))


def settled(model):
    """With statistics of batch norm that are not those of nothing."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model


def moved(plain, model, path):
    """``model`` with the encoder and the head of ``plain``, the first by a file."""
    weights.save(plain.encoder, path, {})
    weights.load(model.encoder.plain(), path)
    model.head.load_state_dict(plain.head.state_dict())
    return model


def test_the_plain_network_is_timms(tmp_path):
    """A file of timm's DenseNet-121 gives its logits."""
    torch.manual_seed(0)
    theirs = settled(timm.create_model("densenet121", num_classes=4)).eval()
    weights.save(theirs, tmp_path / "a.safetensors", {})
    with pytest.warns(UserWarning, match="left out the classifier: classifier.bias, classifier.weight"):
        model = made("densenet121", classes=4, weights=tmp_path / "a.safetensors")
    model.head.load_state_dict(theirs.classifier.state_dict())
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in segmentation.IMAGENET)
    x = images(2)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs((x - mean) / std), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("position", se_densenet.POSITIONS)
def test_step_zero_equals_the_plain_network(position, tmp_path):
    plain = settled(made("densenet_small"))
    gated = moved(plain, made("se_densenet_small", seed=5, position=position), tmp_path / "a.safetensors")
    assert len(gated.encoder.gates) == {"block": 4, "layer": 14}[position]
    x = images()
    with torch.no_grad():
        assert torch.equal(gated(x), plain(x))
        changed = moved(
            plain, made("se_densenet_small", position=position, start="sigmoid"), tmp_path / "a.safetensors"
        )
        assert (changed(x) - plain(x)).abs().max() > 1e-3


def test_gates_of_identity_learn():
    model = made("se_densenet_small").train()
    optimiser = torch.optim.SGD(model.encoder.gates.parameters(), lr=0.5)
    before = [p.clone() for p in model.encoder.gates.parameters()]
    for _ in range(2):  # the first layer begins to move when the second no longer is zero
        optimiser.zero_grad()
        model(images()).sum().backward()
        optimiser.step()
    after = list(model.encoder.gates.parameters())
    assert len(after) == 4 * 4  # weight and bias of two layers a gate
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_a_gate_by_hand():
    gate = se_densenet.Gate(2, start="sigmoid")
    gate.squeeze, gate.excite = nn.Linear(2, 1), nn.Linear(1, 2)
    with torch.no_grad():
        gate.squeeze.weight.copy_(torch.tensor([[1.0, -1.0]]))
        gate.squeeze.bias.fill_(0.5)
        gate.excite.weight.copy_(torch.tensor([[2.0], [-3.0]]))
        gate.excite.bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])  # means 2 and 1, squeezed to 1.5
    found = gate(x).detach()
    strength = 1 / (1 + torch.exp(-torch.tensor([3.0, -3.5])))
    torch.testing.assert_close(found, x * strength.view(1, 2, 1, 1))


def test_weights_with_and_without_gates_are_told_apart(tmp_path):
    plain, gated = made("densenet_small"), made("se_densenet_small", seed=3, start="sigmoid")
    weights.save(plain.encoder, tmp_path / "plain.safetensors", {})
    weights.save(gated.encoder, tmp_path / "gated.safetensors", {})
    from_plain = made("se_densenet_small", seed=4, weights=tmp_path / "plain.safetensors")
    for name, tensor in plain.encoder.state_dict().items():
        assert torch.equal(from_plain.encoder.state_dict()[name], tensor)
    assert all(not gate.excite.weight.any() for gate in from_plain.encoder.gates.values())
    again = made("se_densenet_small", seed=4, weights=tmp_path / "gated.safetensors", start="sigmoid")
    for name, tensor in gated.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="gates.denseblock1.squeeze.weight is unknown"):
        made("densenet_small", weights=tmp_path / "gated.safetensors")


@pytest.mark.parametrize("name", ["densenet121", "densenet201"])
def test_gates_add_what_hu_counts(name):
    """2·C²/r + C/r + C parameters a gate, for blocks that end with 256, 512, 1024 … channels."""
    ends = {"densenet121": (256, 512, 1024, 1024), "densenet201": (256, 512, 1792, 1920)}[name]
    plain, gated = (
        sum(p.numel() for p in se_densenet.encoder(f"{se}{name}")[0].parameters()) for se in ("", "se_")
    )
    assert gated - plain == sum(2 * c * c // 16 + c // 16 + c for c in ends)
    # timm's counts with a classifier of 1,000 classes
    classes = {"densenet121": 1025 * 1000, "densenet201": 1921 * 1000}[name]
    assert plain + classes == {"densenet121": 7_978_856, "densenet201": 20_013_928}[name]


def test_the_published_size_is_not_that_of_the_published_count():
    assert se_densenet.megabytes(se_densenet.CLAIMED_PARAMETERS) == pytest.approx(4.276, abs=1e-3)
    assert se_densenet.CLAIMED_MEGABYTES / se_densenet.megabytes(1) == pytest.approx(21.2e6, rel=2e-3)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="densenet_small has no gates to choose position of"):
        made("densenet_small", position="block")
    with pytest.raises(ValueError, match="unknown position of the gates 'head'; choose one of: block, layer"):
        made("se_densenet_small", position="head")
    with pytest.raises(ValueError, match="unknown start of the gates 'zero'"):
        made("se_densenet_small", start="zero")
    with pytest.raises(ValueError, match="unknown DenseNet 'densenet169'; choose one of: densenet121"):
        se_densenet.encoder("densenet169")
    with pytest.raises(ValueError, match="reduction=0"):
        made("se_densenet_small", reduction=0)
    with pytest.raises(RuntimeError, match="no ImageNet weights of densenet_small"):
        made("densenet_small", weights="imagenet")
