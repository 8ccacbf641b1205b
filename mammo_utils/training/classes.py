"""Classification into several classes: what is minimised, and what a network says of all batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from mammo_utils.training.tasks import _array, _joined, _over


class Classes(NamedTuple):
    """Probabilities (N, classes) float32 and labels (N,) int64, with ``patient`` and ``row`` (N,)."""

    probability: np.ndarray
    target: np.ndarray
    patient: np.ndarray
    row: np.ndarray


def task() -> Callable[[nn.Module, object], Tensor]:
    """Task of a classifier with a logit a class, (N, classes), against labels 0, 1, … (N,): cross entropy."""

    def minimised(model: nn.Module, batch) -> Tensor:
        return F.cross_entropy(model(batch.image).float(), batch.target.long())

    return minimised


def predict(model: nn.Module, batches: Iterable, *, precision: str = "32-true") -> Classes:
    """Probabilities of all classes on all batches, in their order; as `tasks.predict`."""

    def read(batch, logits: Tensor) -> Classes:
        return Classes(*map(_array, (logits.softmax(1), batch.target.long(), batch.patient, batch.row)))

    return _joined(_over(model, batches, precision, read))
