"""``python -m mammo_utils claims``: every claim of the published works, what was measured, the verdict."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import pandas as pd

WIDTH = 110


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``claims`` to its parser."""
    parser.add_argument("--work", metavar="NAME", help="claims of this work alone (default: of all)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV, a row an interval")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put them as a table into a Markdown file, at its two marks"
    )


def main(options: argparse.Namespace) -> int:
    """Print the claims with their verdicts; 1 if a name or a table is wrong."""
    from mammo_utils.profile import choose
    from mammo_utils.study import claims, claims_page

    try:
        works = [choose("work", options.work, claims.WORKS)] if options.work else claims.WORKS
        chosen = [claim for claim in claims.CLAIMS if claim.work in works]
        judged, asked = claims.verdicts(claims=chosen), claims.intervals(claims=chosen)
        for work in works:
            print("\n".join(lines(claims.TITLES[work], judged[judged["work"] == work], asked)), end="\n\n")
        strict = claims.verdicts(claims=chosen, over="work"), claims.intervals(claims=chosen, over="work")
        print("\n".join(changes((judged, asked), strict)))
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            flat(judged, asked).to_csv(options.out, index=False)
            print(f"\n{options.out}: written")
        if options.page:
            claims_page.write(options.page, judged, asked)
            print(f"\n{options.page}: written")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def lines(title: str, judged: pd.DataFrame, asked: pd.DataFrame) -> list[str]:
    """The claims of a work in words; ``judged`` and ``asked`` as from `claims.verdicts` and `intervals`."""
    said = [title, "-" * len(title)]
    for name, claim in judged.iterrows():
        said += ["", *_wrapped(f"{claim['verdict'].upper()} · {name}: {claim['says']}", indent=0)]
        said += _wrapped(f"published: {claim['published']} ({claim['source']})")
        said += _wrapped(f"missing: {claim['missing']}") if claim["missing"] else []
        for _, row in asked[asked["claim"] == name].iterrows():
            said += _wrapped(f"{_measured(row)}; {_known(row)}")
    return said


def _measured(row: pd.Series) -> str:
    limits = "no interval" if not row["verdict"] else f"[{row['low']:+.3g}, {row['high']:+.3g}]"
    return f"{row['asks']}: {row['estimate']:+.3g} {limits} {row['verdict']}".rstrip()


def _known(row: pd.Series) -> str:
    seeds = "" if pd.isna(row["seeds"]) else f"{row['seeds']} seeds, "
    said = f"claimed {row['direction']}, δ\N{NO-BREAK SPACE}{row['delta']:g}, {row['level']:.1%}"
    return f"{row['kind']}, {said}, {seeds}{row['conditions']}"


def _wrapped(text: str, *, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


def changes(usual: tuple, strict: tuple) -> list[str]:
    """What becomes of verdicts if all intervals of a work, not of a study, share an error rate.

    ``usual`` and ``strict``: both tables of `claims.verdicts` and `claims.intervals`.
    """
    said = ["Intervals share an error rate of 5 % within a study. If all of a work shared it:"]
    for what, before, after in zip(("claims", "intervals"), usual, strict, strict=True):
        names = before.index if what == "claims" else before["asks"]
        pairs = zip(names, before["verdict"], after["verdict"], strict=True)
        moved = [f"{name}: {first} → {second}" for name, first, second in pairs if first != second]
        said += _wrapped(f"verdicts on {what} that change: {'; '.join(moved) or 'none'}")
    return said


def flat(judged: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """One table: a row an interval with its claim, a row alone for a claim without any."""
    about = judged.rename(columns={"verdict": "claim_verdict"}).drop(columns=["kind", "parts"])
    return about.reset_index().merge(asked, on="claim", how="left")
