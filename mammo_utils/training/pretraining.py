"""Pretraining of an encoder without labels of the task: methods, their settings, one call for all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mammo_utils import profile
from mammo_utils.data.augment import Ranges
from mammo_utils.data.batches import Arrays, Batches
from mammo_utils.models import pretext
from mammo_utils.models.segmenter import Segmenter
from mammo_utils.profile import choose
from mammo_utils.training import contrastive, masked
from mammo_utils.training.devices import processes
from mammo_utils.training.history import History
from mammo_utils.training.loop import fit

POSITIVES = ("woman", "breast")
PAIRS = ("simclr", "barlow_twins")  # compare two versions of each image


@dataclass(frozen=True)
class Recipe:
    """How a method is run.

    ``augment``: a strength of `data.augment` for every version of an image.  ``batch_size`` counts images
    through the encoder, so SimCLR and Barlow Twins draw half as many originals.  ``hidden`` and ``out`` are
    the widths of the projector.  ``positives`` of multi-view: all views of a ``woman`` or those of a
    ``breast``.  ``patch`` is the edge of a hidden square in pixels, ``ratio`` the share that is hidden.
    """

    lr: float = 1e-3
    batch_size: int = 128
    weight_decay: float = 0.01
    augment: str | Ranges = "standard"
    hidden: int = 512
    out: int = 128
    temperature: float = 0.1
    off_diagonal: float = 0.0051
    positives: str = "woman"
    patch: int = 32
    ratio: float = 0.6


# What of a recipe a method uses besides what all use, see `fields_of`.
OWN = {
    "fractal": (),
    "simclr": ("hidden", "out", "temperature"),
    "barlow_twins": ("hidden", "out", "off_diagonal"),
    "masked": ("patch", "ratio"),
    "multiview": ("hidden", "out", "temperature", "positives"),
}
# The best of six short trials each, of a MobileNetV2 at half width on phantom women, see `study.transfer`.
RECIPES = {
    "fractal": Recipe(lr=4e-3, augment="crop"),
    "simclr": Recipe(lr=1.6e-2),
    "barlow_twins": Recipe(lr=1.6e-2, out=512),
    "masked": Recipe(lr=4e-2),
    "multiview": Recipe(lr=4e-3),
}


def fields_of(method: str) -> tuple[str, ...]:
    """The fields of a `Recipe` that ``method`` depends on.

    >>> fields_of("masked")
    ('lr', 'batch_size', 'weight_decay', 'augment', 'patch', 'ratio')
    """
    return ("lr", "batch_size", "weight_decay", "augment", *OWN[_known(method)])


def pretrain(
    segmenter: Segmenter,
    images,
    method: str,
    *,
    budget: int,
    rows=None,
    recipe: Recipe | None = None,
    seed: int = 0,
    **options,
) -> History:
    """Train the encoder of ``segmenter`` in place by ``method`` until ``budget`` images went through it.

    ``method``: a name in ``RECIPES``, whose settings ``recipe`` replaces.  ``images``: an ``ImageCache`` or
    ``Arrays``; of these ``rows``.  ``multiview`` needs women with several views, ``fractal`` the column
    ``category`` of `synth.fractals.arrays`.  Epochs are as long as the images allow and all alike, so the
    budget is met to a batch in each; every epoch of a smaller one has other images.  ``options`` go to
    `training.loop.fit`: ``resume``, ``watch``, ``precision`` and others.  In a run of several processes each
    one works on its part of every batch, whose statistics are those of its batch norm.

    Raises ``ValueError`` for an unknown method and for images that cannot serve it; besides as `fit`.
    """
    if budget < 1:
        raise ValueError(f"budget={budget}: give the number of images, 1 or more")
    recipe = recipe or RECIPES[_known(method)]
    train = batches_of(method, images, recipe, rows=rows, seed=seed)
    steps = max(1, round(budget / recipe.batch_size))
    epochs = math.ceil(steps / len(train))
    train.limit = math.ceil(steps / epochs)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # heads are made on the CPU
        categories = int(images.table["category"].max()) + 1 if method == "fractal" else 0
        model = HEADS[method](segmenter, recipe, categories)
    history = fit(
        model,
        train,
        partial(LOSSES[method], recipe),
        epochs=epochs,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        seed=seed,
        **options,
    )
    segmenter.to(model.features.mean.device)  # with its decoder, which was left where it was
    return history


def batches_of(method: str, images, recipe: Recipe, *, rows=None, seed: int = 0) -> Batches:
    """Batches as ``method`` wants them: every image twice, by woman, with categories, or as they are."""
    views = 1 + (_known(method) in PAIRS)
    # Found in the image, as nobody has outlined anything in a pool; fractals have no background.
    breast = "foreground" if "foreground" in images.masks else "breast"
    target = "category" if method == "fractal" else breast
    if method == "multiview" and choose("positives", recipe.positives, POSITIVES) == "breast":
        target = "laterality"
        side = images.table.reindex(columns=[target])[target].map({"L": 0.0, "R": 1.0})
        images = Arrays(images.images, images.masks, images.table.assign(laterality=side))
    together = views * processes()
    if recipe.batch_size % together:
        raise ValueError(
            f"batch_size={recipe.batch_size} must be a multiple of {together}, the versions of an image times"
            " the processes, which all need equally many rows"
        )
    return Batches(
        images,
        rows,
        target=target,
        breast=breast,
        batch_size=recipe.batch_size // views,
        views=views,
        together=method == "multiview",
        shuffle=True,
        augment=recipe.augment,
        drop_last=True,
        seed=seed,
        device=profile.device(),
    )


def _known(method: str) -> str:
    return choose("method of pretraining", method, RECIPES)


def _projected(segmenter: Segmenter, recipe: Recipe, categories: int) -> nn.Module:
    return pretext.Projected(segmenter, hidden=recipe.hidden, out=recipe.out)


HEADS = {
    "fractal": lambda segmenter, recipe, categories: pretext.Labeller(segmenter, classes=categories),
    "simclr": _projected,
    "barlow_twins": _projected,
    "masked": lambda segmenter, recipe, categories: pretext.Painter(segmenter),
    "multiview": _projected,
}


def _fractal(recipe: Recipe, model: nn.Module, batch) -> Tensor:
    return F.cross_entropy(model(batch.image).float(), batch.target.long())


def _simclr(recipe: Recipe, model: nn.Module, batch) -> Tensor:
    za, zb = contrastive.gather(*model(batch.image).chunk(2))
    return contrastive.nt_xent(za, zb, temperature=recipe.temperature)


def _barlow_twins(recipe: Recipe, model: nn.Module, batch) -> Tensor:
    za, zb = contrastive.gather(*model(batch.image).chunk(2))
    return contrastive.barlow_twins(za, zb, off_diagonal=recipe.off_diagonal)


def _masked(recipe: Recipe, model: nn.Module, batch) -> Tensor:
    image, shape = batch.image, tuple(batch.image.shape[-2:])
    hidden = masked.squares(len(image), shape, patch=recipe.patch, ratio=recipe.ratio, device=image.device)
    return masked.reconstruction(model(image, hidden), image, hidden, breast=batch.breast)


def _multiview(recipe: Recipe, model: nn.Module, batch) -> Tensor:
    alike = batch.target if recipe.positives == "breast" else batch.patient
    z, patient, alike = contrastive.gather(model(batch.image), batch.patient, alike)
    return contrastive.multi_view(z, patient, temperature=recipe.temperature, positive=alike)


LOSSES = {
    "fractal": _fractal,
    "simclr": _simclr,
    "barlow_twins": _barlow_twins,
    "masked": _masked,
    "multiview": _multiview,
}
