"""Learning-rate schedules: pure functions of how far a run is, so that a resumed run needs no state."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mammo_utils.profile import choose

PLATEAU_PATIENCE, PLATEAU_FACTOR = 5, 0.1


def constant(done: float, values: Sequence[float]) -> float:
    return 1.0


def linear(done: float, values: Sequence[float]) -> float:
    return 1 - done


def cosine(done: float, values: Sequence[float]) -> float:
    """Half a cosine from 1 to 0.  Source: Loshchilov and Hutter 2017, arXiv 1608.03983."""
    return 0.5 * (1 + math.cos(math.pi * done))


def plateau(done: float, values: Sequence[float]) -> float:
    """A tenth of the rate each time five validations in a row brought no new best value."""
    best, waited, factor = -math.inf, 0, 1.0
    for value in values:
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited == PLATEAU_PATIENCE:
            factor, waited = factor * PLATEAU_FACTOR, 0
    return factor


SCHEDULES = {"constant": constant, "linear": linear, "cosine": cosine, "plateau": plateau}


def factor(name: str, step: int, total: int, *, warmup: float = 0.0, values: Sequence[float] = ()) -> float:
    """What every rate is multiplied with at ``step`` (0 is the first) of ``total``.

    ``warmup`` is the share of the steps in which the rate rises linearly from near 0; the schedule runs over
    the rest.  ``values`` are the validation values so far, higher is better.

    >>> [round(factor("linear", step, 5, warmup=0.2), 2) for step in range(5)]
    [1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[choose("schedule", name, SCHEDULES)]((step - rising) / max(total - rising, 1), values)
