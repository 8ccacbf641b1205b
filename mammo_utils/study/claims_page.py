"""Claims as a page: a line each, what was published beside what was measured, and the verdict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mammo_utils.study.claims import TITLES

BEGIN, END = "<!-- claims: written by `python -m mammo_utils claims --page` -->", "<!-- end of claims -->"
MANY = 3  # differences of a claim from which on their span is given


def brief(judged: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """A row a claim: ``work``, ``says``, ``published``, ``here`` (what was measured) and ``verdict``.

    ``judged`` and ``asked`` are the tables of `claims.verdicts` and `claims.intervals`.
    """
    here = {name: _measured(claim, asked[asked["claim"] == name]) for name, claim in judged.iterrows()}
    return judged.assign(here=pd.Series(here))[["work", "says", "published", "here", "verdict"]]


def _measured(claim: pd.Series, asked: pd.DataFrame) -> str:
    if claim["missing"]:
        return f"missing: {claim['missing']}"
    known = asked[asked["estimate"].notna()]
    if len(known) >= MANY:
        counts = ", ".join(f"{number} {words}" for words, number in known["verdict"].value_counts().items())
        least, most = known["estimate"].min(), known["estimate"].max()
        return f"{len(known)} differences from {least:+.3g} to {most:+.3g}: {counts}"
    parts = [
        f"{one.asks}: {one.estimate:+.3g} [{one.low:+.3g}, {one.high:+.3g}]" for one in known.itertuples()
    ]
    return "; ".join(parts)


def table(judged: pd.DataFrame, asked: pd.DataFrame, work: str) -> str:
    """The claims of one published work as a Markdown table, see `brief`."""
    own = brief(judged, asked).query("work == @work")[["says", "published", "here", "verdict"]]
    rows = own.map(lambda text: text.replace("|", "/")).itertuples(index=False)
    head = ["| the work says | as published | measured here | verdict |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def page(judged: pd.DataFrame, asked: pd.DataFrame) -> str:
    """The tables of all works as Markdown, each to be unfolded, with its verdicts counted above it."""
    said = []
    for work, own in judged.groupby("work", sort=False):
        counts = ", ".join(f"{number} {words}" for words, number in own["verdict"].value_counts().items())
        said.append(f"<details><summary><b>{TITLES[work]}</b>: {counts}</summary>")
        said += [table(judged, asked, work), "</details>"]
    return "\n\n".join(said)


def write(path: Path, judged: pd.DataFrame, asked: pd.DataFrame) -> None:
    """Put `page` where the Markdown file ``path`` has its two marks.

    Raises ``ValueError`` for a file without them.
    """
    text = Path(path).read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the claims: write the lines {BEGIN} and {END} into it")
    Path(path).write_text(f"{head}{BEGIN}\n\n{page(judged, asked)}\n\n{END}{tail}", encoding="utf-8")
