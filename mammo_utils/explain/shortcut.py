"""A shortcut planted on purpose: a bright marker in a corner that goes with the label.

Markers of a vendor, a site or a view are such shortcuts in clinical sets.  Here it is known which images
carry one and where, so that it can be scored whether a map gives it away.
"""

from __future__ import annotations

import numpy as np


def place(shape: tuple[int, int]) -> np.ndarray:
    """Mask (height, width) of the marker: a bar at the top right, 1/16 high and 1/8 wide, off the edge.

    The chest wall of a prepared image is left, so that this corner is mostly background.
    """
    height, width = shape
    edge, tall, wide = max(1, height // 32), max(2, height // 16), max(3, width // 8)
    mask = np.zeros(shape, bool)
    mask[edge : edge + tall, width - edge - wide : width - edge] = True
    return mask


def carriers(label, *, agreement: float, seed: int = 0) -> np.ndarray:
    """Which of N images get a marker: with chance ``agreement`` those of label 1, else 1 - ``agreement``.

    At 0.5 the marker says nothing about the label, at 1 everything.

    Raises ``ValueError`` for an agreement outside 0–1.

    >>> carriers([1, 0, 1], agreement=1.0)
    array([ True, False,  True])
    """
    if not 0 <= agreement <= 1:
        raise ValueError(f"agreement {agreement}: give a share from 0 to 1")
    label = np.asarray(label).astype(bool)
    return np.where(label, agreement, 1 - agreement) > np.random.default_rng(seed).random(len(label))


def plant(images: np.ndarray, carrying: np.ndarray) -> np.ndarray:
    """A copy of images (N, H, W) with the marker, at full brightness, in those of ``carrying`` (N bool).

    Float images are 0–1, uint16 ones 0–65535 as in a cache.
    """
    planted = np.array(images)
    full = np.iinfo(planted.dtype).max if planted.dtype.kind == "u" else 1
    planted[np.asarray(carrying)[:, None, None] & place(planted.shape[1:])] = full
    return planted
