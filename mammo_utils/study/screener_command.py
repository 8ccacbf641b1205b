"""``python -m mammo_utils screener``: write the screening classifier that comes with the course."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``screener`` to its parser."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder, such as data/weights of a clone"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="table of the study (default: data/results/screening.csv)",
    )


def main(options: argparse.Namespace) -> int:
    """Write it from what the study's run with seed 0 left in the cache folder; 1 if that is not there."""
    from mammo_utils.study import grid, screening_file, stages

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / screening_file.NAME
    table = options.results or grid.table_of(stages.DECISIVE)
    try:
        made = screening_file.write(path, settings=stages.at_rate(stages.SHOWN[0]), table=table)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    said = ", ".join(f"{name} {value:.3f}" for name, value in made["scores"].items())
    print(f"{path}: calls views from a logit of {made['threshold']:.3f}, {said}, commit {made['commit']}")
    return 0
