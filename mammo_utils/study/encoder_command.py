"""``python -m mammo_utils encoder``: make an encoder that comes with the course once more."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from mammo_utils.models.weights import SHIPPED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``encoder`` to its parser."""
    parser.add_argument("method", choices=SHIPPED, help="how it learns")
    parser.add_argument("--seed", type=int, default=0, help="of the pretraining (%(default)s, as shipped)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder, such as data/weights of a clone"
    )


def main(options: argparse.Namespace) -> int:
    """Train it in the cache folder, or go on there, and copy it under its name; 1 if an option is wrong."""
    from mammo_utils.models.weights import made
    from mammo_utils.study import encoders, outlined, transfer

    if options.seed < 0:
        print(f"error: --seed {options.seed}: give 0 or more", file=sys.stderr)
        return 1
    if options.method == outlined.METHOD:
        if options.seed != outlined.SETTINGS["seed"]:
            print(f"error: --seed {options.seed}: {options.method} has seed 0 alone", file=sys.stderr)
            return 1
        path = outlined.learnt(encoders.SMALL.rpartition("/")[2], outlined.SIZE)
    else:
        path = encoders.learnt(transfer.pretraining(encoders.SMALL, options.method), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, options.out / path.name)
    found = made(path)
    print(
        f"{options.out / path.name}: {found['learnt_from']} images, {found['images_through']} through the"
        f" encoder, {found['seconds'] / 60:.0f} min, loss {found['loss']:.3f}, commit {found['commit']}"
    )
    return 0
