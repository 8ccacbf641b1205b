"""Where a run takes place: one device, or what a launcher of several processes started."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import nn

from mammo_utils import profile


def launch(precision: str) -> Fabric:
    """One device as the profile says, or what ``fabric run`` or ``torchrun`` started."""
    # Fabric says on stderr which precision it uses; History says it too.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    options = {"precision": profile.precision(precision)}
    kind, _, index = profile.device().partition(":")
    if "LT_CLI_USED" in os.environ:  # the command gave devices, strategy and perhaps precision, and launched
        return Fabric(**({} if "LT_PRECISION" in os.environ else options))
    if "LOCAL_WORLD_SIZE" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        options |= {"devices": local, "num_nodes": world // local, "strategy": "ddp"}
    else:
        options |= {"devices": [int(index)] if index else 1}
    fabric = Fabric(accelerator=kind, **options)
    fabric.launch()
    return fabric


def processes() -> int:
    """How many processes work on a run: those that are connected, or else that the launcher started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def strided_in_float32(model: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Keep the strided depthwise convolutions of ``model`` in float32 where a CPU mixes in bfloat16.

    On the processor that it was measured on, the gradient of such a convolution takes 8 to 80 times as long
    in bfloat16 as in float32: without this the encoder of a MobileNetV2 trains at half the speed.
    """
    mixed = fabric.device.type == "cpu" and fabric.strategy.precision.precision == "bf16-mixed"
    slow = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels > 1
        and max(module.stride) > 1
    ]
    enabled, handles = [], []

    def before(module, inputs):
        enabled.append(torch.is_autocast_enabled("cpu"))
        torch.set_autocast_enabled("cpu", False)
        return tuple(value.float() for value in inputs)

    def after(module, inputs, output):
        torch.set_autocast_enabled("cpu", enabled.pop())

    for module in slow if mixed else ():
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
