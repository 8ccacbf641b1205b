"""What a claim is made of: the words, where they stand, and the differences by which it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mammo_utils.evaluation.intervals import Interval
from mammo_utils.profile import choose
from mammo_utils.study.claims.rule import DIRECTIONS

# What was asked before the runs; what was not, and has an interval of 95 % of its own; what says something of
# architectures from random weights and nothing of the claim.
KINDS = ("decided", "explored", "inductive bias only")


class Term(NamedTuple):
    """``weight`` times the value in ``column`` of the runs with the settings ``arm``."""

    weight: float
    column: str
    arm: Mapping


@dataclass(frozen=True)
class Question:
    """A difference between arms of a study, seed by seed, and what the claim says of it.

    ``asks``: the metric and what is subtracted from what.  ``table``: the results it is read from.
    ``terms``: their sum is the difference, less ``above``.  ``delta``: the smallest difference that matters.
    ``nests``: the number of pretrainings, of which seed s shares that of number s modulo ``nests``.

    Raises ``ValueError`` for an unknown direction or kind.
    """

    asks: str
    table: str
    terms: tuple[Term, ...]
    direction: str
    delta: float
    kind: str = "decided"
    nests: int | None = None
    above: float = 0.0

    def __post_init__(self):
        choose("direction", self.direction, DIRECTIONS)
        choose("kind of question", self.kind, KINDS)


@dataclass(frozen=True)
class Tabled:
    """A difference whose interval a table holds already, such as one over women for a single network.

    ``row``: what picks the one row of ``table``; ``column``: the estimate, and ``ends`` its limits.
    """

    asks: str
    table: str
    row: Mapping
    direction: str
    delta: float
    column: str = "estimate"
    ends: tuple[str, str] = ("low", "high")
    kind: str = field(default="explored", init=False)

    def __post_init__(self):
        choose("direction", self.direction, DIRECTIONS)


@dataclass(frozen=True)
class Arithmetic:
    """What follows from published figures, or from a rule, without a training.

    ``found`` returns the difference with its limits; ``given`` says what it rests on.
    """

    asks: str
    found: Callable[[], Interval]
    given: str
    direction: str
    delta: float
    kind: str = field(default="arithmetic", init=False)

    def __post_init__(self):
        choose("direction", self.direction, DIRECTIONS)


@dataclass(frozen=True)
class Claim:
    """A statement of a published work, in our words.

    ``source``: where in the work it stands.  ``published``: the effect as published.  ``missing``: what a
    test would need that is not here; such a claim has no verdict but that, whatever its questions find.

    Raises ``ValueError`` for a claim that has neither questions nor anything missing.
    """

    name: str
    work: str
    says: str
    source: str
    published: str
    questions: tuple[Question | Tabled | Arithmetic, ...] = ()
    missing: str = ""

    def __post_init__(self):
        if not (self.questions or self.missing):
            raise ValueError(f"claim {self.name}: ask a question, or say what is missing")


def minus(second, first, column: str) -> tuple[Term, ...]:
    """Terms of ``column`` in the arm ``second`` minus that in ``first``; of several arms the mean counts.

    >>> [term.weight for term in minus({"loss": "bce"}, [{"loss": "dice"}, {"loss": "focal"}], "dice")]
    [1.0, -0.5, -0.5]
    """
    return tuple(
        Term(sign / len(arms), column, arm)
        for sign, arms in ((1, _listed(second)), (-1, _listed(first)))
        for arm in arms
    )


def _listed(arms: Mapping | Iterable[Mapping]) -> list[Mapping]:
    return [arms] if isinstance(arms, Mapping) else list(arms)
