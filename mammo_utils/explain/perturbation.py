"""Insertion and deletion: how the score of a classifier follows the pixels that a map calls important.

They judge a map by the network and not by the lesion: a map that shows truly what a network has learnt
wrongly does well here and badly in the pointing game.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from scipy.integrate import trapezoid
from torch import nn

from mammo_utils.explain.cam import BATCH
from mammo_utils.models.inspect import mode
from mammo_utils.profile import choose

BLUR = 5 / 224  # spread of the blur that insertion starts from, in heights of the image
STEPS = 32


class Curves(NamedTuple):
    """Probability of the target, (N, steps + 1), over the ``share`` of pixels inserted or deleted (0–1)."""

    share: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Area under each curve, (N,) of insertion (high is good) and of deletion (low is good)."""
        return tuple(trapezoid(curve, self.share, axis=1) for curve in (self.insertion, self.deletion))


def curves(
    model: nn.Module, images, maps: np.ndarray, *, target: int, steps: int = STEPS, seed: int = 0
) -> Curves:
    """Curves of a classifier on ``images`` (N, channels, H, W) whose pixels come and go in the maps' order.

    ``maps`` (N, H, W).  Insertion puts the pixels into a blurred copy of the image, the highest of the map
    first; deletion sets them to 0, which in a prepared image is the background.  Pixels of equal height come
    in random order, for else a flat map would be read from its top left corner.  ``target`` as in
    `cam.explain`.

    Raises ``ValueError`` for maps of another shape, for a target that the network does not have and for a
    segmenter.

    Source: Petsiuk 2018, arXiv 1806.07421, whose steps and blur are for 224 pixels; the blur ends there one
    spread away and is weaker.
    """
    images = np.asarray(torch.as_tensor(images, dtype=torch.float32).cpu())
    number, _, height, width = images.shape
    if np.shape(maps) != (number, height, width):
        raise ValueError(f"maps {np.shape(maps)} must be {(number, height, width)}, as the images are")
    blurred = ndimage.gaussian_filter(images, (0, 0, BLUR * height, BLUR * height))
    places = _places(np.asarray(maps).reshape(number, -1), seed).reshape(number, 1, height, width)
    share = np.linspace(0, 1, steps + 1)
    kept = {"insertion": [], "deletion": []}
    for part in share:
        first = places < part
        kept["insertion"].append(probability(model, np.where(first, images, blurred), target))
        kept["deletion"].append(probability(model, np.where(first, np.float32(0), images), target))
    return Curves(share, *(np.stack(values, axis=1) for values in kept.values()))


def _places(maps: np.ndarray, seed: int) -> np.ndarray:
    """The place of each pixel in the order of its map, highest first, as a share in 0–1."""
    order = np.random.default_rng(seed).permutation(maps.shape[1])
    order = order[np.argsort(-maps[:, order], axis=1, kind="stable")]
    places = np.empty(maps.shape)
    np.put_along_axis(places, order, (np.arange(maps.shape[1]) / maps.shape[1])[None], axis=1)
    return places


def probability(model: nn.Module, images, target: int) -> np.ndarray:
    """Probability (N,) float64 of the class ``target``; of one logit 0 is benign and 1 malignant."""
    device, found = next(model.parameters()).device, []
    with mode(model), torch.no_grad():
        for part in torch.as_tensor(images, dtype=torch.float32).split(BATCH):
            logits = model(part.to(device)).double()
            if logits.ndim > 2:
                raise ValueError("insertion and deletion are for classifiers, and this is a segmenter")
            logits = logits.reshape(len(part), -1)
            if logits.shape[1] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            choose("target", target, range(logits.shape[1]))
            found.append(logits.softmax(1)[:, target].cpu().numpy())
    return np.concatenate(found)
