"""What a network costs, how far one of its output pixels sees, and how far it has moved in a training."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mammo_utils.data.preprocess import width_for
from mammo_utils.evaluation.representation import cka
from mammo_utils.models import lora


@contextmanager
def mode(model: nn.Module, *, train: bool = False):
    """Context in evaluation mode, or in training; afterwards every module has its own mode back.

    ``model.train()`` alone would also wake the normalisation layers that fine-tuning keeps frozen.
    """
    modes = {module: module.training for module in model.modules()}
    model.train(train)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _images(model: nn.Module, size: int | tuple[int, int], number: int, seed: int = 0) -> Tensor:
    """``number`` images of uniform noise in 0–1, as ``model`` takes them, on its device."""
    shape = (size, width_for(size)) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, model.mean.shape[1], *shape, generator=generator).to(model.mean.device)


def cost(model: nn.Module, size: int | tuple[int, int]) -> dict[str, float]:
    """Parameters (all, of the encoder) and floating point operations of one forward pass of one image.

    ``model`` is what ``models.segmentation.build`` returns, ``size`` as there.  A multiplication and an
    addition are two operations; only convolutions, matrix products and attention are counted.
    """
    with mode(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(_images(model, size, 1))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "encoder parameters": sum(p.numel() for p in model.encoder.parameters()),
        "flops": counter.get_total_flops(),
    }


def receptive_field(
    model: nn.Module,
    size: int | tuple[int, int],
    *,
    channel: int = 0,
    draws: int = 8,
    seed: int = 0,
    images: Tensor | None = None,
) -> np.ndarray:
    """Effective receptive field of the central output pixel: (H, W) float32, its maximum 1.

    The mean over ``images`` (N, channels, H, W), or else over ``draws`` noise images, of the absolute
    gradient of that pixel's logit ``channel`` with respect to the input.  The model is in evaluation mode
    meanwhile; its gradients are left as they were.

    Source: Luo 2016, arXiv 1701.04128.
    """
    images = _images(model, size, draws, seed) if images is None else images.to(model.mean.device)
    images = images.detach().clone().requires_grad_()
    with mode(model):
        logits = model(images)[:, channel]
        centre = logits[:, logits.shape[1] // 2, logits.shape[2] // 2].sum()
        (gradient,) = torch.autograd.grad(centre, images)
    field = gradient.abs().mean(dim=(0, 1))
    return (field / field.max()).cpu().numpy()


def reach(field: np.ndarray, share: float = 0.9) -> float:
    """Radius in pixels of the disc around the centre that holds ``share`` of a receptive field.

    >>> field = np.zeros((9, 9)); field[4, 1:8] = 1
    >>> reach(field, 0.5), reach(field, 1.0)
    (2.0, 3.0)
    """
    rows, columns = np.indices(field.shape)
    distance = np.hypot(rows - field.shape[0] // 2, columns - field.shape[1] // 2).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(field.ravel()[order])
    return float(distance[order][np.searchsorted(held, share * held[-1] * (1 - 1e-6))])


def features(model: nn.Module, images: Tensor) -> dict[str, np.ndarray]:
    """What each of the ``parts`` of ``model`` hands on for ``images`` (N, channels, H, W): (N, D) float32.

    D are the channels and places of its last map.  The model is in evaluation mode meanwhile.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, given, out) -> None:
            if isinstance(out, Tensor):
                found[name] = out  # the outermost module of a part is the last that comes here

        return hook

    inside = [(name, module) for name, part in model.parts for module in part.modules()]
    hooks = [module.register_forward_hook(keep(name)) for name, module in inside]
    try:
        with mode(model), torch.no_grad():
            model(images.to(next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: found[name].float().flatten(1).cpu().numpy() for name, _ in model.parts}


def drift(before: nn.Module, after: nn.Module, images: Tensor) -> pd.DataFrame:
    """How far each part of a network has moved in a training, from stem to head.

    The index is the name of the part.  ``cka``: how alike its `features` of ``images`` (N, channels, H, W)
    still are, 1 for unchanged (`evaluation.representation.cka`); it also sees what has moved further down,
    and is NaN where ``after`` has diverged so far that its features tell no image from another.
    ``distance``: ‖w − w₀‖ / ‖w₀‖ of its own weights, 0 for unchanged; adapters count as what they add.
    """
    after = copy.deepcopy(after)
    lora.merge(after)
    first, last = features(before, images), features(after, images)
    rows = {}
    for (name, part), (_, moved) in zip(before.parts, after.parts, strict=True):
        old, new = dict(part.named_parameters()), dict(moved.named_parameters())  # merging changes the order
        old, new = (torch.cat([own[key].detach().flatten() for key in old]) for own in (old, new))
        alive = np.isfinite(last[name]).all() and np.ptp(last[name], axis=0).any()
        alike = cka(first[name], last[name]) if alive else np.nan
        rows[name] = alike, float((new.to(old) - old).norm() / old.norm())
    return pd.DataFrame(rows, index=["cka", "distance"]).T.rename_axis("part")


def latency(
    models: Mapping[str, nn.Module],
    size: int | tuple[int, int],
    *,
    batch: int = 1,
    repeats: int = 9,
    train: bool = False,
) -> dict[str, float]:
    """Median milliseconds of a pass over ``batch`` images, of each model on its device.

    The models take turns, so that a slower spell of the machine hits them all; the first turn is not counted.
    ``train`` measures forward and backward in training mode, which moves batch-norm statistics and empties
    gradients; else forward alone.  Runs in the autocast that it is called in.
    """
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            images = _images(model, size, batch)
            start = _now(images)
            with mode(model, train=train), torch.set_grad_enabled(train):
                logits = model(images)
                if train:
                    logits.float().square().mean().backward()
                    model.zero_grad()
            taken[name].append(1000 * (_now(images) - start))
    return {name: float(np.median(times[1:])) for name, times in taken.items()}


def _now(images: Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
