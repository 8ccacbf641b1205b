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
    from mammo_utils.models.se_densenet import POSITIONS, STARTS
    from mammo_utils.study.histology import TASKS
    from mammo_utils.study.histology_data import NORMALISE
    from mammo_utils.training.loop import OPTIMIZERS

    large, own = profile.current().name == "gpu", _defaults()
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
        nargs="+",
        metavar=("NAME", "DIR"),
        help="learnt from before: lc25000 and its folder, or a folder with one a class (default: nothing)",
    )
    data.add_argument(
        "--external", type=Path, metavar="DIR", help="folder a class, scored with the finished network"
    )
    text = "(%(default)s) one of: %(choices)s"
    data.add_argument(
        "--folds", type=int, default=0, metavar="K", help="leave each case out once instead of one split"
    )
    data.add_argument("--size", type=int, default=224 if large else 96, help="edge in pixels (%(default)s)")
    data.add_argument("--cache", type=Path, metavar="DIR", help="tiles as read (default: OUT/cache_SIZE)")
    data.add_argument("--workers", type=int, default=1, help="processes that read them (%(default)s)")
    learning = parser.add_argument_group("training")
    for name, choices in (
        ("model", [name for name in MODELS if "densenet" in name]),
        ("gates", STARTS),
        ("position", POSITIONS),
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


def _defaults() -> dict:
    """The settings of the recipe that are taken where an option does not say otherwise."""
    from mammo_utils.study.histology_recipe import Recipe

    own = {field.name: field.default for field in fields(Recipe)}
    return own if profile.current().name == "gpu" else own | SMALL


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
    import pandas as pd

    from mammo_utils.data import catalogs
    from mammo_utils.show.figures import histology as figures
    from mammo_utils.study import histology_data as ready
    from mammo_utils.study import histology_recipe as recipes
    from mammo_utils.study import histology_scores

    recipe = recipes.Recipe(**{name: getattr(options, name) for name in _defaults()})
    _used(options)
    kinds = {"classes": dict(options.classes)} if options.classes else {}
    root = options.root or profile.data_root(options.catalog)
    table = catalogs.load(options.catalog, root, **(kinds if options.catalog == "folder" else {}))
    home = options.cache or options.out / f"cache_{options.size}"
    meant = ready.labelled(table, recipe.task)
    if left := len(table) - len(meant):
        print(f"{left} tiles are left out: without a label, or of a slide that is there twice")
    tiles = _read(meant, home, options)
    first = _first(options, home.with_name(f"{home.name}_first")) if options.first else None
    outside = None
    if options.external:
        table = ready.labelled(catalogs.load("folder", options.external, **kinds), "binary")
        if table["cancer"].nunique() < 2:
            raise ValueError(
                f"{options.external} has tiles of one class alone, so that nothing can be scored"
            )
        outside = _read(table, home.with_name(f"{home.name}_external"), options)
    parts = []
    for fold in range(options.folds or 1):
        rows = ready.parts(tiles.table, seed=recipe.seed, folds=options.folds, fold=fold)
        folder, data = options.out, {"catalog": options.catalog}
        if options.folds:
            folder, data = options.out / f"fold_{fold + 1}", data | {"fold": f"{fold + 1} of {options.folds}"}
            print(f"fold {fold + 1} of {options.folds}", flush=True)
        model, known, normalise = recipes.train(
            tiles, rows, recipe, folder, first=first, data=data, say=partial(print, flush=True)
        )
        tests = recipes.predictions(model, known, recipe, rows["test"])
        parts.append(tests.assign(fold=fold + 1) if options.folds else tests)
    found = {options.catalog: pd.concat(parts, ignore_index=True)}
    if outside is not None:
        found["external"] = recipes.predictions(model, ready.coloured(outside, normalise), recipe)
    for number, (title, tests) in enumerate(found.items()):
        end = "_external" * bool(number)
        catalogs.write(tests, options.out / f"predictions{end}.csv")
        scores = recipes.scores(tests)
        catalogs.write(scores.round(4).reset_index(), options.out / f"scores{end}.csv")
        cases = tests["patient"].nunique()
        print(f"\n{title}: {len(tests)} tiles of {cases} cases left out, 95 % intervals by case")
        print(scores.round(3).to_string())
    own = found[options.catalog]
    for column in ("magnification", *["fold"] * bool(options.folds)):
        each = recipes.scores_by(own, column)
        if len(each):  # a folder of classes does not tell magnifications
            catalogs.write(each.round(4).reset_index(), options.out / f"scores_{column}s.csv")
            if column == "magnification":
                figures.magnifications(own).savefig(options.out / "magnifications.png")
    if recipe.task == "subtypes":
        figures.confusion(histology_scores.confusion(own)).savefig(options.out / "confusion.png")
    if options.folds:
        print("\nROC-AUC over all compares tiles of different networks; scores_folds.csv has that of each")
    print(f"\ncalled malignant at a probability of 0.5; everything is in {options.out}")
    return 0


def _used(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` for options that contradict each other or would change nothing."""
    wanted = options.catalog == "folder" or options.external
    if wanted and not options.classes:
        raise ValueError("say which folders are classes, such as --classes benign=0 malignant=1")
    if options.classes and not wanted:
        raise ValueError(f"--classes are of a folder or of --external; {options.catalog} has its own")
    if not options.first and options.first_epochs != _defaults()["first_epochs"]:
        raise ValueError("--first-epochs are those on the data set of --first, which is not given")
    if options.folds and options.external:
        raise ValueError(f"--external is scored with one network, not with those of {options.folds} folds")


def _first(options: argparse.Namespace, folder: Path):
    """The tiles that are learnt from first, with their class in ``diagnosis``."""
    from mammo_utils.data import catalogs

    *name, place = options.first
    if len(name) > 1:
        raise ValueError(f"--first takes lc25000 and its folder, or a folder, not {len(name) + 1} words")
    if name:
        profile.choose("first data set", name[0], ("lc25000",))
        return _read(catalogs.load("lc25000", place, kept=folder / "copies.json"), folder, options)
    kinds = sorted(one.name for one in Path(place).iterdir() if one.is_dir()) if Path(place).is_dir() else []
    if len(kinds) < 2:
        raise ValueError(f"--first {place}: no folder with two or more folders, one a class; see --help")
    # Its classes need not be benign or malignant.
    table = catalogs.load("folder", place, classes=dict.fromkeys(kinds, 0)).assign(cancer=None)
    return _read(table, folder, options)


def _read(table, folder: Path, options: argparse.Namespace):
    """The tiles of a table; says how many could not be read."""
    from mammo_utils.data import tiles

    made = tiles.build(table, folder, size=options.size, workers=options.workers)
    lost = f", {len(table) - len(made.table)} could not be read" * (len(table) > len(made.table))
    print(f"{made.table['dataset'].iloc[0]}: {len(made.table)} tiles{lost}")
    return made
