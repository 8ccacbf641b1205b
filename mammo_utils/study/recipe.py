"""The published density recipe end to end: several views of a woman teach the encoder, then the segmenter is
fine-tuned in full with a loss that knows the density.

A folder holds one run: a kill costs at most a few steps, and the same call goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammo_utils.data import catalogs
from mammo_utils.evaluation.density import CLASSES, class_codes, percent_density, spearman
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import film
from mammo_utils.study import density, encoder_file, left_out, losses, recipe_card, segmenter
from mammo_utils.study.segmenter import CHECKPOINT, WEIGHTS, Settings
from mammo_utils.study.train_command import prepared
from mammo_utils.study.unlabelled import apart, digest
from mammo_utils.training.devices import launch
from mammo_utils.training.pretraining import RECIPES, fields_of

METHOD = "multiview"
# Each ingredient, and what stands in its place without it: what the work compares it with.
INGREDIENTS = {
    "multi-view": "the encoder goes on from --weights without learning from unlabelled images",
    "full": "low-rank adapters",
    "hybrid": "BCE + Dice",
}
ENCODER, DENSITY, SCORES, FIGURE = "encoder.safetensors", "density.csv", "scores.csv", "predictions.png"
BEGUN = (CHECKPOINT, WEIGHTS, ENCODER, "encoder.pt")
CHUNK = 256  # images whose predicted masks are held at a time


@dataclass(frozen=True)
class Recipe:
    """How a segmenter comes to be; the ingredients in ``leave_out`` are replaced, see ``INGREDIENTS``.

    The paper's abstract states an EfficientNet, ImageNet as what to beat, several views of a woman as the
    pretext, full fine-tuning and a hybrid loss; every number here is ours.  ``weights`` are those that the
    encoder starts from; ``pretrain_images`` go through it without labels; ``size`` is the images' height.
    """

    model: str = "unet/efficientnet-b0"
    weights: str = "imagenet"
    leave_out: tuple[str, ...] = ()
    size: int = 512
    pretrain_images: int = 200_000
    epochs: int = 40
    lr: float = 1e-3
    batch_size: int = 16
    precision: str = "auto"
    seed: int = 0


def recipe(pool, unseen, labelled, given: Recipe, folder, *, cache=None, workers: int = 1) -> pd.DataFrame:
    """Train and score as ``given`` says in ``folder``, or go on there; returns the table of `scores`.

    Tables of a catalogue that share no woman: the encoder learns from the images of ``pool``, nothing from
    those of ``unseen`` (there may be none), the segmenter from ``labelled``, whose women are split as in
    `left_out.parts`.  Images are prepared in ``cache`` (default: the folder cache in ``folder``) by
    ``workers`` processes.  Writes ``encoder.safetensors``, ``weights.safetensors`` (the segmenter),
    ``density.csv``, ``scores.csv``, ``predictions.png``, ``model_card.md`` and ``report.md``.

    Raises ``ValueError`` if ``folder`` holds another run, for women in two of the tables, for fewer than
    ``left_out.LEAST`` labelled women, and as `checked`, `training.pretraining.pretrain` and
    `segmenter.learn` do.
    """
    folder = Path(folder)
    checked(given)
    apart(pool=pool, unseen=unseen, labelled=labelled)
    cache = Path(cache or folder / "cache")
    settings, data = fine_tuning(given, labelled), made_of(pool, unseen, labelled, given)
    segmenter.claim(folder, data | asdict(replace(given, weights=data["start"])), begun=BEGUN)
    known = prepared(labelled, cache / "labelled", size=given.size, workers=workers)
    part = split(known, settings)
    others = pd.concat([pool, unseen], ignore_index=True)
    others = prepared(others, cache / "unlabelled", size=given.size, workers=workers)
    learnt = others.table["image_id"].isin(pool["image_id"]).to_numpy(bool)
    if "multi-view" not in given.leave_out:
        _pretrain(others, learnt, given, folder / ENCODER, data)
        settings = replace(settings, weights=str(folder / ENCODER))
    model = segmenter.learn(known, settings, folder, rows=part.train, valid=part.valid)
    found = segmenter.predict(known, model, part.test, settings)
    others_too = _of_others(model, others, learnt, settings)
    table = pd.concat([_of_labelled(model, known, part, settings), others_too])
    table["pretrained"] = (table["split"] == "pool") & ("multi-view" not in given.leave_out)
    judged = scores(found, known, table)
    catalogs.write(table.drop(columns="group").round(6), folder / DENSITY)
    catalogs.write(judged.round(4), folder / SCORES)
    film.predictions(known.images[found.row], found).savefig(folder / FIGURE)
    lost = len(known.failures) + len(others.failures)
    recipe_card.write(folder, given, settings, data, table, judged, lost=lost)
    return judged


def checked(given: Recipe) -> None:
    """Try out what is ``given``, so that an error shows before hours go into the preparation of images.

    Raises ``ValueError`` for a number that is not above 0, and as `models.segmentation.build` and
    `training.devices.launch` do, such as for weights that cannot be downloaded.
    """
    for name in ("size", "pretrain_images", "epochs", "lr", "batch_size"):
        if not getattr(given, name) > 0:
            raise ValueError(f"{name}={getattr(given, name)}: give a number above 0")
    build(given.model, weights=given.weights, size=given.size)
    launch(given.precision)


def made_of(pool, unseen, labelled, given: Recipe) -> dict:
    """What the settings of a run say of its images and first weights; names no folder and no woman."""
    names = {"data": pool["dataset"].iloc[0], "labelled": labelled["dataset"].iloc[0]}
    parts = {"pool": pool, "unseen": unseen, "labels": labelled}
    said = {name: f"{len(part)} images {digest(part)}" for name, part in parts.items()}
    return names | said | {"start": encoder_file.start_of(given.weights)}


def split(images, settings: Settings) -> left_out.Part:
    """The rows of the labelled images in training, validation and test.

    Raises ``ValueError`` for too few women, and as `segmenter.usable`.
    """
    rows = segmenter.usable(images, settings)
    women = images.table["group"].iloc[rows].nunique()
    if women < left_out.LEAST:
        raise ValueError(f"{women} labelled women are too few for a split; label {left_out.LEAST} or more")
    return left_out.parts(images.table, rows, folds=0, seed=settings.seed)[0]


def masks_of(table: pd.DataFrame) -> tuple[str, str]:
    """The masks of dense tissue and of the breast that are learnt: those of phantoms are reader A's, as in
    the studies; where nobody outlined the breast it is what was found in the image, with the muscle.

    Raises ``ValueError`` where there is no mask of dense tissue.
    """
    target = "reader_A" if (table["dataset"] == "phantom").all() else "dense"
    if table[f"{target}_mask"].isna().all():
        name = table["dataset"].iloc[0]
        raise ValueError(
            f"{name} has no mask of dense tissue, so that no density can be learnt from it; name a data set "
            "that has them, such as density, or a folder with masks/dense"
        )
    return target, "breast" if table["breast_mask"].notna().any() else "foreground"


def fine_tuning(given: Recipe, table: pd.DataFrame) -> Settings:
    """The settings of the segmenter, which starts from the weights of ``given``."""
    target, breast = masks_of(table)
    hybrid = "hybrid" not in given.leave_out
    return Settings(
        model=given.model,
        weights=given.weights,
        target=target,
        breast=breast,
        loss="hybrid_density" if hybrid else "bce_dice",
        lam=losses.LAM if hybrid else None,
        epochs=given.epochs,
        lr=given.lr,
        batch_size=given.batch_size,
        strategy="lora" if "full" in given.leave_out else "full",
        precision=given.precision,
        seed=given.seed,
    )


def _pretrain(images, learnt, given: Recipe, out: Path, data: dict) -> None:
    """Write the encoder that learnt from the images ``learnt`` to ``out``, unless it is there."""
    own = replace(RECIPES[METHOD], batch_size=min(RECIPES[METHOD].batch_size, int(learnt.sum())))
    settings = {"method": METHOD, "model": given.model, "budget": given.pretrain_images, "size": given.size}
    settings |= {"precision": given.precision, "seed": given.seed} | data
    settings |= {field: getattr(own, field) for field in fields_of(METHOD)}
    if encoder_file.finished(out, settings):
        return
    torch.manual_seed(given.seed)
    model = build(given.model, weights=given.weights, size=images.images.shape[1:])
    encoder_file.learn(out, settings, model, images, learnt, recipe=own, fabric=launch(given.precision))


def _of_labelled(model, images, part: left_out.Part, settings: Settings) -> pd.DataFrame:
    """A row for each image of ``part``, see `told`."""
    rows = np.concatenate([part.train, part.valid, part.test])
    label = percent_density(images.masks[settings.target][rows], images.masks[settings.breast][rows])
    split = np.repeat(["train", "valid", "test"], [len(part.train), len(part.valid), len(part.test)])
    return told(model, images, rows, settings).assign(split=split, label=label)


def _of_others(model, images, learnt, settings: Settings) -> pd.DataFrame:
    """A row for each image of the unlabelled set, see `told`; ``unseen`` are those not of the pool."""
    blind = replace(settings, target="foreground", breast="foreground")  # no masks to predict against
    split = np.where(np.asarray(learnt, bool), "pool", "unseen")
    return told(model, images, np.arange(len(images)), blind).assign(split=split, label=np.nan)


def told(model, images, rows: np.ndarray, settings: Settings) -> pd.DataFrame:
    """What is predicted for ``rows``: ``image_id``, ``split`` and ``label`` (empty), ``percent_density`` (0
    where no breast is found), ``density_class`` of the radiologist where known, and ``group``."""
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    found = [density.amounts(segmenter.predict(images, model, chunk, settings)) for chunk in chunks]
    table = images.table.iloc[rows]
    return pd.DataFrame(
        {
            "image_id": table["image_id"].to_numpy(),
            "split": "",
            "percent_density": np.concatenate(found),
            "label": np.nan,
            "density_class": table["density"].to_numpy(),
            "group": table["group"].to_numpy(),
        }
    )


def scores(found, labelled, table: pd.DataFrame) -> pd.DataFrame:
    """``estimate`` with 95 % limits ``low`` and ``high`` by woman of each ``metric``, and ``images`` and
    ``women`` behind it; ``on`` says which.

    ``on`` is "test" for women left out against their labels, and for phantoms "test, truth" against the
    truth.  ``spearman`` is that of the density with the radiologist's classes, of the images of "test",
    "unseen" and "pool" whose class is known.
    """
    against = {"test": found}
    if "reader_A" in labelled.masks:
        against["test, truth"] = found._replace(target=labelled.masks["dense"][found.row])
    parts = []
    for name, masks in against.items():
        counts = {"images": len(masks.row), "women": len(set(masks.patient))}
        parts.append(left_out.scores(masks).reset_index().assign(on=name, **counts))
    known = table[table["density_class"].isin(CLASSES)]
    for name in ("test", "unseen", "pool"):
        own = known[known["split"] == name]
        if own["group"].nunique() > 1 and own["density_class"].nunique() > 1:
            codes = class_codes(own["density_class"])
            percent, women = own["percent_density"].to_numpy(), own["group"].to_numpy()
            interval = bootstrap(spearman, percent, codes, groups=women)
            counts = {"images": len(own), "women": own["group"].nunique()}
            parts.append(pd.DataFrame([{"on": name, "metric": "spearman", **interval._asdict(), **counts}]))
    columns = ["on", "metric", "estimate", "low", "high", "images", "women"]
    return pd.concat(parts, ignore_index=True)[columns]
