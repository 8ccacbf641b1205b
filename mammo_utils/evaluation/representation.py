"""How a representation is spread out, and whose images lie close together in it.

``z`` is (N, D), a row an image: the features of a frozen network or its embeddings.  All but `effective_rank`
and `cka` look at the direction of a row only, as the contrastive objectives do.  Turning ``z`` changes none
of them.

All raise ``ValueError`` for ``z`` with fewer than two rows or with missing or infinite values, for rows of
zeros where a direction is needed, and for labels or groups of another length or with missing values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from scipy.special import entr, logsumexp


class Retrieval(NamedTuple):
    """Share of rows whose nearest neighbour has their label, and of those whose neighbour is drawn by lot."""

    share: float
    chance: float


class Plane(NamedTuple):
    """(N, 2) coordinates and the shares of the variance that the two axes hold."""

    points: np.ndarray
    share: np.ndarray


def positives(groups) -> np.ndarray:
    """The (M, 2) pairs of different rows with one key, such as all views of a woman or of a breast.

    >>> positives(["ann", "bea", "ann", "ann"]).tolist()
    [[0, 2], [0, 3], [2, 3]]
    """
    codes = _codes(groups, len(groups), "groups")
    return np.argwhere(np.triu(codes[:, None] == codes, 1))


def alignment(z, pairs) -> float:
    """Mean squared distance of the normalised rows of M positive pairs; 0 where views fall together, up to 4.

    ``pairs``: (M, 2) row numbers, such as `positives` gives.

    Raises ``ValueError`` for no pairs and for rows that are not there, and as the module says.

    Source: Wang and Isola, ICML 2020, arXiv 2005.10242.

    >>> alignment([[1, 0], [0, 2], [3, 0]], [[0, 1], [0, 2]])
    1.0
    """
    unit, pairs = _unit(z), np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise ValueError(f"pairs must be (M, 2) row numbers, one pair or more, not {pairs.shape}")
    if pairs.min() < 0 or pairs.max() >= len(unit):
        raise ValueError(f"pairs name rows {pairs.min()} to {pairs.max()}, z has rows 0 to {len(unit) - 1}")
    return float(((unit[pairs[:, 0]] - unit[pairs[:, 1]]) ** 2).sum(1).mean())


def uniformity(z, *, t: float = 2) -> float:
    """log of the mean of exp(-t · squared distance) over all pairs of normalised rows.

    0 where all rows fall together, the lower the more evenly they are spread over the sphere.  Memory grows
    with the square of N: draw a few thousand rows from more.

    Source: Wang and Isola, ICML 2020, arXiv 2005.10242.

    >>> uniformity([[1, 0], [-2, 0]])
    -8.0
    """
    distances = pdist(_unit(z), "sqeuclidean")
    return float(logsumexp(-t * distances) - np.log(len(distances)))


def effective_rank(z) -> float:
    """Number of directions that the rows fill, 1 to min(N, D): exp of the entropy of the singular values.

    The mean is not taken away, so 1 means that all rows are multiples of one: the representation collapsed.
    A large mean lowers it as well; ``z - z.mean(0)`` tells the two apart.

    Source: Roy and Vetterli, EUSIPCO 2007; for representations Garrido et al., ICML 2023, arXiv 2210.02885.

    >>> round(effective_rank([[3, 0], [0, 3]]), 3), round(effective_rank([[1, 2], [2, 4]]), 3)
    (2.0, 1.0)
    """
    values = np.linalg.svd(_checked(z), compute_uv=False)
    if not values.any():
        raise ValueError("z is zero throughout: it has no rank")
    return float(np.exp(entr(values / values.sum()).sum()))


def cka(x, y) -> float:
    """How alike two representations of the same N images are: linear centred kernel alignment, up to 1.

    ``x`` is (N, D), ``y`` (N, E).  1 if one is the other, turned, scaled or shifted; near 0 if how alike two
    images are in one says nothing about the other.  The estimate is free of bias, for the plain one calls
    any two alike where the images are fewer than the columns; it may fall a little below 0.

    Raises ``ValueError`` for fewer than four rows, for other rows in ``y`` and where all images are alike,
    and as the module says.

    Source: Kornblith, ICML 2019; the estimate without bias is that of Song, JMLR 2012.

    >>> x = np.random.default_rng(0).normal(size=(9, 4))
    >>> round(cka(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    x, y = _checked(x, "x"), _checked(y, "y")
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"x and y must have four rows or more of the same images, not {len(x)} and {len(y)}")
    one, other = _products(x), _products(y)
    sizes = (one * one).sum() * (other * other).sum()
    if not sizes:
        raise ValueError("all images are alike in x or y: nothing can be compared")
    return float((one * other).sum() / np.sqrt(sizes))


def neighbours(z, k: int, *, groups=None) -> np.ndarray:
    """(N, k) row numbers of the nearest rows by cosine, nearest first, equal ones in the order of the rows.

    A row is never its own neighbour; with ``groups``, N keys, neither is a row of its group: the woman shows
    who else resembles her.

    Raises ``ValueError`` where a row has fewer than ``k`` candidates, and as the module says.

    >>> neighbours([[1, 0], [2, 0.1], [0, 1]], 1, groups=["ann", "ann", "bea"]).tolist()
    [[2], [2], [1]]
    """
    unit = _unit(z)
    codes = _codes(range(len(unit)) if groups is None else groups, len(unit), "groups")
    fewest = len(unit) - np.bincount(codes).max()
    if not 1 <= k <= fewest:
        raise ValueError(f"k is {k}; it must be 1 to {fewest}, the rows outside the largest group")
    found = np.empty((len(unit), k), int)
    for rows in np.array_split(np.arange(len(unit)), len(unit) // 1000 + 1):  # all at once is N × N
        distance = np.where(codes[rows, None] == codes, np.inf, -unit[rows] @ unit.T)
        found[rows] = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return found


def retrieval(z, labels, *, exclude=None) -> Retrieval:
    """How often the nearest neighbour of a row has its label, such as the identity of the woman.

    ``exclude``: N keys; rows with an equal one are no candidates, such as those of the same breast, which
    would be found by what is drawn on them.  Rows for which no candidate has their label are left out.

    Raises ``ValueError`` where that leaves none, and as the module says.

    >>> retrieval([[1, 0], [2, 0.1], [0, 1], [0.1, 1]], ["ann", "ann", "bea", "bea"])
    Retrieval(share=1.0, chance=0.3333333333333333)
    """
    nearest = neighbours(z, 1, groups=exclude)[:, 0]
    size = len(nearest)
    labels = _codes(labels, size, "labels")
    exclude = _codes(range(size) if exclude is None else exclude, size, "exclude")
    both = np.unique(labels * size + exclude, return_inverse=True)[1]
    alike, excluded, excluded_alike = (np.bincount(codes)[codes] for codes in (labels, exclude, both))
    right, candidates = alike - excluded_alike, size - excluded
    asked = right > 0
    if not asked.any():
        raise ValueError("no row has another one with its label that is not excluded: nothing can be found")
    hits = labels[nearest] == labels
    return Retrieval(float(hits[asked].mean()), float((right / candidates)[asked].mean()))


def plane(z) -> Plane:
    """Map of the rows on the two principal axes of their directions; the longer tail points up and right.

    A linear map rather than t-SNE, whose points land elsewhere after a change in the seventh digit of ``z``.
    No distance in it is longer than the true one, so that the gaps it shows are there; rows that it shows
    together may be far apart in what it leaves out, which `neighbours` sees.

    Raises ``ValueError`` for a single column, and as the module says.
    """
    unit = _unit(z)
    if unit.shape[1] < 2:
        raise ValueError("a plane needs z with two columns or more")
    u, values, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    points = u[:, :2] * values[:2]
    points = np.where((points**3).sum(0) < 0, -points, points)
    return Plane(points, values[:2] ** 2 / max((values**2).sum(), np.finfo(float).tiny))


def _checked(z, name: str = "z") -> np.ndarray:
    z = np.asarray(z, float)
    if z.ndim != 2 or len(z) < 2 or not z.shape[1]:
        raise ValueError(f"{name} must be (N, D) with two rows or more, not {z.shape}")
    if bad := np.count_nonzero(~np.isfinite(z).all(1)):
        raise ValueError(f"{bad} of {len(z)} rows of {name} have missing or infinite values: did it diverge?")
    return z


def _unit(z) -> np.ndarray:
    """The rows at length 1."""
    z = _checked(z)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    if not length.all():
        raise ValueError(f"{np.count_nonzero(length == 0)} of {len(z)} rows of z are zero: no direction")
    return z / length


def _products(z: np.ndarray) -> np.ndarray:
    """(N, N) inner products of the rows, centred as if the diagonal, which is left at 0, were not there."""
    z = z - z.mean(0)  # changes nothing but the digits that are left
    size, found = len(z), z @ z.T
    np.fill_diagonal(found, 0)
    lines = found.sum(0)
    found += lines.sum() / ((size - 1) * (size - 2)) - (lines[:, None] + lines) / (size - 2)
    np.fill_diagonal(found, 0)
    return found


def _column(values, size: int, name: str) -> pd.Series:
    # A Series keeps what is missing: numpy would turn it into the class "nan" among strings.
    values = pd.Series(values)
    if len(values) != size:
        raise ValueError(f"{name} has {len(values)} entries for {size} rows")
    if values.isna().any():
        raise ValueError(f"{name} has {values.isna().sum()} missing values: leave those rows out first")
    return values


def _codes(values, size: int, name: str) -> np.ndarray:
    return pd.factorize(_column(values, size, name))[0]
