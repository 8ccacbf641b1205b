"""From tables of results to intervals, and from these to a verdict on every claim.

``results`` {name of a table: DataFrame} are tables as `study.grid.read` gives them, by default those that
come with the package; ``claims`` are by default all that are in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.evaluation.intervals import nested_t
from mammo_utils.profile import choose
from mammo_utils.study import grid
from mammo_utils.study.claims.registry import Arithmetic, Claim, Question, Tabled
from mammo_utils.study.claims.rule import NOT_TESTABLE, joined, verdict
from mammo_utils.study.claims.works import CLAIMS

LEVEL = 0.95
ASKED = ("asks", "kind", "direction", "delta")
OVER = ("study", "work")  # what share an error rate: the questions to one table, or all of a published work


class Measured(NamedTuple):
    """A difference with its limits (NaN for a single run), the number of seeds, and what it was found on."""

    estimate: float
    low: float
    high: float
    seeds: int | None
    conditions: str


def tables(claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """Names of the tables that the claims read."""
    asked = (question for claim in claims for question in claim.questions)
    return sorted({question.table for question in asked if not isinstance(question, Arithmetic)})


def intervals(
    results: Mapping | None = None, *, claims: Sequence[Claim] = CLAIMS, over: str = "study"
) -> pd.DataFrame:
    """A row for each question: columns ``claim``, ``asks``, ``kind``, ``direction``, ``delta``, ``estimate``,
    ``low``, ``high``, ``level``, ``seeds``, ``conditions`` and ``verdict``, empty where there is no interval.

    ``over``: what questions share an error rate of 5 % (Bonferroni), those to one ``study`` or all of a
    published ``work``.  What is explored or follows by arithmetic shares none.

    Raises ``ValueError`` where the rows of a question are not there.
    """
    choose("family of intervals", over, OVER)
    results = {name: grid.read(name) for name in tables(claims)} if results is None else results
    rows = []
    for claim in claims:
        for question in claim.questions:
            level = level_of(question, claim.work, claims, over=over)
            found = measure(question, results, level=level)
            words = ""
            if not np.isnan(found.low):
                words = verdict(found.low, found.high, delta=question.delta, direction=question.direction)
            about = {name: getattr(question, name) for name in ASKED}
            about |= {"claim": claim.name, "level": level, "verdict": words}
            rows.append(about | found._asdict())
    columns = ["claim", *ASKED, "estimate", "low", "high", "level", "seeds", "conditions", "verdict"]
    return pd.DataFrame(rows, columns=columns).astype({"seeds": "Int64"})


def verdicts(
    results: Mapping | None = None, *, claims: Sequence[Claim] = CLAIMS, over: str = "study"
) -> pd.DataFrame:
    """A row for each claim, under its name: ``work``, ``says``, ``source``, ``published``, ``verdict``,
    ``kind`` (of its questions), ``parts`` (their verdicts, counted) and ``missing``.

    ``over`` and errors as in `intervals`; besides ``ValueError`` for a claim with nothing missing of which a
    question has no interval.
    """
    asked = intervals(results, claims=claims, over=over)
    rows = {}
    for claim in claims:
        own = asked[asked["claim"] == claim.name]
        counts = own.loc[own["verdict"] != "", "verdict"].value_counts(sort=False)
        about = {name: getattr(claim, name) for name in ("work", "says", "source", "published")}
        rows[claim.name] = about | {
            "verdict": NOT_TESTABLE if claim.missing else joined(own["verdict"]),
            "kind": ", ".join(own["kind"].unique()),
            "parts": ", ".join(f"{count} {words}" for words, count in counts.items()),
            "missing": claim.missing,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("claim")


def level_of(
    question: Question | Tabled | Arithmetic, work: str, claims: Sequence[Claim], *, over: str = "study"
) -> float:
    """Coverage of the interval of a question: 1 - 0.05 / m for the m that share an error rate, else 0.95."""
    if not _shares(question):
        return LEVEL
    asked = [one for claim in claims if claim.work == work for one in claim.questions if _shares(one)]
    return 1 - (1 - LEVEL) / sum(over == "work" or one.table == question.table for one in asked)


def _shares(question: Question | Tabled | Arithmetic) -> bool:
    return isinstance(question, Question) and question.kind != "explored"


def measure(question: Question | Tabled | Arithmetic, results: Mapping, *, level: float) -> Measured:
    """The difference that a question asks for, with its interval over seeds or as its table has it.

    Source: `evaluation.intervals.nested_t`, which is `paired_t` where there are no nests.
    """
    if isinstance(question, Arithmetic):
        return Measured(*question.found(), None, question.given)
    table = results[choose("table", question.table, results)]
    if isinstance(question, Tabled):
        own = of_arm(table, question.row)
        if own.empty:
            raise ValueError(
                f"{question.asks}: no row of the table {question.table} with {dict(question.row)}"
            )
        values = own[[question.column, *question.ends]].iloc[0].astype(float)
        return Measured(*values, len(own), _conditions(own))
    found, used = _differences(question, table)
    told = _conditions(used)
    if len(found) == 1:
        return Measured(float(found.iloc[0]), np.nan, np.nan, 1, told)
    nests = np.arange(len(found)) if question.nests is None else found.index % question.nests
    return Measured(*nested_t(found.to_numpy(float), nests, level=level), len(found), told)


def _conditions(used: pd.DataFrame) -> str:
    """On which phantom and in which profile runs were made."""
    return ", ".join(
        f"{name} {' and '.join(map(str, used[name].unique()))}" for name in ("phantom", "profile")
    )


def _differences(question: Question, table: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """The difference of each seed that all arms have, and the runs that it is from."""
    runs = [of_arm(table, term.arm) for term in question.terms]
    parts = [term.weight * own[term.column] for term, own in zip(question.terms, runs, strict=True)]
    both = pd.concat(parts, axis=1, join="inner").dropna()
    if both.empty:
        arms = "; ".join(str(dict(term.arm)) for term in question.terms)
        raise ValueError(
            f"{question.asks}: the table {question.table} has no seed with a value for all of {arms}"
        )
    found = both.sum(axis=1) - question.above
    return found, pd.concat([own.loc[found.index] for own in runs])


def of_arm(table: pd.DataFrame, arm: Mapping) -> pd.DataFrame:
    """The runs of ``table`` with all settings of ``arm`` (None stands for a blank), under their seeds.

    Raises ``ValueError`` for a setting that is no column, and for several runs of a seed.
    """
    for name, value in arm.items():
        choose("setting", name, list(table))
        table = table[table[name].isna() if value is None else table[name] == value]
    if table["seed"].duplicated().any():
        raise ValueError(f"several runs of a seed with the settings {dict(arm)}")
    return table.set_index("seed")
