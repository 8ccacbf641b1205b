"""``python -m mammo_utils train histology``: the published histology system, transfer level by level."""

from __future__ import annotations

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path

from mammo_utils import profile

# What a processor does in minutes; the defaults of the recipe are what was published.
SMALL = {"model": "se_densenet_small", "weights": "none", "lr": 3e-3, "optimizer": "adamw"}
SMALL |= {"weight_decay": 0.01, "first_epochs": 8, "epochs": 12}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train histology`` to its parser."""
    from mammo_utils.models.classification import MODELS
    from mammo_utils.models.se_densenet import STARTS
    from mammo_utils.study.histology import TASKS
    from mammo_utils.study.histology_recipe import NORMALISE, Recipe
    from mammo_utils.training.loop import OPTIMIZERS

    large = profile.current().name == "gpu"
    own = {field.name: field.default for field in fields(Recipe)} | ({} if large else SMALL)
    names = ("breakhis", "folder")
    data = parser.add_argument_group("data")
    data.add_argument("--catalog", required=True, choices=names, metavar="NAME", help="one of: %(choices)s")
    data.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    data.add_argument(
        "--classes",
        nargs="+",
        type=_class,
        metavar="FOLDER=0|1",
        help="classes of a folder and of --external, such as benign=0 malignant=1",
    )
    data.add_argument(
        "--first",
        nargs=2,
        metavar=("NAME", "DIR"),
        help="learnt from before: lc25000 and its folder (default: nothing)",
    )
    data.add_argument(
        "--external", type=Path, metavar="DIR", help="folder a class, scored with the finished network"
    )
    text = "(%(default)s) one of: %(choices)s"
    data.add_argument("--size", type=int, default=224 if large else 96, help="edge in pixels (%(default)s)")
    data.add_argument("--cache", type=Path, metavar="DIR", help="tiles as read (default: OUT/cache_SIZE)")
    data.add_argument("--workers", type=int, default=1, help="processes that read them (%(default)s)")
    learning = parser.add_argument_group("training")
    for name, choices in (
        ("model", [name for name in MODELS if "densenet" in name]),
        ("gates", STARTS),
        ("task", TASKS),
        ("normalise", NORMALISE),
        ("optimizer", OPTIMIZERS),
    ):
        learning.add_argument(f"--{name}", default=own[name], choices=choices, metavar="NAME", help=text)
    learning.add_argument(
        "--weights", default=own["weights"], help="of the encoder: none, imagenet or a file (%(default)s)"
    )
    for name, kind, said in (
        ("stains", float, "strength by which stains are varied, 0 to below 1"),
        ("first_epochs", int, "on the first data set"),
        ("epochs", int, "on the data"),
        ("lr", float, "highest learning rate"),
        ("weight_decay", float, "of the optimizer"),
        ("batch_size", int, "tiles of a step"),
        ("precision", str, "auto, 32-true, bf16-mixed, 16-mixed"),
        ("seed", int, "of split, weights and order"),
    ):
        learning.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=own[name], help=f"{said} (%(default)s)"
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")


def _class(text: str) -> tuple[str, int]:
    """
    >>> _class("malignant=1")
    ('malignant', 1)
    """
    name, _, value = text.rpartition("=")
    if not name or value not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"{text!r}: write a folder and 0 or 1, as in malignant=1")
    return name, int(value)


def main(options: argparse.Namespace) -> int:
    """Train, score the cases left out and those of the external folder; 1 where something is wrong.

    A run that was stopped goes on with the same command.
    """
    from mammo_utils.study.train_command import guarded

    return guarded(partial(_train, options))


def _train(options: argparse.Namespace) -> int:
    from mammo_utils.data import catalogs
    from mammo_utils.show.figures import histology as figures
    from mammo_utils.study import histology_recipe as recipes
    from mammo_utils.study import histology_scores

    recipe = recipes.Recipe(**{field.name: getattr(options, field.name) for field in fields(recipes.Recipe)})
    kinds = {"classes": dict(options.classes)} if options.classes else {}
    if (options.catalog == "folder" or options.external) and not kinds:
        raise ValueError("say which folders are classes, such as --classes benign=0 malignant=1")
    root = options.root or profile.data_root(options.catalog)
    table = catalogs.load(options.catalog, root, **(kinds if options.catalog == "folder" else {}))
    home = options.cache or options.out / f"cache_{options.size}"
    tiles = _read(recipes.labelled(table, recipe.task), home, options)
    first = None
    if options.first:
        name, place = options.first
        profile.choose("first data set", name, ("lc25000",))
        first = _read(catalogs.load(name, Path(place)), home.with_name(f"{home.name}_first"), options)
    outside = None
    if options.external:
        table = recipes.labelled(catalogs.load("folder", options.external, **kinds), "binary")
        if table["cancer"].nunique() < 2:
            raise ValueError(
                f"{options.external} has tiles of one class alone, so that nothing can be scored"
            )
        outside = _read(table, home.with_name(f"{home.name}_external"), options)
    data, say = {"catalog": options.catalog}, partial(print, flush=True)
    model, rows, ready = recipes.train(tiles, recipe, options.out, first=first, data=data, say=say)
    found = {options.catalog: recipes.predictions(model, ready(tiles), recipe, rows["test"])}
    if outside is not None:
        found["external"] = recipes.predictions(model, ready(outside), recipe)
    for number, (title, tests) in enumerate(found.items()):
        end = "_external" * bool(number)
        catalogs.write(tests, options.out / f"predictions{end}.csv")
        scores = recipes.scores(tests)
        catalogs.write(scores.round(4).reset_index(), options.out / f"scores{end}.csv")
        cases = tests["patient"].nunique()
        print(f"\n{title}: {len(tests)} tiles of {cases} cases left out, 95 % intervals by case")
        print(scores.round(3).to_string())
    powers = recipes.by_magnification(found[options.catalog])
    if len(powers):  # a folder of classes does not tell them
        catalogs.write(powers.round(4).reset_index(), options.out / "scores_magnifications.csv")
        figures.magnifications(found[options.catalog]).savefig(options.out / "magnifications.png")
    if recipe.task == "subtypes":
        figures.confusion(histology_scores.confusion(found[options.catalog])).savefig(
            options.out / "confusion.png"
        )
    print(f"\ncalled malignant at a probability of 0.5; everything is in {options.out}")
    return 0


def _read(table, folder: Path, options: argparse.Namespace):
    """The tiles of a table; says how many could not be read."""
    from mammo_utils.data import tiles

    made = tiles.build(table, folder, size=options.size, workers=options.workers)
    lost = f", {len(table) - len(made.table)} could not be read" * (len(table) > len(made.table))
    print(f"{made.table['dataset'].iloc[0]}: {len(made.table)} tiles{lost}")
    return made
