"""Overlap of two masks: Dice, intersection over union, sensitivity and precision."""

from __future__ import annotations

import numpy as np


def dice(prediction, target) -> float | np.ndarray:
    """Dice overlap 2·|A∩B| / (|A| + |B|) of two masks, 0–1, for each mask of a stack.

    Masks are ...×H×W, bool or 0/1; the result has the leading shape.  **Empty masks**: two empty masks agree
    (1), an empty and a filled one do not (0), so that a breast without dense tissue counts like any other.

    Raises ``ValueError`` for unequal shapes and for probabilities, which must be thresholded first.

    Source: Dice, Ecology 26 (1945) 297.

    >>> round(dice([[1, 1], [0, 0]], [[1, 0], [0, 0]]), 3), dice([[0, 0]], [[0, 0]]), dice([[0, 1]], [[0, 0]])
    (0.667, 1.0, 0.0)
    """
    both, predicted, true = _areas(prediction, target)
    return _share(2 * both, predicted + true, predicted + true)


def iou(prediction, target) -> float | np.ndarray:
    """Intersection over union |A∩B| / |A∪B| of two masks, 0–1; masks, empty masks and errors as in `dice`.

    It orders two predictions of one image as Dice does: IoU = Dice / (2 - Dice).

    Source: Jaccard, New Phytologist 11 (1912) 37.

    >>> iou([[1, 1], [0, 0]], [[1, 0], [0, 0]])
    0.5
    """
    both, predicted, true = _areas(prediction, target)
    return _share(both, predicted + true - both, predicted + true)


def sensitivity(prediction, target) -> float | np.ndarray:
    """Share |A∩B| / |B| of the target (B) that the prediction found, 0–1; masks and errors as in `dice`.

    **Empty masks** as in `dice`: both empty 1, one empty 0.  An empty target alone would leave 0/0; counted
    as 0 rather than left out, every image stays in the mean and two methods are compared on the same images.

    >>> sensitivity([[1, 1, 1, 0]], [[0, 0, 1, 1]])
    0.5
    """
    both, predicted, true = _areas(prediction, target)
    return _share(both, true, predicted + true)


def precision(prediction, target) -> float | np.ndarray:
    """Share |A∩B| / |A| of the prediction (A) that is in the target, 0–1; masks and errors as in `dice`.

    **Empty masks** as in `dice`: both empty 1, one empty 0, so that predicting nothing where it is difficult
    does not raise the mean precision.

    >>> round(precision([[1, 1, 1, 0]], [[0, 0, 1, 1]]), 3)
    0.333
    """
    both, predicted, true = _areas(prediction, target)
    return _share(both, predicted, predicted + true)


def pair(**masks) -> list[np.ndarray]:
    """The two named masks as bool arrays of one shape ...×H×W; raises ``ValueError`` with their names."""
    arrays = {name: np.asarray(mask) for name, mask in masks.items()}
    for name, array in arrays.items():
        if array.dtype != bool and not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name} holds values other than 0 and 1; threshold it first")
    (one, a), (other, b) = arrays.items()
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"{one} {a.shape} and {other} {b.shape} must both be ...×H×W of one shape")
    return [a.astype(bool), b.astype(bool)]


def plain(values: np.ndarray) -> float | np.ndarray:
    """A float for one image, an array for a stack."""
    return values if values.ndim else float(values)


def _areas(prediction, target) -> list[np.ndarray]:
    """Pixels in both masks, in the prediction and in the target."""
    prediction, target = pair(prediction=prediction, target=target)
    return [np.count_nonzero(mask, axis=(-2, -1)) for mask in (prediction & target, prediction, target)]


def _share(part, whole, filled) -> float | np.ndarray:
    """part / whole; where the whole is empty 0, or 1 if nothing is ``filled`` in either mask."""
    return plain(np.where(filled == 0, 1.0, part / np.maximum(whole, 1)))
