"""The published histology system on tiles: ImageNet, then lung and colon, then benign or malignant breast.

A folder holds one run: a kill costs at most a few steps, and the same call goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammo_utils import profile
from mammo_utils.data import catalogs, splits, stain
from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.evaluation import classification, operating
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.models import weights as files
from mammo_utils.models.classification import build
from mammo_utils.profile import choose
from mammo_utils.study import histology_scores, segmenter
from mammo_utils.study.histology import TASKS
from mammo_utils.study.segmenter import CHECKPOINT, HISTORY, SAVE_EVERY, WEIGHTS
from mammo_utils.study.tiles import CLASSES
from mammo_utils.synth.histology import SUBTYPES
from mammo_utils.training import classes
from mammo_utils.training.loop import fit

NORMALISE = ("none", *stain.METHODS)
FIRST, TARGET = "first", "target"  # folders of the two stages
NAMES = {name: place for place, name in enumerate(SUBTYPES[key][0] for key in CLASSES)}


@dataclass(frozen=True)
class Recipe:
    """How a classifier of tiles is trained; the defaults are the published ones where these are stated.

    Stated are a DenseNet with squeeze-and-excitation, ImageNet and then LC25000 as sources, batch, rate,
    epochs, rotation and flip, and a normalisation of colour.  Not found are which DenseNet, where its gates
    sit, the size of its input, the optimiser, the schedule, of which level the epochs are, which
    normalisation, and whether patients were kept apart, as they are here.  Rotations are quarter turns, which
    leave no corner empty.  ``gates`` as in `se_densenet.Gate`; ``stains``: strength of `stain.vary`;
    ``weight_decay`` that of Huang 2017, arXiv 1608.06993 (DenseNet).
    """

    model: str = "se_densenet121"
    weights: str = "imagenet"
    gates: str = "identity"
    task: str = "binary"
    normalise: str = "macenko"
    stains: float = 0.0
    first_epochs: int = 200
    epochs: int = 200
    lr: float = 0.01
    optimizer: str = "sgd"
    weight_decay: float = 1e-4
    batch_size: int = 32
    precision: str = "auto"
    seed: int = 0


def labelled(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The tiles whose label is known; subtypes get the column ``kind`` (0–7).

    Raises ``ValueError`` where none is.
    """
    if choose("task", task, TASKS) == "subtypes":
        table = table.assign(kind=table["subtype"].map(NAMES).astype("Int64"))
    column = "kind" if task == "subtypes" else "cancer"
    table = table[table[column].notna() & table["cancer"].notna()].reset_index(drop=True)
    if not len(table):
        raise ValueError(f"no tile has a label for the task {task}; look at the table of the data")
    return table


def parts(table: pd.DataFrame, *, seed: int) -> dict[str, np.ndarray]:
    """Rows of ``train``, ``valid`` and ``test``, no case in two of them, subtypes mixed alike.

    Raises ``ValueError`` where one of them lacks a class: more cases are needed.
    """
    mixed = ["cancer", *["kind"] * ("kind" in table)]
    split = splits.split(table, stratify=mixed, seed=seed)["split"].to_numpy(str)
    label = table["cancer"].to_numpy(float)
    for name in splits.FRACTIONS:
        if len(set(label[split == name])) < 2:
            raise ValueError(f"the split {name} has tiles of one class alone; more cases are needed")
    return {name: np.flatnonzero(split == name) for name in splits.FRACTIONS}


def train(
    tiles: Tiles, recipe: Recipe, folder, *, first: Tiles | None = None, data: dict | None = None, say=print
):
    """Train as ``recipe`` says in ``folder``, or go on there.

    ``first``: tiles of a source with any classes in ``diagnosis``, learnt from before ``tiles``.  Both are
    brought to the colours of the training tiles of ``tiles``, in memory.  Each stage ends with its best
    weights on groups that it does not learn from: by area under the ROC curve for two classes, by accuracy
    for more.

    Writes ``splits.csv``, in which a case is a number, and for each stage ``history.csv`` and
    ``weights.safetensors``.  Returns the model, the rows of each split and the function that brings other
    tiles to the same colours.

    Raises ``ValueError`` if ``folder`` holds a run with other settings and as `parts` and
    `training.loop.fit` do.
    """
    folder, rows = Path(folder), parts(tiles.table, seed=recipe.seed)
    counts = {
        "size": tiles.images.shape[1],
        "tiles": len(tiles.images),
        "first": len(first.images) if first else 0,
    }
    segmenter.claim(folder, (data or {}) | asdict(recipe) | counts)
    case = pd.factorize(tiles.table["group"])[0]
    known = [pd.DataFrame({"row": own, "case": case[own], "split": name}) for name, own in rows.items()]
    catalogs.write(pd.concat(known).sort_values("row"), folder / "splits.csv")
    ready = colours(recipe.normalise, tiles, rows["train"])
    start: str | Path = recipe.weights
    if first is not None:
        kinds = first.table["diagnosis"].astype("category")
        first = Tiles(first.images, first.table.assign(kind=kinds.cat.codes.astype(int)))
        split = splits.split(first.table, fractions={"train": 0.9, "valid": 0.1}, seed=recipe.seed)["split"]
        chosen = {name: np.flatnonzero(split == name) for name in ("train", "valid")}
        source = _stage(
            ready(first),
            chosen,
            recipe,
            folder / FIRST,
            start,
            recipe.first_epochs,
            say,
            target="kind",
            number=len(kinds.cat.categories),
        )
        start = folder / FIRST / ("encoder" + files.SUFFIX)
        files.save(source.encoder, start, {"source": "tiles of the first stage"})
    target, number = ("kind", len(NAMES)) if recipe.task == "subtypes" else ("cancer", 2)
    labels = {"target": target, "number": number}
    model = _stage(ready(tiles), rows, recipe, folder / TARGET, start, recipe.epochs, say, **labels)
    return model, rows, ready


