"""Low-rank adaptation: against two convolutions in a row, merged and back, alone in a small file."""

import copy
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrize import ParametrizationList

from mammo_utils.models import lora
from mammo_utils.models.segmentation import build

NAMES = ("unet/test_efficientnet", "segformer/small", "sam/small")


def network(name="unet/test_efficientnet"):
    torch.manual_seed(2)
    return build(name, size=64).eval()


def stir(model, seed=0):
    """Give every adapter a B that is not zero, as learning would."""
    generator = torch.Generator().manual_seed(seed)
    for adapter in lora.adapters(model).values():
        adapter.b.data.copy_(torch.randn(adapter.b.shape, generator=generator) / 20)


def image(seed=1):
    return torch.rand(2, 1, 64, 52, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def output(model):
    return model(image())


@pytest.mark.parametrize("name", NAMES)
def test_at_first_nothing_changes_and_only_adapters_of_the_encoder_are_new(name):
    model = network(name)
    expected = output(model)
    names = {key for key, _ in model.named_parameters()}
    layers = [m for m in model.encoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    lora.add(model)
    assert torch.equal(output(model), expected)
    assert len(lora.adapters(model)) == len(layers)
    held = [p for part in ("decoder", "head") for p in dict(model.parts)[part].modules()]
    assert not any(isinstance(module, ParametrizationList) for module in held)
    new = [key for key, _ in model.named_parameters() if key.removesuffix("original") == key]
    assert all(key in names or key.endswith((".weight.0.a", ".weight.0.b")) for key in new)
    listed = [id(p) for _, part in model.parts for p in part.parameters()]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    for layer in layers:
        assert not layer.parametrizations.weight.original.requires_grad


def two_layers(layer, x, weight, a, b, alpha):
    """The layer, and beside it a convolution to ``rank`` channels with a 1×1 one behind, group by group."""
    rank = len(a)
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, layer.bias) + alpha / rank * (x @ a.T) @ b.T
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    inside, outside = (n // layer.groups for n in (layer.in_channels, layer.out_channels))
    kernel, beside = a.view(rank, inside, *layer.kernel_size), []
    for group in range(layer.groups):
        thin = functional.conv2d(x[:, group * inside : (group + 1) * inside], kernel, **options)
        wide = b[group * outside : (group + 1) * outside, :, None, None]
        beside.append(functional.conv2d(thin, wide))
    whole = functional.conv2d(x, weight, layer.bias, groups=layer.groups, **options)
    return whole + alpha / rank * torch.cat(beside, dim=1)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(6, 5), (3, 4, 6)),
        (lambda: nn.Conv2d(4, 6, 3, padding=1), (2, 4, 7, 6)),
        (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, dilation=2, groups=2, bias=False), (2, 4, 9, 8)),
        (lambda: nn.Conv2d(5, 5, 3, padding=1, groups=5), (2, 5, 6, 6)),  # depthwise
        (lambda: nn.Conv2d(5, 10, 3, groups=5), (2, 5, 6, 6)),
        (lambda: nn.Conv2d(6, 4, 1), (2, 6, 3, 3)),
    ],
    ids=["linear", "conv", "grouped", "depthwise", "multiplied", "pointwise"],
)
def test_outputs_and_gradients_are_those_of_two_layers_beside(make, shape):
    torch.manual_seed(0)
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    lora.add(layer, rank=3, alpha=2.0)
    adapter = lora.adapters(layer)[""]
    nn.init.normal_(adapter.b)
    weight = layer.parametrizations.weight.original.detach()
    leaves = [x, adapter.a, adapter.b]
    found, expected = layer(x), two_layers(layer, x, weight, adapter.a, adapter.b, 2.0)
    torch.testing.assert_close(found, expected)
    pull = torch.randn_like(found)
    for mine, wanted in zip(
        torch.autograd.grad(found, leaves, pull), torch.autograd.grad(expected, leaves, pull), strict=True
    ):
        torch.testing.assert_close(mine, wanted)
    layer(x).sum().backward()
    assert layer.parametrizations.weight.original.grad is None


