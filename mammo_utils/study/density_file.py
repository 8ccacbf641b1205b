"""The file of the density tool: trained, calibrated and scored on three sets of phantom women.

The network learns the true dense tissue and not a reader's outline of it: percent density, the classes and
the interval are all defined by the truth, and a reader's habit would go into every number as a bias.  On real
images there are only readers; whoever fine-tunes there learns theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.data.lock import locked
from mammo_utils.evaluation import conformal, novelty
from mammo_utils.evaluation import segmentation as evaluation
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.models import weights
from mammo_utils.models.segmentation import Segmenter, build
from mammo_utils.study import density, losses, phantoms, provenance, transfer, unlike
from mammo_utils.study.density_tool import Densitometer, cuts
from mammo_utils.study.encoders import SMALL
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks

# ``rule`` is the one that `refusals.best` names by data/results/density_refusals.csv; ``level`` is what the
# interval covers and ``accepted`` the share of views of the women ``valid`` that are near enough.  The first
# ``tuning`` women of ``valid`` choose the threshold of the probability, the others the interval.
SETTINGS = {"model": SMALL, "weights": "multiview", "target": "dense", "loss": "hybrid_density"}
SETTINGS |= {"lam": losses.LAM, "budget": 12_288, "lr": transfer.RATES[SMALL, "multiview"], "size": 128}
SETTINGS |= {"seed": 0, "rule": "statistics", "level": 0.9, "accepted": 0.99, "tuning": 40}
SETTINGS |= {"women": {"train": 640, "valid": 160, "test": 500, "shifted": 200}}
LEARNT = (
    "model",
    "weights",
    *density.LEARNING,
    "size",
    "seed",
)  # what the weights depend on, beside the women
FIRST = 8  # women of ``test`` whose scores are kept apart, so that a short run can repeat them


class Viewed(NamedTuple):
    """Women, what the network says of their views (`tasks.Masks` of all rows), and the distances (N,)."""

    images: ImageCache
    found: tasks.Masks
    distance: np.ndarray


def women(name: str, settings: dict) -> ImageCache:
    """Those of ``settings`` in the cohort ``train``, ``valid`` or ``test``, or in its sibling ``shifted``."""
    cohort, size = "test" if name == "shifted" else name, settings["size"]
    return phantoms.women(cohort, size=size, count=settings["women"][name], shifted=name == "shifted")


def segmenter(settings: dict) -> tuple[Segmenter, dict]:
    """The network trained as ``settings`` say, once, in the cache folder, and what was noted then."""
    asked = {name: settings[name] for name in LEARNT} | {"women": settings["women"]["train"]}
    path = profile.cache_dir() / f"phantom_{VERSION}" / "density_tool" / f"{settings['size']}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not (path.is_file() and weights.made(path)["settings"] == asked):
            model, made = _train(settings)
            weights.save(model, path, {"settings": asked} | made)
    model = build(settings["model"], size=settings["size"])
    model.load_state_dict(load_file(path))
    return model.to(profile.device()).eval(), weights.made(path)


def _train(settings: dict) -> tuple[Segmenter, dict]:
    images, commit = women("train", settings), provenance.commit()
    torch.manual_seed(settings["seed"])
    model = build(settings["model"], size=settings["size"], weights=settings["weights"])
    learning = {name: settings[name] for name in density.LEARNING}
    history = density.learn(model, images, np.arange(len(images)), seed=settings["seed"], **learning)
    made = {"learnt_from": len(images), "images_through": sum(row["images"] for row in history.rows)}
    made |= {"loss": history.rows[-1]["loss"], "seconds": history.seconds, "commit": commit}
    return model, made | {"machine": provenance.machine("auto"), "date": provenance.today()}


def fitted(model: Segmenter, settings: dict, rule: str) -> tuple[Densitometer, float]:
    """The densitometer with the reference of the training women by ``rule``, and its limit of the distance.

    The limit lets the share ``accepted`` of the views of the women ``valid`` pass.
    """
    train, valid = women("train", settings), women("valid", settings)
    described = unlike.RULES[rule](model, pictures(train), train.masks["foreground"])
    tool = Densitometer(model, rule, novelty.fit(described)).to(profile.device()).eval()
    far = tool.distances(pictures(valid), valid.masks["foreground"])
    return tool, float(np.quantile(far, settings["accepted"]))


def pictures(images: ImageCache) -> np.ndarray:
    """The images of a cache as float32 in 0–1."""
    return images.images[:] / np.float32(65535)


def write(path: Path, settings: dict = SETTINGS) -> dict:
    """Train if that is not done yet, calibrate, score, and write the densitometer to ``path``.

    Returns what stands beside the weights: ``settings``; ``threshold`` of the probability from which tissue
    is dense; ``margin`` of the interval in points; ``limit`` of the distance; ``cuts`` between the classes;
    ``scores`` on ``test`` and on ``shifted``, the women of another vendor and site, as `scored` has them;
    ``first``, scores of the first women of ``test``; and what `segmenter` noted of the training.
    """
    model, training = segmenter(settings)
    tool, limit = fitted(model, settings, settings["rule"])
    valid = _viewed(tool, women("valid", settings))
    early = np.isin(valid.found.row, phantoms.draw(valid.images, 0, settings["tuning"]))
    threshold = density.tuned(_some(valid.found, early))
    errors = errors_of(valid.found, threshold)[~early]
    rows = conformal.one_each(valid.found.patient[~early], seed=settings["seed"])
    made = {"settings": settings, "phantom": VERSION, "threshold": threshold}
    made |= {"margin": conformal.half_width(errors[rows], level=settings["level"]), "limit": limit}
    made |= {"cuts": list(cuts()), "scores": {}}
    for name in ("test", "shifted"):
        viewed = _viewed(tool, women(name, settings))
        made["scores"][name] = scored(viewed, made)
        if name == "test":
            first = np.isin(viewed.found.row, phantoms.draw(viewed.images, 0, FIRST))
            amounts = density.amounts(_some(viewed.found, first), threshold)
            miss = np.abs(errors_of(viewed.found, threshold)[first])
            made["first"] = {"women": FIRST, "mae": float(miss.mean()), "mean": float(amounts.mean())}
    told = ("learnt_from", "images_through", "loss", "seconds", "machine", "commit", "date")
    made |= {name: training[name] for name in told}
    weights.save(tool, path, made)
    return made


def _viewed(tool: Densitometer, images: ImageCache) -> Viewed:
    batches = Batches(images, target="dense", batch_size=64, device=profile.device())
    far = tool.distances(pictures(images), images.masks["foreground"])
    return Viewed(images, tasks.predict(tool.segmenter, batches), far)


def _some(found: tasks.Masks, chosen: np.ndarray) -> tasks.Masks:
    return tasks.Masks(*(values[chosen] for values in found))


def errors_of(found: tasks.Masks, threshold: float) -> np.ndarray:
    """Predicted minus true percent density, in points."""
    truth = evaluation.percent_density(found.target, found.breast_target)
    return density.amounts(found, threshold) - truth


def scored(viewed: Viewed, made: dict) -> dict[str, float]:
    """Scores by view: Dice, error of percent density in points, its rank correlation, and of the calibration.

    ``coverage`` is the share of views whose interval holds the truth, with limits that resample women;
    ``refused`` the share beyond the limit of the distance, ``coverage_accepted`` the coverage of the others;
    ``class_same`` and ``kappa`` compare the class with the one that a reader called the woman.
    """
    found, threshold, far = viewed.found, made["threshold"], viewed.distance > made["limit"]
    percent, error = density.amounts(found, threshold), errors_of(found, threshold)
    called = viewed.images.table["density"].to_numpy(str)[found.row]
    grade = evaluation.density_classes(percent, made["cuts"])
    covered = np.abs(error) <= made["margin"]
    share, low, high = bootstrap(np.mean, covered, groups=found.patient)
    result = {
        "dice": evaluation.dice(found.dense >= threshold, found.target).mean(),
        "dice_breast": evaluation.dice(found.breast >= 0.5, found.breast_target).mean(),
        "mae": np.abs(error).mean(),
        "bias": error.mean(),
        "spearman": evaluation.spearman(percent, percent - error),
        "spearman_class": evaluation.spearman(percent, called),
        "class_same": (grade == called).mean(),
        "kappa": evaluation.weighted_kappa(grade, called),
        "coverage": share,
        "coverage_low": low,
        "coverage_high": high,
        "refused": far.mean(),
        "coverage_accepted": covered[~far].mean() if (~far).any() else np.nan,
    }
    return {name: float(value) for name, value in result.items()}
