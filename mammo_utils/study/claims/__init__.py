"""Claims of published works and what the measured effects say of them, by a rule fixed before the studies."""

from mammo_utils.study.claims.measured import intervals, level_of, tables, verdicts
from mammo_utils.study.claims.registry import Claim
from mammo_utils.study.claims.rule import DELTA, DIRECTIONS, NOT_TESTABLE, VERDICTS, joined, verdict
from mammo_utils.study.claims.works import CLAIMS, DECLARED, TITLES, WORKS

__all__ = [
    "CLAIMS",
    "DECLARED",
    "DELTA",
    "DIRECTIONS",
    "NOT_TESTABLE",
    "TITLES",
    "VERDICTS",
    "WORKS",
    "Claim",
]
__all__ += ["intervals", "joined", "level_of", "tables", "verdict", "verdicts"]
