"""How an answer to an exercise is compared with the right one: "right" or what to look at next, never an
error that stops the notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def compare(what: str, got, expected, *, hint: str, atol: float = 1e-6) -> None:
    """Print whether ``got`` equals ``expected`` and, if it does not, in which way and the ``hint``.

    Numbers and arrays are compared within ``atol``, everything else for equality.

    >>> compare("the mean", 2.0, 2, hint="add and divide")
    right: the mean
    >>> compare("the mean", ..., 2, hint="add and divide")
    your turn: the mean has no answer yet. Hint: add and divide
    """
    if got is ... or got is None:
        print(f"your turn: {what} has no answer yet. Hint: {hint}")
        return
    difference = _difference(got, expected, atol)
    print(f"not yet: {what} {difference}. Hint: {hint}" if difference else f"right: {what}")


def function(
    what: str, answer: Callable, cases: Sequence[tuple[tuple, object]], *, hint: str, atol=1e-6
) -> None:
    """Call ``answer(*arguments)`` for each case (arguments, expected) up to the first that is not right.

    An error in the answer is reported as a message and does not stop the notebook.

    >>> function("double", lambda x: x + 2, [((2,), 4), ((5,), 10)], hint="try 5")
    not yet: double(5) is 7, not 10. Hint: try 5
    """
    if answer is ... or answer is None:
        print(f"your turn: {what} has no answer yet. Hint: {hint}")
        return
    for arguments, expected in cases:
        try:
            # Copies, so that an answer that changes its input does not spoil the next case.
            got = answer(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments))
        except Exception as error:  # whatever a student's function may raise
            print(f"not yet: {what} raised {type(error).__name__}: {error}. Hint: {hint}")
            return
        if got is ... or got is None:
            print(f"your turn: {what} returns nothing yet. Hint: {hint}")
            return
        if difference := _difference(got, expected, atol):
            shown = ", ".join(_brief(argument) for argument in arguments)
            print(f"not yet: {what}({shown}) {difference}. Hint: {hint}")
            return
    print(f"right: {what}")


def _difference(got, expected, atol: float) -> str:
    """How ``got`` differs from ``expected``, in words; empty if it does not."""
    if isinstance(expected, str | bytes) or not _numeric(expected):
        return (
            ""
            if type(got) is type(expected) and got == expected
            else f"is {_brief(got)}, not {_brief(expected)}"
        )
    if not _numeric(got):
        return f"is of type {type(got).__name__}; numbers are wanted"
    if np.shape(got) != np.shape(expected):
        return f"has shape {np.shape(got)}, not {np.shape(expected)}"
    wrong = ~np.isclose(got, expected, rtol=0, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    if np.ndim(got) == 0:
        return f"is {_brief(got)}, not {_brief(expected)}"
    return f"differs in {np.count_nonzero(wrong)} of {wrong.size} places"


def _numeric(value) -> None:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # a ragged list
        return


def _brief(value) -> str:
    if np.ndim(value):
        return f"array of shape {np.shape(value)}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
