"""Strategies: what moves in a run and what stays bit for bit, the rates, the penalty."""

import copy
import math
import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from mammo_utils.models import lora
from mammo_utils.models.segmentation import build
from mammo_utils.training.loop import fit
from mammo_utils.training.strategies import STRATEGIES, Plan, hold, trainable

QUIET = {"lr": 0.01, "precision": "32-true", "progress": False}
NAMES = ("unet/test_efficientnet", "segformer/small", "sam/small")
NEW = ("decoder", "head")


class Batch(NamedTuple):
    image: torch.Tensor
    target: torch.Tensor


class Classifier(nn.Module):
    """A network of three parts with batch norm, as a classifier lists them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    @property
    def parts(self):
        return [(name, getattr(self, name)) for name in ("stem", "stage1", "head")]

    def forward(self, x):
        return self.head(self.stage1(self.stem(x)))


def network(name):
    torch.manual_seed(4)
    return Classifier() if name == "classifier" else build(name, size=64)


def batches(model, count=2, size=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, size, 1, 64, 64, generator=generator)
    with torch.no_grad():
        shape = copy.deepcopy(model).eval()(images[0]).shape
    return [Batch(image, torch.rand(shape, generator=generator).round()) for image in images]


def loss(model, batch):
    return functional.binary_cross_entropy_with_logits(model(batch.image), batch.target)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    """Names of weights and statistics that differ, under the names before adapters came."""
    after = {
        name.replace("parametrizations.weight.original", "weight"): t for name, t in state(model).items()
    }
    return {name for name in before if not torch.equal(after[name], before[name])}


def in_new(name):
    return name.startswith(("net.decoder.", "net.segmentation_head.", "head."))


def is_norm_or_bias(model):
    """Names in the encoder that belong to a norm (by the name of its class) or are a bias."""
    owners = dict(model.named_modules())
    return {
        name
        for name, _ in model.named_parameters()
        if "Norm" in type(owners[name.rpartition(".")[0]]).__name__ or name.rpartition(".")[2] == "bias"
    }


def is_statistic(name):
    return "running_" in name or "num_batches" in name


# What may move in a run of one epoch.
MAY = {
    "full": lambda model, name: True,
    "layerwise": lambda model, name: True,
    "l2_sp": lambda model, name: True,
    "gradual": lambda model, name: in_new(name),
    "head": lambda model, name: in_new(name),
    "lora": lambda model, name: in_new(name),
    "bnbitfit": lambda model, name: in_new(name) or name in is_norm_or_bias(model) or is_statistic(name),
}


@pytest.mark.parametrize("name", [*NAMES, "classifier"])
@pytest.mark.parametrize("strategy", MAY)
def test_what_may_change_does_and_all_else_stays_bit_for_bit(strategy, name):
    model = network(name)
    before, reference, data = state(model), copy.deepcopy(model), batches(model)
    weights = {key for key, _ in model.named_parameters()}
    fit(model, data, loss, epochs=1, strategy=strategy, **QUIET)
    found = moved(model, before)
    assert not {key for key in found if not MAY[strategy](reference, key)}
    # A bias before batch norm has no gradient but for rounding, and a padded row may see nothing.
    may = {key for key in weights if MAY[strategy](reference, key)}
    assert len(found & may) >= 0.9 * len(may)
    statistics = {key for key in before if is_statistic(key) and not in_new(key)}
    move = strategy in ("full", "layerwise", "l2_sp", "bnbitfit")
    assert statistics & found == (statistics if move else set())
    for adapter in lora.adapters(model).values():
        assert adapter.b.any()
    assert bool(lora.adapters(model)) == (strategy == "lora")


def test_the_running_statistics_of_bnbitfit_are_an_option():
    for name in ("unet/test_efficientnet", "classifier"):
        model = network(name)
        before, data = state(model), batches(model)
        plan = STRATEGIES["bnbitfit"](model, lr=0.01, epochs=1, statistics=False)
        fit(model, data, loss, epochs=1, strategy=plan, **QUIET)
        found = moved(model, before)
        held = {key for key in before if is_statistic(key) and not in_new(key)}
        assert held
        assert not held & found
        assert {key for key in before if is_statistic(key) and in_new(key)} <= found  # those of nothing yet
        assert any(key.endswith("1.weight") or "bn1.weight" in key for key in found if not in_new(key))


def test_frozen_batch_norm_normalises_by_its_statistics():
    model = network("classifier")
    model.stem[1].requires_grad_(False)
    bare = nn.BatchNorm2d(3, affine=False)
    model.stem.append(nn.Sequential(bare))
    hold(model.train(), Plan(lambda epoch: []))
    assert [model.stem[1].training, model.stage1[1].training, bare.training] == [False, True, True]
    assert model.stem.training
    hold(model.train(), Plan(lambda epoch: [], statistics=False))
    assert not any((model.stem[1].training, model.stage1[1].training, bare.training))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", [*NAMES, "nnunet/small", "dpt/test_vit", "upernet/swin_small", "classifier"])
def test_groups_are_the_same_in_every_epoch_and_hold_no_parameter_twice(name, strategy):
    model = network(name)
    plan = STRATEGIES[strategy](model, lr=0.5, epochs=4)
    epochs = [plan.groups(epoch) for epoch in range(8)]
    listed = [[(group["name"], [id(p) for p in group["params"]]) for group in groups] for groups in epochs]
    assert all(groups == listed[0] for groups in listed)
    every = [one for _, ids in listed[0] for one in ids]
    assert len(every) == len(set(every))
    every_parameter = {id(p) for p in model.parameters()}
    if strategy in ("full", "layerwise", "gradual", "lp_ft", "l2_sp"):
        assert set(every) == every_parameter
    else:
        assert set(every) < every_parameter
    assert all(group["params"] and 0 <= group["lr"] <= 0.5 for groups in epochs for group in groups)


def test_rates_fall_from_the_head_to_the_stem():
    model = network("unet/test_efficientnet")
    groups = STRATEGIES["layerwise"](model, lr=1.0, epochs=1).groups(0)
    assert [group["name"] for group in groups] == [name for name, _ in model.parts]
    rates = [group["lr"] for group in groups]
    assert rates[-3:] == pytest.approx([0.147929, 0.384615, 1.0], rel=1e-5)
    assert rates[0] == pytest.approx(2.6**-6)
    even = STRATEGIES["layerwise"](model, lr=1.0, epochs=1, decay=1).groups(0)
    assert {group["lr"] for group in even} == {1.0}


def test_parts_thaw_from_the_top_in_the_stated_epochs():
    model = network("sam/small")
    stages = ["stem", "stage1", "stage2", "stage3", "stage4", "neck"]
    plan = STRATEGIES["gradual"](model, lr=1.0, epochs=12, every=2)
    for epoch in range(14):
        thawed = {group["name"] for group in plan.groups(epoch) if group["lr"]}
        assert thawed == {*NEW, *stages[len(stages) - min(6, epoch // 2) :]}
    falling = STRATEGIES["gradual"](model, lr=0.8, epochs=12, fall=0.5)
    for epoch in range(9):
        moving = {group["lr"] for group in falling.groups(epoch) if group["lr"]}
        assert moving == {0.8 * 0.5 ** min(6, epoch)}
    plan, seen = STRATEGIES["gradual"](model, lr=0.01, epochs=3), []

    def weights():
        return {name: [p.clone() for p in part.parameters()] for name, part in model.parts}

    def watch(history):
        new, old = weights(), seen[-1][1]
        same = {name: all(map(torch.equal, new[name], old[name])) for name in new}
        seen.append(({name for name in same if not same[name]}, new))

    seen.append((set(), weights()))
    fit(model, batches(model, 1), loss, epochs=3, strategy=plan, watch=watch, schedule="constant", **QUIET)
    assert [names for names, _ in seen[1:]] == [{*NEW}, {"neck", *NEW}, {"stage4", "neck", *NEW}]


def test_the_first_phase_of_lp_ft_is_the_head_alone():
    first, both = network("unet/test_efficientnet"), network("unet/test_efficientnet")
    data, states = batches(first), []
    options = {"epochs": 4, "schedule": "constant", **QUIET}
    seen = fit(both, data, loss, strategy="lp_ft", watch=lambda h: states.append(state(both)), **options)
    alone = []
    fit(first, data, loss, strategy="head", watch=lambda h: alone.append(state(first)), **options)
    for epoch in (0, 1):
        assert all(torch.equal(states[epoch][key], tensor) for key, tensor in alone[epoch].items())
    encoder = [key for key, _ in first.named_parameters() if ".encoder." in key]
    assert not any(torch.equal(states[2][key], states[1][key]) for key in encoder)
    assert seen.table["lr"].tolist() == pytest.approx([0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(("epochs", "probe", "first"), [(2, 0.1, 1), (10, 0.3, 3), (3, 0.99, 2)])
def test_lp_ft_has_two_phases_whatever_the_share(epochs, probe, first):
    plan = STRATEGIES["lp_ft"](network("classifier"), lr=1.0, epochs=epochs, probe=probe, lower=0.25)
    rates = [[group["lr"] for group in plan.groups(epoch)] for epoch in range(epochs)]
    assert rates == [[0.0, 1.0]] * first + [[0.25, 0.25]] * (epochs - first)


def test_l2_sp_is_half_the_squared_distances():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False)
            self.body.weight.data = torch.tensor([[1.0, -2.0]])
            self.head.weight.data = torch.tensor([[3.0]])
            self.parts = [("body", self.body), ("head", self.head)]

    model = Two()
    plan = STRATEGIES["l2_sp"](model, lr=1.0, epochs=1, alpha=0.5, beta=0.2)
    assert plan.penalty().item() == pytest.approx(0.1 * 9)  # the encoder is where it started
    model.body.weight.data += torch.tensor([[2.0, -1.0]])
    penalty = plan.penalty()
    assert penalty.item() == pytest.approx(0.25 * (4 + 1) + 0.1 * 9)
    penalty.backward()
    torch.testing.assert_close(model.body.weight.grad, torch.tensor([[1.0, -0.5]]))
    torch.testing.assert_close(model.head.weight.grad, torch.tensor([[0.6]]))


def test_l2_sp_keeps_the_encoder_near_its_start_and_not_near_zero():
    def away(alpha):
        model = network("classifier")
        start = copy.deepcopy(model)
        plan = STRATEGIES["l2_sp"](model, lr=0.01, epochs=8, alpha=alpha)
        data = batches(model)
        fit(model, data, loss, epochs=8, strategy=plan, weight_decay=10.0, schedule="constant", **QUIET)
        pairs = zip(model.stem.parameters(), start.stem.parameters(), strict=True)
        return math.sqrt(sum((p - w).square().sum().item() for p, w in pairs))

    assert away(1000.0) < 0.5 * away(0.0)
    decayed = network("classifier")
    start = copy.deepcopy(decayed)
    fit(decayed, batches(decayed), loss, epochs=8, weight_decay=10.0, schedule="constant", **QUIET)
    assert decayed.stem[0].weight.norm() < 0.6 * start.stem[0].weight.norm()  # which l2_sp leaves out


def test_adapters_of_a_run_come_from_its_seed_and_leave_the_generator_alone():
    def thin(seed, before):
        model = network("classifier")
        data = batches(model)
        torch.manual_seed(before)
        fit(model, data, loss, epochs=1, strategy="lora", seed=seed, **QUIET)
        return next(iter(lora.adapters(model).values())).a, torch.rand(3)

    one, after = thin(0, 5)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(one, thin(0, 6)[0])
    assert not torch.equal(one, thin(1, 5)[0])


def test_adapters_that_a_model_has_are_kept_and_trained():
    model = network("classifier")
    lora.add(model, rank=1, targets="stem.*")
    plan = STRATEGIES["lora"](model, lr=0.01, epochs=1)
    assert [len(group["params"]) for group in plan.groups(0)] == [2, 2]
    fit(model, batches(model), loss, epochs=1, strategy=plan, **QUIET)
    assert lora.adapters(model)["stem.0"].b.any()


def test_a_resumed_run_with_adapters_ends_with_the_same_weights(tmp_path):
    class Stop(Exception):
        pass

    def stop(history):
        raise Stop

    whole, stopped, resumed = (network("classifier") for _ in range(3))
    data, options = batches(whole), {"epochs": 3, "strategy": "lora"} | QUIET
    fit(whole, data, loss, **options)
    with pytest.raises(Stop):
        fit(stopped, data, loss, resume=tmp_path / "run.ckpt", watch=stop, **options)
    torch.manual_seed(99)
    fit(resumed, data, loss, resume=tmp_path / "run.ckpt", **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


TWO = """
import sys
sys.path.insert(0, {folder!r})
from test_strategies import QUIET, STRATEGIES, Batch, batches, fit, loss, state, without_batch_norm
import torch

