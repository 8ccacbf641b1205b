"""Real film: each source fine-tuned on a few labelled films and scored on the others, in repeated splits.

The films lie in a folder of the catalogue ``folder`` whose labels have the values of ``MASKS``; the variable
MAMMO_FILM says where.  Settings were fixed before any film was scored, as those of ``study.film``.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data import cache, catalogs
from mammo_utils.data.batches import Batches
from mammo_utils.data.lock import locked
from mammo_utils.evaluation.segmentation import dice, percent_density
from mammo_utils.models.segmentation import build
from mammo_utils.study import density
from mammo_utils.study.encoders import SMALL
from mammo_utils.study.film import FILM, SIZE
from mammo_utils.study.grid import Study
from mammo_utils.study.transfer import SOURCES, initial
from mammo_utils.training import tasks

ROOT = "MAMMO_FILM"
MASKS = {"dense": [192], "breast": [128, 192]}
FILMS = (5, 10)
CHOSEN = {name: FILM[name] for name in ("target", "lr", "batch_size")}
BUDGET = FILM["epochs"] * max(FILMS)  # images through the network, for either number of films
RUN = "mammo_utils.study.transfer_film:fine_tune"


def films() -> cache.ImageCache:
    """The films, prepared once.

    Raises ``ValueError`` where the variable is not set; besides as `catalogs.load`.
    """
    if ROOT not in os.environ:
        raise ValueError(f"set {ROOT} to a folder of labelled films: images/ and labels/, see data/README.md")
    folder = profile.cache_dir() / "transfer_film"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        return cache.build(
            catalogs.load("folder", os.environ[ROOT], labels=MASKS), folder / "cache", size=SIZE
        )


def fine_tune(settings: dict, seed: int) -> dict[str, float]:
    """Train on ``settings["films"]`` of the films, from ``settings["source"]``, and score all others.

    ``strategy`` and ``lr`` of the settings take the place of the fixed ones.  The seed redraws which films
    are learnt from, the decoder and the order.  An image is taken for a woman.
    """
    images = films()
    rows = np.random.default_rng(seed).permutation(len(images))
    learnt, unseen = np.sort(rows[: settings["films"]]), np.sort(rows[settings["films"] :])
    chosen = CHOSEN | {name: settings[name] for name in ("strategy", "lr") if name in settings}
    torch.manual_seed(seed)
    weights = initial(settings["model"], settings["source"], seed)
    model = build(settings["model"], size=images.images.shape[1:], weights=weights)
    density.learn(model, images, learnt, loss="bce_dice", lam=None, budget=BUDGET, seed=seed, **chosen)
    return scored(model, images, unseen)


def scored(model, images, rows) -> dict[str, float]:
    """Mean Dice of dense tissue over the films ``rows``; error of percent density, absolute and signed."""
    held = Batches(images, rows, target=CHOSEN["target"], batch_size=len(rows), device=profile.device())
    found = tasks.predict(model, held, precision="auto")
    dense = found.dense >= 0.5
    error = percent_density(dense, found.breast >= 0.5) - percent_density(found.target, found.breast_target)
    return {
        "dice": float(dice(dense, found.target).mean()),
        "mae": float(np.nanmean(np.abs(error))),
        "bias": float(np.nanmean(error)),
    }


STUDY = Study(
    "sources_film",
    RUN,
    [{"source": source, "model": SMALL, "films": number} for number in FILMS for source in SOURCES[SMALL]],
    seeds=range(4),
    tolerance={"dice": 0.1, "mae": 8.0, "bias": 8.0},
)
