"""The published screening system on images of a cache: warm-up, transfer with unfreezing, scores by breast.

A folder holds one run: a kill costs at most a few steps, and the same call goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammo_utils import profile
from mammo_utils.data import balance, catalogs, splits
from mammo_utils.data.batches import Batches
from mammo_utils.data.strengths import Ranges
from mammo_utils.evaluation import classification, operating
from mammo_utils.models import weights as sources
from mammo_utils.models.classification import build
from mammo_utils.profile import choose
from mammo_utils.study import screening, screening_scores, segmenter
from mammo_utils.study.segmenter import CHECKPOINT, HISTORY, SAVE_EVERY, WEIGHTS
from mammo_utils.training import tasks
from mammo_utils.training.loop import fit

CHANGES = Ranges(rotation=(-15, 15), vertical_flip=0.5, horizontal_flip=0.5)  # flips and rotations alone
SUSPICIOUS = 4  # BI-RADS from which a breast counts as positive where nobody knows who had cancer


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the defaults are the published ones where these are stated.

    Stated are the network, its first weights, the batch, the changes of images and the order of stages; rates
    and epochs are not.  ``stages``, ``unfreezing`` and ``imbalance`` as in `screening.arm`.
    """

    model: str = "resnet101"
    weights: str = "imagenet"
    stages: str = "warm_up"
    unfreezing: str = "progressive"
    imbalance: str = "pos_weight"
    warm_epochs: int = 5
    epochs: int = 15
    lr: float = 3e-4
    batch_size: int = 128
    specificity: float = 0.9
    precision: str = "auto"
    seed: int = 0


def labelled(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The images whose side and label are known, with the label in ``cancer``, and in words what it is.

    Where a data set has no pathology, BI-RADS 4 and above counts as positive.  Raises ``ValueError`` where
    neither is known for any image.
    """
    said = "cancer"
    if table["cancer"].isna().all():
        known = table["birads"].astype(float)
        table = table.assign(cancer=(known >= SUSPICIOUS).where(known.notna()))
        said = f"BI-RADS {SUSPICIOUS} or more, since the data set has no pathology"
    table = table[table["cancer"].notna() & table["laterality"].isin(["L", "R"])]
    if not len(table):
        raise ValueError("no image has a side and a label, cancer or BI-RADS; look at the table of the data")
    return table.assign(cancer=table["cancer"].astype("Int64")).reset_index(drop=True), said


def parts(table: pd.DataFrame, *, seed: int) -> dict[str, np.ndarray]:
    """Rows of ``train``, ``valid`` and ``test``, no woman in two of them.

    Raises ``ValueError`` where one of them lacks a class: more women are needed.
    """
    split = splits.split(table.reset_index(drop=True), stratify=["cancer"], seed=seed)["split"].to_numpy(str)
    label = table["cancer"].to_numpy(float)
    for name in splits.FRACTIONS:
        if len(set(label[split == name])) < 2:
            raise ValueError(f"the split {name} has images of one class alone; more women are needed")
    return {name: np.flatnonzero(split == name) for name in splits.FRACTIONS}


def train(images, recipe: Recipe, folder, *, data: dict | None = None, say=lambda text: None):
    """Train as ``recipe`` says in ``folder``, or go on there; returns the model and the rows of each split.

    Writes ``splits.csv``, in which a woman is her number in the cache, and for each stage ``history.csv`` and
    ``weights.safetensors`` in a folder.  Every stage ends with the weights of the epoch with the best ROC-AUC
    of single images on the validation women, and the next one starts from them.

    Raises ``ValueError`` if ``folder`` holds a run with other settings and as `parts`, `balance.subset` and
    `training.loop.fit` do.
    """
    folder, rows = Path(folder), parts(images.table, seed=recipe.seed)
    shape = {"height": images.images.shape[1], "width": images.images.shape[2], "images": len(images)}
    segmenter.claim(folder, (data or {}) | asdict(recipe) | shape)
    known = [
        images.table.iloc[own][["image_id", "group"]].assign(row=own, split=s) for s, own in rows.items()
    ]
    known = splits.check(pd.concat(known).sort_values("row"))
    woman = pd.factorize(images.table["group"])[0][known["row"]]
    catalogs.write(known.drop(columns="group").assign(woman=woman), folder / "splits.csv")
    torch.manual_seed(recipe.seed)
    model = build(recipe.model, weights=recipe.weights, size=images.images.shape[1:]).to(profile.device())
    table = images.table.iloc[rows["train"]]
    plan = [("transfer", rows["train"], recipe.epochs, recipe.unfreezing)]
    if choose("stages", recipe.stages, screening.STAGES) != "single":
        label, breasts = table["cancer"].to_numpy(float), screening.breasts_of(table)
        small = rows["train"][balance.subset(label, breasts, seed=recipe.seed)]
        warm = ("warm_up", small, recipe.warm_epochs, "all")
        plan = [warm] if recipe.stages == "warm_up_only" else [warm, *plan]
    for stage in plan:
        _stage(model, images, rows["valid"], recipe, folder, *stage, say)
    return model, rows


def _stage(model, images, valid, recipe: Recipe, folder: Path, name, rows, epochs, unfreezing, say) -> None:
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / WEIGHTS).is_file():
        sources.load(model, folder / WEIGHTS)
        return
    positive = int(images.table["cancer"].to_numpy(float)[rows].sum())
    say(f"{name}: {len(rows)} images, {positive} of them positive, {epochs} epochs")
    batches, objective, _ = screening.feed(
        images, rows, imbalance=recipe.imbalance, seed=recipe.seed, batch=recipe.batch_size, augment=CHANGES
    )
    options = {"target": "cancer", "breast": "foreground", "device": profile.device()}
    history = fit(
        model,
        batches,
        objective,
        epochs=epochs,
        lr=recipe.lr,
        valid=Batches(images, valid, batch_size=recipe.batch_size, **options),
        metric=tasks.auc,
        strategy=screening.thawing(model, unfreezing, lr=recipe.lr, epochs=epochs),
        schedule="plateau",
        precision=recipe.precision,
        seed=recipe.seed,
        resume=folder / CHECKPOINT,
        save_every=SAVE_EVERY,
    )
    catalogs.write(history.table, folder / HISTORY)
    segmenter.save(model, folder / WEIGHTS)
    (folder / CHECKPOINT).unlink()


def breasts(model, images, rows=None) -> pd.DataFrame:
    """A row a breast: ``woman``, ``breast``, ``label``, ``logit`` (highest of its views), ``images``."""
    return screening_scores.by(screening_scores.predicted(model, images, rows))


def threshold(valid: pd.DataFrame, recipe: Recipe) -> float:
    """The logit at or above which a breast is called, chosen on the breasts of validation women."""
    return operating.threshold_at(valid["logit"], valid["label"], specificity=recipe.specificity)


def scores(found: pd.DataFrame, cut: float) -> pd.DataFrame:
    """ROC-AUC, PR-AUC and pF1 by breast and the rates at the logit ``cut``, with 95 % intervals by woman.

    The last column is what can be reached without looking: by chance, or by calling nobody.
    """
    probability = 1 / (1 + np.exp(-found["logit"].to_numpy(float)))
    known = {"groups": found["woman"]}
    first = classification.scores(probability, found["label"], **known)
    second = operating.at_threshold(found["logit"], found["label"], threshold=cut, **known)
    columns = {"chance": "without looking", "all_negative": "without looking"}
    return pd.concat([first.rename(columns=columns), second.rename(columns=columns)]).rename_axis("score")
