"""Checks of notebooks 00 to 03: images, splits and scores, architectures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mammo_utils.course.answers import compare, function


def e00_percent_density(answer: Callable) -> None:
    """Notebook 00: percent density from a dense and a breast mask."""
    breast = np.zeros((4, 5), bool)
    breast[:, :4] = True
    dense = np.zeros((4, 5), bool)
    dense[:2, 3:] = True  # four pixels, two of them outside the breast
    hint = "count the dense pixels that lie in the breast, divide by the pixels of the breast, times 100"
    function("percent_density", answer, [((dense, breast), 12.5), ((breast, breast), 100.0)], hint=hint)


def e01_window(answer: Callable) -> None:
    """Notebook 01: a LINEAR_EXACT window on the 0–1 scale, also of unsigned integers."""
    values = np.array([0, 100, 150, 200, 500], np.uint16)
    cases = [
        ((values, 150, 100), np.array([0, 0, 0.5, 1, 1])),
        ((values, 100, 400), np.array([0.25, 0.5, 0.625, 0.75, 1])),
    ]
    function(
        "window",
        answer,
        cases,
        hint="make floats first; the centre becomes 0.5, half the width to each side 0 and 1; clip",
    )


def e01_pixel(answer: Callable) -> None:
    """Notebook 01: pixel size after a resize."""
    hint = "the breast keeps its height in mm: old pixels times old mm, divided by the new pixels"
    function("pixel_mm", answer, [((3328,), 0.07), ((256,), 0.91)], hint=hint)


def e02_straddling(answer: Callable) -> None:
    """Notebook 02: women on both sides of a split by image."""
    hint = "a woman is on one side only if all four images are held out, or none is"
    function("straddling", answer, [((0.5,), 0.875), ((0.2,), 0.5888), ((0.0,), 0.0)], hint=hint)


def e02_dice(answer: Callable) -> None:
    """Notebook 02: Dice with the rule for empty masks."""
    first, second, empty = (np.array(mask, bool) for mask in ([1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]))
    cases = [((first, second), 0.4), ((first, first), 1.0), ((first, empty), 0.0), ((empty, empty), 1.0)]
    function("dice", answer, cases, hint="twice the shared pixels over the sum of both; mind two empty masks")


def e02_predictive_value(answer: Callable) -> None:
    """Notebook 02: positive predictive value."""
    cases = [((0.8, 0.1, 0.02), 0.016 / 0.114), ((0.8, 0.1, 0.005), 0.004 / 0.1035), ((1.0, 0.0, 0.3), 1.0)]
    hint = "divide the women who have cancer and are called by all women who are called"
    function("positive_predictive_value", answer, cases, hint=hint)


def e03_convolution(answer: Callable) -> None:
    """Notebook 03: operations of a convolution."""
    cases = [((128, 104, 1, 16, 3), 3_833_856), ((64, 52, 16, 16, 3), 15_335_424), ((4, 4, 8, 2, 1), 512)]
    hint = (
        "each of the H×W×outside numbers is a sum of kernel×kernel×inside products; product and sum are two"
    )
    function("convolution", answer, cases, hint=hint)


def e03_attention(answer: Callable) -> None:
    """Notebook 03: operations of the two products of attention."""
    cases = [((1, 1), 4), ((56, 64), 802_816), ((224, 64), 12_845_056)]
    hint = (
        "every token meets every token twice, in queries × keys and in weights × values; "
        "each time length products and as many sums"
    )
    function("attention", answer, cases, hint=hint)


def e03_growth(answer: Sequence[float]) -> None:
    """Notebook 03: growth of both when the image's sides double."""
    hint = "there are four times as many pixels, and four times as many tokens; which of them enters squared?"
    compare("growth", answer, (4, 16), hint=hint)


def e03_area_ratio(answer: Callable) -> None:
    """Notebook 03: predicted over true area from sensitivity and precision."""
    cases = [((0.8, 0.8), 1.0), ((0.9, 0.6), 1.5), ((0.5, 1.0), 0.5)]
    hint = "the hits are sensitivity × true area and also precision × predicted area"
    function("area_ratio", answer, cases, hint=hint)


def e03_paired_interval(answer: Callable) -> None:
    """Notebook 03: the t-interval of paired differences."""
    first, second = np.array([0.60, 0.66, 0.62]), np.array([0.63, 0.67, 0.67])
    cases = [((first, second), np.array([0.03, -0.019683, 0.079683])), ((first, first), np.zeros(3))]
    hint = (
        "take second − first, seed by seed; the limits are its mean ∓ half, where half is its standard "
        "deviation (ddof=1) over √n, times the t-quantile 0.975"
    )
    function("paired_interval", answer, cases, hint=hint, atol=1e-5)
