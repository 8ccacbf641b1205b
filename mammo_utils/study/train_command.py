"""``python -m mammo_utils train``: train and score a segmenter, or one of the published systems of screening
and histology, on a data set or folders of your own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from mammo_utils import profile
from mammo_utils.data.command import label_option, table_of

WEIGHTS = (
    "of the encoder: none, imagenet, fractal, simclr, barlow_twins, masked, multiview or a file, such as one "
    "of pretrain (%(default)s)"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be learnt, each with its options, to the parser of ``train``."""
    from mammo_utils.study import histology_command, screening_command

    learnt = parser.add_subparsers(dest="learnt", required=True, metavar="TASK")
    for name, add, said in (
        ("segmentation", _segmentation, "dense tissue and breast"),
        ("screening", screening_command.arguments, "who has cancer, with a warm-up and external validation"),
        ("histology", histology_command.arguments, "benign or malignant tiles, after tiles of other organs"),
    ):
        add(learnt.add_parser(name, help=said, description=said))


def _segmentation(parser: argparse.ArgumentParser) -> None:
    from mammo_utils.data.catalogs import MAMMOGRAMS
    from mammo_utils.data.strengths import STRENGTHS
    from mammo_utils.models.segmentation import MODELS
    from mammo_utils.training.losses import LOSSES
    from mammo_utils.training.strategies import STRATEGIES

    knob = profile.current()
    data = parser.add_argument_group("data")
    data.add_argument(
        "--catalog", required=True, choices=MAMMOGRAMS, metavar="NAME", help="one of: %(choices)s"
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    label_option(data)
    data.add_argument("--target", default="dense", metavar="MASK", help="dense tissue to learn (%(default)s)")
    data.add_argument("--breast", metavar="MASK", help="(default: breast, or foreground where there is none)")
    data.add_argument("--size", type=int, default=knob.size, help="height in pixels (%(default)s)")
    data.add_argument("--cache", type=Path, metavar="DIR", help="prepared images (default: OUT/cache)")
    data.add_argument("--workers", type=int, default=1, help="processes that prepare them (%(default)s)")
    learning = parser.add_argument_group("training")
    learning.add_argument(
        "--model",
        default=of_profile(),
        choices=MODELS,
        metavar="NAME",
        help="(%(default)s) one of: %(choices)s",
    )
    learning.add_argument("--weights", default="none", metavar="WEIGHTS", help=WEIGHTS)
    learning.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="FILE",
        help="go on from the weights.safetensors of another run",
    )
    learning.add_argument(
        "--loss", default="bce_dice", choices=LOSSES, metavar="NAME", help="one of: %(choices)s"
    )
    learning.add_argument("--lam", type=float, help="weight of the density term of hybrid_density")
    learning.add_argument("--epochs", type=int, default=knob.epochs, help="(%(default)s)")
    learning.add_argument("--lr", type=float, default=3e-3, help="highest learning rate (%(default)s)")
    learning.add_argument("--batch-size", type=int, default=knob.batch_size, help="(%(default)s)")
    learning.add_argument(
        "--strategy", default="full", choices=STRATEGIES, metavar="NAME", help="%(choices)s"
    )
    learning.add_argument(
        "--augment", default="standard", choices=STRENGTHS, metavar="NAME", help="%(choices)s"
    )
    learning.add_argument(
        "--precision", default="auto", help="auto, 32-true, bf16-mixed, 16-mixed (%(default)s)"
    )
    learning.add_argument("--seed", type=int, default=0, help="of split, weights and order (%(default)s)")
    learning.add_argument(
        "--folds", type=int, default=0, metavar="K", help="leave each woman out once instead of one split"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")


def of_profile() -> str:
    """The first model with the encoder of the profile."""
    from mammo_utils.models.segmentation import MODELS

    return next(name for name in MODELS if name.endswith(f"/{profile.current().encoder}"))


def main(options: argparse.Namespace) -> int:
    """Train, predict the women left out, write scores and pictures; 1 where something is wrong.

    A run that was stopped goes on with the same command.
    """
    if options.learnt in ("screening", "histology"):
        return import_module(f"mammo_utils.study.{options.learnt}_command").main(options)
    return guarded(partial(_train, options))


def guarded(work: Callable[[], int]) -> int:
    """What ``work`` returns; 1 where something is wrong, which is said, and 130 where it was stopped."""
    try:
        return work()
    except (ValueError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _train(options: argparse.Namespace) -> int:
    from mammo_utils.data import catalogs
    from mammo_utils.show.figures import film
    from mammo_utils.study import left_out
    from mammo_utils.study.segmenter import Settings

    if options.lam is not None and options.loss != "hybrid_density":
        raise ValueError(f"--lam is the weight of a term of hybrid_density; --loss {options.loss} has none")
    table = table_of(options.catalog, options)
    folder = options.cache or options.out / "cache"
    images = prepared(table, folder, size=options.size, workers=options.workers)
    settings = Settings(
        model=options.model,
        weights=options.weights,
        start=options.start and str(options.start.resolve()),
        target=options.target,
        breast=options.breast or ("breast" if "breast" in images.masks else "foreground"),
        loss=options.loss,
        lam=options.lam,
        epochs=options.epochs,
        lr=options.lr,
        batch_size=options.batch_size,
        strategy=options.strategy,
        precision=options.precision,
        augment=options.augment,
        seed=options.seed,
    )
    if settings.breast == "foreground":
        print("no masks of the breast: density is a share of the breast with muscle, as found in the image")
    data = {"catalog": options.catalog, "labels": dict(options.label)}
    left = left_out.predictions(images, settings, options.out, folds=options.folds, data=data, say=print)
    table, rows = left_out.scores(left.found), left_out.by_image(left.found)
    catalogs.write(rows.assign(fold=left.fold), options.out / "predictions.csv")
    figure = film.predictions(images.images[left.found.row], left.found)
    figure.savefig(options.out / "predictions.png")
    catalogs.write(table.round(4).reset_index(), options.out / "scores.csv")
    women = len(set(left.found.patient))
    print(f"{len(rows)} images of {women} women that were left out, 95 % intervals by woman")
    print(table.round(3).to_string())
    print(f"densities in points of per cent; everything is in {options.out}")
    return 0


def prepared(table, folder: Path, *, size: int, workers: int):
    """The cache of the images of ``table`` in ``folder``; says how many files could not be read.

    Raises ``ValueError`` where none could.
    """
    from mammo_utils.data import cache

    images = cache.build(table, folder, size=size, workers=workers)
    if len(images.failures):
        print(f"{len(images.failures)} files left out, see {folder / 'failures.csv'}", file=sys.stderr)
    if not len(images):
        first = images.failures.iloc[0]
        raise ValueError(
            f"no image could be read, the first: {first['path']}: {first['reason']}; {first['remedy']}"
        )
    return images
