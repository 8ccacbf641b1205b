"""The training loop: against a plain loop, killed and resumed, and what it says when it cannot go on."""

import copy
import io
import math
import os
import re
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mammo_utils.training.loop import TrainingError, fit
from mammo_utils.training.strategies import Plan

QUIET = {"lr": 0.01, "precision": "32-true", "progress": False}


class Pair(NamedTuple):
    image: torch.Tensor
    target: torch.Tensor
    row: torch.Tensor


def pairs(count=5, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(count * size, 6, generator=generator)
    target, rows = image.sum(1, keepdim=True), torch.arange(count * size)
    return [Pair(*(x[k : k + size] for x in (image, target, rows))) for k in range(0, len(rows), size)]


def network(dropout=0.0, norm=False):
    torch.manual_seed(3)
    middle = nn.BatchNorm1d(8) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(6, 8), middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))


def mse(model, batch):
    return functional.mse_loss(model(batch.image), batch.target)


def error(model, valid):
    return sum(mse(model, batch).item() for batch in valid)


def assert_same(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def plain(model, batches, *, epochs, lr, accumulate):
    """The loop as a textbook has it: AdamW, cosine after a warm-up, clipped, no Fabric."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    groups = [batches[k : k + accumulate] for k in range(0, len(batches), accumulate)]
    total = epochs * len(groups)
    rising = round(0.05 * total)
    for done in range(total):
        if done < rising:
            rate = lr * (done + 1) / rising
        else:
            rate = lr * (1 + math.cos(math.pi * (done - rising) / (total - rising))) / 2
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        group = groups[done % len(groups)]
        (sum(mse(model, batch) for batch in group) / len(group)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_takes_the_steps_of_a_plain_loop(accumulate):
    model = network()
    expected = plain(copy.deepcopy(model), pairs(), epochs=6, lr=0.01, accumulate=accumulate)
    history = fit(model, pairs(), mse, epochs=6, accumulate=accumulate, **QUIET)
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert list(history.table["step"]) == [math.ceil(5 / accumulate) * k for k in range(1, 7)]
    assert (history.table["images"] == 20).all()
    assert history.ended == "all epochs done"


def test_accumulated_batches_are_one_large_batch():
    small, large = network(), network()
    batches = pairs(4)
    joined = [Pair(*(torch.cat(parts) for parts in zip(*batches[k : k + 2], strict=True))) for k in (0, 2)]
    fit(small, batches, mse, epochs=3, accumulate=2, **QUIET)
    fit(large, joined, mse, epochs=3, **QUIET)
    for a, b in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class Stop(Exception):
    pass


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4, 5, 7, 10, 12, 14])
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(tmp_path, calls):
    options = {"epochs": 3, "valid": pairs(2, seed=9), "metric": error, "better": "lower", "save_every": 2}
    left = calls

    def loss(model, batch):
        nonlocal left
        if left == 0:
            raise Stop
        left -= 1
        return mse(model, batch)

    whole, stopped, resumed = (network(0.5, norm=True) for _ in range(3))
    expected = fit(whole, pairs(), mse, **options, **QUIET)
    path = tmp_path / "run.ckpt"
    with pytest.raises(Stop):
        fit(stopped, pairs(), loss, resume=path, **options, **QUIET)
    found = fit(resumed, pairs(), mse, resume=path, **options, **QUIET)
    assert_same(whole, resumed)
    timed = ["seconds", "images_per_second"]
    assert found.table.drop(columns=timed).equals(expected.table.drop(columns=timed))
    assert (found.best_epoch, found.ended) == (expected.best_epoch, expected.ended)

    left, again = 0, network(0.5, norm=True)  # a finished run is not repeated
    fit(again, pairs(), loss, resume=path, **options, **QUIET)
    assert_same(whole, again)


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from test_loop import QUIET, fit, mse, network, pairs
import torch

def slow(model, batch):
    time.sleep({pause})
    return mse(model, batch)

model = network(0.5, norm=True)
fit(model, pairs(), slow, epochs=8, resume={path!r}, save_every=1, **QUIET)
torch.save(model.state_dict(), {path!r} + ".done")
"""


def test_a_killed_process_is_resumed_with_the_same_weights(tmp_path):
    path = tmp_path / "run.ckpt"
    script = SCRIPT.format(folder=os.path.dirname(__file__), path=str(path), pause=0.05)
    process = subprocess.Popen([sys.executable, "-c", script])
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.4)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = torch.load(path, weights_only=True)
    assert 0 < state["epoch"] * 5 + state["step"] < 40  # it died in the middle
    subprocess.run([sys.executable, "-c", script.replace("0.05", "0")], check=True)
    whole = network(0.5, norm=True)
    fit(whole, pairs(), mse, epochs=8, **QUIET)
    resumed = torch.load(f"{path}.done", weights_only=True)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.state_dict().items())


