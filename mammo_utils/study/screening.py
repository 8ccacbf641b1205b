"""One run of the screening work: train a classifier where cancer is rare, in one stage or two, and score it.

A run is counted in images through the network, in portions of ``PORTION``, so that arms whose epochs differ
in length can be compared.  A warm-up learns from the balanced subset first; `unfreezing` says what changes in
the stage on the full set.  ``pos_weight`` is that of the stage's own images.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammo_utils import profile
from mammo_utils.data import balance
from mammo_utils.data.balance import BalancedBatches
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.models.classification import build
from mammo_utils.models.weights import SHIPPED, SUFFIX, pretrained
from mammo_utils.profile import choose
from mammo_utils.study import outlined
from mammo_utils.study.screened import draw, women
from mammo_utils.study.screening_scores import keep, kept, predicted, ranks, scored
from mammo_utils.study.segmenter import save
from mammo_utils.training import tasks
from mammo_utils.training.history import milestones
from mammo_utils.training.loop import fit
from mammo_utils.training.strategies import Plan, gradual

RUN = "mammo_utils.study.screening:classify"
STAGES = ("single", "warm_up", "warm_up_only")
UNFREEZING = ("all", "progressive")
# How rare positives are met: loss, its options and whether batches are balanced.
IMBALANCE = {
    "pos_weight": ("weighted_bce", {}, False),
    "balanced": ("bce", {}, True),
    "focal": ("focal", {"gamma": 2.0, "alpha": 0.25}, False),
    "plain": ("bce", {}, False),
}
BUDGET = 12_288  # images through the network
WARM = 0.25  # share of them that a warm-up takes
PORTION, BATCH = 512, 32  # images between two looks at the validation women, and of a step
FALL = 0.7  # what all rates are multiplied with at each part that is unfrozen
# Women with and without cancer that a run learns from, drawn anew by every seed.
DRAWN = {"train": (100, 2400), "develop": (30, 570)}
LEVEL = 0.75  # area under the ROC curve, by which the images that learning takes are told

TOLERANCE = {
    **dict.fromkeys(
        ("roc_auc", "roc_auc_mean", "roc_auc_image", "roc_auc_woman", "watched", "watched_mean"), 0.05
    ),
    **dict.fromkeys(("pr_auc_2", "pr_auc_05", "pf1_2", "pf1_05", "pf1_2_fixed", "pf1_05_fixed"), 0.1),
    **dict.fromkeys(("sensitivity_90", "sensitivity_cut", "specificity_cut"), 0.15),
    **dict.fromkeys(("mean_2", "ece_2", "brier_2"), 0.2),
    **dict.fromkeys(("mean_2_fixed", "ece_2_fixed", "brier_2_fixed"), 0.05),
    **dict.fromkeys(("reached", "images_to_level", "images_per_second", "train_seconds"), math.inf),
}
AWAY = ("roc_auc", "pr_auc_2", "sensitivity_cut", "specificity_cut", "ece_2_fixed")
TOLERANCE |= {f"{name}_external": TOLERANCE[name] for name in AWAY}


def arm(
    *,
    stages: str = "single",
    unfreezing: str = "all",
    imbalance: str = "pos_weight",
    model: str = "mobilenetv2_050",
    weights: str = outlined.METHOD,
    budget: int = BUDGET,
    lr: float = 3e-3,
    size: int = 128,
    cohort: str = "train",
) -> dict:
    """Settings of one arm of a study, for `classify`.

    Raises ``ValueError`` for an unknown name.
    """
    choose("stages", stages, STAGES)
    choose("unfreezing", unfreezing, UNFREEZING)
    choose("imbalance", imbalance, IMBALANCE)
    return dict(locals())


def classify(settings: dict, seed: int) -> dict[str, float]:
    """Train a classifier as `arm` describes and return its scores on women that it has not seen.

    ``weights``: ``lesions`` (`outlined.encoder`), ``none``, a method whose encoder comes with the package, or
    the path of a safetensors file; the encoder is the same for all seeds, the first head for every arm of a
    seed.  The seed redraws the women learnt from, the balanced subset and the order.  ``cohort``: ``develop``
    for tuning, which scores the women of develop that were not drawn and returns ranks alone, else ``train``,
    which gives all of `scored` and ``_external``, the same on women of another vendor and site.

    Beside these the `milestones` of the area under the ROC curve on the watched women, at ``LEVEL``.

    Raises ``ValueError`` for weights that are none of these.
    """
    images = women(settings["cohort"], size=settings["size"])
    positive, negative = DRAWN[settings["cohort"]]
    rows = draw(images, positive=positive, negative=negative, seed=seed)
    develop = settings["cohort"] == "develop"
    if develop:
        valid, known = images, np.setdiff1d(np.arange(len(images)), rows)
    else:
        valid = women("valid", size=settings["size"])
        known = np.arange(len(valid))
    start = initial(settings)  # may train, hence before the seed
    torch.manual_seed(seed)
    model = build(settings["model"], size=settings["size"], weights=start)
    curve, seconds = learn(model, images, rows, settings, seed=seed, watch=(valid, watched(valid, known)))
    told = milestones(curve, LEVEL)
    told |= {"images_per_second": list(curve)[-1] / seconds, "train_seconds": seconds}
    breasts = {"valid": predicted(model, valid, known)}
    if develop:
        return ranks(breasts["valid"]) | told
    away = women("external", size=settings["size"])
    test = women("test", size=settings["size"])
    breasts |= {"test": predicted(model, test), "external": predicted(model, away)}
    if seed == 0:
        keep(breasts, settings)
        save(model, kept(settings).with_suffix(SUFFIX))
    elsewhere = scored(breasts["valid"], breasts["external"])
    return (
        scored(breasts["valid"], breasts["test"])
        | {f"{name}_external": elsewhere[name] for name in AWAY}
        | told
    )


def initial(settings: dict) -> str | Path:
    """The weights that every run of an arm starts from, as in `models.classification.build`."""
    source = settings["weights"]
    if source == outlined.METHOD:
        return outlined.encoder(settings["model"], settings["size"])
    if source == "none" or Path(source).suffix == SUFFIX:
        return source
    return pretrained(choose("source", source, ("none", *SHIPPED)), settings["model"])


def learn(model, images, rows, settings: dict, *, seed: int, watch: tuple) -> tuple[dict[int, float], float]:
    """Train in the arm's stages; returns {images so far: AUC by breast on ``watch``} and seconds of training.

    ``watch``: a cache and its rows to look at after every second portion.
    """
    label = images.table["cancer"].to_numpy(float)[rows]
    small = rows[balance.subset(label, breasts_of(images.table.iloc[rows]), seed=seed)]
    plan = {
        "single": [(rows, 1.0, settings["unfreezing"])],
        "warm_up": [(small, WARM, "all"), (rows, 1 - WARM, settings["unfreezing"])],
        "warm_up_only": [(small, 1.0, settings["unfreezing"])],
    }[settings["stages"]]
    curve, before, seconds = {}, 0, 0.0
    for number, (chosen, share, unfreezing) in enumerate(plan):
        batches, objective, each = feed(
            images,
            chosen,
            imbalance=settings["imbalance"],
            seed=2 * seed + number,
            batch=BATCH,
            limit=PORTION // BATCH,
        )
        epochs = max(1, round(share * settings["budget"] / each))

        def look(history, before=before, each=each, epochs=epochs) -> None:
            done = len(history.rows)
            if done % 2 == 0 or done == epochs:
                curve[before + done * each] = ranks(predicted(model, *watch))["roc_auc"]

        history = fit(
            model,
            batches,
            objective,
            epochs=epochs,
            lr=settings["lr"],
            strategy=thawing(model, unfreezing, lr=settings["lr"], epochs=epochs),
            watch=look,
            seed=seed,
            progress=False,
        )
        before, seconds = before + epochs * each, seconds + history.seconds
    return curve, seconds


def breasts_of(table: pd.DataFrame) -> np.ndarray:
    """The breast of each image: the groups of the published balanced subset, all of training women."""
    return (table["group"] + " " + table["laterality"]).to_numpy(str)


def thawing(model, unfreezing: str, *, lr: float, epochs: int) -> str | Plan:
    """The strategy of a stage: ``progressive`` thaws a part at a time over its first half, rates falling."""
    if choose("unfreezing", unfreezing, UNFREEZING) == "all":
        return "full"
    depth = len(model.parts) - 1
    return gradual(model, lr=lr, epochs=epochs, every=max(1, epochs // (2 * depth)), fall=FALL)


def feed(
    images,
    rows,
    *,
    imbalance: str,
    seed: int,
    batch: int,
    limit: int | None = None,
    augment="standard",
) -> tuple:
    """Batches of ``rows``, the task with a ``pos_weight`` of their own, and the number of images of an epoch.

    ``batch`` images make a step and ``limit`` steps an epoch, by default as many as there are.
    """
    loss, options, balanced = IMBALANCE[imbalance]
    if loss == "weighted_bce":
        options = {"pos_weight": balance.pos_weight(images.table["cancer"].to_numpy(float)[rows])}
    kind = {"target": "cancer", "breast": "foreground", "augment": augment, "seed": seed}
    kind |= {"batch_size": min(batch, len(rows)), "limit": limit, "device": profile.device()}
    batches = (
        BalancedBatches(images, rows, **kind) if balanced else Batches(images, rows, shuffle=True, **kind)
    )
    each = min(len(batches) * batches.batch_size, batches.count)
    return batches, tasks.classification(loss, **options), each


def watched(images: ImageCache, rows: np.ndarray) -> np.ndarray:
    """All women with cancer among ``rows`` and as many others: rows that tell how far a run is."""
    table = images.table.iloc[rows]
    return rows[balance.subset(table["cancer"].to_numpy(float), table["group"].to_numpy(str))]
