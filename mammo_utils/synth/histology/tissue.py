"""Tissue under the microscope: how much haematoxylin and eosin lies at each place of a field of view.

Glands are a signed distance (µm, negative inside) on a plane warped by smooth noise: epithelium along the
border, lumen behind it, stroma of wavy fibres around.  Nuclei are ellipses on jittered lattices, kept where
their kind belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mammo_utils.synth.histology.noise import smooth, streaks


@dataclass(frozen=True)
class Architecture:
    """Glands ``spacing`` µm apart with a mean ``radius``; ``fronds`` take the place of round glands.

    ``elongation``: largest length of a gland over its width; ``pale``: how much of the stroma is clear jelly,
    0–1; ``grouped`` glands come in lobules; ``goblets``: pale droplets in the epithelium, 0–1; ``thickness``
    of the epithelium in µm.
    """

    spacing: float
    radius: float
    elongation: float = 1.4
    pale: float = 0.0
    fronds: bool = False
    grouped: bool = False
    goblets: float = 0.0
    thickness: float = 10.0


ARCHITECTURES = {
    "lobules": Architecture(46, 19, grouped=True),
    "myxoid": Architecture(95, 26, elongation=2.6, pale=0.75),
    "fronds": Architecture(85, 0, fronds=True),
    "tubules": Architecture(33, 15, elongation=1.1, thickness=8.5),
    # the five classes of lung and colon
    "lung_n": Architecture(60, 0, fronds=True, thickness=3.5),
    "lung_aca": Architecture(52, 22, elongation=1.6),
    "lung_scc": Architecture(80, 44, elongation=1.3, thickness=26),
    "colon_n": Architecture(44, 20, elongation=1.05, goblets=0.8, thickness=11),
    "colon_aca": Architecture(60, 28, elongation=1.9, thickness=14),
}


def stained(
    architecture: Architecture, traits: np.ndarray, rng: np.random.Generator, *, size: int, edge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin, (size, size) float32 each, of a field with an ``edge`` in µm.

    ``traits`` (7,) are those of `cases.TRAITS`, 0 being halfway between benign and malignant.
    """
    nuclear, spread, chromatin, crowding, layers, outline, invasion = np.clip(traits, -3.5, 3.5)
    pixel = edge / size
    place = (np.arange(size, dtype=np.float32) + 0.5) * pixel
    bend = [smooth(rng, size, 45 / pixel) for _ in range(2)]
    ragged = [smooth(rng, size, 13 / pixel) for _ in range(2)]
    rough = 1.5 * np.exp(0.38 * outline)
    x, y = (p + 9 * b + rough * r for p, b, r in zip((place, place[:, None]), bend, ragged, strict=True))
    depth = -_glands(architecture, rng, x, y, edge, bend)
    thick = architecture.thickness * np.exp(0.20 * layers)
    epithelium = _soft(depth, pixel) * _soft(thick - depth, pixel)
    lumen = _soft(depth - thick, pixel)
    stroma = 1 - epithelium - lumen

    angle = rng.random() * np.pi
    flow = angle + 0.9 * smooth(rng, size, 120 / pixel)
    along = np.cos(angle) * x + np.sin(angle) * y + 6 * bend[1]
    across = np.cos(angle) * y - np.sin(angle) * x + 14 * bend[0] + 2.5 * ragged[0]
    coarse = streaks(rng, along / 45, across / 5.5)
    fine = 0.6 * streaks(rng, along / 16, across / 1.7) + 0.4 * streaks(rng, along / 7, across / 0.7)
    pale = architecture.pale * _soft(smooth(rng, size, 90 / pixel) + 0.55, 0.5)
    clefts = np.clip((coarse * 0.7 + fine * 0.3 - 0.66 + 0.28 * pale) * 7, 0, 1)
    grain = smooth(rng, size, 1.6 / pixel)
    fibres = 0.22 + 0.40 * (1 - coarse) + 0.52 * (1 - fine) + 0.05 * grain
    fibres *= (1 - 0.55 * pale) * (1 - 0.85 * clefts)
    foam = 1 - architecture.goblets * _soft(smooth(rng, size, 7 / pixel) - 0.1, 0.3)
    secretion = 0.10 * _soft(smooth(rng, size, 30 / pixel) - 0.4, 0.3)

    eosin = stroma * fibres + epithelium * (0.48 + 0.10 * grain) * foam + lumen * (0.02 + secretion)
    blue = stroma * (0.05 + 0.08 * pale) + epithelium * (0.21 + 0.07 * grain) * (0.4 + 0.6 * foam)

    radius = 3.1 * np.exp(0.13 * nuclear)
    kept = 0.012 * np.exp(0.75 * invasion)
    cells = _lattice(rng, edge, 2.6 * radius * np.exp(-0.10 * crowding))
    inside = np.where(
        _read(epithelium, cells, pixel) > 0.6, 0.92, np.where(_read(stroma, cells, pixel) > 0.6, kept, 0)
    )
    cells = cells[rng.random(len(cells)) < inside * (0.5 + 0.5 * _read(foam, cells, pixel))]
    unlike = 0.07 * np.exp(0.30 * spread)
    shape = np.exp(unlike * np.clip(rng.standard_normal((len(cells), 2)), -2.2, 2.2)) * radius
    shape[:, 0] *= 1.18
    open_ = np.clip(0.28 + 0.11 * chromatin, 0, 0.7)
    nuclei = np.zeros((size, size), np.float32)
    turned = rng.random(len(cells)) * np.pi
    _draw(nuclei, cells, shape, turned, 0.95 + 0.13 * rng.standard_normal(len(cells)), open_, pixel)

    fibroblasts = _lattice(rng, edge, 15.0)
    there = (_read(stroma, fibroblasts, pixel) > 0.8) & (rng.random(len(fibroblasts)) < 0.62)
    fibroblasts = fibroblasts[there]
    shape = np.exp(0.2 * rng.standard_normal((len(fibroblasts), 2))) * (5.0, 1.35)
    turned = _read(flow, fibroblasts, pixel) + 0.15 * rng.standard_normal(len(fibroblasts))
    _draw(nuclei, fibroblasts, shape, turned, np.full(len(fibroblasts), 1.0), 0.1, pixel)

    clumps = smooth(rng, size, 1.5 / pixel) + 0.7 * smooth(rng, size, 0.7 / pixel)
    blue = np.maximum(blue, nuclei * (1 + np.clip(0.24 + 0.05 * chromatin, 0, 0.5) * clumps))
    return blue, eosin * (1 - 0.45 * np.clip(nuclei, 0, 1))


