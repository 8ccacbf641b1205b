"""``python -m mammo_utils prepare``: from a data set's folder to a split and a cache of prepared images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mammo_utils import profile


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``prepare`` to its parser."""
    from mammo_utils.data.catalogs import NAMES

    parser.add_argument("name", choices=NAMES, help="which data set: %(choices)s", metavar="NAME")
    parser.add_argument("--root", type=Path, metavar="DIR", help="its folder (default: MAMMO_DATA/NAME)")
    label_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the cache")
    parser.add_argument(
        "--size",
        type=int,
        default=profile.current().size,
        help="height in pixels (%(default)s, the profile's)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (%(default)s)")


def label_option(parser) -> None:
    """Add ``--label``, the option of the catalogue ``folder``, to a parser."""
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        type=_label,
        metavar="MASK=VALUES",
        help="for folder: values in the files of labels/ that make a mask, such as dense=192; repeat it",
    )


def _label(text: str) -> tuple[str, list[int]]:
    """
    >>> _label("breast=128,192")
    ('breast', [128, 192])
    """
    name, _, values = text.partition("=")
    try:
        return name, [int(value) for value in values.split(",")]
    except ValueError:
        reason = f"{text!r}: write a mask and its values, as in breast=128,192"
        raise argparse.ArgumentTypeError(reason) from None


def table_of(name: str, options: argparse.Namespace):
    """The table of the data set ``name``, as ``--root`` and ``--label`` say.

    Raises ``ValueError`` for labels of a data set that has its own masks, and as `catalogs.load` does.
    """
    from mammo_utils.data import catalogs

    if options.label and name != "folder":
        raise ValueError(f"--label is for the catalogue folder; {name} has its own masks")
    labels = {"labels": dict(options.label)} if options.label else {}
    return catalogs.load(name, options.root or profile.data_root(name), **labels)


def audited(table) -> str:
    """How many leaks there are between the splits of ``table`` by its keys, in words."""
    from mammo_utils.data import splits

    leaks = splits.audit(table, pixels=False)["kind"].value_counts()
    kinds = "".join(f", {kind} {count}" for kind, count in leaks.items())
    return f"audit by group, woman, exam and breast: {leaks.sum()} leaks{kinds}"


def main(options: argparse.Namespace) -> int:
    """Load the table, split it by group, audit the split by its keys and decode every image once.

    A second run resumes.  Returns the exit status: 1 where the folder is not the data set.
    """
    from mammo_utils.data import cache, catalogs, splits, tiles

    try:
        table = table_of(options.name, options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    # Rare labels first: cancer decides how the splits must be mixed, density where nobody marked cancer.
    stratify = [column for column in ("cancer", "density") if table[column].notna().any()]
    table = splits.split(table, stratify=stratify[:1], seed=options.seed)
    print(audited(table))
    if options.name in catalogs.TILES:
        made = tiles.build(table, options.out, size=options.size, workers=options.workers)
        print(f"{len(made.table)} tiles of {made.table['group'].nunique()} groups in {options.out}")
        print(made.table.groupby("split")["group"].nunique().rename("groups").to_string())
        return _failures(len(table) - len(made.table), options.out)
    built = cache.build(table, options.out, size=options.size, workers=options.workers)
    print(f"{len(built.table)} images of {built.table['group'].nunique()} women in {options.out}")
    print(built.table.groupby("split")["group"].nunique().rename("women").to_string())
    return _failures(len(built.failures), options.out)


def _failures(count: int, out: Path) -> int:
    """Say how many files could not be read; the exit status, which is 0."""
    if count:
        print(f"{count} files could not be read, see {out / 'failures.csv'}", file=sys.stderr)
    return 0
