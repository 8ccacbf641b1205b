"""Checks of notebooks 07 to 10: screening, heat maps, histology, the recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mammo_utils.course.answers import function


def e07_pf1(answer: Callable) -> None:
    """Notebook 07: probabilistic F1."""
    label = np.array([1, 0, 0, 1])
    cases = [
        ((np.array([1.0, 0.5, 0.0, 0.5]), label), 3 / 4),
        ((np.array([1.0, 0.0, 0.0, 1.0]), label), 1.0),
        ((np.full(4, 0.5), label), 0.5),
        ((np.ones(4), label), 2 / 3),
    ]
    hint = "twice the sum of the probabilities of positives, over the sum of all probabilities plus positives"
    function("pf1", answer, cases, hint=hint)


def e07_pos_weight(answer: Callable) -> None:
    """Notebook 07: the weight of positives in each stage of a training."""
    cases = [
        ((54_706, 1_158), 53_548 / 1_158),
        ((800, 200), 3.0),
        ((10, 5), 1.0),
    ]
    function("pos_weight", answer, cases, hint="negatives over positives, of the images of this very stage")


def e07_crowd(answer: Callable) -> None:
    """Notebook 07: women called back and women missed among a thousand."""
    cases = [
        ((0.8, 0.9, 0.02), np.array([114.0, 4.0])),
        ((0.5, 1.0, 0.01), np.array([5.0, 5.0])),
        ((1.0, 0.0, 0.1), np.array([1000.0, 0.0])),
    ]
    hint = "called back are found cancers and false alarms; missed are the cancers that are not found"
    function("crowd", answer, cases, hint=hint)


def e08_grad_cam(answer: Callable) -> None:
    """Notebook 08: Grad-CAM from the activations and gradients of a layer."""
    activations = np.array([[[1.0, 2.0], [0.0, 4.0]], [[3.0, 0.0], [1.0, 1.0]]])
    gradients = np.array([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, -1.0], [0.0, 0.0]]])
    cases = [
        ((activations, gradients), np.array([[0.0, 1.0], [0.0, 1.5]])),
        ((activations, -gradients), np.array([[1.0, 0.0], [0.5, 0.0]])),
    ]
    hint = "the weight of a channel is the mean of its gradient; add the weighted channels, then cut at 0"
    function("grad_cam", answer, cases, hint=hint)


def e08_energy(answer: Callable) -> None:
    """Notebook 08: the share of a map that lies in the lesion."""
    heat = np.array([[0.0, 1.0], [2.0, 1.0]])
    lesion = np.array([[False, False], [True, True]])
    cases = [((heat, lesion), 0.75), ((10 * heat, lesion), 0.75), ((heat, ~lesion), 0.25)]
    function("energy", answer, cases, hint="the sum of the map inside the lesion over its sum everywhere")


def e08_chance(answer: Callable) -> None:
    """Notebook 08: how often a point dropped anywhere in the breast hits the lesion."""
    breast = np.ones((4, 5), bool)
    breast[:, 4] = False
    lesion = np.zeros((4, 5), bool)
    lesion[:2, 3:] = True  # four pixels, two of them outside the breast
    cases = [((lesion, breast), 2 / 16), ((breast, breast), 1.0)]
    hint = "pixels of the lesion that lie in the breast, over the pixels of the breast"
    function("chance", answer, cases, hint=hint)


def e08_likeness(answer: Callable) -> None:
    """Notebook 08: rank correlation of two maps within the breast."""
    before = np.array([[1.0, 2.0, 3.0], [4.0, 9.0, 0.0]])
    breast = np.array([[True, True, True], [True, False, False]])
    swapped = np.array([[2.0, 1.0, 3.0], [4.0, 0.0, 50.0]])
    cases = [
        ((before, before**3, breast), 1.0),
        ((before, -before, breast), -1.0),
        ((before, swapped, breast), 0.8),
    ]
    hint = "correlate the ranks of the values inside the breast alone; their size does not matter"
    function("likeness", answer, cases, hint=hint)


def e09_density(answer: Callable) -> None:
    """Notebook 09: optical density of the pixels of a tile."""
    cases = [
        ((np.array([239, 0]), 240), np.array([0.0, np.log(240)])),
        ((np.array([[119]]), 240), np.array([[np.log(2)]])),
        ((np.array([49]), 100), np.array([np.log(2)])),
    ]
    hint = "minus the natural logarithm of what is left of the light: (value + 1) / light"
    function("density", answer, cases, hint=hint)


def e09_case(answer: Callable) -> None:
    """Notebook 09: the case number in the name of a file of BreakHis."""
    cases = [
        (("SOB_B_TA-14-16184CD-100-003.png",), "16184"),
        (("SOB_M_DC-14-2523-40-010.png",), "2523"),
        (("SOB_M_LC-14-13412-400-022.png",), "13412"),
        (("SOB_B_F-15-29960AB-200-001.png",), "29960"),
    ]
    hint = "split at the dashes; the digits behind the year are the case, the letters behind them are a slide"
    function("case", answer, cases, hint=hint)


def e09_gate(answer: Callable) -> None:
    """Notebook 09: the parameters of a squeeze-and-excitation gate."""
    cases = [((64, 8), 2 * 64 * 8 + 64 + 8), ((1024, 64), 2 * 1024 * 64 + 1024 + 64), ((1, 1), 4)]
    hint = "two linear layers, from the channels to the hidden ones and back, each with a bias"
    function("gate", answer, cases, hint=hint)


def e10_verdict(answer: Callable) -> None:
    """Notebook 10: the rule that makes a verdict of an interval, for a claim that something rises."""
    cases = [
        ((0.01, 0.05, 0.02), "supported"),
        ((-0.01, 0.05, 0.02), "inconclusive"),
        ((0.005, 0.015, 0.02), "not supported"),
        ((-0.05, -0.01, 0.02), "not supported"),
        ((0.1, 2.0, 1.0), "supported"),
    ]
    hint = "ask first whether even the upper limit falls short of delta, then whether the lower is above 0"
    function("verdict", answer, cases, hint=hint)


def e10_interaction(answer: Callable) -> None:
    """Notebook 10: what two ingredients bring together beyond what each brings alone, seed by seed."""
    none, both = np.array([10.0, 11.0]), np.array([6.0, 8.5])
    first, second = np.array([8.0, 10.0]), np.array([9.0, 10.0])
    cases = [
        ((none, first, second, both), np.array([-1.0, -0.5])),
        ((none, none, none, none), np.zeros(2)),
        ((both, first, first, both), np.array([-4.0, -3.0])),
    ]
    hint = "the gain of the second beside the first, minus its gain alone"
    function("interaction", answer, cases, hint=hint)


def e10_cheapest(answer: Callable) -> None:
    """Notebook 10: the cheapest arm whose error is within delta of the lowest."""
    minutes, error = np.array([1.0, 7.0, 8.0, 2.0]), np.array([6.1, 5.2, 5.1, 5.9])
    cases = [
        ((minutes, error, 1.5), 0),
        ((minutes, error, 0.9), 3),
        ((minutes, error, 0.5), 1),
        ((minutes, error, 0.0), 2),
    ]
    hint = "keep the arms with error <= lowest + delta; of these return the place of the fewest minutes"
    function("cheapest", answer, cases, hint=hint)
