"""``python -m mammo_utils figures``: every exhibit of the published works, from tables of results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# What trains each system on data sets of one's own; their scores stand beside those of the exhibits.
TRAINING = (
    "recipe --data vindr --root DIR --labelled density --labelled-root DIR",
    "train screening --catalog rsna --root DIR --external inbreast DIR",
    "train histology --catalog breakhis --root DIR --first lc25000 DIR",
)
# What stems from a reader's own tables or data does not go among the figures that come along.
SHIPPED, OWN = Path("figures"), Path("build/figures")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``figures`` to its parser."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the files (default: {SHIPPED}, and {OWN} with --results or --data)",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these exhibits alone (default: all)")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="folder of tables (default: those that come along)"
    )
    parser.add_argument("--data", metavar="NAME", help="count a data set instead, such as rsna")
    parser.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")


def main(options: argparse.Namespace) -> int:
    """Write the exhibits and say what waits for which table; 1 if a name, a table or a folder is wrong."""
    if options.root and not options.data:
        print("--root is the folder of a data set: name it with --data", file=sys.stderr)
        return 1
    import matplotlib

    matplotlib.use("Agg")  # also where there is no screen
    options.out = options.out or (OWN if options.results or options.data else SHIPPED)
    try:
        failed = _of_data(options) if options.data else 0
        if options.results or not options.data:
            failed += _of_tables(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return int(failed > 0)


def _of_tables(options: argparse.Namespace) -> int:
    """Write what the tables there are enough for; returns how many exhibits failed."""
    from mammo_utils.profile import choose
    from mammo_utils.study import exhibits
    from mammo_utils.study.exhibits import files

    if options.results and not options.results.is_dir():
        raise NotADirectoryError(f"--results {options.results}: no such folder")
    names = options.only or list(exhibits.EXHIBITS)
    for name in names:
        choose("exhibit", name, exhibits.EXHIBITS)
    absent = exhibits.waiting(options.results)
    without = {name for own in absent.values() for name in own}
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        if name in without:
            failed += bool(options.only)
            continue
        try:
            made = exhibits.EXHIBITS[name].make(options.results)
        except (ValueError, KeyError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(*files.save(made, options.out, name), sep="\n")
    there = [name for name in exhibits.EXHIBITS if (options.out / f"{name}.csv").is_file()]
    page = files.page(exhibits.EXHIBITS, there, absent)
    (options.out / "README.md").write_text(page, encoding="utf-8")
    print(*files.waits(absent), sep="\n")
    return failed


def _of_data(options: argparse.Namespace) -> int:
    """Write what a catalogue alone is enough for, and say which commands lead to the rest."""
    from mammo_utils.data import catalogs
    from mammo_utils.profile import choose, data_root
    from mammo_utils.study.exhibits import files
    from mammo_utils.study.exhibits.catalogue import OF_DATA

    wanted = options.only if options.only and not options.results else list(OF_DATA)
    for name in wanted:
        choose("exhibit of a data set", name, OF_DATA)
    table = catalogs.load(options.data, options.root or data_root(options.data))
    options.out.mkdir(parents=True, exist_ok=True)
    written = 0
    for name in wanted:
        try:
            made = OF_DATA[name](options.data, table)
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        written += 1
        print(*files.save(made, options.out, name), sep="\n")
    print(AFTER)
    return int(not written)


AFTER = "\n".join(
    [
        "All other exhibits need trained networks. On data of your own these commands train the systems and",
        "write scores with intervals, predictions and figures of their own into --out:",
        *(f"  MAMMO_PROFILE=gpu python -m mammo_utils {one} --out run" for one in TRAINING),
        "Arms are compared over paired seeds on the phantom alone: python -m mammo_utils study NAME --out",
        "DIR/TABLE.csv repeats that, and python -m mammo_utils figures --results DIR draws what is in DIR.",
    ]
)
