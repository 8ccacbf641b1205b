"""Copies of one tile that were rotated, cropped around the middle and mirrored: found without knowing any.

A picture is read on rings around its middle, whose radii grow by a constant factor.  A rotation then shifts
every ring, a mirror image reverses it and a crop moves the content to other rings: two copies are alike at
some shift of angle and ring.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.fft import rfft
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

RINGS, ANGLES, WAVES = 34, 64, 20
INNER, OUTER = 0.10, 0.49  # radii of the first and the last ring, as shares of the side
# A square that is rotated by 25° and cropped to its largest square without a corner is magnified by 1.33.
SHIFTS = range(-6, 7)
ALIKE = 0.75  # correlation of copies; see tests/data/test_copies.py for both sides of it
NEAR = 60  # candidates of each tile that are compared in full: three times the copies that LC25000 has
SIDE = 96  # pixels along an edge at which tiles are described


def describe(image: np.ndarray) -> np.ndarray:
    """The waves along the rings of a square colour or grey tile, (RINGS, WAVES) complex64.

    Brightness and slow changes are taken out.
    """
    grey = np.asarray(image, np.float32)
    grey = grey.mean(2) if grey.ndim == 3 else grey
    if grey.shape[0] != grey.shape[1]:
        raise ValueError(f"a tile must be square, not {grey.shape[0]}×{grey.shape[1]}")
    side = len(grey)
    grey = gaussian_filter(grey, side / 96) - gaussian_filter(grey, side / 10)
    radius = INNER * (OUTER / INNER) ** (np.arange(RINGS) / (RINGS - 1)) * side
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    middle = (side - 1) / 2
    rows = middle + radius[:, None] * np.sin(angle)
    columns = middle + radius[:, None] * np.cos(angle)
    rings = map_coordinates(grey, [rows, columns], order=1, mode="nearest")
    waves = rfft(rings, axis=1)[:, 1 : WAVES + 1] * np.sqrt(radius)[:, None]
    return waves.astype(np.complex64)


def groups(images: Iterable[np.ndarray], *, alike: float = ALIKE) -> np.ndarray:
    """Numbers (N,) int64 of the originals that the tiles are copies of, by their pixels alone.

    Every tile is compared with the ``NEAR`` tiles whose waves are the most alike in strength.  Two belong
    together whose pictures correlate by ``alike`` at some rotation, magnification and mirroring, or that are
    linked by others.  5,000 tiles of one class take about 2 GB and a minute.
    """
    waves = np.stack([describe(image) for image in images])
    count = len(waves)
    first, second = _candidates(np.abs(waves), min(NEAR, count - 1))
    linked = np.concatenate(
        [
            correlation(waves[first[part]], waves[second[part]]) >= alike
            for part in np.array_split(np.arange(len(first)), len(first) // 20_000 + 1)
        ]
    )
    graph = coo_array((np.ones(linked.sum()), (first[linked], second[linked])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest correlation (N,) of two pictures over rotations, magnifications and mirroring.

    ``a``, ``b`` (N, RINGS, WAVES) as from `describe`.
    """
    best = np.full(len(a), -1.0, np.float32)
    for shift in SHIFTS:
        here, there = _overlap(shift)
        left, right = a[:, here], b[:, there]
        length = np.linalg.norm(left, axis=(1, 2)) * np.linalg.norm(right, axis=(1, 2)) + 1e-9
        for other in (right, right.conj()):
            # A rotation by φ turns wave k by kφ; the sum over all waves at every φ is a Fourier transform.
            waves = np.pad((left * other.conj()).sum(1), ((0, 0), (1, 0)))  # the first is wave 1
            product = np.fft.ifft(waves, ANGLES, axis=1)
            best = np.maximum(best, product.real.max(1) * ANGLES / length)
    return best


def _overlap(shift: int) -> tuple[slice, slice]:
    """Rings of one picture, and those of another with the same content that is ``shift`` rings further."""
    return slice(max(0, -shift), RINGS - max(0, shift)), slice(max(0, shift), RINGS - max(0, -shift))


def _candidates(strength: np.ndarray, near: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j), each a picture and one of its ``near`` most similar ones by the strength of waves."""
    strength = strength - strength.mean(0)
    count, best = len(strength), None
    for shift in SHIFTS:
        here, there = _overlap(shift)
        left, right = (strength[:, rings].reshape(count, -1) for rings in (here, there))
        left, right = (one / (np.linalg.norm(one, axis=1, keepdims=True) + 1e-9) for one in (left, right))
        product = left @ right.T
        best = product if best is None else np.maximum(best, product, out=best)
    np.fill_diagonal(best, -2)
    found = np.argpartition(-best, near - 1, axis=1)[:, :near] if near else np.empty((count, 0), int)
    return np.repeat(np.arange(count), near), found.ravel()
