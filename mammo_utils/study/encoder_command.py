"""``python -m mammo_utils encoder``: make an encoder that comes with the course once more."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from mammo_utils.models.weights import METHODS


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``encoder`` to its parser."""
    parser.add_argument("method", choices=METHODS, help="how it learns")
    parser.add_argument("--seed", type=int, default=0, help="of the pretraining (%(default)s, as shipped)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder, such as data/weights of a clone"
    )


def main(options: argparse.Namespace) -> int:
    """Train it in the cache folder, or go on there, and copy it under its name; 1 if an option is wrong."""
    from mammo_utils.models.weights import made
    from mammo_utils.study import encoders, transfer

    if options.seed < 0:
        print(f"error: --seed {options.seed}: give 0 or more", file=sys.stderr)
        return 1
    path = encoders.learnt(transfer.pretraining(encoders.SMALL, options.method), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, options.out / path.name)
    found = made(path)
    print(
        f"{options.out / path.name}: {found['learnt_from']} images, {found['images_through']} through the"
        f" encoder, {found['seconds'] / 60:.0f} min, loss {found['loss']:.3f}, commit {found['commit']}"
    )
    return 0
