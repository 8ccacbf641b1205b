"""The one training loop: segmentation, classification and self-supervision, on one device or several."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import index

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mammo_utils.profile import choose
from mammo_utils.training import schedules
from mammo_utils.training.checkpoint import Run, TrainingError
from mammo_utils.training.devices import launch, strided_in_float32
from mammo_utils.training.history import Bar, History
from mammo_utils.training.strategies import STRATEGIES, Plan, hold

OPTIMIZERS = {
    "adamw": lambda groups, decay: torch.optim.AdamW(groups, weight_decay=decay),
    "sgd": lambda groups, decay: torch.optim.SGD(groups, momentum=0.9, weight_decay=decay),
}
LOOK = 20  # steps between two looks at the loss on a device that would have to wait for each


def fit(
    model: nn.Module,
    train: Iterable,
    loss: Callable[[nn.Module, object], Tensor],
    *,
    epochs: int,
    lr: float,
    valid: Iterable | None = None,
    metric: Callable[[nn.Module, Iterable], float | dict[str, float]] | None = None,
    better: str = "higher",
    evaluate_every: int = 1,
    patience: int | None = None,
    watch: Callable[[History], object] | None = None,
    strategy: str | Plan = "full",
    optimizer: str = "adamw",
    weight_decay: float = 0.01,
    schedule: str = "cosine",
    warmup: float = 0.05,
    clip: float | None = 1.0,
    accumulate: int = 1,
    precision: str = "auto",
    compile: bool = False,
    resume=None,
    save_every: int | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` in place and return what happened; with ``valid`` it ends with its best weights.

    ``train``: a re-iterable of batches with a length, such as ``data.batches.Batches``, whose ``set_epoch``,
    ``iterate(start)`` and ``part`` are used; ``loss(model, batch)`` returns a scalar.
    ``valid`` is scored every ``evaluate_every`` epochs and after the last by ``metric(model, valid)``, a
    number or a dictionary whose first entry decides; ``better`` (``higher``, ``lower``) says which direction
    is good.  Without a metric the mean loss over ``valid`` decides, and lower is better.  ``patience`` ends
    the run after so many scores without a new best.  ``watch(history)`` is called after every epoch.

    ``strategy``: a name in ``strategies.STRATEGIES`` or a ``Plan``.  ``optimizer``: ``adamw`` or ``sgd``
    (momentum 0.9).  ``schedule``: ``constant``, ``linear``, ``cosine`` or ``plateau``, after a ``warmup`` of
    that share of the steps.  ``clip``: largest norm of the gradient.  ``accumulate`` batches make one step.
    ``precision``: ``auto`` (see ``profile.precision``) or one of Fabric's, such as ``32-true``,
    ``bf16-mixed`` or ``16-mixed``.  ``compile`` passes the model through ``torch.compile``.

    ``resume``: path of a checkpoint, written after every epoch and after every ``save_every`` steps; a run
    that finds it goes on from there.  On a CPU, a run that was killed and resumed ends with the same weights
    as one left alone.

    Several devices or machines: start the script with ``fabric run`` or ``torchrun``, or give a launched
    ``fabric``; each process then works on its part of every batch.  The caller's random generators are left
    alone: every step draws from a seed of its own.

    Raises ``TrainingError`` for a loss or weights that are not finite and for a device out of memory;
    ``ValueError`` for unknown names, for no batches, for numbers out of their range and for a checkpoint of
    other settings or another model.
    """
    if not len(train) or epochs < 1:
        raise ValueError(f"nothing to train on: {len(train)} batches an epoch, {epochs} epochs")
    # A checkpoint holds plain values only, and numbers out of an array are none.
    lr, weight_decay, warmup = float(lr), float(weight_decay), float(warmup)
    epochs, accumulate, evaluate_every, seed = map(index, (epochs, accumulate, evaluate_every, seed))
    clip, patience = clip and float(clip), patience and index(patience)
    if min(accumulate, evaluate_every) < 1 or not 0 <= warmup < 1:
        numbers = f"accumulate={accumulate}, evaluate_every={evaluate_every}"
        raise ValueError(f"{numbers}: give 1 or more; warmup={warmup}: a share of the steps, 0 to below 1")
    fabric = fabric or launch(precision)
    if valid is not None and metric is None:
        metric, better = _mean_loss(loss, fabric), "lower"
    sign = {"higher": 1, "lower": -1}[choose("direction", better, ("higher", "lower"))]
    choose("schedule", schedule, schedules.SCHEDULES)
    model.to(fabric.device, memory_format=torch.channels_last)
    rank, cuda = fabric.global_rank, [fabric.device.index] if fabric.device.type == "cuda" else []
    if isinstance(strategy, str):
        with torch.random.fork_rng(cuda):  # adapters begin with random numbers
            torch.manual_seed(seed)
            strategy = STRATEGIES[choose("strategy", strategy, STRATEGIES)](model, lr=lr, epochs=epochs)
    _thaw(model, strategy.groups(0))
    make = OPTIMIZERS[choose("optimizer", optimizer, OPTIMIZERS)]
    bare = torch.compile(model) if compile else model
    net, optimiser = fabric.setup(bare, make(strategy.groups(0), weight_decay))
    if fabric.world_size > 1:
        train = train.part(fabric.global_rank, fabric.world_size)
    steps = math.ceil(len(train) / accumulate)  # of an epoch
    settings = {"epochs": epochs, "batches": len(train), "lr": lr, "optimizer": optimizer, "clip": clip}
    settings |= {"weight_decay": weight_decay, "schedule": schedule, "warmup": warmup, "seed": seed}
    settings |= {"accumulate": accumulate, "evaluate_every": evaluate_every, "patience": patience}
    settings |= {"precision": fabric.strategy.precision.precision, "processes": fabric.world_size}
    run = Run(model, optimiser, fabric, path=resume, settings=settings)
    run.restore()
    bar = Bar(run, total=epochs * steps, done=run.epoch * steps + run.step, shown=progress)
    try:
        with torch.random.fork_rng(cuda), strided_in_float32(model, fabric):
            while run.epoch < epochs and not run.history.ended:
                groups = strategy.groups(run.epoch)
                if _thaw(model, groups):
                    net = fabric.setup_module(bare)  # several processes wait for what could change then
                rates = [float(group["lr"]) for group in groups]
                values = [sign * value for value in run.history.values]
                losses, clock = _Losses(run, fabric.device), time.perf_counter()
                net.train()
                hold(model, strategy)
                for batches in _steps(train, run.epoch, accumulate, start=run.step):
                    done = run.epoch * steps + run.step
                    scale = schedules.factor(schedule, done, epochs * steps, warmup=warmup, values=values)
                    for group, rate in zip(optimiser.param_groups, rates, strict=True):
                        group["lr"] = rate * scale
                    torch.manual_seed(hash((seed, done, rank)))  # a resumed step draws what it would have
                    for number, batch in enumerate(map(fabric.to_device, batches), start=1):
                        with fabric.no_backward_sync(net, enabled=number < len(batches)):
                            value = loss(net, batch)
                            losses.add(value, batch)
                            penalty = strategy.penalty()
                            value = value if penalty is None else value + penalty
                            fabric.backward(value / len(batches))
                    if clip is not None:
                        fabric.clip_gradients(net, optimiser, max_norm=clip, error_if_nonfinite=False)
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                    run.step += 1
                    now = time.perf_counter()
                    run.seconds, clock = run.seconds + now - clock, now
                    bar.move()
                    if save_every and run.step % save_every == 0 and run.step < steps:
                        losses.look()
                        run.save()
                        clock = time.perf_counter()
                losses.look()
                run.seconds += time.perf_counter() - clock
                run.finish_epoch(steps, lr=max(rates) * scale)
                if valid is not None and (run.epoch % evaluate_every == 0 or run.epoch == epochs):
                    run.judge(_score(net, metric, valid), sign, patience)
                if run.epoch == epochs:
                    run.history.ended = run.history.ended or "all epochs done"
                run.save()
                if watch is not None and fabric.is_global_zero:
                    watch(run.history)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory in epoch {run.epoch + 1} with batches of {_size(train)} in "
            f"{settings['precision']}: lower batch_size and raise accumulate by the same factor, lower the "
            "image size, or take a smaller model"
        ) from error
    finally:
        bar.close()
    run.load_best()
    return run.history


