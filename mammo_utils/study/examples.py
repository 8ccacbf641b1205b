"""``python -m mammo_utils examples``: what the trained arms of a study say of single images.

The first run of every arm keeps its weights; from these come the percent density of each test image
(``NAME_images.csv``) and, for architectures, the masks of the images that some arm judges worst
(``architectures_masks.npz``) and the controls on the test women (``controls.csv``), which the figures draw.
For screening it is the logits of breasts, of validation, test and external women (``screening_breasts.csv``),
for histology which subtype the tiles of each subtype are called (``histology_subtypes.csv``), for the recipe
the controls on the women of ``final`` (``recipe_controls.csv``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.evaluation import segmentation as evaluation
from mammo_utils.models.segmentation import build
from mammo_utils.study import (
    architectures,
    density,
    grid,
    histology_scores,
    histology_studies,
    ingredients,
    losses,
    phantoms,
    provenance,
    screened,
    screening_scores,
    stages,
)
from mammo_utils.synth.breast import VERSION, lesions
from mammo_utils.training import tasks

WOMEN = 100  # test women whose images are listed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        choices=("losses", "architectures", "screening", "histology", "recipe"),
        help="whose arms, trained before",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default: data/results here)")


def main(options: argparse.Namespace) -> int:
    """Write the files; 1 if an arm was not trained here."""
    if options.study == "screening":
        return _screening(options.out or grid.table_of(stages.STUDY).parent)
    if options.study == "histology":
        return _histology(options.out or grid.table_of(histology_studies.STUDY).parent)
    if options.study == "recipe":
        folder = options.out or grid.table_of(ingredients.CROSSED).parent
        size = ingredients.arm(**ingredients.RECIPE)["size"]
        return _controls(folder / "recipe_controls.csv", phantoms.women("final", size=size))
    if options.study == "losses":
        arms = {loss: losses.loss_arm(loss) for loss in losses.RATES}
    else:
        arms = {name: density.arm(model=name, lr=rate) for name, rate in architectures.RATES.items()}
    folder = options.out or grid.table_of(losses.STUDY).parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        images, found = predictions(arms)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    table = listed(images, found)
    made = {"phantom": VERSION, "commit": provenance.commit()}
    table.assign(**made).to_csv(folder / f"{options.study}_images.csv", index=False, float_format="%.5g")
    if options.study == "architectures":
        keep(folder / "architectures_masks.npz", table, found)
        _controls(folder / "controls.csv", images)
    return 0


def _controls(path: Path, images) -> int:
    """Write the controls on all ``images``, fitted on the first draw of ``train``; 0."""
    train = phantoms.women("train", size=images.images.shape[1])
    learnt, rows = phantoms.draw(train, 0, phantoms.DRAW), np.arange(len(images))
    controls = phantoms.controls(train, learnt, rows, scored=images)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {"phantom": VERSION, "commit": provenance.commit()}
    controls.assign(**made).rename_axis("control").to_csv(path)
    return 0


def _screening(folder: Path) -> int:
    arms = [stages.at_rate(one) for one in stages.SHOWN]
    if not _there([screening_scores.kept(one) for one in arms]):
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for one in arms:
        breasts = _with_shapes(pd.read_csv(screening_scores.kept(one)), one["size"])
        tables.append(
            breasts.assign(**{key: one[key] for key in ("stages", "unfreezing", "imbalance", "weights")})
        )
    made = {"phantom": VERSION, "commit": provenance.commit()}
    pd.concat(tables).assign(**made).to_csv(folder / "screening_breasts.csv", index=False)
    return 0


def _histology(folder: Path) -> int:
    one = histology_studies.at_rate(histology_studies.SUBTYPES)
    if not _there([histology_scores.kept(one)]):
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    shares = histology_scores.confusion(pd.read_csv(histology_scores.kept(one)))
    long = shares.rename_axis("kind").reset_index().melt("kind", var_name="called", value_name="share")
    made = long.assign(source=one["source"], tissue=one["tissue"], commit=provenance.commit())
    made.to_csv(folder / "histology_subtypes.csv", index=False, float_format="%.5g")
    return 0


def _there(files: list[Path]) -> bool:
    absent = [file for file in files if not file.is_file()]
    if absent:
        print(
            f"{len(absent)} arms have left nothing in {profile.cache_dir()}: run seed 0 of the study first, "
            "with the same MAMMO_CACHE",
            file=sys.stderr,
        )
    return not absent


def _with_shapes(breasts: pd.DataFrame, size: int) -> pd.DataFrame:
    """The table with ``shape``, that of the cancer in a breast, empty where there is none."""
    shapes = []
    for cohort, own in breasts[breasts["label"] == 1].groupby("cohort"):
        patients = pd.factorize(screened.women(cohort, size=size).table["group"])[1]
        found = [lesions.cancer_shape(int(patients[woman].removeprefix("P"))) for woman in own["woman"]]
        shapes.append(pd.Series(found, own.index))
    return breasts.assign(shape=pd.concat(shapes))


def predictions(arms: dict[str, dict]) -> tuple:
    """The cache of test images and, for each arm, its ``Masks`` of the first ``WOMEN`` women.

    Raises ``FileNotFoundError`` if an arm's weights are not in the cache folder.
    """
    missing = [name for name, settings in arms.items() if not density.kept(settings).is_file()]
    if missing:
        raise FileNotFoundError(
            f"no trained weights of {', '.join(missing)} in {profile.cache_dir()}: run seed 0 of the study "
            "first, with the same MAMMO_CACHE"
        )
    size = next(iter(arms.values()))["size"]
    images, found = phantoms.women("test", size=size), {}
    batches = Batches(
        images, phantoms.draw(images, 0, WOMEN), target="dense", batch_size=64, device=profile.device()
    )
    for name, settings in arms.items():
        model = build(settings["model"], size=size).to(profile.device())
        model.load_state_dict(load_file(density.kept(settings)))
        found[name] = tasks.predict(model, batches, precision="auto")
    return images, found


def listed(images, found: dict):
    """A row for each arm and image: percent densities in points (truth, readers, predicted) and Dice."""
    tables = []
    for name, masks in found.items():
        of, breast = images.table.iloc[masks.row], masks.breast_target
        readers = {r: images.masks[r][masks.row] for r in ("reader_A", "reader_B")}
        tables.append(
            pd.DataFrame(
                {
                    "arm": name,
                    "image_id": of["image_id"].to_numpy(str),
                    "density": of["density"].to_numpy(str),
                    "truth": evaluation.percent_density(masks.target, breast),
                    **{r: evaluation.percent_density(mask, breast) for r, mask in readers.items()},
                    "predicted": density.amounts(masks),
                    "dice": evaluation.dice(masks.dense >= 0.5, masks.target),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def worst(table) -> list[str]:
    """Image identifiers: for each arm its greatest over- and under-estimate of density and its least Dice."""
    chosen = []
    for _, part in table.groupby("arm", sort=False):
        error = part["predicted"] - part["truth"]
        chosen += [
            part.loc[row, "image_id"] for row in (error.idxmax(), error.idxmin(), part["dice"].idxmin())
        ]
    return list(dict.fromkeys(chosen))


def keep(path: Path, table, found: dict) -> None:
    """Write the masks of the `worst` images: ``dense`` and ``breast`` (arm, image, H, W), bits packed."""
    chosen = worst(table)
    (first, *_) = found.values()
    names = table.loc[table["arm"] == table["arm"].iloc[0], "image_id"].tolist()
    places = [names.index(name) for name in chosen]
    masks = {
        part: np.stack([getattr(masks, part)[places] >= 0.5 for masks in found.values()])
        for part in ("dense", "breast")
    }
    np.savez_compressed(
        path,
        image_id=np.array(chosen),
        arm=np.array(list(found)),
        shape=np.array(first.dense.shape[1:]),
        **{part: np.packbits(mask, axis=-1) for part, mask in masks.items()},
    )
