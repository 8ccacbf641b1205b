"""``python -m mammo_utils gauge``: make the file of the density tool, or compare its rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gauge`` to its parser."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="folder, such as data/weights of a clone"
    )
    parser.add_argument(
        "--unlike",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="compare the rules of refusal instead, on phantom women and on the images in DIR; "
        "--out is then the table's file; may be given again",
    )


def main(options: argparse.Namespace) -> int:
    """Train, calibrate and write the file, or write the table of the rules; 1 if an option is wrong."""
    from mammo_utils.study import density_file, density_tool

    # Both take long: a wrong place for what they find is told first.
    if options.unlike and options.out.suffix != ".csv":
        print(f"error: --out {options.out}: name the table's file, such as table.csv", file=sys.stderr)
        return 1
    if not options.unlike and options.out.is_file():
        print(f"error: --out {options.out}: a file has this name; give that of a folder", file=sys.stderr)
        return 1
    if options.unlike:
        return _compare(options)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / density_tool.NAME
    made = density_file.write(path)
    print(f"{path}: dense from {made['threshold']:.2f}, interval ± {made['margin']:.1f} points")
    for name, scores in made["scores"].items():
        print(f"{name}: " + ", ".join(f"{score} {value:.3f}" for score, value in scores.items()))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from mammo_utils.study import density_file, provenance, refusals
    from mammo_utils.synth.breast import VERSION

    others = {}
    for given in options.unlike:
        name, _, folder = given.partition("=")
        files = sorted(file for file in Path(folder).glob("*") if file.is_file()) if folder else []
        if not files or name in (*refusals.OWN, *others):
            print(
                f"error: --unlike {given}: give NAME=DIR, a new name and a folder of images", file=sys.stderr
            )
            return 1
        others[name] = files
    commit = provenance.commit()
    table = refusals.compared(density_file.SETTINGS, others)
    made = {"phantom": VERSION, "commit": commit, "date": provenance.today()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table.assign(**made).to_csv(options.out, index=False, float_format="%.5g")
    print(table.round(3).to_string(index=False))
    print(f"best by the rule of `mammo_utils.study.refusals`: {refusals.best(table)}")
    return 0
