"""``python -m mammo_utils film``: does it help real film to learn on phantom women first?

Five-fold cross-validation on a small folder of labelled film, from scratch and from a segmenter that learnt
on phantom women; that segmenter without any film; and a fitted intensity threshold as the control without a
network.  Every arm is scored on every image; both fine-tuned arms share the folds, the rate and the number
of images that go through the network.  All settings are constants here and were fixed before any film was
scored: the rate on phantoms is the one that `study.losses` found on ``develop`` for batches of 16, and the
one on film is lower by the ratio of the batches, rounded up.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.data.command import label_option, table_of
from mammo_utils.evaluation.intervals import bootstrap, paired
from mammo_utils.evaluation.segmentation import dice, percent_density

SIZE = 128  # that of the phantom studies
FOLDS = 5
WOMEN = 192  # phantom women a seed, four views each; three seeds have different ones
PHANTOM = {"target": "reader_A", "epochs": 11, "lr": 1e-2, "batch_size": 16}
FILM = {"target": "dense", "epochs": 100, "lr": 3e-3, "batch_size": 4}
ARMS = ("threshold", "scratch", "phantom_only", "phantom_first")
PAIRS = (("scratch", "phantom_first"), ("scratch", "phantom_only"), ("phantom_only", "phantom_first"))
LEVELS = np.linspace(0.1, 1.0, 91)  # candidates for the intensity threshold


class Row(NamedTuple):
    """One image of an arm and seed, as `study.results.append` takes it."""

    settings: dict
    seed: int
    metrics: dict
    measured: dict


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``film`` to its parser."""
    parser.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="folder of the catalogue folder"
    )
    label_option(parser)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repeats (%(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="trainings (default: film in MAMMO_CACHE)")
    parser.add_argument(
        "--out", type=Path, default=Path("data/results/film.csv"), metavar="FILE", help="table (%(default)s)"
    )


def main(options: argparse.Namespace) -> int:
    """Run what is missing, write one row an image, arm and seed, and print the comparison."""
    from mammo_utils import profile
    from mammo_utils.data import cache
    from mammo_utils.data.lock import locked
    from mammo_utils.study import results
    from mammo_utils.training.loop import TrainingError

    work = options.work or profile.cache_dir() / "film"
    try:
        table = table_of("folder", options)
        images = cache.build(table, work / "cache", size=SIZE)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with locked(options.out.with_name(f".{options.out.stem}.lock")):
            for seed in range(options.seeds):
                for arm in ARMS:
                    for row in rows(images, arm, seed, work / f"seed_{seed}"):
                        results.append(options.out, row)
                    print(f"seed {seed}, {arm}: done", flush=True)
            results.arrange(options.out)
        print(summary(results.read(options.out)).round(3).to_string())
    except (ValueError, FileNotFoundError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def rows(images, arm: str, seed: int, folder: Path) -> list[Row]:
    """Train one arm in ``folder``, or take what is finished there, and score it on every image.

    ``seconds`` are those of all training behind the prediction of an image.
    """
    from mammo_utils import profile
    from mammo_utils.study import left_out, provenance, results, segmenter

    settings = segmenter.Settings(seed=seed, **FILM)
    if arm == "threshold":
        scored = by_threshold(images, settings)
    elif arm == "phantom_only":
        model, seconds = on_phantoms(seed, folder / "phantom")
        found = segmenter.predict(images, model, segmenter.usable(images, settings), settings)
        scored = left_out.by_image(found).assign(fold=np.nan, seconds=seconds)
    else:
        before = 0.0
        if arm == "phantom_first":
            _, before = on_phantoms(seed, folder / "phantom")
            start = str(folder / "phantom" / segmenter.WEIGHTS)
            settings = segmenter.Settings(seed=seed, **FILM, start=start)
        left = left_out.predictions(images, settings, folder / arm, folds=FOLDS, say=print)
        scored = left_out.by_image(left.found).assign(fold=left.fold, seconds=before + left.seconds)
    measured = {
        "memory_mib": provenance.memory_mib(),
        "cuda_mib": provenance.cuda_mib(),
        "profile": profile.current().name,
        "phantom": results.phantom_version(),
        "commit": provenance.commit(),
        "machine": provenance.machine(settings.precision),
        "date": provenance.today(),
    }
    metrics = ["fold", "dice", "dice_breast", "density", "density_label"]
    return [
        Row(
            {"arm": arm, "image": int(row["row"]) + 1},  # a number, never the name of a file
            seed,
            {name: float(row[name]) for name in metrics},
            {"seconds": float(row["seconds"]), **measured},
        )
        for row in scored.sort_values("row").to_dict("records")
    ]


def on_phantoms(seed: int, folder: Path) -> tuple:
    """The segmenter that learnt on phantom women alone, and the seconds that it took."""
    from mammo_utils.study import phantoms, segmenter

    women = phantoms.women("train", size=SIZE)
    settings = segmenter.Settings(seed=seed, **PHANTOM)
    chosen = phantoms.draw(women, WOMEN * seed, WOMEN)
    model = segmenter.learn(women, settings, folder, rows=chosen)
    return model, pd.read_csv(folder / segmenter.HISTORY)["seconds"].sum()


def by_threshold(images, settings) -> pd.DataFrame:
    """Scores of one intensity threshold inside the breast, fitted on the images of the other folds."""
    from mammo_utils.study import left_out, phantoms, segmenter

    chosen, scored = segmenter.usable(images, settings), []
    for number, part in enumerate(left_out.parts(images.table, chosen, folds=FOLDS, seed=settings.seed)):
        target, breast = images.masks["dense"], images.masks["breast"]
        found = phantoms.above(images, part.test, phantoms.fitted_level(images, part.train, "dense", LEVELS))
        scored.append(
            pd.DataFrame(
                {
                    "row": part.test,
                    "dice": dice(found, target[part.test]),
                    "dice_breast": np.nan,  # it is given
                    "density": percent_density(found, breast[part.test]),
                    "density_label": percent_density(target[part.test], breast[part.test]),
                    "fold": number,
                    "seconds": 0.0,
                }
            )
        )
    return pd.concat(scored)


def per_image(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds that every arm has: rows ``image``, columns (metric, arm) of ``dice``, ``mae`` and
    ``bias``.

    Raises ``ValueError`` if no seed has all arms.
    """
    whole = table.groupby("seed")["arm"].transform(lambda arms: set(arms) >= set(ARMS))
    if not whole.any():
        raise ValueError(f"no seed has all arms yet: {', '.join(ARMS)}")
    error = table["density"] - table["density_label"]
    found = table.assign(mae=error.abs(), bias=error)[whole]
    return found.pivot_table(index="image", columns="arm", values=["dice", "mae", "bias"], aggfunc="mean")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the images with 95 % intervals that resample images, densities in points of per cent.

    ``table``: that of the study.  Rows (arm or pair of arms, metric), the pairs being paired differences;
    columns ``estimate``, ``low``, ``high``.  An image, here a woman, counts with its mean over the seeds.
    """
    values, found = per_image(table), {}
    for metric in ("dice", "mae", "bias"):
        for arm in ARMS:
            own = values[metric, arm]
            found[arm, metric] = bootstrap(np.mean, own, groups=own.index)
        for before, after in PAIRS:
            both = values[metric, before], values[metric, after]
            found[f"{after} - {before}", metric] = paired(np.mean, *both, groups=values.index)
    names = [*ARMS, *(f"{after} - {before}" for before, after in PAIRS)]
    table = pd.DataFrame(found, index=["estimate", "low", "high"]).T.rename_axis(["arm", "metric"])
    return table.reindex(names, level="arm")
