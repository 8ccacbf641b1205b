"""Checks of notebooks 04 to 06: self-supervision, fine-tuning, losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mammo_utils.course.answers import function


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
