"""Costs against hand counts, receptive fields against the theory, modes left as found."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mammo_utils.models import inspect, lora
from mammo_utils.models.segmentation import Segmenter, build


class Chain(nn.Module):
    """``layers`` 3×3 convolutions of one channel: everything about it is known by hand."""

    def __init__(self, layers):
        super().__init__()
        self.encoder = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(layers)))
        self.decoder, self.segmentation_head = nn.Identity(), nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.segmentation_head(self.decoder(self.encoder(x)))


def chain(layers):
    torch.manual_seed(0)
    stages = {f"stage{index}": [str(index)] for index in range(layers)}
    return Segmenter(Chain(layers), stages, stride=1, mean=[0.5], std=[0.25])


def test_cost_by_hand():
    found = inspect.cost(chain(3), (20, 10))
    assert found == {
        "parameters": 3 * 10 + 4,
        "encoder parameters": 3 * 10,
        "flops": 2 * 20 * 10 * (3 * 9 + 2),  # a multiplication and an addition for each weight and pixel
    }


def test_cost_counts_attention():
    """Eight by eight tokens of a small vision transformer, block by block: projections, attention, MLP."""
    model = build("dpt/test_vit", size=128)
    model.net.forward = lambda x: (
        model.encoder.blocks(x.new_zeros(1, 65, 64)).mean().expand(1, 2, *x.shape[2:])
    )
    dim, tokens = 64, 65
    hidden = model.encoder.blocks[0].mlp.fc1.out_features
    block = 2 * tokens * (4 * dim * dim + 2 * dim * hidden) + 2 * 2 * tokens * tokens * dim
    assert inspect.cost(model, 128)["flops"] == len(model.encoder.blocks) * block


def test_receptive_field_of_convolutions_is_their_reach():
    field = inspect.receptive_field(chain(3), (21, 31), draws=2)
    rows, columns = np.nonzero(field)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 13, 12, 18)
    assert field.max() == 1
    assert inspect.reach(field, 1.0) == pytest.approx(np.hypot(3, 3))


def test_receptive_field_by_finite_differences():
    model = build("unet/test_efficientnet", size=32).double().eval()
    field = inspect.receptive_field(model, (32, 26), draws=1, seed=4)
    image = torch.rand(1, 1, 32, 26, generator=torch.Generator().manual_seed(4)).double()

    def centre(pixels):
        with torch.no_grad():
            return model(pixels)[0, 0, 16, 13].item()

    slopes = {}
    for row, column in ((16, 13), (10, 5), (20, 20)):
        nudged = image.clone()
        nudged[0, 0, row, column] += 1e-6
        slopes[row, column] = abs(centre(nudged) - centre(image)) / 1e-6
    for place, slope in slopes.items():
        assert field[place] / field[16, 13] == pytest.approx(slope / slopes[16, 13], rel=1e-3)


def test_receptive_field_of_given_images():
    model = build("unet/test_efficientnet", size=32)
    noise = torch.rand(2, 1, 32, 26, generator=torch.Generator().manual_seed(4))
    given = inspect.receptive_field(model, (32, 26), images=noise)
    assert given == pytest.approx(inspect.receptive_field(model, (32, 26), draws=2, seed=4), rel=1e-5)
    other = inspect.receptive_field(model, (32, 26), images=noise * 0)
    assert not np.allclose(given, other, rtol=0.01)
    assert not noise.requires_grad


def test_untrained_vision_transformer_reaches_farther_than_the_plain_unet():
    torch.manual_seed(0)
    near, far = (
        inspect.reach(inspect.receptive_field(build(name, size=128), 128, draws=2), 0.5)
        for name in ("nnunet/small", "dpt/test_vit")
    )
    assert near < far


def test_modes_and_gradients_are_left_as_found():
    model = build("unet/test_efficientnet", size=32).train()
    model.net.decoder.eval()  # as a strategy that freezes it would
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inspect.cost(model, 32)
    inspect.receptive_field(model, 32, draws=1)
    inspect.latency({"one": model}, 32, repeats=1)
    assert model.training
    assert model.encoder.training
    assert not any(module.training for module in model.net.decoder.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    inspect.latency({"one": model.eval()}, 32, repeats=1, train=True)  # moves statistics, but not the mode
    assert not any(module.training for module in model.modules())


def test_latency_takes_each_model_in_turn():
    seen = []

    class Spy(Chain):
        def __init__(self, name):
            super().__init__(1)
            self.name = name

        def forward(self, x):
            seen.append((self.name, tuple(x.shape), torch.is_grad_enabled()))
            return super().forward(x)

    models = {
        name: Segmenter(Spy(name), {"stage0": ["0"]}, stride=1, mean=[0.5], std=[0.25]) for name in "ab"
    }
    taken = inspect.latency(models, (16, 8), batch=3, repeats=2)
    assert list(taken) == ["a", "b"]
    assert min(taken.values()) > 0
    assert seen == [(name, (3, 1, 16, 8), False) for name in "ababab"]
    inspect.latency(models, (16, 8), repeats=1, train=True)
    assert seen[-1] == ("b", (1, 1, 16, 8), True)


NAMES = ("unet/test_efficientnet", "nnunet/small", "segformer/small", "upernet/swin_small", "dpt/test_vit")


def noise(number=6):
    return torch.rand(number, 1, 64, 52, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*NAMES, "sam/small", "segformer/mit_b0"])
def test_features_are_what_the_parts_hand_on(name):
    torch.manual_seed(0)
    model = build(name, size=64).train()
    images = noise(2)
    found = inspect.features(model, images)
    assert list(found) == [part for part, _ in model.parts]
    assert all(one.shape[0] == 2 and one.ndim == 2 for one in found.values())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    logits = model.eval()(images).detach().numpy()
    head = found["head"].reshape(2, 2, -1)
    if head.shape[-1] == 64 * 64:  # where the head does not end below the size of the image
        np.testing.assert_allclose(head.reshape(2, 2, 64, 64)[..., :52], logits, rtol=1e-4, atol=1e-5)
    # What lies before a part is seen in it, what lies behind is not.
    later = copy.deepcopy(model)
    with torch.no_grad():
        for weight in dict(later.parts)["stage3"].parameters():
            weight += 0.05 * torch.randn_like(weight)
    moved = inspect.features(later, images)
    changed = [part for part in found if not np.array_equal(found[part], moved[part])]
    assert changed == list(found)[list(found).index("stage3") :]


def test_features_of_a_unet_are_the_maps_of_its_encoder():
    model = build("unet/mobilenetv2_050", size=64).eval()
    with torch.no_grad():
        maps = model.encoder((torch.nn.functional.pad(noise(), (0, 12)) - model.mean) / model.std)
    found = inspect.features(model, noise())
    for part, wanted in zip(("stem", "stage1", "stage2", "stage3", "stage4"), maps, strict=True):
        np.testing.assert_allclose(found[part], wanted.flatten(1).numpy(), rtol=1e-4, atol=1e-5)


def test_drift_of_a_network_to_itself_and_of_one_part_that_moved():
    torch.manual_seed(0)
    before = build("unet/test_efficientnet", size=64)
    after = copy.deepcopy(before)
    assert inspect.drift(before, after, noise())["cka"].to_numpy() == pytest.approx(1)
    assert not inspect.drift(before, after, noise())["distance"].any()
    with torch.no_grad():
        for weight in dict(after.parts)["stage2"].parameters():
            weight *= 1.5
    found = inspect.drift(before, after, noise())
    assert found.loc["stage2", "distance"] == pytest.approx(0.5)
    assert not found["distance"].drop("stage2").any()
    assert found["cka"][["stem", "stage1"]].to_numpy() == pytest.approx(1)
    assert (found["cka"][["stage3", "stage4"]] < 0.99999).all()


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_part_that_has_died_is_like_nothing(value):
    torch.manual_seed(0)
    before = build("unet/test_efficientnet", size=64)
    after = copy.deepcopy(before)
    for weight in dict(after.parts)["stage4"].parameters():
        nn.init.constant_(weight, value)
    found = inspect.drift(before, after, noise())["cka"]
    assert np.isnan(found["stage4"])
    assert found[["stem", "stage3"]].to_numpy() == pytest.approx(1)


def test_drift_counts_adapters_as_what_they_add():
    torch.manual_seed(0)
    before = build("unet/test_efficientnet", size=64)
    after = copy.deepcopy(before)
    lora.add(after, rank=2)
    assert not inspect.drift(before, after, noise())["distance"].any()
    for adapter in lora.adapters(after).values():
        nn.init.normal_(adapter.b)
    found, stem = inspect.drift(before, after, noise()), dict(before.parts)["stem"]
    added = sum(
        one.change().square().sum()
        for name, one in lora.adapters(after).items()
        if after.get_submodule(name) in set(dict(after.parts)["stem"].modules())
    )
    whole = sum(weight.square().sum() for weight in stem.parameters())
    assert found.loc["stem", "distance"] == pytest.approx(float((added / whole).sqrt().detach()), rel=1e-5)
    assert lora.adapters(after)  # left as they were
    lora.merge(after)
    merged = inspect.drift(before, after, noise())
    np.testing.assert_allclose(found, merged, rtol=1e-5, atol=1e-6)
    assert (found["distance"].drop(["decoder", "head"]) > 0).all()
    assert not found["distance"][["decoder", "head"]].any()
