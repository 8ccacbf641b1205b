"""One run of the screening work: train a classifier where cancer is rare, in one stage or two, and score it.

A run is counted in images through the network, in portions of ``PORTION``, so that arms whose epochs differ
in length can be compared.  A warm-up learns from the balanced subset first; `unfreezing` says what changes in
the stage on the full set.  ``pos_weight`` is that of the stage's own images.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from mammo_utils import profile
from mammo_utils.data import balance
from mammo_utils.data.balance import BalancedBatches
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation import calibration, classification, operating
from mammo_utils.evaluation.pooling import pooled
from mammo_utils.models.classification import build
from mammo_utils.models.weights import SUFFIX
from mammo_utils.profile import choose
from mammo_utils.study import outlined, transfer
from mammo_utils.study.results import text
from mammo_utils.study.screened import PREVALENCES, draw, women
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks
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
SPECIFICITY = 0.9  # that the threshold keeps on validation women
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

    ``weights``: ``lesions`` (`outlined.encoder`), a source of `transfer.SOURCES`, or the path of a
    safetensors file; they and the first head are the same for every arm of a seed.  The seed redraws the
    women learnt from, the balanced subset and the order.  ``cohort``: ``develop`` for tuning, which scores
    the women of develop that were not drawn and returns ranks alone, else ``train``, which gives all of
    `scored` and ``_external``, the same on women of another vendor and site.

    ``watched`` is the area under the ROC curve on the watched women at the end, ``watched_mean`` its mean
    over the looks on the way, ``images_to_level`` the images after which it first was ``LEVEL``, or the whole
    budget with ``reached`` 0.

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
    start = initial(settings, seed)  # may train, hence before the seed
    torch.manual_seed(seed)
    model = build(settings["model"], size=settings["size"], weights=start)
    curve, seconds = learn(model, images, rows, settings, seed=seed, watch=(valid, watched(valid, known)))
    last = list(curve)[-1]
    first = next((at for at, value in curve.items() if value >= LEVEL), None)
    told = {
        "watched": curve[last],
        "watched_mean": float(np.mean(list(curve.values()))),
        "reached": float(first is not None),
        "images_to_level": float(first or last),
        "images_per_second": last / seconds,
        "train_seconds": seconds,
    }
    breasts = {"valid": predicted(model, valid, known)}
    if develop:
        return ranks(breasts["valid"]) | told
    away = women("external", size=settings["size"])
    test = women("test", size=settings["size"])
    breasts |= {"test": predicted(model, test), "external": predicted(model, away)}
    if seed == 0:
        keep(breasts, settings)
    elsewhere = scored(breasts["valid"], breasts["external"])
    return (
        scored(breasts["valid"], breasts["test"])
        | {f"{name}_external": elsewhere[name] for name in AWAY}
        | told
    )


def initial(settings: dict, seed: int) -> str | Path:
    """The weights that run ``seed`` starts from, as in `models.classification.build`."""
    source = settings["weights"]
    if source == "none" or Path(source).suffix == SUFFIX:
        return source
    if source == outlined.METHOD:
        return outlined.encoder(settings["model"], settings["size"])
    model = f"unet/{settings['model']}"
    sources = (outlined.METHOD, *transfer.SOURCES.get(model, ("none",)))
    return transfer.initial(model, choose("source", source, sources), seed)


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


def predicted(model, images: ImageCache, rows=None) -> pd.DataFrame:
    """Logits of images, by default of all: columns ``woman``, ``breast``, ``label`` and ``logit``."""
    options = {"target": "cancer", "breast": "foreground", "batch_size": 64, "device": profile.device()}
    # In float32: bfloat16 would make many logits equal, and their order is what is scored.
    found = tasks.predict_scores(model, Batches(images, rows, **options))
    table = tasks.score_table(found, images.table)
    return table[["woman", "breast", "label", "logit"]]


def by(views: pd.DataFrame, unit: str = "breast", how: str = "max") -> pd.DataFrame:
    """Logits of images pooled to breasts or women, as `evaluation.pooling.pooled` does; column ``logit``."""
    units = pooled(views.assign(probability=views["logit"]), unit=unit, how=how)
    return units.rename(columns={"probability": "logit"})


def ranks(views: pd.DataFrame) -> dict[str, float]:
    """Scores that need no probability: areas under the ROC curve and, by breast, under the PR curve."""
    breasts, area = by(views), classification.roc_auc
    weights = _weights(breasts)
    label = breasts["label"]
    return {
        "roc_auc": area(breasts["logit"], label),
        "roc_auc_mean": area(by(views, how="mean")["logit"], label),
        "roc_auc_image": area(views["logit"], views["label"]),
        "roc_auc_woman": area(*by(views, "woman")[["logit", "label"]].to_numpy().T),
        "sensitivity_90": classification.sensitivity_at(breasts["logit"], label, specificity=SPECIFICITY),
        **{
            f"pr_auc_{name}": classification.average_precision(breasts["logit"], label, weights=weights[name])
            for name in weights
        },
    }


def scored(valid: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Scores of ``test`` by breast (highest of its views), with what was fitted on ``valid`` by breast.

    Both are tables of `predicted`, with enriched women.  ``_2`` and ``_05``: at 2 and 0.5 % of breasts;
    ``_cut``: at the threshold that keeps ``SPECIFICITY`` on ``valid``; ``_fixed``: after recalibration on
    ``valid`` weighted to 2 %, and a prior shift to 0.5 %.  ``mean`` is the mean probability.
    """
    fit, breasts = by(valid), by(test)
    logit, label = breasts["logit"].to_numpy(float), breasts["label"].to_numpy()
    weights, prevalence = _weights(breasts), PREVALENCES[0]
    cut = operating.threshold_at(fit["logit"], fit["label"], specificity=SPECIFICITY)
    called = operating.confusion(logit, label, threshold=cut)
    found = calibration.recalibration(fit["logit"], fit["label"], weights=_weights(fit)["2"])
    fixed = found.scale * logit + found.shift
    rarer = calibration.prior_shift(fixed, trained=prevalence, wanted=PREVALENCES[1])
    result = ranks(test) | {"sensitivity_cut": called.sensitivity, "specificity_cut": called.specificity}
    for end, common, rare in (("", logit, logit), ("_fixed", fixed, rarer)):
        probability = expit(common)
        result |= {
            f"pf1_2{end}": classification.pf1(probability, label, weights=weights["2"]),
            f"pf1_05{end}": classification.pf1(expit(rare), label, weights=weights["05"]),
            f"mean_2{end}": np.average(probability, weights=weights["2"]),
            f"ece_2{end}": calibration.expected_calibration_error(
                probability, label, binning="mass", weights=weights["2"]
            ),
            f"brier_2{end}": calibration.brier(probability, label, weights=weights["2"]),
        }
    return {name: float(value) for name, value in result.items()}


def _weights(breasts: pd.DataFrame) -> dict[str, np.ndarray]:
    of = classification.prevalence_weights
    return {
        name: of(breasts["label"], share, groups=breasts["woman"])
        for name, share in zip(("2", "05"), PREVALENCES, strict=True)
    }


def kept(settings: dict) -> Path:
    """The table that keeps the logits of breasts of the arm's run with seed 0."""
    values = [Path(value).stem if str(value).endswith(SUFFIX) else text(value) for value in settings.values()]
    name = "_".join(values).replace("/", "-")
    return profile.cache_dir() / f"phantom_{VERSION}" / "screening" / f"{name}.csv"


def keep(views: dict[str, pd.DataFrame], settings: dict) -> None:
    """Write the logits of breasts: columns ``cohort``, ``woman``, ``breast``, ``label``, ``logit``."""
    parts = [by(table).assign(cohort=name) for name, table in views.items()]
    path = kept(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["cohort", "woman", "breast", "label", "logit"]
    part = path.with_suffix(".part")
    pd.concat(parts)[columns].to_csv(part, index=False, float_format="%.5g")
    os.replace(part, path)
