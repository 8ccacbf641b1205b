"""``python -m mammo_utils study``: run what is missing of a study, list the studies, repeat a row."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``study`` to its parser."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a study of --list, or MODULE:STUDY of your own"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="table (default: data/results/NAME.csv here)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="KEY=VALUE", help="runs with these settings")
    parser.add_argument("--seeds", type=_seeds, help="runs with these seeds, such as 0-2 or 0,3,5-7")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show how much is done and run nothing")
    what.add_argument("--check", type=int, metavar="ROW", help="repeat this row (0 is the first) and compare")


def _seeds(text: str) -> list[int]:
    """
    >>> _seeds("0,3,5-7")
    [0, 3, 5, 6, 7]
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: write seeds as in 0-2 or 0,3,5-7")
    ends = [part.split("-") for part in text.split(",")]
    return list(dict.fromkeys(seed for part in ends for seed in range(int(part[0]), int(part[-1]) + 1)))


def main(options: argparse.Namespace) -> int:
    """Do what the options say; 1 if a run failed, a row did not repeat or an option is wrong."""
    from mammo_utils.study import grid

    try:
        if options.list:
            return _list(grid, options)
        if options.name is None:
            raise ValueError(
                f"name a study: {', '.join(grid.STUDIES) or 'none is registered'}, or MODULE:STUDY"
            )
        study = grid.find(options.name)
        if options.check is not None:
            return _check(grid, study, options)
        only = {}
        for setting in options.only:
            name, _, value = setting.partition("=")
            only.setdefault(name, []).append(value)
        path = options.out or grid.table_of(study)
        failed = grid.run(
            study,
            out=path,
            jobs=options.jobs,
            threads=options.threads,
            only=only,
            seeds=options.seeds,
        )
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    if failed:
        print(
            f"{len(failed)} runs failed, see {grid.failures_of(path)}; the same command tries them again",
            file=sys.stderr,
        )
    return int(bool(failed))


def _list(grid, options: argparse.Namespace) -> int:
    from mammo_utils.study import results

    for name in [options.name] if options.name else grid.STUDIES:
        study = grid.find(name)
        path = options.out or grid.table_of(study)
        keys = {results.key(*one, study.profile) for one in study.runs()}
        done = len(keys & results.done(path))
        stale = len(keys & {results.key_of(row) for row in results.load(path)[1]}) - done
        older = f" ({stale} of them of another phantom)" if stale else ""
        print(f"{name}: {len(keys)} runs, {done} done, {len(keys) - done} missing{older}, {path}")
    return 0


def _check(grid, study, options: argparse.Namespace) -> int:
    try:
        both = grid.again(study, options.check, out=options.out, threads=options.threads)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(both.to_string())
    return int(not both["agrees"].all())
