"""Versions of an image, what a contrastive loss makes of pairs, and hidden squares: the numbers of
notebook 04."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mammo_utils.data import augment, preprocess
from mammo_utils.data.strengths import INTENSITY, LIMITS, STRENGTHS, Ranges
from mammo_utils.evaluation import representation, segmentation
from mammo_utils.models.inspect import mode
from mammo_utils.profile import choose
from mammo_utils.synth.breast import View
from mammo_utils.training import masked

SCHEMES = ("each image for itself", "breast", "woman")


class Versions(NamedTuple):
    """N versions of one image: ``image`` float32 in 0–1 and the masks bool, each (N, H, W)."""

    image: np.ndarray
    dense: np.ndarray
    breast: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """Percent density of what each version shows of the breast, (N,); NaN where it shows none."""
        return segmentation.percent_density(self.dense, self.breast)

    def brighter(self, level: float) -> np.ndarray:
        """Share of the visible breast that is brighter than ``level`` (0–1), in per cent, (N,)."""
        return segmentation.percent_density((self.image > level) & self.breast, self.breast)


class Painting(NamedTuple):
    """N images, what was hidden of them and what a network painted, (N, H, W) each; the mean absolute error
    of hidden pixels in the breast, and that of the mean grey of what is visible of the same breast."""

    image: np.ndarray
    breast: np.ndarray
    hidden: np.ndarray
    painted: np.ndarray
    error: float
    plain: float


def mosaic(filters) -> np.ndarray:
    """The filters (N, 1, k, k) of a first layer as tiles of one image in 0–1, grey for 0.

    >>> mosaic(np.ones((4, 1, 3, 3))).shape
    (9, 9)
    """
    filters = np.asarray(filters, float)[:, 0]
    side, edge = int(np.ceil(len(filters) ** 0.5)), filters.shape[-1] + 1
    tiles = np.ones((side * edge + 1, side * edge + 1))
    for number, one in enumerate(filters):
        row, column = (1 + edge * place for place in divmod(number, side))
        tiles[row : row + edge - 1, column : column + edge - 1] = 0.5 + one / (2.2 * np.abs(filters).max())
    return tiles


def ranges(*, geometry: float = 0.0, intensity: float = 0.0, smallest: float = 1.0) -> Ranges:
    """Augmentation ``geometry`` and ``intensity`` times as strong as "standard", with crops if asked.

    0 changes nothing and 1 is "standard"; what an operation cannot do is cut off.  ``smallest`` is the least
    share of the image's area that a version shows (0–1); below 1 a crop of random place takes the place of
    the shifts and of the scale.

    >>> ranges(geometry=1, intensity=1) == STRENGTHS["standard"], ranges() == STRENGTHS["none"]
    (True, True)
    """
    if not 0 < smallest <= 1:
        raise ValueError(f"smallest={smallest} must be a share of the area above 0, at most 1")
    names = [field.name for field in fields(Ranges)]
    strengths = {name: intensity if name in INTENSITY else geometry for name in names}
    changed = {name: _times(name, times) for name, times in strengths.items() if times}
    if smallest < 1:
        changed |= {"shift_rows": (0.0, 0.0), "shift_columns": (0.0, 0.0), "centre_rows": (0, 1)}
        changed |= {"centre_columns": (0, 1), "scale": (1.0, smallest**-0.5)}
    return Ranges(**changed)


def _times(name: str, times: float):
    """The range of "standard", ``times`` as far from where nothing changes; a flip keeps its probability."""
    neutral, value = getattr(STRENGTHS["none"], name), getattr(STRENGTHS["standard"], name)
    if name.endswith("flip") or value == neutral:
        return value
    low, high = value
    if name in ("scale", "gamma"):
        return low**times, high**times
    least, most = LIMITS.get(name, (-np.inf, np.inf))
    return tuple(float(np.clip(neutral[0] + times * (end - neutral[0]), least, most)) for end in value)


def prepared(view: View) -> Versions:
    """The one image of ``view`` as networks get it: cropped, without marker, the chest wall on the left."""
    found = preprocess.prepare(view.image, view.image.shape, laterality=view.laterality)
    masks = (found.to_prepared(mask) for mask in (view.dense_mask, view.breast_mask))
    return Versions(*(stack[None] for stack in (found.image, *masks)))


def versions(view: View, changes: Ranges, count: int, *, seed: int = 0) -> Versions:
    """``count`` random versions of the `prepared` mammogram."""
    stack = np.concatenate(prepared(view)).astype(np.float32)
    image, masks = torch.from_numpy(stack)[None].expand(count, -1, -1, -1).split([1, 2], 1)
    drawn = augment.draw(range(count), ranges=changes, seed=seed)
    image, masks, _ = augment.apply(drawn, image.contiguous(), masks=masks.contiguous())
    dense, breast = masks.numpy().astype(bool).transpose(1, 0, 2, 3)
    return Versions(image[:, 0].numpy(), dense, breast)


def spread(views: dict[str, View], kinds: dict[str, Ranges], count: int, *, level: float) -> pd.DataFrame:
    """Density of ``count`` versions of every view for every kind of change, a row a version.

    Columns ``woman`` (the key of ``views``), ``kind``, ``density`` and ``brighter`` than ``level``; versions
    without breast are left out.
    """
    rows = []
    for woman, view in views.items():
        for kind, changes in kinds.items():
            made = versions(view, changes, count)
            rows.append(pd.DataFrame({"density": made.density, "brighter": made.brighter(level)}))
            rows[-1] = rows[-1].assign(woman=woman, kind=kind)
    return pd.concat(rows, ignore_index=True).dropna()


def embeddings(head, image: Tensor) -> np.ndarray:
    """Embeddings (N, D) of images by a head of `models.pretext`, in evaluation mode."""
    with mode(head), torch.no_grad():
        return head(image).numpy()


def cosines(z) -> np.ndarray:
    """(N, N) cosines of the rows of ``z``."""
    unit = np.asarray(z, float)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


def side_by_side(count: int) -> np.ndarray:
    """The order that puts the two versions of each of ``count`` images next to each other.

    >>> side_by_side(3).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return np.arange(2 * count).reshape(2, count).T.ravel()


