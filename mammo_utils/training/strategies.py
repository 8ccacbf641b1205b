"""What may change during a run, and how fast: each strategy makes a plan for a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Plan:
    """Parameters with their learning rates, epoch by epoch, and an optional penalty.

    ``groups(epoch)`` returns a list of ``{"name", "params", "lr"}`` that has the same groups, in the same
    order, for every epoch; a group whose rate is 0 is frozen in that epoch.  ``penalty()`` is added to the
    loss of every step; None where there is none.
    """

    groups: Callable[[int], list[dict]]
    penalty: Callable[[], Tensor | None] = lambda: None


def full(model: nn.Module, *, lr: float, epochs: int) -> Plan:
    """Every parameter changes in every epoch at one rate."""
    return Plan(lambda epoch: [{"name": "all", "params": list(model.parameters()), "lr": lr}])


STRATEGIES = {"full": full}