TWO = """
import sys
sys.path.insert(0, {folder!r})
from test_loop import Pair, fit, mse, network, pairs
import torch

class Halves(list):
    def part(self, rank, world):
        return Halves(Pair(*(x[rank::world] for x in batch)) for batch in self)

model = network()
history = fit(model, Halves(pairs()), mse, epochs=3, lr=0.01, progress=False)
torch.save([model.state_dict(), history.table["loss"].tolist(), int(history.table["images"].sum())], {path!r})
"""


@pytest.mark.parametrize("launcher", ["fabric", "torchrun"])
def test_two_processes_take_the_steps_of_one(tmp_path, launcher):
    script, path = tmp_path / "two.py", tmp_path / "two.pt"
    script.write_text(TWO.format(folder=os.path.dirname(__file__), path=str(path)))
    command = {
        "fabric": ["lightning_fabric.cli", "--accelerator=cpu", "--devices=2", "--strategy=ddp"],
        "torchrun": ["torch.distributed.run", "--nproc-per-node=2", "--master-port=29511"],
    }[launcher]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu", "MAMMO_PRECISION": "32-true"}
    subprocess.run(
        [sys.executable, "-m", *command, str(script)], check=True, env=environment, capture_output=True
    )
    weights, losses, images = torch.load(path, weights_only=True)
    one = network()
    history = fit(one, pairs(), mse, epochs=3, **QUIET)
    assert images == 60
    assert losses == pytest.approx(history.table["loss"].tolist(), rel=1e-4)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-6)


def test_it_ends_with_the_best_weights_and_stops_when_it_waits_in_vain():
    model, kept, script = network(), [], [0.1, 0.7, 0.5, 0.7, 0.6, 0.9]

    def scripted(net, valid):
        assert not net.training
        kept.append(copy.deepcopy(model))
        return {"skill": script[len(kept) - 1], "other": 0.0}

    seen = []
    history = fit(
        model, pairs(), mse, epochs=6, valid=pairs(), metric=scripted, patience=3,
        watch=lambda h: seen.append(len(h.rows)), **QUIET,
    )  # fmt: skip
    assert (history.best_epoch, history.best, len(history.rows)) == (2, 0.7, 5)
    assert history.ended == "no better skill in 3 scores"
    assert seen == [1, 2, 3, 4, 5]
    assert_same(model, kept[1])

    lower = fit(
        network(),
        pairs(),
        mse,
        epochs=6,
        valid=[0],
        metric=lambda m, v: script.pop(0),
        better="lower",
        **QUIET,
    )
    assert lower.best_epoch == 1


def test_validation_comes_every_so_many_epochs_and_after_the_last():
    history = fit(network(), pairs(), mse, epochs=5, valid=pairs(), metric=error, evaluate_every=2, **QUIET)
    assert history.table["valid"].notna().tolist() == [False, True, False, True, True]


def test_without_a_metric_the_loss_over_all_images_decides():
    model, valid = network(), [*pairs(2, seed=5), *pairs(1, size=2, seed=6)]  # batches of 4, 4 and 2
    history = fit(model, pairs(), mse, epochs=4, valid=valid, **QUIET)
    with torch.no_grad():
        squares = torch.cat([(model(batch.image) - batch.target).squeeze(1) ** 2 for batch in valid])
    assert history.metric == "valid_loss"
    assert history.best == pytest.approx(squares.mean().item(), rel=1e-5)
    assert history.best == history.table["valid_loss"].min()


