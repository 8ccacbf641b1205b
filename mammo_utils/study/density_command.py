"""``python -m mammo_utils density``: percent density, class and interval of mammograms of one's own."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

TABLE = "density.csv"
WIDTH = 100  # of what is printed


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``density`` to its parser."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="DICOM, PNG or JPEG mammograms")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for {TABLE} and, of every image with a density, a picture with outlines",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="compute also for images that are unlike those it learnt from, and mark them",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of `gauge` (default: the file of the package)"
    )


def main(options: argparse.Namespace) -> int:
    """Measure each file; one that cannot be read is reported and the others are still measured."""
    from mammo_utils.data.dicom import ImageReadError
    from mammo_utils.study import density_tool

    try:
        tool = density_tool.trained(options.weights)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        print(f"error: --out {options.out}: a file has this name; give that of a folder", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
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
    print(f"\n{_explained(tool.made, density_tool.NOTE)}")
    if options.out:
        _write(options.out, options.files, found, table)
    unread = sum(one.verdict == "unreadable" for one in found)
    if unread:
        print(f"{unread} of {len(found)} files could not be read", file=sys.stderr)
    return int(unread > 0)


def _explained(made: dict, note: str) -> str:
    """What interval, class and refusal mean, for a terminal."""
    settings = made["settings"]
    said = (
        f"The interval is made to hold the truth for {settings['level']:.0%} of phantom women and promises "
        "nothing for others. The class is what a phantom reader would most probably call this; BI-RADS "
        "classes are a radiologist's judgement and no cut-off of percent density. Refused is an image that "
        "plainly speaks against itself (no whole breast, one grey, too small, its header), or that lies "
        f"further from those learnt from than {made['limit']:.1f}, as {1 - settings['accepted']:.0%} of "
        f"phantom views do. Accepted is no certificate. This tool has {note}."
    )
    return textwrap.fill(said, WIDTH)


def _printed(table) -> str:
    """The table for a terminal: one line a file, reasons last."""
    names = ("file", "density", "interval", "class", "verdict")
    lines = [names]
    for row in table.to_dict("records"):
        verdict = f"{row['verdict']}: {row['reason']}" if row["reason"] else row["verdict"]
        said = ("-", "-", "-")
        if row["class"]:
            limits = f"{row['low']:.1f} to {row['high']:.1f}"
            said = (f"{row['percent_density']:.1f} %", limits, row["class"])
        lines.append((row["file"], *said, verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    filled = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in filled)


def _write(folder: Path, files, found, table) -> None:
    """Write the table and, for every file with a density, its picture into ``folder``; prints where."""
    from mammo_utils.show.command import free_name
    from mammo_utils.show.figures import measured
    from mammo_utils.study.density_tool import NOTE

    pictures, taken = [], set()
    for file, one in zip(files, found, strict=True):
        if one.dense is None:
            pictures.append("")
            continue
        pictures.append(f"{free_name(file.stem, taken)}.png")
        measured.overlay(one, note=NOTE).savefig(folder / pictures[-1], metadata={"Description": NOTE})
    table.assign(picture=pictures).to_csv(folder / TABLE, index=False)
    print(f"{folder / TABLE}\n" + "\n".join(str(folder / picture) for picture in pictures if picture))
