"""Train a segmenter of dense tissue and breast on the images of a cache.

A folder holds one run: a kill costs at most a few steps, and the same call goes on from there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from mammo_utils import profile
from mammo_utils.data import catalogs
from mammo_utils.data.batches import Batches
from mammo_utils.models import lora
from mammo_utils.models import weights as sources
from mammo_utils.models.segmentation import Segmenter, build
from mammo_utils.study import provenance
from mammo_utils.training import tasks
from mammo_utils.training.loop import fit

WEIGHTS, CHECKPOINT, HISTORY, SETTINGS = (
    "weights.safetensors",
    "checkpoint.pt",
    "history.csv",
    "settings.json",
)
SAVE_EVERY = 100  # steps


@dataclass(frozen=True)
class Settings:
    """How a segmenter is trained.

    ``weights`` are those of the encoder (`models.segmentation.build`), ``start`` a safetensors file of a
    whole segmenter to go on from.  ``target`` and ``breast`` name masks of the cache, ``lam`` is the weight
    of the density term where the loss has one.  The seed redraws the split, the weights and the order.
    """

    model: str = "unet/mobilenetv2_050"
    weights: str = "none"
    start: str | None = None
    target: str = "dense"
    breast: str = "breast"
    loss: str = "bce_dice"
    lam: float | None = None
    epochs: int = 12
    lr: float = 3e-3
    batch_size: int = 16
    strategy: str = "full"
    precision: str = "auto"
    augment: str = "standard"
    seed: int = 0


def usable(images, settings: Settings) -> np.ndarray:
    """Rows of a cache that have both masks.

    Raises ``ValueError`` where a mask is not there, is empty throughout, or an image has no breast.
    """
    named = dict.fromkeys((settings.target, settings.breast))
    for name in named:
        profile.choose("mask", name, images.masks)
    table, there = images.table, np.ones(len(images), bool)
    for name in named:
        if f"{name}_mask" in table:
            there &= table[f"{name}_mask"].notna().to_numpy()
    rows = np.flatnonzero(there)
    for name in named:
        if not images.masks[name][rows].any():
            raise ValueError(
                f"the mask {name!r} is empty in all {len(rows)} images that have one; "
                "look at the files and at the values given for it"
            )
    empty = [row for row in rows if not images.masks[settings.breast][row].any()]
    if empty:
        names = ", ".join(Path(table["path"].iloc[row]).name for row in empty[:3])
        raise ValueError(
            f"{len(empty)} images have an empty mask {settings.breast!r}, e.g. {names}: density is a share "
            "of the breast; correct these masks or remove them"
        )
    return rows


def network(settings: Settings, size: tuple[int, int]) -> Segmenter:
    """The segmenter before training.

    Raises ``FileNotFoundError`` and ``ValueError`` for a ``start`` that is not there or does not fit.
    """
    torch.manual_seed(settings.seed)
    model = build(settings.model, weights=settings.weights, size=size)
    if settings.start is not None:
        _load(model, Path(settings.start), settings)
    return model


def _load(model: Segmenter, path: Path, settings: Settings) -> None:
    try:
        sources.load(model, path)
    except ValueError as error:
        first, *others = str(error).splitlines()
        more = f"\n  and {len(others) - 3} more" if len(others) > 3 else ""
        raise ValueError(
            "\n".join([first, *others[:3]]) + f"{more}\nit must come from a training of {settings.model} here"
        ) from None


def learn(images, settings: Settings, folder, *, rows, valid=None) -> Segmenter:
    """Train on ``rows`` of a cache in ``folder``, or go on there, or take the finished weights from it.

    With rows ``valid`` the weights of the epoch with the best Dice on them are kept, else the last ones.
    Writes ``history.csv`` and ``weights.safetensors``.

    Raises as `network` and `training.loop.fit` do.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = network(settings, images.images.shape[1:]).to(profile.device())
    if (folder / WEIGHTS).is_file():
        _load(model, folder / WEIGHTS, settings)
        return model
    options = {"target": settings.target, "breast": settings.breast, "device": profile.device()}
    train = Batches(
        images,
        rows,
        batch_size=min(settings.batch_size, len(rows)),
        shuffle=True,
        augment=settings.augment,
        seed=settings.seed,
        **options,
    )
    held = None if valid is None else Batches(images, valid, batch_size=settings.batch_size, **options)
    loss = tasks.segmentation(settings.loss, **({} if settings.lam is None else {"lam": settings.lam}))
    history = fit(
        model,
        train,
        loss,
        epochs=settings.epochs,
        lr=settings.lr,
        valid=held,
        metric=tasks.dice,
        strategy=settings.strategy,
        precision=settings.precision,
        seed=settings.seed,
        resume=folder / CHECKPOINT,
        save_every=SAVE_EVERY,
    )
    catalogs.write(history.table, folder / HISTORY)
    lora.merge(model)  # the file has the names of the network, whatever the strategy
    save(model, folder / WEIGHTS)
    (folder / CHECKPOINT).unlink()
    return model


def save(model: Segmenter, path: Path) -> None:
    """Write the weights as safetensors; the file appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    save_file({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}, part)
    os.replace(part, path)


def claim(folder, settings: dict, *, begun=(CHECKPOINT, WEIGHTS)) -> None:
    """Make ``folder`` the place of a run with ``settings``, or find that it is; writes ``settings.json``.

    ``begun``: names of files that only a run that has begun leaves in it or below.

    Raises ``ValueError`` that lists what differs from the run that was begun there.
    """
    folder = Path(folder)
    file, settings = folder / SETTINGS, json.loads(json.dumps(settings))
    there = any(next(folder.rglob(name), None) for name in begun)
    if not (there and file.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        made = {"commit": provenance.commit(), "machine": provenance.machine(settings["precision"])}
        part = file.with_name(file.name + ".part")
        part.write_text(
            json.dumps({"settings": settings, "made": made | {"date": provenance.today()}}, indent=1)
        )
        os.replace(part, file)
        return
    try:
        found = json.loads(file.read_text())["settings"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is not that of a run here; name another folder") from None
    if differ := provenance.differences(found, settings):
        raise ValueError(f"{folder} holds another run: {differ}; repeat its settings, or name another folder")


def predict(images, model: Segmenter, rows, settings: Settings) -> tasks.Masks:
    """Probabilities and labels of ``rows``."""
    batches = Batches(
        images, rows, target=settings.target, breast=settings.breast, batch_size=16, device=profile.device()
    )
    return tasks.predict(model, batches, precision=settings.precision)