def test_groups_without_a_rate_stand_still_and_thaw_later():
    model = network()
    first = copy.deepcopy(model)

    def groups(epoch):
        return [
            {"name": "body", "params": list(model[0].parameters()), "lr": 0.0 if epoch < 2 else 0.001},
            {"name": "head", "params": list(model[4].parameters()), "lr": 0.01},
        ]

    states = []
    fit(
        model, pairs(), mse, epochs=3, strategy=Plan(groups),
        watch=lambda history: states.append(copy.deepcopy(model)), **QUIET,
    )  # fmt: skip
    assert torch.equal(states[1][0].weight, first[0].weight)
    assert not torch.equal(states[1][4].weight, first[4].weight)
    assert not torch.equal(states[2][0].weight, first[0].weight)


def test_the_penalty_of_a_plan_is_part_of_the_step_but_not_of_the_loss():
    model, free = network(), network()
    plan = Plan(
        lambda epoch: [{"name": "all", "params": list(model.parameters()), "lr": 0.01}],
        lambda: 100 * sum((p**2).sum() for p in model.parameters()),
    )
    start = sum(mse(model, batch).item() for batch in pairs(1))
    history = fit(model, pairs(1), mse, epochs=1, strategy=plan, **QUIET)
    assert history.rows[0]["loss"] == pytest.approx(start)
    fit(free, pairs(1), mse, epochs=1, **QUIET)
    assert model[0].weight.norm() < free[0].weight.norm()


def test_the_generators_of_the_caller_are_left_alone():
    model = network(0.5)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit(model, pairs(), mse, epochs=1, **QUIET)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_what_is_drawn():
    def trained(seed):
        model = network(0.5)
        fit(model, pairs(), mse, epochs=1, seed=seed, **QUIET)
        return model[0].weight

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_one_process_trains_in_two_precisions():
    results = []
    for precision in ("32-true", "bf16-mixed"):
        model = network()
        fit(model, pairs(), mse, epochs=2, lr=0.01, precision=precision, progress=False)
        results.append(model[0].weight)
        assert model[0].weight.dtype == torch.float32
    assert not torch.equal(*results)
    torch.testing.assert_close(*results, rtol=0.1, atol=0.02)


def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_checkpoint(tmp_path):
    def loss(model, batch):
        bad = 13 in batch.row and steps[0] > 6
        steps[0] += 1
        return mse(model, batch) * (float("nan") if bad else 1)

    steps, model, path = [0], network(), tmp_path / "run.ckpt"
    message = re.escape("the loss is nan in epoch 2, batch 4 (rows 12, 13, 14, 15 of the cache): lower lr")
    with pytest.raises(TrainingError, match=message):
        fit(model, pairs(), loss, epochs=3, resume=path, **QUIET)
    assert all(p.isfinite().all() for p in model.parameters())
    assert torch.load(path, weights_only=True)["epoch"] == 1


def broken_gradient(step):
    """A loss that is finite throughout, with a gradient that is not in its ``step``-th call."""
    calls = [0]

    def loss(model, batch):
        calls[0] += 1
        value = mse(model, batch)
        return value + torch.sqrt(0 * value) if calls[0] == step else value

    return loss


@pytest.mark.parametrize(("step", "epoch"), [(8, 1), (10, 1)])
def test_weights_that_are_not_finite_are_never_kept(tmp_path, step, epoch):
    path = tmp_path / "run.ckpt"
    with pytest.raises(TrainingError, match=re.escape(f"{path} holds the state before")):
        fit(network(), pairs(), broken_gradient(step), epochs=2, resume=path, save_every=3, **QUIET)
    kept = torch.load(path, weights_only=True)
    assert kept["epoch"] == epoch
    assert all(weight.isfinite().all() for weight in kept["model"].values())


def test_weights_that_break_in_the_last_step_are_not_returned():
    with pytest.raises(TrainingError, match="no longer finite after 2 epochs") as caught:
        fit(network(), pairs(), broken_gradient(10), epochs=2, **QUIET)
    assert "holds the state" not in str(caught.value)  # there is no file


