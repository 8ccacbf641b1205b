"""One run of the density work: train a segmenter on phantom women and score it on others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation import segmentation as evaluation
from mammo_utils.evaluation.calibration import expected_calibration_error
from mammo_utils.models.segmentation import build
from mammo_utils.study.phantoms import DRAW, WOMEN, draw, judged, women
from mammo_utils.study.segmenter import save
from mammo_utils.synth.breast import VERSION
from mammo_utils.training import tasks
from mammo_utils.training.loop import fit

VALID = 16  # women of the validation set, or as many as are labelled if they are fewer
LEVELS = np.round(np.arange(0.05, 1.0, 0.05), 2)  # candidates for a tuned threshold of the probability
RUN = "mammo_utils.study.density:segment"
TRIALS = (1e-3, 3e-3, 1e-2, 3e-2)  # learning rates that every arm of a study is tried with on `develop`

# How far a repeated run may be off in another precision or on another processor, where every step rounds
# differently; the same machine repeats every digit.  A tuned threshold may jump by several candidates.
TOLERANCE = {
    **dict.fromkeys(("dice", "dice_a", "dice_b", "dice_breast", "spearman", "ece"), 0.05),
    **dict.fromkeys(("mae", "mae_true_breast", "mae_soft", "bias", "bias_soft"), 4.0),
    **dict.fromkeys((f"{name}_{grade}" for name in ("mae", "bias", "spread") for grade in "ABCD"), 8.0),
    **dict.fromkeys(("sensitivity", "precision"), 0.1),
    **dict.fromkeys(("lower", "upper"), 8.0),
    "dice_tuned": 0.15,
    **dict.fromkeys(("mae_tuned", "bias_tuned"), 12.0),
    **dict.fromkeys(("threshold", "images_per_second", "train_seconds"), math.inf),
}


def arm(
    *,
    model: str = "unet/mobilenetv2_050",
    loss: str = "bce_dice",
    lam: float | None = None,
    target: str = "reader_A",
    labels: int = 256,
    budget: int = 4096,
    lr: float = 3e-3,
    size: int = 128,
    cohort: str = "train",
) -> dict:
    """Settings of one arm of a study, for `segment`."""
    return dict(locals())


def trials(**changes) -> list[dict]:
    """The trials that choose an arm's learning rate on `develop`."""
    return [arm(**changes, lr=lr, cohort="develop") for lr in TRIALS]


class Drawn(NamedTuple):
    """Caches of a run and the rows that it learns from, is validated on and is scored on."""

    images: ImageCache
    rows: np.ndarray
    validated: ImageCache
    valid: np.ndarray
    held: ImageCache
    unseen: np.ndarray


def segment(settings: dict, seed: int, *, weights: str | Path = "none") -> dict[str, float]:
    """Train a segmenter and return its scores on women that it has not seen.

    ``settings``: ``model``, ``loss`` with ``lam`` (weight of its density term, or None), ``target`` (whose
    dense tissue is learnt: ``dense`` is the truth, or a reader's), ``labels`` (labelled images, four a
    woman), ``budget`` (images through the network), ``lr``, ``size``, and ``cohort``: ``develop`` for tuning,
    else ``train``, which is scored on ``test``, or ``final``, which learns from the same women and is scored
    on those of ``final``.  The seed redraws the labelled women, the weights and the
    order.  ``weights`` are those that the encoder starts from, as in `models.segmentation.build`.

    Raises ``ValueError`` for labels that are not four a woman or of more than ``DRAW`` women, and for a seed
    for which the cohort has no women left.
    """
    model, history, held, rows, threshold = trained(settings, seed, weights)
    if seed == 0 and settings["cohort"] == "train":
        kept(settings).parent.mkdir(parents=True, exist_ok=True)
        save(model, kept(settings))
    unseen = Batches(held, rows, target="dense", batch_size=64, device=profile.device())
    found = tasks.predict(model, unseen, precision="auto")
    speed = {"images_per_second": history.images_per_second, "train_seconds": history.seconds}
    return scored(found, held, threshold) | speed


def kept(settings: dict) -> Path:
    """The safetensors file that keeps the weights of the arm's run with seed 0."""
    name = "_".join(str(value).replace("/", "-") for value in settings.values())
    return profile.cache_dir() / f"phantom_{VERSION}" / "trained" / f"{name}.safetensors"


def trained(settings: dict, seed: int, weights: str | Path = "none") -> tuple:
    """The trained model, its history, the images and rows that it is scored on, and a tuned threshold."""
    drawn = women_of(settings, seed)
    torch.manual_seed(seed)
    model = build(settings["model"], size=settings["size"], weights=weights)
    chosen = {name: settings.get(name) for name in LEARNING}
    history = learn(model, drawn.images, drawn.rows, seed=seed, **chosen)
    threshold = tuned(tasks.predict(model, validation(drawn, settings), precision="auto"))
    return model, history, drawn.held, drawn.unseen, threshold


