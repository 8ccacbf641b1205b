"""Arithmetic of a reader with a machine beside them.  Assumptions in, consequences out; no evidence."""

from __future__ import annotations

import numpy as np


def called(reader, machine, *, heeds, reassured) -> np.ndarray:
    """Share of cases of one kind that a reader calls in the end, who looks first and then at the machine.

    ``reader`` and ``machine``: the shares of these cases that each calls alone (for cancers the sensitivity,
    for healthy cases one minus the specificity), taken for independent within the kind.  Where only the
    machine calls, the reader follows with the share ``heeds``; where only the reader does, they drop the
    case with the share ``reassured``.  Where both agree, that is what is said.  All 0–1, numbers or arrays.

    Independence within a kind is the kindest assumption: a machine that fails where the reader does adds
    less.

    Raises ``ValueError`` for anything outside 0–1.

    >>> float(called(0.8, 0.5, heeds=0.5, reassured=0).round(3))
    0.85
    >>> float(called(0.8, 0.5, heeds=0.5, reassured=0.5).round(3))
    0.65
    """
    values = tuple(map(np.asarray, (reader, machine, heeds, reassured)))
    if not all(((value >= 0) & (value <= 1)).all() for value in values):
        raise ValueError("reader, machine, heeds and reassured must lie between 0 and 1")
    reader, machine, heeds, reassured = values
    kept = reader * (machine + (1 - machine) * (1 - reassured))
    return kept + (1 - reader) * machine * heeds


def break_even(reader, machine, *, heeds) -> np.ndarray:
    """The share ``reassured`` of `called` above which a reader finds fewer cases than alone; 1 if none does.

    >>> float(break_even(0.8, 0.5, heeds=0.5).round(3))
    0.125
    """
    reader, machine, heeds = map(np.asarray, (reader, machine, heeds))
    called(reader, machine, heeds=heeds, reassured=0)  # checks the shares
    gained, at_stake = (1 - reader) * machine * heeds, reader * (1 - machine)
    return np.minimum(np.divide(gained, at_stake, out=np.ones_like(at_stake * 1.0), where=at_stake > 0), 1)
