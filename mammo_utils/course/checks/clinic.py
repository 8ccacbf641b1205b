"""Checks of notebook 11: what stands between a score and its use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mammo_utils.course.answers import function


def e11_observed(answer: Callable) -> None:
    """Notebook 11: observed over expected positives."""
    label = np.array([1.0, 0.0, 0.0, 1.0])
    cases = [
        ((np.array([0.5, 0.5, 0.5, 0.5]), label, np.ones(4)), 1.0),
        ((np.array([0.25, 0.25, 0.25, 0.25]), label, np.ones(4)), 2.0),
        ((np.array([0.5, 0.1, 0.1, 0.5]), label, np.array([1.0, 5.0, 5.0, 1.0])), 1.0),
    ]
    hint = "the weights of the positives, over the sum of weight times probability of everybody"
    function("observed_over_expected", answer, cases, hint=hint)


def e11_break_even(answer: Callable) -> None:
    """Notebook 11: how readily a reader may be reassured before they find fewer cancers than alone."""
    cases = [
        ((0.8, 0.5, 0.5), 0.125),
        ((0.8, 0.1, 0.5), 1 / 72),
        ((0.5, 0.5, 1.0), 1.0),
        ((0.9, 0.4, 0), 0.0),
    ]
    hint = "gained: reader silent, machine calls, reader follows; lost: reader calls, machine silent, dropped"
    function("break_even", answer, cases, hint=hint)


def e11_margin(answer: Callable) -> None:
    """Notebook 11: the conformal margin of nine in ten."""
    errors = np.array([3.0, -1, 2, -4, 5, 0.5, -6, 7, -8])
    cases = [
        ((errors,), 8.0),
        ((np.append(errors, np.zeros(10)),), 7.0),
        ((-np.arange(1.0, 100.0),), 90.0),
    ]
    hint = (
        "sort the sizes without their signs, and take the one with the number ⌈0.9 · (n + 1)⌉, counted from 1"
    )
    function("margin", answer, cases, hint=hint)
