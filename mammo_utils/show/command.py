"""``python -m mammo_utils show``: a panel of the preparation steps for each file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="DICOM, PNG or JPEG mammograms")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the panels")
    parser.add_argument(
        "--size", type=int, default=512, help="height in pixels of the prepared image (%(default)s)"
    )


def main(options: argparse.Namespace) -> int:
    """Draw each file; one that cannot be read is reported and the others are still drawn."""
    import matplotlib

    matplotlib.use("Agg")  # also where there is no screen
    import matplotlib.pyplot as plt

    from mammo_utils.data.dicom import ImageReadError
    from mammo_utils.show.figures import preprocessing

    options.out.mkdir(parents=True, exist_ok=True)
    failures, written = 0, set()
    for file in options.files:
        try:
            figure = preprocessing.steps(file, size=options.size)
        except ImageReadError as error:
            print(error, file=sys.stderr)
            failures += 1
            continue
        panel = options.out / f"{free_name(file.stem, written)}.png"
        figure.savefig(panel, bbox_inches="tight")
        plt.close(figure)
        print(panel)
    if failures:
        print(f"{failures} of {len(options.files)} files could not be read", file=sys.stderr)
    return int(failures > 0)


def free_name(name: str, taken: set[str]) -> str:
    """``name``, or with a number behind it what is not in ``taken`` yet, to which it is added.

    Two folders may hold files of one name, and some file systems take a.png and A.png for one.

    >>> taken = set()
    >>> free_name("left", taken), free_name("Left", taken), free_name("left", taken)
    ('left', 'Left_2', 'left_3')
    """
    free, count = name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free.casefold())
    return free
