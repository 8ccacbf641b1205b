"""Women that a training left out: who they are, what is predicted for them, and the scores."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.data import catalogs, splits
from mammo_utils.evaluation import segmentation as evaluation
from mammo_utils.study import segmenter
from mammo_utils.study.segmenter import HISTORY, Settings
from mammo_utils.training import tasks

METRICS = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "density_mae",
    "density_bias",
    "density_lower",
    "density_upper",
)
LEAST = 10  # women of a split: two are then held out, the least that an interval can be drawn from


class Part(NamedTuple):
    """One training and whom it leaves out; rows of the cache."""

    name: str
    train: np.ndarray
    valid: np.ndarray | None
    test: np.ndarray


def parts(table: pd.DataFrame, rows: np.ndarray, *, folds: int, seed: int) -> list[Part]:
    """The trainings over ``rows``: one with a validation and a test split, or ``folds`` that leave out each
    woman once and train on all others.

    Raises ``ValueError`` for one fold and for fewer women than parts.
    """
    known = table.iloc[rows].reset_index(drop=True)
    women = known["group"].nunique()
    if folds == 1 or folds < 0:
        raise ValueError(f"{folds} folds leave nothing to train on; give 2 or more, or 0 for one split")
    if women < 2:
        raise ValueError(
            f"{women} labelled women: one must be left out, and an interval needs two; label more"
        )
    if folds and women < folds:
        raise ValueError(f"{women} labelled women are too few for {folds} folds; give {women} at most")
    if not folds and women < LEAST:
        raise ValueError(
            f"{women} labelled women are too few for a split; leave each out once instead, with "
            f"--folds {min(women, 5)}"
        )
    names = [f"fold_{k}" for k in range(folds)] if folds else list(splits.FRACTIONS)
    mixed = ["density"] if known["density"].notna().all() else []
    shares = {name: 1 / folds for name in names} if folds else splits.FRACTIONS
    split = splits.split(known, stratify=mixed, fractions=shares, seed=seed)["split"].to_numpy(str)
    if folds:
        return [Part(name, rows[split != name], None, rows[split == name]) for name in names]
    return [Part("", *(rows[split == name] for name in names))]


def split_table(table: pd.DataFrame, plan: list[Part]) -> pd.DataFrame:
    """``row``, ``image_id``, ``group`` and ``split`` of each image that takes part; with folds ``split`` is
    the fold that leaves it out."""
    if len(plan) > 1:
        named = {part.name: part.test for part in plan}
    else:
        named = dict(zip(splits.FRACTIONS, plan[0][1:], strict=True))
    chosen = [
        table.iloc[rows][["image_id", "group"]].assign(row=rows, split=name) for name, rows in named.items()
    ]
    return splits.check(pd.concat(chosen).sort_values("row")[["row", "image_id", "group", "split"]])


class LeftOut(NamedTuple):
    """Predictions for the images left out (`training.tasks.Masks`), the fold of each, seconds of training."""

    found: tasks.Masks
    fold: np.ndarray
    seconds: np.ndarray


def predictions(
    images, settings: Settings, folder, *, folds: int = 0, data: dict | None = None, say=lambda text: None
) -> LeftOut:
    """Train what ``parts`` says and predict the women that each training left out.

    ``data`` says in ``settings.json`` where the images come from.  Writes ``splits.csv``, and with folds a
    folder for each.

    Raises ``ValueError`` if ``folder`` holds a run with other settings, and as `segmenter.usable`, `parts`
    and `segmenter.learn` do.
    """
    folder, predicted, numbers, seconds = Path(folder), [], [], []
    rows = segmenter.usable(images, settings)
    plan = parts(images.table, rows, folds=folds, seed=settings.seed)
    shape = {"size": images.images.shape[1], "images": len(rows), "folds": folds}
    segmenter.claim(folder, (data or {}) | asdict(settings) | shape)
    catalogs.write(split_table(images.table, plan), folder / "splits.csv")
    for number, part in enumerate(plan):
        if folds:
            say(f"fold {number + 1} of {folds}: {len(part.train)} images to learn, {len(part.test)} left out")
        model = segmenter.learn(images, settings, folder / part.name, rows=part.train, valid=part.valid)
        predicted.append(segmenter.predict(images, model, part.test, settings))
        numbers.append(np.full(len(part.test), number))
        spent = pd.read_csv(folder / part.name / HISTORY)["seconds"].sum()
        seconds.append(np.full(len(part.test), spent))
    found = tasks.Masks(*(np.concatenate(field) for field in zip(*predicted, strict=True)))
    return LeftOut(found, np.concatenate(numbers), np.concatenate(seconds))


def by_image(found: tasks.Masks) -> pd.DataFrame:
    """One row an image: ``row`` in the cache, Dice of dense tissue and of the breast, percent densities."""
    dense, breast = found.dense >= 0.5, found.breast >= 0.5
    return pd.DataFrame(
        {
            "row": found.row,
            "dice": evaluation.dice(dense, found.target),
            "dice_breast": evaluation.dice(breast, found.breast_target),
            "density": np.nan_to_num(evaluation.percent_density(dense, breast)),
            "density_label": evaluation.percent_density(found.target, found.breast_target),
        }
    )


def scores(found: tasks.Masks) -> pd.DataFrame:
    """The table of scores with 95 % intervals by woman; ``dice_breast`` is that of the breast."""
    dense, breast = found.dense >= 0.5, found.breast >= 0.5
    own = evaluation.scores(
        dense,
        found.target,
        groups=found.patient,
        breast=found.breast_target,
        predicted_breast=breast,
        metrics=METRICS,
    )
    whole = evaluation.scores(breast, found.breast_target, groups=found.patient, metrics=["dice"])
    return pd.concat([own, whole.rename(index={"dice": "dice_breast"})]).rename_axis("metric")
