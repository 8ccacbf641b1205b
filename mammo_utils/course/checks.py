"""Checks of the exercises: each says "right" or what to look at next, and never stops the notebook.

An exercise is a question in Markdown, a cell tagged ``solution`` and a cell that calls its check, such as
``checks.e02_threshold(threshold)``.  A check is a function of this module made of the two in `answers`.  In
the students' copy of the notebook the solution is cut to ``threshold = ...  # your turn``, so that the check
finds `Ellipsis` and asks for an answer.
"""

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


def e04_loss(answer: Callable) -> None:
    """Notebook 04: SimCLR's loss of one image."""
    similarity = np.array([0.9, -0.2, 0.5])
    cases = [
        ((np.array([1.0, 0.0, 0.0]), 0, 1.0), 0.551445),
        ((np.array([1.0, 0.0, 0.0]), 1, 1.0), 1.551445),
        ((similarity, 0, 0.5), 0.444771),
        ((similarity, 2, 0.1), 4.018166),
    ]
    hint = (
        "divide the similarities by the temperature, take exp; the loss is minus the log of the other "
        "version's share of their sum"
    )
    function("loss_of_one", answer, cases, hint=hint, atol=1e-5)


def e04_relations(answer: Callable) -> None:
    """Notebook 04: who attracts and who repels in multi-view learning with positives of one breast."""
    woman, side = np.array(["ann", "ann", "bea", "ann"]), np.array(["L", "R", "L", "L"])
    wanted = np.array([[0, 0, -1, 1], [0, 0, -1, 0], [-1, -1, 0, -1], [1, 0, -1, 0]])
    hint = (
        "another woman repels, whatever the side; the same woman and side attracts, but no image itself; "
        "her other breast does neither"
    )
    function("relations", answer, [((woman, side), wanted), ((woman[:1], side[:1]), [[0]])], hint=hint)


def e04_pool(answer: Callable) -> None:
    """Notebook 04: which images of an archive are of no woman with a labelled one."""
    image, woman = np.array(list("abcdef")), np.array(["ann", "bea", "ann", "cat", "bea", "dot"])
    cases = [
        ((image, woman, np.array(list(labelled))), wanted)
        for labelled, wanted in (
            ("a", [0, 1, 0, 1, 1, 1]),
            ("ed", [1, 0, 1, 0, 0, 1]),
            ("z", [1, 1, 1, 1, 1, 1]),
        )
    ]
    hint = (
        "find the women of the labelled images first, then leave out every image of these women, the ones "
        "without labels too"
    )
    function("in_pool", answer, cases, hint=hint)


def e04_worth(answer: Callable) -> None:
    """Notebook 04: the number of labels with which a curve reaches a score."""
    labels, dice = np.array([8, 16, 32, 64]), np.array([0.5, 0.6, 0.65, 0.7])
    cases = [
        ((labels, dice, score), number) for score, number in ((0.6, 16), (0.55, 2**3.5), (0.675, 2**5.5))
    ]
    cases += [((labels, dice, 0.9), 64), ((labels, dice, 0.1), 8)]
    hint = (
        "between two amounts the curve is straight over log2(labels): interpolate log2(labels) over the Dice "
        "and raise 2 to it; beyond the ends take the end"
    )
    function("worth", answer, cases, hint=hint, atol=1e-3)


def e05_adapter(answer: Callable) -> None:
    """Notebook 05: numbers in the adapter of a convolution."""
    cases = [((32, 48, 1, 1, 4), 320), ((96, 96, 3, 96, 4), 420), ((16, 1, 3, 1, 2), 50)]
    hint = (
        "A is rank × inputs of one output, which are channels / groups × kernel × kernel; B is outputs × rank"
    )
    function("adapter", answer, cases, hint=hint)


def e05_rates(answer: Callable) -> None:
    """Notebook 05: the rates of layer-wise fine-tuning, from stem to head."""
    cases = [((3, 0.01, 2.0), [0.0025, 0.005, 0.01]), ((1, 0.3, 2.6), [0.3]), ((4, 1.0, 1.0), [1.0] * 4)]
    hint = "the last part has the full rate; divide once by the decay for every part that lies above"
    function("rates", answer, cases, hint=hint)