def _soft(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where ``distance`` is positive, 0 where it is negative, with a border ``width`` wide."""
    return np.clip(distance / width + 0.5, 0, 1)


def _glands(architecture: Architecture, rng, x: np.ndarray, y: np.ndarray, edge: float, bend) -> np.ndarray:
    """Signed distance to the nearest gland in µm, negative inside."""
    size = len(x)
    if architecture.fronds:
        waves = smooth(rng, size, architecture.spacing * size / edge) + 0.25 * bend[0]
        # The middle of the field is epithelium: nobody takes a picture of an empty slide.
        waves += 0.45 * np.sign(waves[size // 2, size // 2]) - waves[size // 2, size // 2]
        return (0.36 - np.abs(waves)) * 0.55 * architecture.spacing
    glands = _lattice(rng, edge, architecture.spacing, margin=architecture.spacing)
    nearest = glands[np.argmin(np.square(glands - edge / 2).sum(1))]
    away = 2 * np.pi * rng.random()
    glands += edge / 2 - nearest - 0.75 * architecture.radius * np.float32([np.cos(away), np.sin(away)])
    count = len(glands)
    scale = np.exp(0.22 * rng.standard_normal(count))
    turn, stretch = rng.random(count) * np.pi, architecture.elongation ** (0.5 * rng.random(count))
    chosen = rng.random(count) < 0.9
    if architecture.grouped:
        waves = 2 * np.pi * (glands @ rng.standard_normal((2, 3)) / 210 + rng.random(3))
        chosen &= np.cos(waves).sum(1) > -0.45
    chosen |= np.square(glands - edge / 2).sum(1) < architecture.radius**2
    distance = np.full(x.shape, 0.6 * architecture.spacing, np.float32)
    reach = 1.9 * architecture.radius * stretch * scale + 0.3 * architecture.spacing + 20
    low = np.floor((glands - reach[:, None]) * size / edge).astype(int).clip(0, size)
    high = np.ceil((glands + reach[:, None]) * size / edge).astype(int).clip(0, size)
    for (across, down), s, t, e, (left, top), (right, bottom) in zip(
        glands[chosen], scale[chosen], turn[chosen], stretch[chosen], low[chosen], high[chosen], strict=True
    ):
        part = np.s_[top:bottom, left:right]
        dx, dy = x[part] - across, y[part] - down
        u, v = (np.cos(t) * dx + np.sin(t) * dy) / e, (np.cos(t) * dy - np.sin(t) * dx) * e
        np.minimum(distance[part], np.sqrt(u * u + v * v) - architecture.radius * s, out=distance[part])
    return distance


def _lattice(rng, edge: float, spacing: float, *, margin: float = 8.0) -> np.ndarray:
    """Jittered places (N, 2) as (x, y) in µm, about ``spacing`` apart, up to ``margin`` outside the field."""
    count = int(np.ceil((edge + 2 * margin) / spacing)) + 1
    rows, columns = np.divmod(np.arange(count * count), count)
    places = np.stack([columns + 0.5 * (rows % 2), rows], 1) + 0.5 * (rng.random((count * count, 2)) - 0.5)
    return (places * spacing - margin - spacing * rng.random(2)).astype(np.float32)


def _read(field: np.ndarray, places: np.ndarray, pixel: float) -> np.ndarray:
    """Values of ``field`` at ``places``; beyond the edge the field goes on as it ends there."""
    at = np.clip((places / pixel).astype(int), 0, len(field) - 1)
    return field[at[:, 1], at[:, 0]]


def _draw(canvas: np.ndarray, places, shape, turn, dark, open_: float, pixel: float) -> None:
    """Put ellipses with half axes ``shape`` (N, 2) in µm on the canvas, the darkest of several one.

    ``open_``: by how much the middle of a nucleus is paler than its rim; an open nucleus has a nucleolus.
    """
    if not len(places):
        return
    reach = int(np.ceil(shape.max() / pixel)) + 1
    shape, turn, dark = (np.asarray(values, np.float32) for values in (shape, turn, dark))
    corner = np.floor(places / pixel).astype(int) - reach
    offset = np.arange(2 * reach + 1)
    column, row = (corner[:, axis, None] + offset for axis in (0, 1))
    dx = ((column + 0.5) * pixel - places[:, :1]).astype(np.float32)[:, None, :]
    dy = ((row + 0.5) * pixel - places[:, 1:]).astype(np.float32)[:, :, None]
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    long, short = shape[:, 0, None, None], shape[:, 1, None, None]
    u, v = (cos * dx + sin * dy) / long, (cos * dy - sin * dx) / short
    square = u * u + v * v
    border = np.clip((1 - square) * short / (2 * pixel) + 0.5, 0, 1)
    spot = np.exp(-((u - 0.25) ** 2 + v * v) * 18) * (open_ * 0.9)
    value = border * dark[:, None, None] * (1 - open_ * np.clip(1.1 - square, 0, 1) + spot)
    flat = row[:, :, None] * len(canvas) + column[:, None, :]
    within = (border > 0) & ((row >= 0) & (row < len(canvas)))[:, :, None]
    within &= ((column >= 0) & (column < len(canvas)))[:, None, :]
    np.maximum.at(canvas.reshape(-1), flat[within], value[within])