class Halves(list):
    def part(self, rank, world):
        return Halves(Batch(*(x[rank::world] for x in batch)) for batch in self)

found = {{}}
for name in STRATEGIES:
    model = without_batch_norm()
    fit(model, Halves(batches(model)), loss, epochs=3, strategy=name, **QUIET)
    found[name] = state(model)
torch.save(found, {path!r})
"""


def without_batch_norm():
    """Batch norm would see half of a batch in each process."""
    model = network("classifier")
    model.stem[1], model.stage1[1] = nn.GroupNorm(1, 4), nn.GroupNorm(2, 4)
    return model


def test_in_two_processes_every_strategy_ends_where_it_does_in_one(tmp_path):
    script, path = tmp_path / "two.py", tmp_path / "two.pt"
    script.write_text(TWO.format(folder=os.path.dirname(__file__), path=str(path)))
    command = ["torch.distributed.run", "--nproc-per-node=2", "--master-port=29513"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu", "MAMMO_PRECISION": "32-true"}
    subprocess.run(
        [sys.executable, "-m", *command, str(script)], check=True, env=environment, capture_output=True
    )
    found = torch.load(path, weights_only=True)
    for name in STRATEGIES:
        model = without_batch_norm()
        fit(model, batches(model), loss, epochs=3, strategy=name, **QUIET)
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(found[name][key], tensor, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")


def test_the_table_counts_by_part():
    model = network("classifier")
    table = trainable(model, STRATEGIES["bnbitfit"](model, lr=1.0, epochs=1))
    # 1·4·9 + 4 and 8 of the norm; 4·9 + 4 and 8 of the norm; 4·2 + 2
    expected = [["stem", 12, 48, 1.0], ["stage1", 12, 48, 1.0], ["head", 10, 10, 1.0]]
    assert table.reset_index().to_numpy().tolist() == expected
    gradual = STRATEGIES["gradual"](model, lr=1.0, epochs=3)
    assert [trainable(model, gradual, epoch)["trainable"].tolist() for epoch in (0, 1, 2)] == [
        [0, 0, 10], [0, 48, 10], [48, 48, 10],
    ]  # fmt: skip
    assert trainable(model, gradual, 1)["lr"].tolist() == [0, 1, 1]
    slow = STRATEGIES["layerwise"](model, lr=0.4, epochs=1, decay=2)
    assert trainable(model, slow)["lr"].tolist() == pytest.approx([0.1, 0.2, 0.4])
    table = trainable(model, STRATEGIES["lora"](model, lr=1.0, epochs=1, rank=2))
    assert table["trainable"].tolist() == [2 * (9 + 4), 2 * (9 + 4), 10]
    assert table["all"].tolist() == [48 + 26, 48 + 26, 10]


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"full"}))
def test_a_model_without_parts_is_refused(strategy):
    with pytest.raises(ValueError, match="Sequential has no parts that end with a head.*'full'"):
        STRATEGIES[strategy](nn.Sequential(nn.Linear(2, 2)), lr=0.1, epochs=2)


def test_numbers_out_of_range_are_refused():
    model = network("classifier")
    with pytest.raises(ValueError, match="every=0: give 1"):
        STRATEGIES["gradual"](model, lr=0.1, epochs=2, every=0)
    with pytest.raises(ValueError, match="fall=1.5"):
        STRATEGIES["gradual"](model, lr=0.1, epochs=2, fall=1.5)
    for wrong in ({"epochs": 1}, {"epochs": 4, "probe": 1.0}, {"epochs": 4, "probe": 0.0}):
        with pytest.raises(ValueError, match="two phases need 2 epochs"):
            STRATEGIES["lp_ft"](model, lr=0.1, **wrong)
