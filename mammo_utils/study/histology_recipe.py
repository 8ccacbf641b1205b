"""The published histology system on tiles: ImageNet, then lung and colon, then benign or malignant breast.

A folder holds one run: a kill costs at most a few steps, and the same call goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammo_utils import profile
from mammo_utils.data import catalogs, splits
from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.evaluation import classification, operating
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.models import weights as files
from mammo_utils.models.classification import build
from mammo_utils.study import histology_scores, segmenter
from mammo_utils.study.histology_data import coloured, colours
from mammo_utils.study.segmenter import CHECKPOINT, HISTORY, SAVE_EVERY, WEIGHTS
from mammo_utils.study.tiles import CLASSES
from mammo_utils.training import classes
from mammo_utils.training.loop import fit

FIRST, TARGET = "first", "target"  # folders of the two stages
COLOURED = "tiles.npy"  # tiles in the colours of the training tiles


@dataclass(frozen=True)
class Recipe:
    """How a classifier of tiles is trained; the defaults are the published ones where these are stated.

    Stated are a DenseNet with squeeze-and-excitation, ImageNet and then LC25000 as sources, batch, rate,
    epochs, rotation and flip, and a normalisation of colour.  Not found are which DenseNet, where its gates
    sit, the size of its input, the optimiser, the schedule, of which level the epochs are, which
    normalisation, and whether patients were kept apart, as they are here.  Ours, not the paper's, are
    rotations by quarter turns, which leave no corner empty, rates that fall as a cosine after a warm-up,
    gradients cut at norm 1 (`training.loop.fit`) and that the best epoch is kept.  ``gates`` and ``position``
    as in `se_densenet.encoder`; ``stains``: strength of `stain.vary`; ``weight_decay`` that of Huang 2017,
    arXiv 1608.06993 (DenseNet).

    Raises ``ValueError`` for gates of a model that has none.
    """

    model: str = "se_densenet121"
    weights: str = "imagenet"
    gates: str = "identity"
    position: str = "block"
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

    def __post_init__(self):
        if (self.gates, self.position) != ("identity", "block") and not self.model.startswith("se_"):
            raise ValueError(f"{self.model} has no gates: leave gates at identity and position at block")


def train(
    tiles: Tiles,
    rows: dict[str, np.ndarray],
    recipe: Recipe,
    folder,
    *,
    first: Tiles | None = None,
    data: dict | None = None,
    say=print,
):
    """Train as ``recipe`` says on ``rows["train"]`` in ``folder``, or go on there.

    ``rows`` as from `histology_data.parts`.  ``first``: tiles of a source with any classes in ``diagnosis``,
    learnt from before ``tiles``.  Both are brought to the colours of the training tiles of ``tiles`` once, in
    the file ``tiles.npy`` of their stage; that of the first goes when its stage is done.  Each stage ends
    with its best weights on groups that it does not learn from: by area under the ROC curve for two classes,
    by accuracy for more.

    Writes ``splits.csv``, in which a case is a number, and for each stage ``history.csv`` and
    ``weights.safetensors``.  Returns the model, ``tiles`` in these colours and what brings others to them.

    Raises ``ValueError`` if ``folder`` holds a run with other settings and as `training.loop.fit` does.
    """
    folder = Path(folder)
    counts = {
        "size": tiles.images.shape[1],
        "tiles": len(tiles.images),
        "first": len(first.images) if first else 0,
    }
    known = (data or {}) | asdict(recipe) | counts
    segmenter.claim(folder, known, begun=(CHECKPOINT, WEIGHTS, COLOURED))
    case = pd.factorize(tiles.table["group"])[0]
    split = [pd.DataFrame({"row": own, "case": case[own], "split": name}) for name, own in rows.items()]
    catalogs.write(pd.concat(split).sort_values("row"), folder / "splits.csv")
    normalise = colours(recipe.normalise, tiles, rows["train"])
    start: str | Path = recipe.weights
    if first is not None:
        start = folder / FIRST / ("encoder" + files.SUFFIX)
        if not start.is_file():
            source = _first(first, recipe, folder / FIRST, normalise, say)
            files.save(source.encoder, start, {"source": "tiles of the first stage"})
        (folder / FIRST / COLOURED).unlink(missing_ok=True)
    ready = coloured(tiles, normalise, say=say, path=folder / TARGET / COLOURED)
    target, number = ("kind", len(CLASSES)) if recipe.task == "subtypes" else ("cancer", 2)
    labels = {"target": target, "number": number}
    model = _stage(ready, rows, recipe, folder / TARGET, start, recipe.epochs, say, **labels)
    return model, ready, normalise


def _first(tiles: Tiles, recipe: Recipe, folder: Path, normalise, say):
    """The network of the first stage."""
    kinds = tiles.table["diagnosis"].astype("category")
    tiles = Tiles(tiles.images, tiles.table.assign(kind=kinds.cat.codes.astype(int)))
    split = splits.split(tiles.table, fractions={"train": 0.9, "valid": 0.1}, seed=recipe.seed)["split"]
    rows = {name: np.flatnonzero(split == name) for name in ("train", "valid")}
    ready = coloured(tiles, normalise, say=say, path=folder / COLOURED)
    labels = {"target": "kind", "number": len(kinds.cat.categories)}
    return _stage(ready, rows, recipe, folder, recipe.weights, recipe.first_epochs, say, **labels)


def _stage(tiles, rows, recipe: Recipe, folder: Path, start, epochs: int, say, *, target: str, number: int):
    """A network of ``number`` classes, the column ``target``, trained on the tiles of ``rows["train"]``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    gated = recipe.model.startswith("se_")
    gates = {"start": recipe.gates, "position": recipe.position} if gated else {}
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


def scores_by(found: pd.DataFrame, column: str) -> pd.DataFrame:
    """`scores` for each value of ``column``, indexed by it and the score; empty where none is known.

    A value at which a class is absent is left out.
    """
    each = {value: scores(own) for value, own in found.groupby(column) if own["label"].nunique() == 2}
    return pd.concat(each, names=[column]) if each else pd.DataFrame()
