"""First weights of the screening networks: an encoder that has learnt to outline lesions, on other women.

Labels of whole images say that somewhere there is a cancer; in trials on ``develop`` a small network did not
find out from them what it looks like.  Outlines say where.  On real images CBIS-DDSM has them; here women of
the pool do, half of them with cancer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.lock import locked
from mammo_utils.models import weights
from mammo_utils.models.segmentation import build
from mammo_utils.study import encoder_file, provenance
from mammo_utils.study.screened import WOMEN, women
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks
from mammo_utils.training.loop import fit

METHOD, SIZE = "lesions", 128  # pixels, of the encoder that comes with the package
SETTINGS = {"method": METHOD, "budget": 32_000, "batch_size": 32, "lr": 1e-2}
SETTINGS |= {"augment": "standard", "seed": 0}


def encoder(model: str, size: int) -> Path:
    """The safetensors file of the encoder of ``unet/MODEL`` after `learn`.

    The file that comes with the package serves if it was made with these very settings; else it is `learnt`.
    """
    return encoder_file.provided(model, _asked(model, size)) or learnt(model, size)


def learnt(model: str, size: int) -> Path:
    """As `encoder`, but trained here, in the cache folder at the first call."""
    folder = profile.cache_dir() / f"phantom_{VERSION}" / METHOD
    path = folder / str(size) / weights.file_name(METHOD, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            segmenter, history, count = learn(model, size, budget=SETTINGS["budget"])
            made = {"settings": _asked(model, size), "loss": history.rows[-1]["loss"], "learnt_from": count}
            made |= {"images_through": sum(row["images"] for row in history.rows), "seconds": history.seconds}
            made |= {"machine": provenance.machine("auto"), "commit": provenance.commit()}
            weights.save(segmenter.encoder, path, made | {"date": provenance.today()})
    return path


def _asked(model: str, size: int) -> dict:
    """Everything that the weights depend on."""
    return SETTINGS | {"model": f"unet/{model}", "size": size, "women": list(WOMEN["outlined"])}


def learn(model: str, size: int, *, budget: int) -> tuple:
    """A segmenter of lesions, benign and malignant, after ``budget`` images; its history and how many images.

    It sees only images in which there is something to outline.
    """
    images = women("outlined", size=size)
    rows = np.flatnonzero(images.masks["lesion"].any((1, 2)))
    seed, batch = SETTINGS["seed"], min(SETTINGS["batch_size"], len(rows))
    torch.manual_seed(seed)
    segmenter = build(f"unet/{model}", size=size)
    options = {"target": "lesion", "augment": SETTINGS["augment"], "device": profile.device()}
    history = fit(
        segmenter,
        Batches(images, rows, batch_size=batch, shuffle=True, seed=seed, **options),
        tasks.segmentation("bce_dice"),
        epochs=max(1, round(budget / len(rows))),
        lr=SETTINGS["lr"],
        seed=seed,
        progress=False,
    )
    return segmenter, history, len(rows)
