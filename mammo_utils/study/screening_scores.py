"""What a screening network says of breasts: logits, the scores of a run, and the table that is kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation import calibration, classification, operating
from mammo_utils.evaluation.pooling import pooled
from mammo_utils.models.weights import SUFFIX
from mammo_utils.study.results import text
from mammo_utils.study.screened import PREVALENCES
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks

SPECIFICITY = 0.9  # that the threshold keeps on validation women


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
    """The table that keeps the logits of breasts of the arm's run with seed 0; beside it lie its weights."""
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
