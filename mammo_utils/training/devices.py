"""Where a run takes place: one device, or what a launcher of several processes started."""

from __future__ import annotations

import logging
import os

import torch.distributed as dist
from lightning_fabric import Fabric

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
