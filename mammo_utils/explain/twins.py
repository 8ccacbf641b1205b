"""Causal twins: a phantom woman with and without her lesion, all else equal to the pixel.

What a network's logit loses between the two it owed to the lesion, and nothing else; and where the two
images differ is where a map of that change should lie.  No patient has such a twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mammo_utils.data.preprocess import breast_foreground, prepare, width_for
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.explain.cam import BATCH
from mammo_utils.models.inspect import mode
from mammo_utils.synth.breast import Lesion, View, exam

VISIBLE = 0.1


class Pair(NamedTuple):
    """One prepared view with a lesion and the same view without; H×W float32 in 0–1, masks bool."""

    image: np.ndarray
    twin: np.ndarray
    lesion: np.ndarray
    breast: np.ndarray  # with muscle
    laterality: str
    view: str
    lesions: tuple[Lesion, ...]


def pairs(patient: int, *, size: int, cancers: bool = True, seed: int = 0) -> list[Pair]:
    """The views of a phantom woman that hold a lesion, prepared at ``size``, each with its healthy twin.

    ``cancers``: she has one whatever the prevalence, as a woman who was chosen for her cancer does; without
    them her lesions, if any, are benign.  Rendered at twice the size, as the women of a study are.  Both
    images are prepared in the frame of the first.
    """
    options = {"seed": seed, "size": 2 * size}
    sick = exam(patient, prevalence=1.0 if cancers else 0.0, **options)
    return _paired(sick, exam(patient, lesions=(), **options), size)


def reshaped(patient: int, shapes: Sequence[str], *, size: int, seed: int = 0) -> dict[str, list[Pair]]:
    """As `pairs` of her cancer, once for each of ``shapes``: {shape: pairs}, the views in the same order.

    The cancer keeps its place and size, and everything else is equal to the pixel: how the logits differ is
    owed to the shape.

    Raises ``ValueError`` for an unknown shape.
    """
    options = {"seed": seed, "size": 2 * size}
    drawn = {one for view in exam(patient, size=32, prevalence=1.0, seed=seed) for one in view.lesions}
    cancer = next(one for one in drawn if one.malignant)
    healthy = exam(patient, lesions=(), **options)
    return {
        shape: _paired(exam(patient, lesions=(replace(cancer, shape=shape),), **options), healthy, size)
        for shape in shapes
    }


def _paired(sick: list[View], healthy: list[View], size: int) -> list[Pair]:
    found = []
    for view, other in zip(sick, healthy, strict=True):
        if not view.lesion_mask.any():
            continue
        prepared = prepare(view.image, (size, width_for(size)), laterality=view.laterality)
        twin = prepared.to_prepared(np.where(breast_foreground(view.image), other.image, np.float32(0)))
        breast = view.breast_mask | view.pectoral_mask
        masks = (prepared.to_prepared(mask) for mask in (view.lesion_mask, breast))
        found.append(Pair(prepared.image, twin, *masks, view.laterality, view.view, view.lesions))
    return found


def effect(model: nn.Module, found: list[Pair]) -> np.ndarray:
    """What each lesion adds to the one logit of a classifier, (N,): that of the image less its twin's."""
    device = next(model.parameters()).device
    images = torch.as_tensor(np.stack([part for pair in found for part in (pair.image, pair.twin)]))[:, None]
    with mode(model), torch.no_grad():
        logits = torch.cat([model(part.to(device)).flatten() for part in images.split(BATCH)])
    logits = logits.double().cpu().numpy().reshape(-1, 2)
    return logits[:, 0] - logits[:, 1]


def difference(found: list[Pair]) -> np.ndarray:
    """Where image and twin differ, and how much: (N, H, W) float32."""
    return np.stack([np.abs(pair.image - pair.twin) for pair in found])


def agreement(maps: np.ndarray, found: list[Pair]) -> np.ndarray:
    """How often a pixel in which image and twin differ is higher in the map than one in which they do not.

    ``maps`` (N, H, W), of the breast alone; (N,) in 0–1, equal pixels counting half, so that a flat map has
    0.5.  Different is what differs by over ``VISIBLE`` of the greatest difference: spicules count, which the
    outline of a lesion leaves out.
    """
    scores = []
    for heat, change, pair in zip(maps, difference(found), found, strict=True):
        there = change > VISIBLE * change.max()
        area = pair.breast | there
        scores.append(roc_auc(heat[area], there[area].astype(int)))
    return np.array(scores)