def _thaw(model: nn.Module, groups: list[dict]) -> bool:
    """Let the parameters of groups with a rate change and freeze all others; says whether any did not so."""
    moving = {id(p) for group in groups if group["lr"] > 0 for p in group["params"]}
    wrong = [p for p in model.parameters() if p.requires_grad != (id(p) in moving)]
    for parameter in wrong:
        parameter.requires_grad_(not parameter.requires_grad)
    return bool(wrong)


def _steps(train: Iterable, epoch: int, accumulate: int, *, start: int) -> Iterator[list]:
    """Lists of ``accumulate`` batches, from step ``start`` of the epoch on."""
    if hasattr(train, "set_epoch"):
        train.set_epoch(epoch)
    first = start * accumulate
    batches = iter(train.iterate(first) if hasattr(train, "iterate") else islice(train, first, None))
    while group := list(islice(batches, accumulate)):
        yield group


class _Losses:
    """Sums the losses of an epoch and stops the run at the first that is not finite."""

    def __init__(self, run: Run, device: torch.device):
        self.run, self.every, self.waiting = run, 1 if device.type == "cpu" else LOOK, []

    def add(self, value: Tensor, batch) -> None:
        if value.ndim:
            raise ValueError(f"the loss must be a scalar, not of shape {tuple(value.shape)}")
        rows = getattr(batch, "row", None)
        self.waiting.append((value.detach(), len(batch[0]), rows))
        if len(self.waiting) >= self.every:
            self.look()

    def look(self) -> None:
        for value, images, rows in self.waiting:
            value = float(value)
            if not math.isfinite(value):
                which = "" if rows is None else f" (rows {', '.join(map(str, rows.tolist()))} of the cache)"
                raise TrainingError(
                    f"the loss is {value} in epoch {self.run.epoch + 1}, batch {self.run.batches + 1}"
                    f"{which}: {self.run.remedy}"
                )
            self.run.loss += value * images
            self.run.images += images
            self.run.batches += 1
        self.waiting.clear()


def _score(net: nn.Module, metric: Callable, valid: Iterable) -> dict[str, float]:
    """What the metric says, as a dictionary, in evaluation mode."""
    net.eval()
    with torch.no_grad():
        found = metric(net, valid)
    found = found if isinstance(found, dict) else {"valid": found}
    return {name: float(value) for name, value in found.items()}


def _mean_loss(loss: Callable, fabric: Fabric) -> Callable:
    """The metric that is used where none is given: the mean loss over all images."""

    def valid_loss(net: nn.Module, valid: Iterable) -> dict[str, float]:
        batches = map(fabric.to_device, valid)
        sums = [(float(loss(net, batch)) * len(batch[0]), len(batch[0])) for batch in batches]
        return {"valid_loss": sum(total for total, _ in sums) / sum(images for _, images in sums)}

    return valid_loss


def _out_of_memory(error: BaseException) -> bool:
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _size(train: Iterable) -> str:
    """Shape of the images in a batch, in words."""
    try:
        shape = tuple(next(iter(train))[0].shape)
    except (RuntimeError, MemoryError):  # there may be no memory for another batch either
        return "this size"
    return f"{shape[0]} images of {'×'.join(map(str, shape[1:]))}"