def pushes(similarity, temperature: float) -> np.ndarray:
    """Each negative's share of the force on an image, (N,), sums to 1: a softmax of cosine / temperature."""
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    scaled = np.asarray(similarity, float) / temperature
    force = np.exp(scaled - scaled.max())
    return force / force.sum()


def correlations(za, zb) -> np.ndarray:
    """(D, D) correlations of the columns of ``za`` with those of ``zb``, both (N, D)."""
    a, b = ((z - z.mean(0)) / z.std(0) for z in (np.asarray(za, float), np.asarray(zb, float)))
    return a.T @ b / len(a)


def relations(patient, breast, scheme: str) -> np.ndarray:
    """Who attracts (1), repels (-1) or does neither (0): (N, N) int8, the diagonal 0.

    ``scheme``: "each image for itself" as in SimCLR, whose attraction is between versions of an image and
    stands on the diagonal; "breast" or "woman", the positives of multi-view learning.
    """
    choose("scheme", scheme, SCHEMES)
    patient, breast = np.asarray(patient), np.asarray(breast)
    woman = patient[:, None] == patient
    own = np.eye(len(patient), dtype=bool)
    if scheme == SCHEMES[0]:
        return np.where(own, 1, -1).astype(np.int8)
    alike = woman & (breast[:, None] == breast) if scheme == "breast" else woman
    return np.where(own, 0, np.where(alike, 1, np.where(woman, 0, -1))).astype(np.int8)


def paint(painter, batch, *, patch: int, ratio: float, seed: int = 0) -> Painting:
    """Hide squares of the images of a batch and let a `pretext.Painter` fill them in."""
    image, breast = batch.image, batch.breast
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        hidden = masked.squares(len(image), tuple(image.shape[-2:]), patch=patch, ratio=ratio)
    with mode(painter), torch.no_grad():
        painted = painter(image, hidden)
    seen = ~hidden * breast
    mean = (image * seen).sum((1, 2, 3), keepdim=True) / seen.sum((1, 2, 3), keepdim=True).clamp(min=1)
    errors = (
        masked.reconstruction(x, image, hidden, breast=breast) for x in (painted, mean.expand_as(image))
    )
    stacks = (image, breast.bool(), hidden, painted.clamp(0, 1))
    return Painting(*(x[:, 0].numpy() for x in stacks), *map(float, errors))


def neighbourhood(z, table: pd.DataFrame) -> pd.DataFrame:
    """What an image has in common with its nearest neighbour, and with one drawn by lot (``chance``).

    ``z`` (N, D) are features of the images in ``table``.  Rows: ``other breast``, the share of images whose
    nearest one, the same breast left out, is of the same woman; ``density``, the mean difference in percent
    density to the nearest image of another woman; ``vendor``, the share of these from the same vendor.
    """
    group = table["group"].to_numpy(str)
    side = np.char.add(group, table["laterality"].to_numpy(str))
    density, vendor = table["percent_density"].to_numpy(float), table["machine"].to_numpy(str)
    nearest = representation.neighbours(z, 1, groups=group)[:, 0]
    others = group[:, None] != group
    apart, same = np.abs(density[:, None] - density), vendor[:, None] == vendor
    rows = {
        "other breast": representation.retrieval(z, group, exclude=side),
        "density": (np.abs(density[nearest] - density).mean(), apart[others].mean()),
        "vendor": ((vendor[nearest] == vendor).mean(), same[others].mean()),
    }
    return pd.DataFrame(rows, index=["found", "chance"]).T
