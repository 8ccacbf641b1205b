"""Two readers who draw dense tissue as people do: closed outlines without holes, each by their habit."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Habit of a reader: factor on the gland share that counts as dense, smoothing (mm), wobble of a drawing.
READERS = {"A": (0.92, 6.0, 0.12), "B": (1.09, 7.0, 0.12)}
WORKING_MM = 1.8  # readers draw no finer than this


def outline(
    gland: np.ndarray, inside: np.ndarray, level: float, spacing: float, reader: str, rng
) -> np.ndarray:
    """Dense tissue as ``reader`` draws it.

    ``gland`` is the projected glandular fraction (H×W, 0–1), ``inside`` the breast without muscle, ``level``
    the fraction that is dense in truth, ``spacing`` in mm.  Returns H×W bool.
    """
    habit, blur, wobble = READERS[reader]
    mood = np.exp(wobble * rng.normal())  # a drawing is bolder or stricter as a whole ...
    hand = ndimage.gaussian_filter(rng.standard_normal((160, 130)), 3.5)  # ... and wanders by the centimetre
    step = max(round(WORKING_MM / spacing), 1)
    small = gland[: gland.shape[0] // step * step, : gland.shape[1] // step * step]
    small = small.reshape(small.shape[0] // step, step, -1, step).mean((1, 3))
    pixel = spacing * step
    seen = ndimage.gaussian_filter(small, blur / 2.355 / pixel)
    zoom = [np.arange(n) * pixel / WORKING_MM for n in seen.shape]
    wander = ndimage.map_coordinates(
        hand / hand.std(), np.meshgrid(*zoom, indexing="ij"), order=1, mode="nearest"
    )
    drawn = seen > level * habit * mood * np.exp(0.18 * wander)
    ball = _disc(4.0 / pixel)
    drawn = ndimage.binary_opening(ndimage.binary_closing(np.pad(drawn, len(ball)), ball), ball)
    drawn = ndimage.binary_fill_holes(drawn)[len(ball) : -len(ball), len(ball) : -len(ball)]
    pieces, count = ndimage.label(drawn)
    areas = ndimage.sum_labels(drawn, pieces, np.arange(1, count + 1)) * pixel**2
    keep = np.flatnonzero((areas > 60) & (areas > 0.05 * areas.sum())) + 1
    smooth = ndimage.gaussian_filter(np.isin(pieces, keep).astype(float), 2.0 / pixel)
    rows, columns = ((np.arange(n) + 0.5) / step - 0.5 for n in gland.shape)
    large = ndimage.map_coordinates(
        smooth, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest"
    )
    return (large > 0.5) & inside


def _disc(radius: float) -> np.ndarray:
    n = int(np.ceil(radius))
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    return x**2 + y**2 <= radius**2


def density_call(percent: float, classes: dict, rng) -> str:
    """A reader's class A–D for a percent density, drawn from the odds that the published spreads imply."""
    odds = class_odds(percent, classes)
    return str(rng.choice(list(classes), p=odds / odds.sum()))


def class_odds(percent: float, classes: dict) -> np.ndarray:
    """How likely a reader calls each of ``classes`` for a percent density, up to a common factor."""
    share, mean, spread = np.transpose(list(classes.values()))
    return share / spread * np.exp(-0.5 * ((percent - mean) / spread) ** 2)


def birads_call(lesions: tuple, rng) -> int:
    """A reader's BI-RADS category for one breast: 1 or 2 without a suspicion, 4 or 5 with one.

    Some cancers are missed and some healthy breasts suspected, so that the category is not the truth.
    """
    if any(lesion.malignant for lesion in lesions):
        return int(rng.choice([1, 2, 4, 5], p=[0.08, 0.07, 0.50, 0.35]))
    if lesions:
        return int(rng.choice([2, 4], p=[0.7, 0.3]))
    return int(rng.choice([1, 2, 4], p=[0.60, 0.37, 0.03]))
