"""Smooth random fields of a given grain, for outlines, fibres and chromatin."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

WRAP = 64  # cells of the random texture that fibres are read from, along each axis


def smooth(rng: np.random.Generator, size: int, grain: float) -> np.ndarray:
    """(size, size) float32, about -1…1: cubic B-splines on random knots ``grain`` pixels apart, 1 or more."""
    at = np.arange(size) / max(1.0, grain) + rng.random()
    first = at.astype(int)
    weights = _spline((at - first).astype(np.float32))
    knots = rng.random((first[-1] + 4, first[-1] + 4), np.float32) * 4 - 2
    rows = sum(weights[k][:, None] * knots[first + k] for k in range(4))
    return sum(weights[k] * rows[:, first + k] for k in range(4))


def _spline(t: np.ndarray) -> list[np.ndarray]:
    """Weights of the four knots around a place ``t`` (0–1) between the middle two."""
    s = 1 - t
    return [s**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * s**2 + 3 * s**3) / 6, t**3 / 6]


def streaks(rng: np.random.Generator, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Random values 0–1 at places given in units of the texture, which repeats itself after `WRAP` units."""
    texture = rng.random((WRAP, WRAP), np.float32)
    return map_coordinates(texture, [across, along], order=1, mode="grid-wrap", prefilter=False)
