"""Fractals as a source domain: images and categories out of formulae, without licence, patient or photograph.

A category is an iterated function system: 2–7 affine maps of the plane.  A point that is moved by one of them
after the other, drawn by lot, wanders over the system's attractor, the fractal (the chaos game).  Systems
whose fractal fills enough of an image become categories.  The instances of a category have one kind of
parameter scaled, are mirrored and have another texture.

Source: Kataoka et al., arXiv 2101.08515 (FractalDB); one image for each category: arXiv 2307.14710 (OFDB).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from operator import index

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from mammo_utils.data.batches import Arrays
from mammo_utils.data.draws import hashed, uniform

MAPS = 7  # of one system, at most
CANVAS, DOTS = 362, 200_000  # FractalDB's images: pixels along an edge, and dots
GREY = 127 / 255  # of a lit pixel
FILL = 0.2  # fill rate that makes a system a category
SEEN = 0.1  # fill rate of a weighted system below which its image is little but specks
BURN_IN = 50  # moves from the origin to the attractor, which are not drawn
# Factors of (a, b, c, d, e, f, p) in all maps of a system: none, or one of six parameters in steps of 0.4.
WEIGHTS = np.ones((25, 7))
WEIGHTS[range(1, 25), np.repeat(range(6), 4)] = np.tile([0.2, 0.6, 1.4, 1.8], 6)
# What random numbers are for, so that no two draws share theirs.
SYSTEM, MOVES, WEIGHTING, MIRROR, TEXTURE = range(5)


def systems(classes: int, *, seed: int = 0) -> np.ndarray:
    """Iterated function systems of the categories 0 to ``classes`` - 1, (classes, 7, 7) float64.

    A row (a, b, c, d, e, f, p) is the map (x, y) → (a·x + b·y + e, c·x + d·y + f), taken with probability p.
    A system has 2–7 of them, filled up with rows of zeros; a to f are even in -1…1, p is in proportion to
    |ad - bc|.  Systems are drawn until one has a `fill_rate` of 0.2, as one in 45 does.  Category k of a seed
    is the same for any number of categories.

    Raises: ``ValueError`` for less than one class.

    >>> bool((systems(2)[1] == systems(3)[1]).all())
    True
    """
    chosen, missing, tried = np.zeros((_positive("classes", classes), MAPS, 7)), np.arange(classes), 0
    while len(missing):
        tries = max(1, 64 // len(missing))
        category, number = np.repeat(missing, tries), np.tile(range(tried, tried + tries), len(missing))
        drawn = _drawn(hashed(SYSTEM, seed, category, number))
        kept = np.arange(len(drawn))
        # A coarser image with as many dots a pixel is fuller: what is thin there need not be drawn finely.
        # The coarse images cost a good system in a hundred and save nine tenths of the time.
        for size in (64, 128, 512):
            kept = kept[fill_rate(drawn[kept], size=size, dots=100_000 * size**2 // 512**2) >= FILL]
        found, first = np.unique(category[kept], return_index=True)
        chosen[found] = drawn[kept[first]]
        missing, tried = np.setdiff1d(missing, found), tried + tries
    return chosen


def fill_rate(systems, *, size: int = 512, dots: int = 100_000) -> np.ndarray:
    """Share of the pixels of an image that dots fall into, (N,) float64; 0 for a system that diverges.

    ``systems`` (N, 7, 7) as from `systems`; ``size`` pixels along an edge; ``dots`` that are drawn.
    """
    rates = [np.zeros(0)]
    for part in _blocks(len(systems), dots, "cpu"):
        hit, bounded = _hits(systems[part], size=size, dots=dots, device="cpu")
        rates.append((hit.double().mean((1, 2)) * bounded).numpy())
    return np.concatenate(rates)


def variants(systems, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``count`` instances of every category: (classes, count, 7, 7), and which weighting each has (0–24).

    Instance 0 is the category's own system.  The others go, in an order drawn for the category, through its
    24 weightings: one of the parameters a to f times 0.2, 0.6, 1.4 or 1.8 in all maps, p as it was.  When
    none is left they start again, as FractalDB has several images of one weighting, which differ in texture
    and in which of the two axes are mirrored.  Unlike FractalDB, weightings with a fill rate below 0.1
    (one in five: most of their dots gather in specks) are left out.
    """
    classes, count = len(systems), _positive("count", count)
    weighted = systems[:, None] * WEIGHTS[:, None]
    seen = fill_rate(weighted.reshape(-1, MAPS, 7), size=128, dots=6250).reshape(classes, -1) >= SEEN
    rank = np.where(seen, uniform(hashed(WEIGHTING, seed, np.arange(classes)), len(WEIGHTS)), 2)
    seen[:, 0], rank[:, 0] = True, -1
    weighting = np.take_along_axis(rank.argsort(1), np.arange(count) % seen.sum(1)[:, None], 1)
    category, number = np.divmod(np.arange(classes * count), count)
    sign = np.where(uniform(hashed(MIRROR, seed, category, number), 2) < 0.5, 1, -1)
    sign[number == 0] = 1
    (x, y), one = sign.T, np.ones(len(sign))
    mirror = np.stack([one, x * y, x * y, one, x, y, one], 1).reshape(classes, count, 1, 7)
    return weighted[np.arange(classes)[:, None], weighting] * mirror, weighting


