"""Whether a map finds the lesion: scores, what chance reaches, and what the grid of a layer leaves possible.

Maps are (N, H, W), 0 and above, masks (N, H, W) bool, every mask with a lesion; scores are (N,).  A map that
is the same everywhere has seen nothing, and scores what a point dropped anywhere in the image does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.filters import sobel

from mammo_utils.evaluation import intervals, overlap
from mammo_utils.evaluation.density import spearman
from mammo_utils.explain.layers import Grid

# Below this area under the ROC curve of the classifier no method is ranked: where it cannot tell cancers from
# the rest, there is little that a map could be right about.
RANKABLE = 0.75
LEVELS = np.linspace(0.1, 0.9, 9)  # shares of a map's maximum at which it is cut
DRAWS = 20  # random maps an image
# What a method is measured against on the same image: random maps, the centre prior, the edges.
RIVALS = ("chance", "centre", "edges")


def pointing(maps, masks) -> np.ndarray:
    """Pointing game: whether the maximum of each map lies in the lesion, without a margin.

    Where several pixels share the maximum it is the share of them that does.

    Source: Zhang 2018, 10.1007/s11263-017-1059-x, who allowed a margin of 15 pixels (from memory).

    >>> heat = np.zeros((1, 4, 4)); heat[0, 1, 1] = heat[0, 3, 3] = 2
    >>> lesion = np.zeros((1, 4, 4), bool); lesion[0, :2, :2] = True
    >>> pointing(heat, lesion)
    array([0.5])
    """
    maps, masks = _pair(maps, masks)
    top = maps == maps.max(axis=(1, 2), keepdims=True)
    return (top & masks).sum((1, 2)) / top.sum((1, 2))


def energy(maps, masks) -> np.ndarray:
    """Share of the sum of each map that lies in the lesion.

    Source: Wang 2020, arXiv 1910.01279 (energy-based pointing game).

    >>> energy(np.ones((1, 2, 2)), np.array([[[True, False], [False, False]]]))
    array([0.25])
    """
    maps, masks = _pair(maps, masks)
    maps = np.where(maps.any(axis=(1, 2), keepdims=True), maps, 1)
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def iou_curve(maps, masks, levels=LEVELS) -> np.ndarray:
    """Intersection over union of lesion and map cut at shares ``levels`` of its own maximum: (N, levels)."""
    maps, masks = _pair(maps, masks)
    height = maps.max(axis=(1, 2), keepdims=True)
    return np.stack([overlap.iou(maps >= level * height, masks) for level in levels], axis=1)


def iou(maps, masks, levels=LEVELS) -> np.ndarray:
    """Mean of `iou_curve` over its levels: no single threshold is right for all methods."""
    return iou_curve(maps, masks, levels).mean(1)


SCORES: dict[str, Callable] = {"pointing": pointing, "energy": energy, "iou": iou}


def likeness(a, b, inside) -> np.ndarray:
    """Spearman's rank correlation of maps ``a`` and ``b`` over the pixels ``inside``, (N,).

    0 where one of them is the same everywhere.
    """
    alike = [spearman(one[area], other[area]) for one, other, area in zip(a, b, inside, strict=True)]
    return np.nan_to_num(alike)


def random(grid: Grid, breast: np.ndarray, *, seed: int = 0, draws: int = 1) -> np.ndarray:
    """Random maps on the cells of ``grid`` inside each ``breast`` (N, H, W): (draws, N, H, W)."""
    rng = np.random.default_rng(seed)
    cells = rng.random((draws, len(breast), *grid.shape))
    return grid.enlarge(cells, breast.shape[-2:]) * breast


def centre(breast: np.ndarray) -> np.ndarray:
    """The centre prior: for each ``breast`` (N, H, W) the normal density with its middle and spread."""
    maps, places = [], np.stack(np.indices(breast.shape[1:]), -1)
    for area in breast:
        points = np.argwhere(area)
        away = places - points.mean(0)
        inverse = np.linalg.inv(np.cov(points.T))
        maps.append(np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", away, inverse, away)) * area)
    return np.array(maps, np.float32)


def edges(images: np.ndarray, breast: np.ndarray) -> np.ndarray:
    """Sobel's edges of ``images`` (N, H, W) inside the breast, without its own border.

    Source: as a control Adebayo 2018, arXiv 1810.03292.
    """
    inner = [ndimage.binary_erosion(area, iterations=2) for area in breast]
    return np.array([sobel(image) * area for image, area in zip(images, inner, strict=True)], np.float32)


def references(
    grid: Grid, images: np.ndarray, breast: np.ndarray, masks: np.ndarray
) -> dict[str, np.ndarray]:
    """Maps that need no network, seen through the grid of a layer: {name: (N, H, W)}.

    ``centre prior`` and ``edges``, and ``lesion``: the true lesion, whose score is the ceiling of the layer.
    With cells of 32 pixels a small lesion lies in one cell whose middle may lie beside it.  The ceiling is
    that of a map which shows the whole lesion and nothing else, and no bound: a map of one cell in the middle
    of a large lesion has more of its energy in it.
    """
    own = {"centre prior": centre(breast), "edges": edges(images, breast), "lesion": masks.astype(float)}
    return {name: grid.passed(maps) for name, maps in own.items()}


def chance(
    score: Callable, grid: Grid, breast: np.ndarray, masks: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """The mean of ``score`` over ``DRAWS`` random maps for each image, (N,)."""
    return np.mean([score(maps, masks) for maps in random(grid, breast, seed=seed, draws=DRAWS)], axis=0)


def summary(
    table: pd.DataFrame, by: list[str], *, kinds: Mapping[str, np.ndarray], n: int = 1000
) -> pd.DataFrame:
    """Means with 95 % intervals that resample women, for all images and for kinds of lesions.

    ``table`` has a row an image and score: ``value``, those of ``RIVALS`` and the ``ceiling`` on the same
    image, ``woman`` and the columns ``by`` (method, layer, score).  ``kinds`` {name: a bool for each row}.
    Columns: ``by``, ``lesion``, ``images``, ``women``, ``estimate``, ``low``, ``high``, ``chance``,
    ``ceiling``, and for each rival ``over_chance``, ``over_chance_low``, ``over_chance_high``: the difference
    from it on the same images.  A kind with fewer than two women has no limits.
    """
    rows = []
    kinds = {"all": np.ones(len(table), bool), **kinds}
    for lesion, chosen in kinds.items():
        parts = dict(list(table[chosen].groupby(by, sort=False)))
        limits = _limits(list(parts.values()), n)
        for (key, part), found in zip(parts.items(), limits, strict=True):
            row = dict(zip(by, key, strict=True)) | {"lesion": lesion, "images": len(part)}
            rows.append(row | {"women": part["woman"].nunique()} | found)
    return pd.DataFrame(rows)


def _limits(parts: list[pd.DataFrame], n: int) -> list[dict[str, float]]:
    """The columns of `summary` from ``estimate`` on; parts of the same women share their resamples."""
    together, found = {}, [{}] * len(parts)
    for place, part in enumerate(parts):
        together.setdefault(tuple(part["woman"]), []).append(place)
    for women, places in together.items():
        values = np.stack([parts[place][["value", *RIVALS]].to_numpy(float) for place in places], axis=1)
        if len(set(women)) > 1:
            limits = intervals.bootstrap(_means, values, groups=np.array(women), n=n)
        else:
            nothing = np.full(values.shape[1:], np.nan)
            limits = _means(values), nothing, nothing
        for place, columns in zip(places, np.stack(limits, axis=-1), strict=True):
            found[place] = _named(columns, parts[place])
    return found


def _means(values: np.ndarray) -> np.ndarray:
    """(methods, 1 + rivals): the mean score and its mean differences from the rivals."""
    means = values.mean(0)
    return np.concatenate([means[:, :1], means[:, :1] - means[:, 1:]], axis=1)


def _named(columns: np.ndarray, part: pd.DataFrame) -> dict[str, float]:
    named = dict(zip(("estimate", "low", "high"), columns[0], strict=True))
    named |= {name: part[name].mean() for name in ("chance", "ceiling")}
    for rival, limits in zip(RIVALS, columns[1:], strict=True):
        named |= {f"over_{rival}{end}": x for end, x in zip(("", "_low", "_high"), limits, strict=True)}
    return named


def _pair(maps, masks) -> tuple[np.ndarray, np.ndarray]:
    maps, masks = np.asarray(maps, float), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape or masks.dtype != bool:
        raise ValueError(f"maps {maps.shape} and bool masks {masks.shape} must both be (N, H, W)")
    if not masks.any((1, 2)).all():
        raise ValueError("a mask is empty: leave out the images without a lesion")
    if not (maps >= 0).all():
        raise ValueError("a map is negative or not a number; maps of `cam.explain` are neither")
    return maps, masks