def women_of(settings: dict, seed: int) -> Drawn:
    """The women of a run; raises as `segment`."""
    size, (labelled, rest) = settings["size"], divmod(settings["labels"], 4)
    if rest or not 1 <= labelled <= DRAW:  # more women would be those of the next seed or of the scores
        raise ValueError(f"labels={settings['labels']}: give four a woman, of up to {DRAW} women")
    if settings["cohort"] == "develop":
        images = validated = held = women("develop", size=size)
        first = seed % (DRAW // labelled) * labelled
        rows, valid = draw(images, first, labelled), draw(images, DRAW, VALID)
        unseen = draw(images, DRAW + VALID)
    else:
        last = "final" if settings["cohort"] == "final" else "test"
        images, validated, held = (women(name, size=size) for name in ("train", "valid", last))
        rows, valid = draw(images, DRAW * seed, labelled), draw(validated, VALID * seed, min(VALID, labelled))
        unseen = draw(held, 0, WOMEN[last])
    return Drawn(images, rows, validated, valid, held, unseen)


def validation(drawn: Drawn, settings: dict) -> Batches:
    """The batches of the women that a run is validated on, with the labels that it learns from."""
    target, device = settings["target"], profile.device()
    return Batches(drawn.validated, drawn.valid, target=target, batch_size=64, device=device)


def control(images, fit: np.ndarray, rows: np.ndarray, *, budget: int) -> dict[str, float]:
    """The U-Net trained on the rows ``fit`` and scored on ``rows``, as `phantoms.controls` scores others."""
    settings = arm(budget=budget, lr=1e-2)
    torch.manual_seed(0)
    model = build(settings["model"], size=images.images.shape[1:])
    learn(model, images, fit, seed=0, **{name: settings[name] for name in LEARNING})
    batches = Batches(images, rows, target="dense", batch_size=64, device=profile.device())
    found = tasks.predict(model, batches, precision="auto")
    return judged(found.dense >= 0.5, found.target, images.masks["reader_A"][rows], found.breast_target)


LEARNING = ("target", "loss", "lam", "budget", "lr")  # settings that `learn` takes


def learn(
    model,
    images,
    rows,
    *,
    target: str,
    loss: str,
    lam: float | None,
    budget: int,
    lr: float,
    seed: int,
    batch_size: int | None = None,
    **options,
):
    """Train ``model`` on ``rows`` of a cache for ``budget`` images; returns the history.

    ``batch_size``: that of the profile by default, and no more than there are rows.  ``options`` are those of
    `training.loop.fit`.
    """
    batches = Batches(
        images,
        rows,
        target=target,
        batch_size=min(batch_size or profile.current().batch_size, len(rows)),
        shuffle=True,
        augment="standard",
        seed=seed,
        device=profile.device(),
    )
    objective = tasks.segmentation(loss, **({} if lam is None else {"lam": lam}))
    options = {"epochs": epochs_of(budget, rows), "lr": lr, "seed": seed, "progress": False} | options
    return fit(model, batches, objective, **options)


def epochs_of(budget: int, rows) -> int:
    """Epochs over ``rows`` that put ``budget`` images through a network."""
    return math.ceil(budget / len(rows))


def amounts(found: tasks.Masks, level: float = 0.5) -> np.ndarray:
    """Percent density of the predicted dense area in the predicted breast; 0 where no breast is found."""
    percent = evaluation.percent_density(found.dense >= level, found.breast >= 0.5)
    return np.nan_to_num(percent)


def tuned(found: tasks.Masks) -> float:
    """The threshold of the probability whose percent density is closest to that of the labels."""
    label = evaluation.percent_density(found.target, found.breast_target)
    return float(LEVELS[np.argmin([np.abs(amounts(found, x) - label).mean() for x in LEVELS])])


def scored(found: tasks.Masks, images, threshold: float) -> dict[str, float]:
    """Means over the images of ``found``, whose targets are the truth; densities in points of per cent.

    Dense tissue is called at probability 0.5, and for the scores that end in ``_tuned`` at ``threshold``;
    those that end in ``_soft`` sum probabilities instead.
    """
    dense, whole = found.dense >= 0.5, found.breast >= 0.5
    truth = evaluation.percent_density(found.target, found.breast_target)
    hard, own = amounts(found), evaluation.percent_density(dense, found.breast_target)
    soft = 100 * (found.dense * whole).sum((1, 2)) / np.maximum(whole.sum((1, 2)), 1)
    cut = amounts(found, threshold)
    limits = evaluation.agreement(hard, truth)
    grades = images.table["density"].to_numpy(str)[found.row]
    inside = found.breast_target
    result = {
        "dice": evaluation.dice(dense, found.target).mean(),
        "dice_a": evaluation.dice(dense, images.masks["reader_A"][found.row]).mean(),
        "dice_b": evaluation.dice(dense, images.masks["reader_B"][found.row]).mean(),
        "dice_breast": evaluation.dice(whole, found.breast_target).mean(),
        "dice_tuned": evaluation.dice(found.dense >= threshold, found.target).mean(),
        "sensitivity": np.nanmean(evaluation.sensitivity(dense, found.target)),
        "precision": np.nanmean(evaluation.precision(dense, found.target)),
        "mae": np.abs(hard - truth).mean(),
        "bias": limits.bias,
        "lower": limits.lower,
        "upper": limits.upper,
        "mae_true_breast": np.abs(own - truth).mean(),
        "mae_soft": np.abs(soft - truth).mean(),
        "bias_soft": (soft - truth).mean(),
        "threshold": threshold,
        "mae_tuned": np.abs(cut - truth).mean(),
        "bias_tuned": (cut - truth).mean(),
        "spearman": evaluation.spearman(hard, grades),
        "ece": expected_calibration_error(found.dense[inside][::16], found.target[inside][::16]),
    }
    for grade in "ABCD":
        error = (hard - truth)[grades == grade]
        result[f"mae_{grade}"] = np.abs(error).mean() if len(error) else np.nan
        result[f"bias_{grade}"] = error.mean() if len(error) else np.nan
        result[f"spread_{grade}"] = error.std() if len(error) else np.nan
    return {name: float(value) for name, value in result.items()}