def render(systems, *, size: int, dots: int = DOTS, keys=None, device="cpu") -> torch.Tensor:
    """Images of the fractals, (N, size, size) float32 in 0–0.5 on the device, y upwards.

    ``systems`` (N, 7, 7) as from `systems`.  Dots are spread over the bounding box of their fractal and drawn
    as patches of 3 × 3 pixels, each of which is lit or dark by chance, later patches over earlier ones.  As
    FractalDB's, images are drawn with at least 362 pixels along the edge; if ``size`` is smaller, each pixel
    is the mean of a square of those.  ``keys`` (N,) uint64 decide the textures; by default each image has its
    own.  Every image follows the same sequence of draws, so that it depends on its system and key only.

    Raises: ``ValueError`` for a system that diverges and for another number of keys than of systems.
    """
    keys = hashed(TEXTURE, np.arange(len(systems))) if keys is None else np.asarray(keys, np.uint64)
    if len(keys) != len(systems):
        raise ValueError(f"{len(keys)} keys for {len(systems)} systems; every image needs one")
    fine = -(-CANVAS // _positive("size", size))
    edge = fine * size
    images = torch.empty(len(systems), size, size, device=device)
    for part in _blocks(len(systems), dots, device):
        hit, bounded = _hits(systems[part], size=edge, dots=dots, device=device)
        if not bounded.all():
            number = part.start + int(bounded.int().argmin())
            raise ValueError(
                f"system {number} diverges: its maps move points apart; render those with fill_rate above 0"
            )
        # A pixel under patches shows one pixel of the last one, and no other pixel shows that one: the
        # picture is the same coin tossed for every covered pixel, in whatever order the patches lie.
        lit = _spread(hit) & _coins(keys[part], edge**2).view(-1, edge, edge).to(device)
        images[part] = GREY * F.avg_pool2d(lit.float(), fine)
    return images


def arrays(
    classes: int, instances: int, *, size: int, dots: int = DOTS, seed: int = 0, device="cpu"
) -> Arrays:
    """Categories of fractals as ``data.batches.Batches`` takes them: ``target="category"``.

    ``instances`` above 1 gives a FractalDB; 1 an OFDB, whose variety is left to the augmentation.  The table
    has ``category``, ``weighting``, ``image_id`` and ``group``: images of one group are mirror images and
    other textures of each other, so a group must not cross a split.  The mask ``breast`` is True everywhere.
    Memory is 3 bytes a pixel, 1 GB for 20,000 images of 128 × 128, and about 0.4 GB to draw them.

    >>> made = arrays(2, 1, size=32)
    >>> made.images.shape, made.table["category"].tolist()
    ((2, 32, 32), [0, 1])
    """
    n = _positive("classes", classes) * _positive("instances", instances)
    images = np.empty((n, _positive("size", size), size), np.uint16)
    drawn, weighting = variants(systems(classes, seed=seed), instances, seed=seed)
    drawn, weighting = drawn.reshape(n, MAPS, 7), weighting.reshape(n)
    category, number = np.divmod(np.arange(n), instances)
    keys = hashed(TEXTURE, seed, category, number)
    for part in _blocks(n, dots, device):
        made = render(drawn[part], size=size, dots=dots, keys=keys[part], device=device)
        images[part] = (made * 65535).round().cpu().numpy()
    table = pd.DataFrame({"category": category, "weighting": weighting})
    table["image_id"] = [f"fractal_{c:05d}_{n:04d}" for c, n in zip(category, number, strict=True)]
    table["group"] = category * len(WEIGHTS) + weighting
    return Arrays(images, {"breast": np.ones(images.shape, bool)}, table)


def _positive(name: str, value: int) -> int:
    if index(value) < 1:
        raise ValueError(f"{name}={value} must be 1 or more")
    return index(value)


def _drawn(keys: np.ndarray) -> np.ndarray:
    """A random system for each of the (N,) ``keys``."""
    shares = uniform(keys, 1 + 6 * MAPS)
    count = 2 + np.floor((MAPS - 1) * shares[:, :1])
    maps = (2 * shares[:, 1:] - 1).reshape(-1, MAPS, 6) * (np.arange(MAPS) < count)[..., None]
    area = np.abs(maps[..., 0] * maps[..., 3] - maps[..., 1] * maps[..., 2])
    return np.concatenate([maps, (area / area.sum(1, keepdims=True))[..., None]], 2)


def _blocks(n: int, dots: int, device) -> Iterator[slice]:
    """Parts of ``n`` images that are drawn at a time: some for the caches of a CPU, many for a GPU."""
    block = max(1, (2**22 if torch.device(device).type == "cpu" else 2**25) // _positive("dots", dots))
    return (slice(start, start + block) for start in range(0, n, block))


def _hits(systems, *, size: int, dots: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pixels dots fall into, (N, size, size) bool, and which systems stay bounded, (N,) bool."""
    path = _orbits(systems, dots, device)
    low, high = path.amin((0, 3), keepdim=True), path.amax((0, 3), keepdim=True)
    bounded = (high - low).isfinite().all(1).view(-1)
    margin = max(1, round(size * 6 / 512))
    inner = size - 2 * margin
    if inner < 1:
        raise ValueError(f"size={size} leaves no pixel between the margins; take 3 or more")
    # What is not finite becomes some whole number; such a system does not count.
    place = ((path - low) / (high - low).clamp(min=1e-30) * inner).int().clamp_(0, inner - 1)
    x, y = place.unbind(1)
    image = torch.arange(len(systems), device=device)[:, None]
    at = (image * size + (size - 1 - margin - y)) * size + (margin + x)
    hit = torch.zeros(len(systems) * size**2, dtype=torch.bool, device=device)
    return hit.scatter_(0, at.view(-1), True).view(-1, size, size), bounded


def _orbits(systems, dots: int, device) -> torch.Tensor:
    """Points of every system's chaos game, (moves, 2, N, walkers) float32 of x and y.

    Many points walk at the same time, about as many as there are moves.  Products and sums are steps of their
    own, each rounded as IEEE 754 says, so that a system is accepted on every machine or on none.
    """
    systems, n = np.asarray(systems), len(systems)
    if systems.shape[1:] != (MAPS, 7):
        raise ValueError(f"systems must be (N, {MAPS}, 7) as from fractals.systems, not {systems.shape}")
    walkers = isqrt(dots)
    moves = dots // walkers
    maps = torch.from_numpy(systems[..., :6].reshape(-1, 6)).float().to(device)
    upto = np.cumsum(systems[..., 6:], 1)
    upto = torch.from_numpy(upto / upto[:, -1:]).to(device)
    shares = uniform(hashed(MOVES), (BURN_IN + moves) * walkers).reshape(-1, walkers)
    first = MAPS * torch.arange(n, dtype=torch.int32, device=device)[:, None]
    x = y = torch.zeros(n, walkers, device=device)
    path = torch.empty(moves, 2, n, walkers, device=device)
    for move, share in enumerate(torch.from_numpy(shares).to(device), -BURN_IN):
        chosen = first + (share >= upto).sum(1, dtype=torch.int32)
        a, b, c, d, e, f = maps.index_select(0, chosen.view(-1)).view(n, walkers, 6).unbind(-1)
        x, y = a * x + b * y + e, c * x + d * y + f
        if move >= 0:
            path[move, 0], path[move, 1] = x, y
    return path


def _spread(hit: torch.Tensor) -> torch.Tensor:
    """The pixels that 3 × 3 patches around the hit ones cover; the margin keeps patches inside the image."""
    for axis in (1, 2):
        wide = hit.clone()
        wide.narrow(axis, 1, hit.shape[axis] - 1).logical_or_(hit.narrow(axis, 0, hit.shape[axis] - 1))
        wide.narrow(axis, 0, hit.shape[axis] - 1).logical_or_(hit.narrow(axis, 1, hit.shape[axis] - 1))
        hit = wide
    return hit


def _coins(keys: np.ndarray, count: int) -> torch.Tensor:
    """``count`` tosses of a coin for each of the (N,) ``keys``, (N, count) bool."""
    words = -(-count // 64)
    numbers = hashed(np.repeat(keys.view(np.int64), words), np.tile(np.arange(words), len(keys)))
    bits = np.unpackbits(numbers.astype("<u8").view(np.uint8)).reshape(len(keys), -1)
    return torch.from_numpy(bits[:, :count].astype(bool))
