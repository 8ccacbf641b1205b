"""``python -m mammo_utils recipe``: the published density recipe end to end, on phantoms or real folders."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from mammo_utils import profile
from mammo_utils.study.train_command import WEIGHTS, guarded, of_profile

# By profile: phantom images without and with labels where no data is given, images through the encoder.
SIZES = {"smoke": (192, 64, 384), "cpu": (800, 200, 6_400), "gpu": (20_000, 596, 200_000)}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``recipe`` to its parser."""
    from mammo_utils.data.catalogs import MAMMOGRAMS
    from mammo_utils.models.segmentation import MODELS
    from mammo_utils.study.recipe import INGREDIENTS

    knob = profile.current()
    data = parser.add_argument_group("data (default: phantom women, made here)")
    name = {"choices": MAMMOGRAMS, "metavar": "NAME"}
    data.add_argument("--data", **name, help="images without labels, one of: %(choices)s")
    data.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    data.add_argument(
        "--labelled", **name, help="images with masks of dense tissue (default: density, for --data vindr)"
    )
    data.add_argument("--labelled-root", type=Path, metavar="DIR", help="its folder")
    data.add_argument(
        "--unlabelled",
        type=int,
        metavar="N",
        help="at most so many images to learn from without labels, and as many of those that are left out "
        "(default: all)",
    )
    data.add_argument("--labels", type=int, metavar="N", help="at most so many with labels (default: all)")
    data.add_argument(
        "--keep-test",
        action="store_true",
        help="learn without labels from the test women of the data set's own split too",
    )
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
    start = "imagenet" if knob.name == "gpu" else "none"
    learning.add_argument("--weights", default=start, metavar="WEIGHTS", help=WEIGHTS)
    learning.add_argument(
        "--pretrain-images",
        type=int,
        default=SIZES[knob.name][2],
        metavar="N",
        help="through the encoder without labels (%(default)s)",
    )
    learning.add_argument("--epochs", type=int, default=2 * knob.epochs, help="with labels (%(default)s)")
    learning.add_argument(
        "--lr", type=float, help="highest rate with labels (default: that of the course's studies)"
    )
    learning.add_argument(
        "--leave-out",
        action="append",
        default=[],
        choices=INGREDIENTS,
        metavar="NAME",
        help="do without an ingredient, to compare: %(choices)s; repeat it",
    )
    learning.add_argument("--precision", default="auto", help="auto, 32-true, bf16-mixed (%(default)s)")
    learning.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of split, weights and order, and of the women where a data set is limited (%(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")


def main(options: argparse.Namespace) -> int:
    """Train, predict and score, and write everything into a folder; 1 where something is wrong.

    A run that was stopped goes on with the same command.
    """
    return guarded(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    from mammo_utils.study import recipe as recipes
    from mammo_utils.training.devices import processes

    if processes() > 1:
        raise ValueError(
            "recipe is one process: let pretrain run in several, and give recipe its file with --weights and "
            "--leave-out multi-view"
        )
    given = recipes.Recipe(
        model=options.model,
        weights=options.weights,
        leave_out=tuple(name for name in recipes.INGREDIENTS if name in options.leave_out),
        size=options.size,
        pretrain_images=options.pretrain_images,
        epochs=options.epochs,
        lr=rate(options.weights, options.leave_out) if options.lr is None else options.lr,
        batch_size=profile.current().batch_size,
        precision=options.precision,
        seed=options.seed,
    )
    names, roots = (options.data, options.labelled), (options.root, options.labelled_root)
    if options.data is None:
        names, roots = ("phantom", "phantom"), _phantoms(options)
    tables = _tables(names, roots, options)
    judged = recipes.recipe(*tables, given, options.out, cache=options.cache, workers=options.workers)
    print("scores with 95 % intervals by woman; densities in points of per cent")
    print(judged.round(3).to_string(index=False))
    print(f"everything is in {options.out}; begin with {options.out / 'report.md'}")
    return 0


def rate(weights: str, leave_out) -> float:
    """The highest rate with labels: that of the study of strategies for this start, else of the losses.

    >>> rate("imagenet", ()), rate("imagenet", ["multi-view", "full"]), rate("none", ())
    (0.001, 0.01, 0.01)
    """
    from mammo_utils.study import losses, strategies

    source = "imagenet" if "multi-view" in leave_out else "imagenet+multiview"
    strategy = "lora" if "full" in leave_out else "full"
    return strategies.RATES[source, strategy] if weights == "imagenet" else losses.RATES["hybrid_density"]


def _phantoms(options: argparse.Namespace) -> list[Path]:
    """Folders of phantom women of the cohorts pool and train, written at the first call.

    Raises ``ValueError`` for options that need a data set, and for fewer than two women.
    """
    from mammo_utils.data.lock import locked
    from mammo_utils.synth import breast, exams

    for option in ("root", "labelled", "labelled_root", "keep_test"):
        if getattr(options, option):
            raise ValueError(f"--{option.replace('_', '-')} is of no use without --data: name a data set")
    cohorts = {"pool": ("--unlabelled", options.unlabelled), "train": ("--labels", options.labels)}
    women = {}
    for (cohort, (option, amount)), usual in zip(
        cohorts.items(), SIZES[profile.current().name], strict=False
    ):
        women[cohort] = exams.cohort(cohort)[: (usual if amount is None else max(amount, 0)) // 4]
        if len(women[cohort]) < 2:
            raise ValueError(f"{option} {amount}: a phantom woman has four images; give 8 or more")
    home, folders = profile.cache_dir() / f"phantom_{breast.VERSION}", []
    for cohort, drawn in women.items():
        folder = home / f"recipe_{cohort}_{len(drawn)}_{options.size}"
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            if not (folder / "phantom.csv").is_file():  # written last
                print(f"drawing {len(drawn)} phantom women of the cohort {cohort}", flush=True)
                files = {"layout": "phantom", "size": 2 * options.size, "workers": options.workers}
                exams.write(folder, drawn, **files)
        folders.append(folder)
    return folders


def _tables(names, roots, options: argparse.Namespace) -> tuple:
    """The tables of the images that are learnt from without labels, of those left out, and of those with
    labels; ``names`` and ``roots`` are of the unlabelled and of the labelled data set."""
    from mammo_utils.data import catalogs, splits
    from mammo_utils.study import recipe as recipes
    from mammo_utils.study import unlabelled

    name = names[1] or ("density" if names[0] == "vindr" else None)
    if name is None:
        raise ValueError(f"--labelled: name a data set with masks of dense tissue to learn beside {names[0]}")
    labelled = catalogs.load(name, roots[1] or profile.data_root(name))
    drawn = [f"{mask}_mask" for mask in recipes.masks_of(labelled) if f"{mask}_mask" in labelled]
    table = unlabelled.table_of(names[0], roots[0])
    pool = unlabelled.pool(table, [labelled.drop(columns=catalogs.MASKS)], keep_test=options.keep_test)
    others = splits.pool(table, labelled)
    unseen = others[~others["image_id"].isin(pool["image_id"])]
    labelled = labelled[labelled[drawn].notna().all(axis=1)]
    limits = {"--unlabelled": options.unlabelled, "--labels": options.labels}
    pool, labelled = (
        unlabelled.at_most(part, limit, option=option, seed=options.seed)
        for part, (option, limit) in zip((pool, labelled), limits.items(), strict=True)
    )
    if len(unseen):
        unseen = unlabelled.at_most(unseen, options.unlabelled, option="--unlabelled", seed=options.seed)
    if "multi-view" not in options.leave_out:
        unlabelled.several(pool)
    for said, part in (("without labels", pool), ("unseen", unseen), ("with labels", labelled)):
        if len(part):
            print(f"{said}: {len(part)} images of {part['group'].nunique()} women")
    return pool, unseen, labelled
