"""The studies of source domains: the same segmenter fine-tuned from encoders that learnt in different places.

A source is a pretraining of `encoders`; run s of a fine-tuning starts from the one with seed s modulo
``encoders.SEEDS``, so that draws of labelled women are nested in pretrainings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mammo_utils.profile import choose
from mammo_utils.study import density, encoders
from mammo_utils.study.encoders import LARGE, SMALL
from mammo_utils.study.grid import Study

TRIAL = "mammo_utils.study.transfer:trial"
# "a+b": a pretraining b that started from a.
SOURCES = {
    SMALL: ("none", "fractal", "simclr", "barlow_twins", "masked", "multiview", "fractal+multiview"),
    LARGE: ("none", "fractal", "imagenet", "simclr", "multiview", "imagenet+simclr", "imagenet+multiview"),
}
# A trial of a pretraining is a shorter one and three fine-tunings with few labels, all on `develop`.
SHORT, FEW, DRAWS = 32_000, 32, range(3)
STANDARD, CROP = {"augment": "standard"}, {"augment": "crop"}
# Two ways to run each method, and below five trials of way and learning rate, the same for every method.
WAYS = {
    "fractal": [
        STANDARD | {"classes": 1000, "instances": 1},
        CROP | {"classes": 1000, "instances": 1},
    ],
    "simclr": [STANDARD, CROP],
    "barlow_twins": [STANDARD, CROP],
    "masked": [STANDARD, STANDARD | {"patch": 16}],
    "multiview": [STANDARD, CROP],
}
TRIED = ((0, 1e-3), (0, 4e-3), (1, 1e-3), (1, 4e-3), (0, 1.6e-2))


def arm(source: str, *, model: str = SMALL, labels: int, lr: float, cohort: str = "train") -> dict:
    """Settings of one arm, for `fine_tune`."""
    choose("source", source, SOURCES[choose("model", model, SOURCES)])
    return {"source": source} | density.arm(model=model, labels=labels, lr=lr, cohort=cohort)


def pretraining(model: str, source: str) -> dict | None:
    """Settings of the pretraining behind a source, None where there is none of ours."""
    start, _, method = source.rpartition("+")
    return (
        None if method in ("none", "imagenet") else encoders.arm(method, model=model, start=start or "none")
    )


def initial(model: str, source: str, seed: int) -> str | Path:
    """The weights that run ``seed`` starts from, as in `models.segmentation.build`; pretrained if absent."""
    settings = pretraining(model, source)
    if settings is not None:
        return encoders.weights(settings, seed % encoders.SEEDS)
    return encoders.imagenet(model) if source == "imagenet" else source


def fine_tune(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune a segmenter from its source and score it as `density.segment` does."""
    return density.segment(settings, seed, weights=initial(settings["model"], settings["source"], seed))


def trial(settings: dict, seed: int) -> dict[str, float]:
    """A pretraining on trial: the mean scores of short fine-tunings on develop.

    The method "none" is what all have to beat.
    """
    weights = "none" if settings["method"] == "none" else encoders.weights(settings, seed)
    tuned = density.arm(model=settings["model"], labels=FEW, budget=2048, lr=3e-3, cohort="develop")
    runs = [density.segment(tuned, draw, weights=weights) for draw in DRAWS]
    return {name: float(np.mean([run[name] for run in runs])) for name in ("dice", "dice_a", "mae")}


TUNING = Study(
    "sources_tuning",
    TRIAL,
    [
        encoders.arm(method, budget=SHORT, lr=lr, **ways[number])
        for number, lr in TRIED
        for method, ways in WAYS.items()
    ]
    + [{"method": "none", "model": SMALL}],
    seeds=[0],
    tolerance=density.TOLERANCE,
)
