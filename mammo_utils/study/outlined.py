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
from mammo_utils.study import provenance
from mammo_utils.study.screened import women
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks
from mammo_utils.training.loop import fit

METHOD = "lesions"
SETTINGS = {"budget": 32_000, "batch_size": 32, "lr": 1e-2, "seed": 0}


def encoder(model: str, size: int) -> Path:
    """The safetensors file of the encoder of ``unet/MODEL`` after `learn`, trained at the first call."""
    folder = profile.cache_dir() / f"phantom_{VERSION}" / METHOD
    path = folder / f"{size}_{weights.file_name(METHOD, model)}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            segmenter, seconds = learn(model, size, budget=SETTINGS["budget"])
            made = SETTINGS | {"size": size, "seconds": seconds, "commit": provenance.commit()}
            weights.save(segmenter.encoder, path, made)
    return path


def learn(model: str, size: int, *, budget: int):
    """A segmenter of lesions, benign and malignant, after ``budget`` images, and the seconds that it took.

    It sees only images in which there is something to outline.
    """
    images = women("outlined", size=size)
    rows = np.flatnonzero(images.masks["lesion"].any((1, 2)))
    seed, batch = SETTINGS["seed"], min(SETTINGS["batch_size"], len(rows))
    torch.manual_seed(seed)
    segmenter = build(f"unet/{model}", size=size)
    options = {"target": "lesion", "augment": "standard", "device": profile.device()}
    history = fit(
        segmenter,
        Batches(images, rows, batch_size=batch, shuffle=True, seed=seed, **options),
        tasks.segmentation("bce_dice"),
        epochs=max(1, round(budget / len(rows))),
        lr=SETTINGS["lr"],
        seed=seed,
        progress=False,
    )
    return segmenter, history.seconds
