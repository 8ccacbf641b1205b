"""``python -m mammo_utils pretrain METHOD``: train an encoder on images without labels, or on fractals."""

from __future__ import annotations

import argparse
import os
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

from mammo_utils import profile
from mammo_utils.study.train_command import WEIGHTS, guarded, of_profile, prepared

METHODS = {
    "fractal": "name the formula that drew an image; needs no data",
    "simclr": "find the other version of an image among those of all others",
    "barlow_twins": "agree on two versions of an image, each dimension on something else",
    "masked": "paint what was hidden",
    "multiview": "find the other views of a woman among those of all others",
}
OPTIONS = {
    "lr": ("--lr", "highest learning rate"),
    "batch_size": ("--batch-size", "images through the encoder in a step, of all processes together"),
    "weight_decay": ("--weight-decay", "of AdamW"),
    "augment": ("--augment", "how strongly images are changed: %(choices)s"),
    "hidden": ("--projector-hidden", "width of the projector's inner layer"),
    "out": ("--projector-out", "dimensions that the loss compares"),
    "temperature": ("--temperature", "by which similarities are divided"),
    "off_diagonal": ("--off-diagonal", "weight of redundancy between dimensions"),
    "positives": ("--positives", "whose views are alike, those of a %(choices)s"),
    "patch": ("--patch", "edge of a hidden square in pixels"),
    "ratio": ("--ratio", "share of an image that is hidden"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the methods and the options of each to the parser of ``pretrain``."""
    from mammo_utils.data.catalogs import MAMMOGRAMS
    from mammo_utils.models.segmentation import MODELS
    from mammo_utils.training.pretraining import RECIPES

    methods = parser.add_subparsers(dest="method", required=True, metavar="METHOD")
    for method, recipe in RECIPES.items():
        command = methods.add_parser(method, help=METHODS[method], description=METHODS[method])
        images = command.add_argument_group("images")
        if method == "fractal":
            images.add_argument("--classes", type=int, default=1000, help="formulae (%(default)s)")
            images.add_argument("--instances", type=int, default=1, help="images of each (%(default)s)")
        else:
            _data(images, MAMMOGRAMS)
        images.add_argument(
            "--size", type=int, default=profile.current().size, help="height in pixels (%(default)s)"
        )
        learning = command.add_argument_group("training")
        learning.add_argument(
            "--model", default=of_profile(), choices=MODELS, metavar="NAME", help="%(choices)s"
        )
        learning.add_argument("--weights", default="none", metavar="WEIGHTS", help=f"at the start, {WEIGHTS}")
        learning.add_argument(
            "--images",
            type=int,
            default=200_000,
            metavar="N",
            help="through the encoder in all (%(default)s)",
        )
        _settings(learning, method, recipe)
        learning.add_argument(
            "--precision", default="auto", help="auto, 32-true, bf16-mixed, 16-mixed (%(default)s)"
        )
        learning.add_argument(
            "--seed", type=int, default=0, help="of weights, order and changes (%(default)s)"
        )
        command.add_argument(
            "--out", type=Path, required=True, metavar="FILE", help="weights of the encoder, .safetensors"
        )


def _data(images, names) -> None:
    images.add_argument("--data", required=True, choices=names, metavar="NAME", help="one of: %(choices)s")
    images.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    images.add_argument(
        "--labelled",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help="a data set for later fine-tuning: none of its women is learnt from; repeat it",
    )
    images.add_argument(
        "--labelled-root", action="append", default=[], type=Path, metavar="DIR", help="its folder; repeat it"
    )
    images.add_argument(
        "--transductive", action="store_true", help="learn from the women of --labelled all the same"
    )
    images.add_argument(
        "--keep-test",
        action="store_true",
        help="learn from the validation and test women of the data set's own split too",
    )
    images.add_argument(
        "--cache", type=Path, metavar="DIR", help="prepared images (default: cache beside FILE)"
    )
    images.add_argument("--workers", type=int, default=1, help="processes that prepare them (%(default)s)")


def _settings(learning, method: str, recipe) -> None:
    from mammo_utils.data.strengths import STRENGTHS
    from mammo_utils.training.pretraining import POSITIVES, fields_of

    choices = {"augment": list(STRENGTHS), "positives": POSITIVES}
    for field in fields_of(method):
        (option, meaning), default = OPTIONS[field], getattr(recipe, field)
        learning.add_argument(
            option,
            dest=f"recipe_{field}",
            type=type(default),
            default=default,
            choices=choices.get(field),
            metavar=field.upper(),
            help=f"{meaning} (%(default)s)",
        )


def main(options: argparse.Namespace) -> int:
    """Train, and write weights and history; 1 where something is wrong.

    A run that was stopped goes on with the same command.  Of several processes the first writes and speaks.
    """
    return guarded(partial(_pretrain, options))


@contextmanager
def _heard():
    """Silence in all processes but the first."""
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@_heard()
def _pretrain(options: argparse.Namespace) -> int:
    import torch

    from mammo_utils.models.segmentation import build
    from mammo_utils.study import encoder_file, unlabelled
    from mammo_utils.synth import fractals
    from mammo_utils.training.devices import launch
    from mammo_utils.training.pretraining import RECIPES, fields_of

    method, size = options.method, options.size
    table, pool = (None, None) if method == "fractal" else _pool(options)
    recipe = {field: getattr(options, f"recipe_{field}") for field in fields_of(method)}
    settings = {"method": method, "model": options.model, "start": encoder_file.start_of(options.weights)}
    settings |= {"budget": options.images, "size": size, "precision": options.precision}
    settings |= {"seed": options.seed, **recipe}
    if pool is None:
        settings |= {"classes": options.classes, "instances": options.instances}
    else:
        settings |= {"data": options.data, "labelled": options.labelled, "transductive": options.transductive}
        settings |= {"keep_test": options.keep_test, "images": len(pool), "women": pool["group"].nunique()}
        # Another folder may hold as many.
        settings |= {"digest": unlabelled.digest(pool)}
    if encoder_file.finished(options.out, settings):
        print(f"{options.out} is there already")
        return 0
    torch.manual_seed(options.seed)
    shape = (size, size) if pool is None else size
    model = build(options.model, weights=options.weights, size=shape)
    if pool is not None:
        # The whole data set, so that its files serve every method and pool.  Of several processes one
        # prepares it while the others wait, before they are connected: a connection waits half an hour.
        folder = options.cache or options.out.parent / "cache"
        images = prepared(table, folder, size=size, workers=options.workers)
        rows = images.table["image_id"].isin(pool["image_id"])
    fabric = launch(options.precision)
    if pool is None:
        given = {"size": size, "seed": options.seed, "device": fabric.device}
        images, rows = fractals.arrays(options.classes, options.instances, **given), None
    encoder_file.learn(
        options.out, settings, model, images, rows, recipe=replace(RECIPES[method], **recipe), fabric=fabric
    )
    return 0


def _pool(options: argparse.Namespace) -> tuple:
    """The table of the data set, and of the images that are learnt from."""
    from mammo_utils.study import unlabelled

    names, roots = options.labelled, options.labelled_root
    if roots and len(roots) != len(names):
        raise ValueError(
            f"{len(names)} --labelled and {len(roots)} --labelled-root: give one folder for each"
        )
    if options.transductive and not names:
        raise ValueError("--transductive keeps the women of --labelled: name that data set")
    table = unlabelled.table_of(options.data, options.root)
    known = [unlabelled.table_of(*pair) for pair in zip(names, roots or [None] * len(names), strict=True)]
    pool = unlabelled.pool(table, known, keep_test=options.keep_test, transductive=options.transductive)
    print(f"pool: {len(pool)} images of {pool['group'].nunique()} women of {options.data}")
    if options.method == "multiview":
        unlabelled.several(pool)
    return table, pool