def e05_merged(answer: Callable) -> None:
    """Notebook 05: an adapter added to the weight of a convolution."""
    weight = np.arange(8.0).reshape(2, 1, 2, 2)
    a, b = np.array([[1.0, 0, 0, 2], [0, 1, 0, 0]]), np.array([[1.0, 0], [0, 3]])
    wanted = weight + np.array([[1, 0, 0, 2], [0, 3, 0, 0]]).reshape(2, 1, 2, 2)
    cases = [
        ((weight, a, b, 2.0), wanted),
        ((weight, a, 0 * b, 2.0), weight),
        ((weight, a[:1], b[:, :1], 3.0), weight + 3 * np.outer([1, 0], [1, 0, 0, 2]).reshape(2, 1, 2, 2)),
    ]
    hint = "b @ a times alpha / rank, in the shape of the weight; the rank is the number of rows of a"
    function("merged", answer, cases, hint=hint)


def e06_tversky(answer: Callable) -> None:
    """Notebook 06: Tversky of probabilities, with one pixel of smoothing."""
    probability, target = np.array([[0.8, 0.4], [0.6, 0.0]]), np.array([[1, 1], [0, 0]])
    cases = [
        ((probability, target, 0.5, 0.5), 1 - 2.2 / 2.9),
        ((probability, target, 0.3, 0.7), 1 - 2.2 / 2.94),
        ((probability, target, 0.7, 0.3), 1 - 2.2 / 2.86),
        ((0 * probability, 0 * target, 0.3, 0.7), 0.0),
    ]
    hint = (
        "sum p·t (hits), p·(1 - t) weighted by alpha and (1 - p)·t weighted by beta; add 1 above and below. "
        "With ½ and ½ it is Dice with a smoothing of 2, not of 1"
    )
    function("tversky", answer, cases, hint=hint)


def e06_soft_density(answer: Callable) -> None:
    """Notebook 06: percent density from summed probabilities."""
    probability = np.array([[1.0, 0.5, 0.2], [0.3, 0.0, 0.9]])
    breast = np.array([[1, 1, 1], [1, 0, 0]], bool)  # the 0.9 lies outside
    cases = [((probability, breast), 50.0), ((probability, np.ones((2, 3), bool)), 100 * 2.9 / 6)]
    hint = "sum the probabilities inside the breast, divide by its pixels, times 100; no threshold"
    function("soft_density", answer, cases, hint=hint)


def e06_unbiased_cut(answer: Callable) -> None:
    """Notebook 06: the cut of the probability whose percent density has the smallest bias."""
    ramp = np.broadcast_to((np.arange(20) + 0.5) / 20, (2, 1, 20))
    breast = np.ones(ramp.shape, bool)
    cuts = np.array([0.2, 0.4, 0.6, 0.8])
    # 35 and 45 % dense: from 0.6 on 40 % are called, too many in one image and too few in the other.
    target = np.stack([ramp[0] > 0.65, ramp[1] > 0.55])
    cases = [((ramp, target, breast, cuts), 0.6), ((ramp, ramp > 0.2, breast, cuts), 0.2)]
    # Breasts of 12, 20 and 11 pixels: 0.2 has the lowest absolute error, 0.4 is best for the pixels of all
    # images together and without regard to the breast.
    three = np.broadcast_to(ramp[:1], (3, 1, 20))
    inside = np.arange(20) >= 20 - np.array([12, 20, 11])[:, None, None]
    cases.append(((three, three > np.array([0.9, 0.1, 0.1])[:, None, None], inside, cuts), 0.6))
    hint = (
        "for each cut called minus true percent density of each breast, then the mean over the images, signs "
        "kept; take the cut whose mean is nearest to 0"
    )
    function("unbiased_cut", answer, cases, hint=hint)


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
        (("SOB_B_TA-14-16184CD-100-003.png",), "14-16184"),
        (("SOB_M_DC-14-2523-40-010.png",), "14-2523"),
        (("SOB_M_LC-14-13412-400-022.png",), "14-13412"),
        (("SOB_B_F-15-29960AB-200-001.png",), "15-29960"),
    ]
    hint = "split at the dashes; year and number belong to the case, the letters behind the number to a slide"
    function("case", answer, cases, hint=hint)


def e09_gate(answer: Callable) -> None:
    """Notebook 09: the parameters of a squeeze-and-excitation gate."""
    cases = [((64, 8), 2 * 64 * 8 + 64 + 8), ((1024, 64), 2 * 1024 * 64 + 1024 + 64), ((1, 1), 4)]
    hint = "two linear layers, from the channels to the hidden ones and back, each with a bias"
    function("gate", answer, cases, hint=hint)
