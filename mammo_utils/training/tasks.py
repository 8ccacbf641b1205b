"""What a run minimises and measures: a task binds a loss to a batch, a metric scores a model on batches.

A batch has ``image``, ``target``, ``breast``, ``patient`` and ``row`` (`data.batches.Batch`).  A task is
``f(model, batch) -> scalar``, a metric ``f(model, batches) -> float``, higher being better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mammo_utils import profile
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.evaluation.segmentation import dice as overlap
from mammo_utils.models.inspect import mode
from mammo_utils.training import losses

_AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Masks(NamedTuple):
    """Predicted probabilities (float32) and true masks (bool) of dense tissue and breast, (N, H, W) each.

    ``patient`` and ``row`` (N, int64) say whose image it is and where it stands in the cache.
    """

    dense: np.ndarray
    breast: np.ndarray
    target: np.ndarray
    breast_target: np.ndarray
    patient: np.ndarray
    row: np.ndarray


class Scores(NamedTuple):
    """Predicted logits and probabilities (float32) with the labels of a classification, (N,) each."""

    logit: np.ndarray
    probability: np.ndarray
    target: np.ndarray
    patient: np.ndarray
    row: np.ndarray


def segmentation(
    loss: str | Callable = losses.bce_dice, *, breast_weight: float = 1.0, **options
) -> Callable[[nn.Module, object], Tensor]:
    """Task of a segmenter with logits (N, 2, H, W): ``loss`` on dense tissue + `bce_dice` on the breast.

    ``loss``: a function of `losses` or its name, called with ``options``; ``breast_weight`` multiplies the
    breast's part.

    Raises ``ValueError`` for an unknown name, and when run for a model that has not two channels.
    """
    loss = _named(loss)

    def minimised(model: nn.Module, batch) -> Tensor:
        dense, breast = _channels(model(batch.image))
        own = losses.bce_dice(breast, batch.breast)
        return loss(dense, batch.target, breast=batch.breast, **options) + breast_weight * own

    return minimised


def classification(
    loss: str | Callable = losses.weighted_bce, **options
) -> Callable[[nn.Module, object], Tensor]:
    """Task of a classifier with one logit an image, (N,) or (N, 1), against labels (N,).

    ``loss``: a function of `losses` or its name, called with ``options``, e.g. ``pos_weight=46.2``.

    Raises ``ValueError`` for an unknown name, and when run for a model with more logits.
    """
    loss = _named(loss)

    def minimised(model: nn.Module, batch) -> Tensor:
        return loss(_one_logit(model(batch.image)), batch.target, breast=batch.breast, **options)

    return minimised


def predict(model: nn.Module, batches: Iterable, *, precision: str = "32-true") -> Masks:
    """Probabilities of a segmenter on all batches, in their order, without gradients and in evaluation mode.

    Images go to the device of the model; every module is left in the mode it had.  ``precision``:
    ``"32-true"``, ``"bf16-mixed"``, ``"16-mixed"`` or ``"auto"``; results are float32 in any case, because
    sums over pixels overflow in float16.  2,000 images of 128×104 take 270 MB.

    Raises ``ValueError`` for an unknown precision, no batches and a model that has not two channels.
    """
    return _joined(_over(model, batches, precision, _masks))


def predict_scores(model: nn.Module, batches: Iterable, *, precision: str = "32-true") -> Scores:
    """Logits and probabilities of a classifier on all batches; as `predict`.

    Raises ``ValueError`` for an unknown precision, no batches and a model with more than one logit.
    """
    return _joined(_over(model, batches, precision, _scores))


def score_table(scores: Scores, table: pd.DataFrame) -> pd.DataFrame:
    """Scores as a table with a row an image, for `evaluation.pooling.pooled`.

    ``table`` is that of the cache that was predicted.  Columns: ``image`` (row of the cache), ``breast``
    (such as 12L), ``woman`` (her number in the cache: no identifier of a patient), ``view``, ``label``,
    ``logit`` and ``probability``.

    Raises ``ValueError`` for an image whose side is not known.
    """
    found = table.iloc[scores.row]
    if found["laterality"].isna().any():
        raise ValueError(f"{found['laterality'].isna().sum()} images have no side, so no breast to belong to")
    columns = {
        "image": scores.row,
        "breast": [f"{w}{s}" for w, s in zip(scores.patient, found["laterality"], strict=True)],
    }
    columns |= {"woman": scores.patient, "view": found["view"].to_numpy(), "label": scores.target.astype(int)}
    return pd.DataFrame(columns | {"logit": scores.logit, "probability": scores.probability})


def dice(model: nn.Module, valid: Iterable) -> float:
    """Metric: mean over images of the Dice overlap (0–1) of dense tissue, called at probability 0.5.

    Empty masks count as in `evaluation.segmentation.dice`.
    """

    # Batch by batch: a validation set of large images need not be held as probabilities.
    def per_image(batch, logits: Tensor) -> np.ndarray:
        part = _masks(batch, logits)
        return overlap(part.dense >= 0.5, part.target)

    return float(np.concatenate(_over(model, valid, "32-true", per_image)).mean())


def auc(model: nn.Module, valid: Iterable) -> float:
    """Metric: area under the ROC curve (0–1) of a one-logit classifier; NaN where a class is absent."""
    scores = predict_scores(model, valid)
    return roc_auc(scores.logit, scores.target)


def _named(loss: str | Callable) -> Callable:
    return losses.LOSSES[profile.choose("loss", loss, losses.LOSSES)] if isinstance(loss, str) else loss


def _channels(logits: Tensor) -> tuple[Tensor, Tensor]:
    if logits.ndim != 4 or logits.shape[1] != 2:
        raise ValueError(
            f"a segmenter gives logits (N, 2, H, W), dense and breast, not {tuple(logits.shape)}"
        )
    return logits[:, :1], logits[:, 1:]


def _one_logit(logits: Tensor) -> Tensor:
    if logits.ndim == 2 and logits.shape[1] == 1:
        return logits[:, 0]
    if logits.ndim != 1:
        raise ValueError(
            f"the classifier must give one logit an image, (N,) or (N, 1), not {tuple(logits.shape)}"
        )
    return logits


def _masks(batch, logits: Tensor) -> Masks:
    probabilities = (channel.sigmoid()[:, 0] for channel in _channels(logits))
    truths = (mask[:, 0] >= 0.5 for mask in (batch.target, batch.breast))
    return Masks(*map(_array, (*probabilities, *truths, batch.patient, batch.row)))


def _scores(batch, logits: Tensor) -> Scores:
    logit = _one_logit(logits)
    return Scores(*map(_array, (logit, logit.sigmoid(), batch.target, batch.patient, batch.row)))


def _over(model: nn.Module, batches: Iterable, precision: str, read: Callable) -> list:
    """``read(batch, logits)`` for each batch, with the logits of the model in float32."""
    dtype = _AUTOCAST[profile.choose("precision", profile.precision(precision), _AUTOCAST)]
    results = []
    # Not inference_mode: what the batches keep from such a pass could not be trained on afterwards.
    with mode(model), torch.no_grad():
        for batch in batches:
            device = next((weight.device for weight in model.parameters()), batch.image.device)
            # Autocast is entered only where asked for, so that a model which brings its own keeps it.
            with torch.autocast(device.type, dtype=dtype) if dtype else nullcontext():
                logits = model(batch.image.to(device, non_blocking=True))
            results.append(read(batch, logits.float()))
    if not results:
        raise ValueError("there are no batches to predict")
    return results


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def _joined(parts: list[NamedTuple]) -> NamedTuple:
    """One tuple of the arrays of all parts, which are used up."""
    kind, fields = type(parts[0]), list(zip(*parts, strict=True))
    # The parts of a field are let go as soon as it is joined, or all would be held twice.
    parts.clear()
    return kind(*(np.concatenate(fields.pop(0)) for _ in kind._fields))