@given(st.integers(1, 12), st.integers(1, 7), st.integers(1, 7), st.floats(0.1, 20))
def test_the_change_has_at_most_the_rank_and_the_scale_is_alpha_over_it(rank, inside, outside, alpha):
    layer = nn.Linear(inside, outside, dtype=torch.float64)
    before = layer.weight.detach().clone()
    lora.add(layer, rank=rank, alpha=alpha)
    a, b = (p.detach() for p in lora.adapters(layer)[""].parameters())
    own = min(rank, inside, outside)
    assert (a.shape, b.shape) == ((own, inside), (outside, own))
    b.normal_()
    change = (layer.weight - before).detach()
    assert torch.linalg.matrix_rank(change, atol=1e-9) <= own
    for row in range(outside):  # one element after the other
        for column in range(inside):
            summed = sum(float(b[row, k] * a[k, column]) for k in range(own))
            assert float(change[row, column]) == pytest.approx(alpha / own * summed, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_merged_it_is_the_adapted_network_under_the_old_names(name):
    model = network(name)
    names, before = list(model.state_dict()), output(model)
    lora.add(model, rank=2, alpha=8.0)
    stir(model)
    adapted = output(model)
    assert not torch.allclose(adapted, before)
    lora.merge(model)
    torch.testing.assert_close(output(model), adapted, rtol=1e-5, atol=1e-5)
    assert sorted(model.state_dict()) == sorted(names)
    assert not lora.adapters(model)
    assert all(p.requires_grad for p in model.parameters())
    lora.merge(model)  # nothing is left to merge
    torch.testing.assert_close(output(model), adapted, rtol=1e-5, atol=1e-5)


def test_unmerged_it_has_its_weights_and_adapters_back(tmp_path):
    model, path = network().double(), tmp_path / "adapters.safetensors"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lora.add(model, rank=2)
    stir(model)
    adapted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lora.save(model, path)
    lora.merge(model)
    merged = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not torch.allclose(
        merged["net.encoder.model.conv_stem.weight"], before["net.encoder.model.conv_stem.weight"]
    )
    lora.unmerge(model, path)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, adapted[name])
    lora.merge(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, merged[name])


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("name", ["unet/test_efficientnet", "unet/mobilenetv2_050"])
def test_adapters_alone_are_a_small_file_that_gives_the_same_network(tmp_path, name, rank):
    path, model, fresh = tmp_path / "adapters.safetensors", network(name), network(name)
    layers = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    sizes = [(m.out_channels, m.in_channels // m.groups * m.kernel_size[0] ** 2) for m in layers]
    lora.add(model, rank=rank, alpha=3.0)
    stir(model)
    lora.save(model, path)
    # Two matrices of float32 a layer, and their names, which are under 130 bytes each with shape and place.
    values = 4 * sum(min(rank, *size) * sum(size) for size in sizes)
    assert 0 < path.stat().st_size - values < 130 * 2 * len(layers)
    assert list(tmp_path.iterdir()) == [path]
    lora.load(fresh, path)
    assert torch.equal(output(fresh), output(model))
    assert {one.alpha for one in lora.adapters(fresh).values()} == {3.0}


def test_copies_and_the_layout_of_memory_change_nothing():
    model = network()
    lora.add(model)
    stir(model)
    expected, twin = output(model), copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(output(twin), expected, rtol=1e-4, atol=1e-5)
    stir(twin, seed=7)
    assert not torch.allclose(output(twin), expected, atol=1e-3)
    assert torch.equal(output(model), expected)
    other = output(twin)
    lora.merge(twin)
    assert lora.adapters(model)
    assert torch.equal(output(model), expected)
    torch.testing.assert_close(output(twin), other, rtol=1e-4, atol=1e-5)


def test_targets_are_patterns_of_names():
    model = network("segformer/small")
    lora.add(model, targets="*.stages_3.*.attn.*")
    names = list(lora.adapters(model))
    assert names
    assert all("stages_3" in name and ".attn." in name for name in names)
    head = network()
    lora.add(head, targets=["net.segmentation_head.*", "*.conv_stem"])
    assert list(lora.adapters(head)) == ["net.encoder.model.conv_stem", "net.segmentation_head.0"]


def test_what_does_not_fit_is_named(tmp_path):
    model, path = network(), tmp_path / "adapters.safetensors"
    with pytest.raises(ValueError, match="no adapters: call lora.add"):
        lora.save(model, path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path}: no such file")):
        lora.load(model, path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a file of adapters"):
        lora.load(model, path)
    for found, note in (({"weight": torch.zeros(2)}, None), ({"x.a": torch.zeros(2)}, {"alpha": "1"})):
        save_file(found, path, metadata=note)
        with pytest.raises(ValueError, match="not a file of adapters"):
            lora.load(model, path)
    with pytest.raises(ValueError, match="rank=0: give 1 or more"):
        lora.add(model, rank=0)
    with pytest.raises(ValueError, match="matches atention; there are: net.encoder.model.conv_stem"):
        lora.add(model, targets="atention")
    with pytest.raises(ValueError, match="no linear or convolution layer in the encoder"):
        lora.add(nn.ReLU())
    lora.add(model)
    with pytest.raises(ValueError, match="has adapters already: call lora.merge"):
        lora.add(model)
    lora.save(model, path)
    with pytest.raises(ValueError, match="has adapters already"):
        lora.load(model, path)
    with pytest.raises(ValueError, match="belongs to another network:(?s:.)*blocks.* is unknown"):
        lora.load(network("segformer/small"), path)
    other = network("unet/mobilenetv2_050")
    with pytest.raises(ValueError, match=r"conv_stem is for \d+ outputs of 9 inputs, not 16 of 9"):
        lora.load(other, path)
    assert not lora.adapters(other)
