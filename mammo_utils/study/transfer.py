"""The studies of source domains: the same segmenter fine-tuned from encoders that learnt in different places.

A source is a pretraining of `encoders`; run s of a fine-tuning starts from the one with seed s modulo their
number, so that draws of labelled women are nested in pretrainings.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mammo_utils.profile import choose
from mammo_utils.study import density, encoders
from mammo_utils.study.encoders import LARGE, SMALL
from mammo_utils.study.grid import Study

RUN, TRIAL, SWEEP = (f"mammo_utils.study.transfer:{name}" for name in ("fine_tune", "trial", "sweep"))
# "a+b": a pretraining b that started from a.
SOURCES = {
    SMALL: ("none", "fractal", "simclr", "barlow_twins", "masked", "multiview", "fractal+multiview"),
    LARGE: ("none", "fractal", "imagenet", "simclr", "multiview", "imagenet+simclr", "imagenet+multiview"),
}
# Sources of the contrasts that decide, and labelled images (four a woman): those that decide, and the others
# that every source of the small network has.
DECISIVE_SOURCES = {
    SMALL: ("none", "simclr", "multiview"),
    LARGE: ("imagenet", "imagenet+simclr", "imagenet+multiview"),
}
DECISIVE_LABELS, CURVE = 64, (8, 16, 32, 256)
# A trial of a pretraining is a shorter one and three fine-tunings with few labels, all on `develop`.
SHORT, FEW, DRAWS = 32_000, 32, range(3)
# Images through a network while it is pretrained and fine-tuned: half for the one of double width.
BUDGETS = {SMALL: (encoders.BUDGET, 4096), LARGE: (SHORT, 2048)}
STANDARD, CROP = {"augment": "standard"}, {"augment": "crop"}
# Two ways to run each method, and below six trials of way and learning rate, the same for every method.
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
TRIED = ((0, 1e-3), (0, 4e-3), (1, 1e-3), (1, 4e-3), (0, 1.6e-2), (0, 4e-2))
# Tried again from ImageNet, where the best rate may be lower, and the best of these.
AGAIN = ("simclr", "multiview")
LATER_RATES = {"simclr": 4e-3, "multiview": 4e-3}


def arm(source: str, *, model: str = SMALL, labels: int, lr: float, cohort: str = "train") -> dict:
    """Settings of one arm, for `fine_tune`."""
    choose("source", source, SOURCES[choose("model", model, SOURCES)])
    budget = BUDGETS[model][1]
    return {"source": source} | density.arm(model=model, labels=labels, budget=budget, lr=lr, cohort=cohort)


def pretraining(model: str, source: str) -> dict | None:
    """Settings of the pretraining behind a source, None where there is none of ours."""
    start, _, method = source.rpartition("+")
    if method in encoders.UNTRAINED:
        return None
    changes = {"lr": LATER_RATES[method]} if start == "imagenet" else {}
    return encoders.arm(method, model=model, start=start or "none", budget=BUDGETS[model][0], **changes)


def pretrainings(model: str, source: str) -> int:
    """How often a source is pretrained: once where it decides nothing."""
    return encoders.SEEDS if source in DECISIVE_SOURCES[model] else 1


def initial(model: str, source: str, seed: int) -> str | Path:
    """The weights that run ``seed`` starts from, as in `models.segmentation.build`; pretrained if absent."""
    settings = pretraining(model, source)
    if settings is not None:
        return encoders.weights(settings, seed % pretrainings(model, source))
    return encoders.imagenet(model) if source == "imagenet" else source


def fine_tune(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune a segmenter from its source and score it as `density.segment` does."""
    return density.segment(settings, seed, weights=initial(settings["model"], settings["source"], seed))


def trial(settings: dict, seed: int) -> dict[str, float]:
    """A pretraining on trial: the mean scores of short fine-tunings on develop.

    The methods "none" and "imagenet" are what all have to beat.
    """
    untrained = settings["method"] in encoders.UNTRAINED
    weights = (
        initial(settings["model"], settings["method"], seed)
        if untrained
        else encoders.weights(settings, seed)
    )
    tuned = density.arm(model=settings["model"], labels=FEW, budget=2048, lr=3e-3, cohort="develop")
    runs = [density.segment(tuned, draw, weights=weights) for draw in DRAWS]
    return {name: float(np.mean([run[name] for run in runs])) for name in ("dice", "dice_a", "mae")}