def test_numbers_out_of_arrays_can_be_resumed(tmp_path):
    rate, count, path = np.geomspace(1e-2, 1e-1, 3)[0], np.arange(5)[2], tmp_path / "run.ckpt"
    options = {"lr": rate, "weight_decay": rate, "warmup": rate, "clip": rate, "precision": "32-true"}
    options |= {"epochs": count, "seed": count, "patience": count, "progress": False, "resume": path}
    models = [network(), network()]
    first, again = (fit(model, pairs(), mse, **options) for model in models)
    assert_same(*models)
    assert first.rows == again.rows
    plan = Plan(lambda epoch: [{"name": "all", "params": list(models[0].parameters()), "lr": rate}])
    fit(models[0], pairs(), mse, strategy=plan, epochs=1, resume=tmp_path / "plan.ckpt", **QUIET)
    assert torch.load(tmp_path / "plan.ckpt", weights_only=True)["epoch"] == 1


def test_out_of_memory_is_said_even_where_no_other_batch_fits():
    class Full(list):
        def __iter__(self):
            if calls:
                raise MemoryError("no room")
            calls.append(1)
            return super().__iter__()

    def loss(model, batch):
        raise MemoryError("no room")

    calls = []
    with pytest.raises(TrainingError, match=r"batches of this size in 32-true: lower batch_size"):
        fit(network(), Full(pairs()), loss, epochs=1, **QUIET)


def test_out_of_memory_says_what_to_lower():
    def loss(model, batch):
        return mse(model, batch) + torch.empty(2**50).sum()

    with pytest.raises(TrainingError, match=r"batches of 4 images of 6 in 32-true: lower batch_size"):
        fit(network(), pairs(), loss, epochs=1, **QUIET)


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(network(), pairs(), lambda model, batch: model(batch.image[:, :3]).sum(), epochs=1, **QUIET)
    with pytest.raises(ValueError, match=r"scalar, not of shape \(4, 1\)"):
        fit(network(), pairs(), lambda model, batch: model(batch.image), epochs=1, **QUIET)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"schedule": "triangle"}, "constant, linear, cosine, plateau"),
        ({"optimizer": "lion"}, "adamw, sgd"),
        ({"strategy": "partial"}, "full"),
        ({"better": "max"}, "higher, lower"),
        ({"epochs": 0}, "nothing to train on"),
        ({"accumulate": 0}, "accumulate=0, .* give 1 or more"),
        ({"evaluate_every": 0, "valid": pairs()}, "evaluate_every=0: give 1 or more"),
        ({"warmup": 2}, "warmup=2.0: a share of the steps"),  # steps or epochs elsewhere
        ({"warmup": -0.1}, "warmup=-0.1: a share of the steps"),
    ],
)
def test_wrong_names_list_the_right_ones(option, match):
    with pytest.raises(ValueError, match=match):
        fit(network(), pairs(), mse, **{"epochs": 1} | QUIET | option)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    fit(network(), pairs(), mse, epochs=1, resume=path, **QUIET)
    with pytest.raises(ValueError, match="epochs is 1 there and 2 here; seed is 0 there and 4 here"):
        fit(network(), pairs(), mse, epochs=2, seed=4, resume=path, **QUIET)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    fit(network(), pairs(), mse, epochs=1, resume=path, **QUIET)
    with pytest.raises(ValueError, match=r"another model or strategy.*(?s:.)*Missing key"):
        fit(network(norm=True), pairs(), mse, epochs=1, resume=path, **QUIET)

    def halves(epoch):
        return [{"name": f"{k}", "params": list(model[k].parameters()), "lr": 0.01} for k in (0, 4)]

    model = network()
    with pytest.raises(ValueError, match="another model or strategy"):
        fit(model, pairs(), mse, strategy=Plan(halves), epochs=1, resume=path, **QUIET)


class Harmful:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "harmful", "tensor"])
def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(tmp_path, content):
    path = tmp_path / "run.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(Harmful() if content == "harmful" else torch.ones(2), path)
    with pytest.raises(ValueError, match="is not a checkpoint of fit"):
        fit(network(), pairs(), mse, epochs=1, resume=path, **QUIET)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_is_for_terminals(monkeypatch):
    options = {"epochs": 2, "valid": pairs(), "metric": error, "lr": 0.01, "precision": "32-true"}
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        fit(network(), pairs(), mse, **options)
        text = stream.getvalue()
        assert bool(text) == shown
        if shown:
            assert re.search(
                r"epoch 2 .*10/10 steps, 00:00 left, loss \d\.\d{4}, valid \d+\.\d{3}, \d+ images/s", text
            )
