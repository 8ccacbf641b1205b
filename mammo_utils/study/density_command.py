"""``python -m mammo_utils density``: percent density, class and interval of mammograms of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TABLE = "density.csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``density`` to its parser."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="DICOM, PNG or JPEG mammograms")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for {TABLE} and a picture of every image with outlines",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="compute also for images that are unlike those it learnt from, and mark them",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of `densitometer` (default: the file of the package)"
    )


def main(options: argparse.Namespace) -> int:
    """Measure each file; one that cannot be read is reported and the others are still measured."""
    from mammo_utils.data.dicom import ImageReadError
    from mammo_utils.study import density_tool

    try:
        tool = density_tool.trained(options.weights)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = []
    for file in options.files:
        try:
            found.append(density_tool.measured(file, tool, anyway=options.anyway))
        except ImageReadError as error:
            print(error, file=sys.stderr)
            found.append(density_tool.Measured("unreadable", f"{error.reason}; {error.remedy}"))
    table = density_tool.table(options.files, found, tool.made["limit"])
    print(_printed(table))
    level = tool.made["settings"]["level"]
    print(
        f"\nPercent density with an interval that covered {level:.0%} of phantom women's views; the class is a"
        "\nphantom reader's likeliest, and no cut-off makes a radiologist's BI-RADS class."
        f"\nThis tool has {density_tool.NOTE}."
    )
    if options.out:
        _write(options.out, options.files, found, table)
    unread = sum(one.verdict == "unreadable" for one in found)
    if unread:
        print(f"{unread} of {len(found)} files could not be read", file=sys.stderr)
    return int(unread > 0)


def _printed(table) -> str:
    """The table for a terminal: one line a file, reasons last."""
    measured = table["percent_density"].notna()
    shown = table[["file"]].assign(
        density=[
            f"{value:.1f} %" if there else "-" for value, there in zip(table["percent_density"], measured)
        ],
        interval=[
            f"{low:.1f} to {high:.1f}" if there else "-"
            for low, high, there in zip(table["low"], table["high"], measured)
        ],
        **{"class": table["class"].where(measured, "-")},
        verdict=[
            f"{verdict}: {reason}" if reason else verdict
            for verdict, reason in zip(table["verdict"], table["reason"])
        ],
    )
    return shown.to_string(index=False, justify="left")


def _write(folder: Path, files, found, table) -> None:
    """Write the table and, for every file with an image, its picture; prints where."""
    from mammo_utils.show.figures import measured
    from mammo_utils.study.density_tool import NOTE

    folder.mkdir(parents=True, exist_ok=True)
    pictures, taken = [], set()
    for file, one in zip(files, found, strict=True):
        # Two folders may hold files of one name, and some file systems take a.png and A.png for one.
        name, count = file.stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{file.stem}_{count}"
        taken.add(name.casefold())
        pictures.append("" if one.dense is None else f"{name}.png")
        if one.dense is not None:
            figure = measured.overlay(one, note=NOTE)
            figure.savefig(folder / pictures[-1], metadata={"Description": NOTE})
    table.insert(1, "picture", pictures)
    table.to_csv(folder / TABLE, index=False)
    print(f"{folder / TABLE}\n" + "\n".join(str(folder / picture) for picture in pictures if picture))