def _stage(tiles, rows, recipe: Recipe, folder: Path, start, epochs: int, say, *, target: str, number: int):
    """A network of ``number`` classes, the column ``target``, trained on the tiles of ``rows["train"]``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    gates = {"start": recipe.gates} if recipe.model.startswith("se_") else {}
    done = folder / WEIGHTS
    model = build(
        recipe.model,
        weights="none" if done.is_file() else start,
        classes=number,
        size=tiles.images.shape[1:3],
        channels=3,
        **gates,
    ).to(profile.device())
    if done.is_file():
        files.load(model, done)
        return model
    options = {"target": target, "device": profile.device(), "batch_size": recipe.batch_size}
    batches = TileBatches(
        tiles, rows["train"], shuffle=True, turns=True, stains=recipe.stains, seed=recipe.seed, **options
    )
    say(f"{folder.name}: {len(rows['train'])} tiles of {number} classes, {epochs} epochs")
    history = fit(
        model,
        batches,
        classes.task(),
        epochs=epochs,
        lr=recipe.lr,
        optimizer=recipe.optimizer,
        weight_decay=recipe.weight_decay,
        valid=TileBatches(tiles, rows["valid"], **options),
        metric=_metric,
        precision=recipe.precision,
        seed=recipe.seed,
        resume=folder / CHECKPOINT,
        save_every=SAVE_EVERY,
    )
    catalogs.write(history.table, folder / HISTORY)
    segmenter.save(model, done)
    (folder / CHECKPOINT).unlink()
    return model


def _metric(model, valid) -> float:
    found = classes.predict(model, valid)
    if found.probability.shape[1] == 2:
        return classification.roc_auc(found.probability[:, 1], found.target)
    return float((found.probability.argmax(1) == found.target).mean())


def colours(method: str, tiles: Tiles, rows: np.ndarray) -> Callable[[Tiles], Tiles]:
    """The function that brings tiles to the colours of the tiles ``rows``; ``none`` leaves them."""
    if choose("stain normalisation", method, NORMALISE) == "none":
        return lambda other: other
    step = max(1, len(rows) // stain.FITTED)
    normalise = stain.fit(np.asarray(tiles.images[rows[::step]]), method)
    return lambda other: Tiles(normalise(other.images), other.table)


def predictions(model, tiles: Tiles, recipe: Recipe, rows=None) -> pd.DataFrame:
    """A row a tile as in `histology_scores.told`, with ``row`` and ``magnification``."""
    options = {"batch_size": 64, "device": profile.device()}
    target = "kind" if recipe.task == "subtypes" and "kind" in tiles.table else "cancer"
    found = classes.predict(model, TileBatches(tiles, rows, target=target, **options))
    table = histology_scores.told(found, tiles.table)
    return table.assign(row=found.row, magnification=tiles.table["magnification"].iloc[found.row].to_numpy())


def scores(found: pd.DataFrame) -> pd.DataFrame:
    """Scores by tile and the mean share of right tiles by patient, with 95 % intervals by patient.

    The last column is what calling every tile malignant reaches, which on BreakHis is an accuracy of 68.6 %.
    """
    probability, label, patient = (found[name].to_numpy() for name in ("probability", "label", "patient"))
    ranks = classification.scores(probability, label, groups=patient).loc[["roc_auc", "average_precision"]]
    ranks = ranks.rename(columns={"chance": "all malignant"})
    rates = operating.at_threshold(probability, label, threshold=0.5, groups=patient)
    every = operating.confusion(probability, label, threshold=-np.inf)
    rates = rates.drop(columns="all_negative").assign(
        **{"all malignant": [getattr(every, rate) for rate in rates.index]}
    )
    right = pd.Series((probability >= 0.5) == label).groupby(patient).mean()
    interval = bootstrap(lambda share: share.mean(), right.to_numpy(), groups=right.index.to_numpy())
    share = pd.Series(label == 1).groupby(patient).mean().mean()
    recognised = pd.DataFrame(interval._asdict() | {"all malignant": share}, index=["accuracy by patient"])
    return pd.concat([ranks, rates, recognised]).rename_axis("score")


def by_magnification(found: pd.DataFrame) -> pd.DataFrame:
    """`scores` at each magnification, indexed by it and the score; empty where none is known.

    A magnification at which a class is absent is left out.
    """
    powers = {m: scores(own) for m, own in found.groupby("magnification") if own["label"].nunique() == 2}
    return pd.concat(powers, names=["magnification"]) if powers else pd.DataFrame()
