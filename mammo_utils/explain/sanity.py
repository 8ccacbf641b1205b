"""Does a map depend on what the network has learnt?  Layers are randomised and the maps compared.

A method whose map stays the same when the weights are scrambled shows the image and not the network.

Source: Adebayo 2018, arXiv 1810.03292, where weights are drawn anew as before training; here they are
shuffled.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from skimage.metrics import structural_similarity
from torch import nn

from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.explain import localisation
from mammo_utils.explain.cam import explain, scaled
from mammo_utils.profile import choose

ORDERS = ("cascading", "independent")
NOTHING, ANOTHER = "nothing", "another image"  # "parts": no layer scrambled, and the map of another image
# A method fails where its maps still have this rank correlation with the network's own after every layer was
# scrambled: half of the order of pixels is then the image's, or the method's.
ALIKE = 0.5
# Or where they do not mind that the head was, which alone knows the classes.
BLIND = 0.99


def randomised(model: nn.Module, *, order: str, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """(part, copy of ``model``) for each of its ``parts`` from head to stem; the model itself stays.

    ``order``: ``cascading`` scrambles all parts from the head to this one, ``independent`` this one alone.
    The values of every weight and every statistic change places within their tensor, so that the network
    still computes with numbers of the size that it is used to.

    Raises ``ValueError`` for another order.
    """
    choose("order", order, ORDERS)
    generator = torch.Generator().manual_seed(seed)
    names = [name for name, _ in model.parts][::-1]
    scrambled = model
    for name in names:
        scrambled = copy.deepcopy(model if order == "independent" else scrambled)
        _scramble(dict(scrambled.parts)[name], generator)
        yield name, scrambled


def _scramble(part: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for values in [*part.parameters(), *part.buffers()]:
            if values.is_floating_point():
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                values.copy_(values.flatten()[order].view_as(values))


def similarity(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> pd.DataFrame:
    """How alike two maps of the same image are, for N images: columns ``ssim`` and ``rank``.

    ``first``, ``second``: (N, H, W); ``inside``: (N, H, W) bool.  ``ssim``: mean structural similarity
    inside, of maps in 0–1; ``rank``: Spearman's correlation.  Flat maps are like no other (rank 0).

    Source: Wang 2004, 10.1109/TIP.2003.819861.
    """
    structures = []
    for one, other, area in zip(scaled(first), scaled(second), inside, strict=True):
        local = structural_similarity(one, other, data_range=1.0, full=True)[1]
        structures.append(local[area].mean())
    return pd.DataFrame({"ssim": structures, "rank": localisation.likeness(first, second, inside)})


def randomisation(
    model: nn.Module,
    images,
    inside: np.ndarray,
    *,
    target: int,
    method: str,
    layer: str | None = None,
    order: str = "cascading",
    seed: int = 0,
) -> pd.DataFrame:
    """Likeness of a method's maps of ``model`` and of its `randomised` copies.

    ``images`` (N, channels, H, W), ``inside`` (N, H, W) bool; other options as in `cam.explain`.  A row for
    each image and part: ``part`` (``nothing`` where both likenesses are 1 unless a map is flat), ``image``,
    ``ssim``, ``rank``.  The part ``another image`` compares maps of the model for two
    different images: what maps have in common anyway.
    """
    options = {"target": target, "method": method, "layer": layer, "normalise": False}
    own = explain(model, images, **options)
    found = {NOTHING: own}
    for part, copied in randomised(model, order=order, seed=seed):
        found[part] = explain(copied, images, **options)
    if len(own) > 1:
        found[ANOTHER] = np.roll(own, 1, axis=0)
    rows = [
        similarity(own, maps, inside).assign(part=part, image=range(len(own))) for part, maps in found.items()
    ]
    return pd.concat(rows, ignore_index=True)[["part", "image", "ssim", "rank"]]


def between(
    model: nn.Module, other: nn.Module, images, inside: np.ndarray, *, target: int, method: str, layer=None
) -> pd.DataFrame:
    """`similarity` of the maps of two networks, such as one that was trained on permuted labels."""
    options = {"target": target, "method": method, "layer": layer, "normalise": False}
    return similarity(*(explain(network, images, **options) for network in (model, other)), inside)


def summary(table: pd.DataFrame, women, *, n: int = 1000) -> pd.DataFrame:
    """Mean likeness by part, in the order of the table, with 95 % intervals that resample ``women``.

    ``table`` of `randomisation`, every part of the same images; ``women``: the key of each image.  Columns:
    ``part``, and ``ssim`` and ``rank`` with ``_low`` and ``_high``.
    """
    women, parts = np.asarray(women), dict(list(table.groupby("part", sort=False)))
    images = next(iter(parts.values()))["image"]
    values = np.stack(
        [own.set_index("image").loc[images, ["ssim", "rank"]] for own in parts.values()], axis=1
    )
    limits = bootstrap(lambda x: x.mean(0), values, groups=women[images], n=n)
    found = {"part": list(parts)}
    for place, column in enumerate(("ssim", "rank")):
        for end, limit in zip(("", "_low", "_high"), limits, strict=True):
            found[f"{column}{end}"] = limit[:, place]
    return pd.DataFrame(found)


def fails(table: pd.DataFrame) -> bool:
    """Whether maps ignore the head, or are still alike when every layer is scrambled.

    ``table``: the cascading `summary` of a method.
    """
    rank = table.set_index("part")["rank"].drop([NOTHING, ANOTHER], errors="ignore")
    return bool(rank.iloc[0] > BLIND or rank.iloc[-1] >= ALIKE)
