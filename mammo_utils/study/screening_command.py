"""``python -m mammo_utils train screening``: the published screening system, with external validation."""

from __future__ import annotations

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path

from mammo_utils import profile
from mammo_utils.data.command import label_option, table_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train screening`` to its parser."""
    from mammo_utils.data.catalogs import MAMMOGRAMS
    from mammo_utils.models.classification import MODELS
    from mammo_utils.study.screening import IMBALANCE, STAGES, UNFREEZING
    from mammo_utils.study.screening_recipe import Recipe

    own = {field.name: field.default for field in fields(Recipe)}
    large = profile.current().name == "gpu"
    data = parser.add_argument_group("data")
    data.add_argument(
        "--catalog", required=True, choices=MAMMOGRAMS, metavar="NAME", help="one of: %(choices)s"
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    label_option(data)
    data.add_argument(
        "--external",
        nargs=2,
        metavar=("NAME", "DIR"),
        help="another data set, scored with the finished network and its threshold",
    )
    size = 256 if large else profile.current().size
    data.add_argument("--size", type=int, default=size, help="height and width in pixels (%(default)s)")
    data.add_argument("--cache", type=Path, metavar="DIR", help="prepared images (default: OUT/cache_SIZE)")
    data.add_argument("--workers", type=int, default=1, help="processes that prepare them (%(default)s)")
    learning = parser.add_argument_group("training")
    model = own["model"] if large else profile.current().encoder
    text = "(%(default)s) one of: %(choices)s"
    learning.add_argument("--model", default=model, choices=MODELS, metavar="NAME", help=text)
    learning.add_argument(
        "--weights",
        default=own["weights"] if large else "none",
        help="of the encoder: none, imagenet, lesions, a method of pretrain or a .safetensors (%(default)s)",
    )
    for name, choices in (("stages", STAGES), ("unfreezing", UNFREEZING), ("imbalance", IMBALANCE)):
        learning.add_argument(f"--{name}", default=own[name], choices=choices, metavar="NAME", help=text)
    for name, kind, said in (
        ("warm_epochs", int, "of the warm-up"),
        ("epochs", int, "on the full set"),
        ("lr", float, "highest learning rate"),
        ("batch_size", int, "images of a step"),
        ("specificity", float, "that the threshold keeps on validation women"),
        ("precision", str, "auto, 32-true, bf16-mixed, 16-mixed"),
        ("seed", int, "of split, weights and order"),
    ):
        learning.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=own[name], help=f"{said} (%(default)s)"
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")


def main(options: argparse.Namespace) -> int:
    """Train, score the women left out and those of the external data set; 1 where something is wrong.

    A run that was stopped goes on with the same command.
    """
    from mammo_utils.study.train_command import guarded

    return guarded(partial(_train, options))


def _train(options: argparse.Namespace) -> int:
    from mammo_utils.data import catalogs
    from mammo_utils.show.figures import screening as figures
    from mammo_utils.study import screening_recipe as recipes
    from mammo_utils.study.train_command import prepared

    recipe = recipes.Recipe(**{field.name: getattr(options, field.name) for field in fields(recipes.Recipe)})
    folder, side = options.cache or options.out / f"cache_{options.size}", (options.size, options.size)
    table, meant = recipes.labelled(table_of(options.catalog, options))
    print(f"{options.catalog}: {len(table)} images, positive is {meant}")
    outside = None
    if options.external:
        name, root = options.external
        if Path(root).resolve() == Path(options.root or profile.data_root(options.catalog)).resolve():
            raise ValueError(f"--external {root} is the folder that is learnt from; give another data set")
        outside, meant = recipes.labelled(catalogs.load(name, Path(root)))
        print(f"{name}: {len(outside)} images, positive is {meant}")
        if outside["cancer"].nunique() < 2:
            raise ValueError(f"{name} in {root} has images of one class alone, so that nothing can be scored")
        beside = folder.with_name(f"{folder.name}_external")
        away = prepared(outside, beside, size=side, workers=options.workers)
    images = prepared(table, folder, size=side, workers=options.workers)
    model, rows = recipes.train(
        images, recipe, options.out, data={"catalog": options.catalog}, say=partial(print, flush=True)
    )
    cut = recipes.threshold(recipes.breasts(model, images, rows["valid"]), recipe)
    found = {options.catalog: recipes.breasts(model, images, rows["test"])}
    if outside is not None:
        found[f"{name}, external"] = recipes.breasts(model, away)
    for number, (title, breasts) in enumerate(found.items()):
        end = "_external" if number else ""
        scores = recipes.scores(breasts, cut)
        called = breasts.assign(called=breasts["logit"] >= cut)
        catalogs.write(called.drop(columns="breast"), options.out / f"predictions{end}.csv")
        catalogs.write(scores.round(4).reset_index(), options.out / f"scores{end}.csv")
        figures.curves(breasts["logit"], breasts["label"], groups=breasts["woman"], cut=cut).savefig(
            options.out / f"curves{end}.png"
        )
        women = breasts["woman"].nunique()
        print(f"\n{title}: {len(breasts)} breasts of {women} women, 95 % intervals by woman")
        print(scores.round(3).to_string())
    print(f"\ncalled at a logit of {cut:.3f}, chosen on validation women; everything is in {options.out}")
    return 0
