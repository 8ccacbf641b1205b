"""Predictions with a known error and what the six losses say of them: the numbers of notebook 06."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy import ndimage, optimize

from mammo_utils.evaluation import segmentation
from mammo_utils.synth.breast import View
from mammo_utils.training import losses

NAMES = {
    "bce": "BCE",
    "dice": "Dice",
    "bce_dice": "BCE + Dice",
    "focal": "focal",
    "tversky": "Tversky",
    "hybrid_density": "hybrid (ours)",
}


def border(mask: np.ndarray) -> np.ndarray:
    """Signed distance in pixels to the border of an H×W mask, positive inside."""
    mask = np.asarray(mask, bool)
    inside, outside = (ndimage.distance_transform_edt(m) for m in (mask, ~mask))
    return np.where(mask, inside - 0.5, 0.5 - outside)


def resized(mask: np.ndarray, breast: np.ndarray, percent: float) -> np.ndarray:
    """The mask grown or shrunk along its border until it takes ``percent`` of the breast."""
    distance = np.where(breast, border(mask), -np.inf)
    count = round(percent / 100 * np.count_nonzero(breast))
    chosen = np.argsort(-distance, axis=None, kind="stable")[:count]
    result = np.zeros(distance.size, bool)
    result[chosen] = True
    return result.reshape(distance.shape)


def guess(target, breast, *, grow: float = 0.0, shift: float = 0.0, blur: float = 1.0) -> np.ndarray:
    """A prediction with a known error: H×W probabilities, float32.

    ``grow``: pixels by which the border of ``target`` is moved out (in if negative); ``shift``: pixels by
    which all is moved away from the chest wall; ``blur``: pixels over which the probability falls from 0.73
    to one half at the border, so that less is surer.
    """
    distance = ndimage.shift(border(target), (0, shift), order=1, mode="nearest")
    logit = np.clip((distance + grow) / blur, -12, 12)
    return np.where(breast, 1 / (1 + np.exp(-logit)), 1e-4).astype(np.float32)


def values(probability, target, breast, **options) -> pd.Series:
    """The six losses of one H×W map of probabilities; ``options`` go to `losses.hybrid_density`."""
    logit, target, breast = (
        torch.as_tensor(np.asarray(x, np.float32))[None, None] for x in (probability, target, breast)
    )
    logit = torch.logit(logit, eps=1e-7)
    own = {"hybrid_density": options}
    found = {n: losses.LOSSES[n](logit, target, breast=breast, **own.get(n, {})) for n in NAMES}
    return pd.Series({name: float(value) for name, value in found.items()})


def surer(target, breast, **error) -> pd.DataFrame:
    """The six losses of a `guess` with this ``error``, from vague to sure.

    Index: the probability one pixel inside the predicted border.
    """
    blurs = 1 / np.linspace(0.2, 4, 20)
    rows = [values(guess(target, breast, blur=blur, **error), target, breast) for blur in blurs]
    return pd.DataFrame(rows, index=1 / (1 + np.exp(-1 / blurs)))


def equal_dice(view: View, wanted: float) -> dict[str, np.ndarray]:
    """Three masks of one Dice with the truth: too small, too large, and of the right size beside its place.

    Each error is raised until the Dice is as close to ``wanted`` (0–1) as whole pixels allow.
    """
    target, breast = view.dense_mask, view.breast_mask
    percent = segmentation.percent_density(target, breast)

    def moved(shift: float) -> np.ndarray:
        distance = ndimage.shift(border(target), (0, shift), order=1, mode="nearest")
        return resized(distance > 0, breast, percent)

    def solved(mask: Callable, far: float, none: float) -> np.ndarray:
        def miss(x):
            return segmentation.dice(mask(x), target) - wanted

        return mask(optimize.brentq(miss, none, far, xtol=1e-3))

    def sized(size: float) -> np.ndarray:
        return resized(target, breast, size)

    return {
        "too small": solved(sized, 0.5, percent),
        "too large": solved(sized, 99.5, percent),
        "shifted": solved(moved, target.shape[1] / 2, 0.0),
    }


def landscape(view: View, *, reach: float = 8.0, steps: int = 17) -> dict[str, np.ndarray]:
    """Each loss over growth (rows) and shift (columns), both from -``reach`` to ``reach`` pixels."""
    at = np.linspace(-reach, reach, steps)
    target, breast = view.dense_mask, view.breast_mask
    table = [[values(guess(target, breast, grow=g, shift=s), target, breast) for s in at] for g in at]
    return {name: np.array([[found[name] for found in row] for row in table]) for name in NAMES}


def pushes(probability, target, breast) -> dict[str, np.ndarray]:
    """What each loss asks of each pixel: minus its slope by the logit, H×W, up where more is wanted."""
    logit, target, breast = (
        torch.as_tensor(np.asarray(x, np.float32))[None, None] for x in (probability, target, breast)
    )
    result = {}
    for name in NAMES:
        leaf = torch.logit(logit, eps=1e-7).requires_grad_()
        losses.LOSSES[name](leaf, target, breast=breast).backward()
        result[name] = -leaf.grad[0, 0].numpy()
    return result