def sweep(settings: dict, seed: int) -> dict[str, float]:
    """What the features of an encoder hold, as `encoders.probe` finds, and the scores of `trial`."""
    return encoders.probe(settings, seed) | trial(settings, seed)


def _settings(repeated: bool) -> list[dict]:
    """Settings of the repeated pretrainings, or of every one and of the weights that are none of ours."""
    every = [(model, source) for model, names in SOURCES.items() for source in names]
    found = [one for one in every if not repeated or pretrainings(*one) > 1]
    settings = [pretraining(*one) or {"method": one[1], "model": one[0], "size": 128} for one in found]
    return [one for one in settings if not repeated or "start" in one]


def _arms(sources: dict, *labels: int) -> list[dict]:
    return [
        arm(source, model=model, labels=amount, lr=RATES[model, source])
        for model, names in sources.items()
        for amount in labels
        for source in names
    ]


TUNING = Study(
    "sources_tuning",
    TRIAL,
    [
        encoders.arm(method, budget=SHORT, lr=lr, **ways[number])
        for number, lr in TRIED
        for method, ways in WAYS.items()
    ]
    + [
        encoders.arm(method, model=LARGE, start="imagenet", budget=SHORT, lr=lr)
        for lr in (1e-3, 4e-3, 1.6e-2)
        for method in AGAIN
    ]
    + [{"method": "none", "model": SMALL}, {"method": "imagenet", "model": LARGE}],
    seeds=[0],
    tolerance=density.TOLERANCE,
)
# Learning rates of fine-tuning: of the sources that decide the best of as many trials, for each network on
# two draws of labelled women.  The other sources take the rate of the reference.
RATE_TRIALS = {SMALL: (*density.TRIALS, 1e-1), LARGE: (3e-4, *density.TRIALS)}
RATES = {(model, source): rate for model, rate in ((SMALL, 3e-2), (LARGE, 1e-2)) for source in SOURCES[model]}
RATES[LARGE, "imagenet+multiview"] = 1e-3
RATES_TUNING = Study(
    "sources_rates",
    RUN,
    [
        arm(source, model=model, labels=DECISIVE_LABELS, lr=lr, cohort="develop")
        for model, sources in DECISIVE_SOURCES.items()
        for source in sources
        for lr in RATE_TRIALS[model]
    ],
    seeds=range(2),
    order="settings",
    tolerance=density.TOLERANCE,
)
ENCODERS = Study("encoders", encoders.RUN, _settings(repeated=False), seeds=[0], tolerance=encoders.TOLERANCE)
ENCODERS_REPEATED = Study(
    "encoders_repeated",
    encoders.RUN,
    _settings(repeated=True),
    seeds=range(encoders.SEEDS),
    result="encoders",
    tolerance=encoders.TOLERANCE,
)
# Speed of each method, in turns.
COST = Study(
    "encoders_cost",
    "mammo_utils.study.encoders:cost",
    [encoders.arm(method, budget=6400) for method in WAYS],
    seeds=range(3),
    tolerance={"loss": 1.0, "images_per_second": math.inf},
)
DECISIVE = Study(
    "sources_decisive",
    RUN,
    _arms(DECISIVE_SOURCES, DECISIVE_LABELS),
    seeds=range(10),
    result="sources",
    tolerance=density.TOLERANCE,
)
STUDY = Study(
    "sources",
    RUN,
    _arms(SOURCES, DECISIVE_LABELS) + _arms({SMALL: SOURCES[SMALL]}, *CURVE),
    seeds=range(3),
    tolerance=density.TOLERANCE,
)
# Could multi-view win by construction?  A smaller pool is made anew for each likeness.
LIKENESS = Study(
    "encoders_likeness",
    SWEEP,
    [
        encoders.arm(method, budget=SHORT, pool=1000, likeness=likeness, **changes)
        for likeness in (0.0, 0.85, 1.0)
        for method, changes in (("multiview", {}), ("simclr", {}))
    ]
    + [
        encoders.arm("multiview", budget=SHORT, pool=1000, likeness=0.85, **changes)
        for changes in ({"positives": "breast"}, {"vendors": "view"})
    ],
    seeds=[0],
    tolerance=encoders.TOLERANCE | density.TOLERANCE,
)
