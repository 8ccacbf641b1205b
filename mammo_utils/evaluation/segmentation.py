"""Scores of dense-tissue masks: overlap, percent density and the agreement of two ways to measure it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mammo_utils.evaluation.intervals import bootstrap


def dice(prediction, target) -> float | np.ndarray:
    """Dice overlap 2·|A∩B| / (|A| + |B|) of two masks, 0–1, for each mask of a stack.

    Masks are ...×H×W, bool or 0/1; the result has the leading shape.  **Empty masks**: two empty masks agree
    (1), an empty and a filled one do not (0), so that a breast without dense tissue counts like any other.

    Raises ``ValueError`` for unequal shapes and for probabilities, which must be thresholded first.

    Source: Dice, Ecology 26 (1945) 297.

    >>> round(dice([[1, 1], [0, 0]], [[1, 0], [0, 0]]), 3), dice([[0, 0]], [[0, 0]]), dice([[0, 1]], [[0, 0]])
    (0.667, 1.0, 0.0)
    """
    prediction, target = _masks(prediction=prediction, target=target)
    both = np.count_nonzero(prediction & target, axis=(-2, -1))
    total = np.count_nonzero(prediction, axis=(-2, -1)) + np.count_nonzero(target, axis=(-2, -1))
    return _plain(np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1)))


def percent_density(dense, breast) -> float | np.ndarray:
    """Dense area within the breast as a percentage (0–100) of the area of the breast.

    Masks are ...×H×W; ``breast`` is without the pectoral muscle, and dense pixels outside it do not count.
    An empty breast has no density: NaN.

    >>> percent_density([[1, 1, 1]], [[1, 1, 0]]), percent_density([[1, 0, 0, 0]], [[1, 1, 1, 1]])
    (100.0, 25.0)
    """
    dense, breast = _masks(dense=dense, breast=breast)
    area = np.count_nonzero(breast, axis=(-2, -1))
    inside = np.count_nonzero(dense & breast, axis=(-2, -1))
    return _plain(np.where(area == 0, np.nan, 100 * inside / np.maximum(area, 1)))


class Agreement(NamedTuple):
    """Mean difference and the limits between which 95 % of the differences lie."""

    bias: float
    lower: float
    upper: float


def agreement(measured, reference) -> Agreement:
    """Bland–Altman agreement of two measurements of the same N images, in their unit.

    The bias is the mean of measured - reference; the limits lie 1.96 sample standard deviations to its sides.
    The intervals of all three come from ``bootstrap(agreement, measured, reference, groups=women)``.

    Raises ``ValueError`` for unequal lengths and for fewer than two images.

    Source: Bland and Altman, Lancet 327 (1986) 307.

    >>> [round(float(x), 2) for x in agreement([11, 22, 33], [10, 20, 30])]
    [2.0, 0.04, 3.96]
    """
    measured, reference = np.asarray(measured, float), np.asarray(reference, float)
    if measured.shape != reference.shape or measured.ndim != 1 or len(measured) < 2:
        shapes = f"{measured.shape} and {reference.shape}"
        raise ValueError(f"measured and reference must be of one length of two or more, not {shapes}")
    difference = measured - reference
    bias, spread = difference.mean(), 1.96 * difference.std(ddof=1)
    return Agreement(bias, bias - spread, bias + spread)


def scores(
    prediction,
    target,
    *,
    groups,
    weights=None,
    breast=None,
    predicted_breast=None,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Table of mean scores over N images with 95 % intervals that resample groups.

    ``prediction``, ``target``: dense tissue, N×H×W masks; ``groups``: N keys of women; ``weights``: N weights
    of the images in every mean.
    ``breast``: N×H×W masks of the breast; with it the error of percent density is scored too, in points,
    where the predicted density refers to ``predicted_breast`` if that is given.  An image whose predicted
    breast is empty is predicted to have density 0.

    Rows: ``dice``, and with ``breast`` ``density_mae`` (mean absolute error) and ``density_bias`` (mean of
    predicted - true).  Columns: ``estimate``, ``low``, ``high``.

    Raises ``ValueError`` for masks that are not N×H×W of one shape, weights that are negative or all zero, an
    empty true breast, and as `bootstrap` does.
    """
    columns = {"dice": dice(prediction, target)}
    if np.ndim(prediction) != 3:
        raise ValueError(f"masks must be N×H×W, not {np.shape(prediction)}; give one image as mask[None]")
    if breast is not None:
        own = breast if predicted_breast is None else predicted_breast
        error = np.nan_to_num(percent_density(prediction, own)) - percent_density(target, breast)
        if np.isnan(error).any():
            raise ValueError(f"breast mask is empty for images {np.flatnonzero(np.isnan(error)).tolist()}")
        columns |= {"density_mae": np.abs(error), "density_bias": error}
    values = np.stack(list(columns.values()), axis=1)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    if weights.shape != (len(values),) or not (weights >= 0).all() or weights.sum() == 0:
        raise ValueError(f"weights must be {len(values)} numbers, none negative and not all zero")

    def means(values, weights):
        return weights @ values / weights.sum()

    interval = bootstrap(means, values, weights, groups=groups, n=n, seed=seed)
    return pd.DataFrame(interval._asdict(), index=pd.Index(columns, name="metric"))


def _plain(values: np.ndarray) -> float | np.ndarray:
    """A float for one image, an array for a stack."""
    return values if values.ndim else float(values)


def _masks(**masks) -> list[np.ndarray]:
    """The two masks as bool arrays of one shape."""
    arrays = {name: np.asarray(mask) for name, mask in masks.items()}
    for name, array in arrays.items():
        if array.dtype != bool and not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name} holds values other than 0 and 1; threshold it first")
    (one, a), (other, b) = arrays.items()
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"{one} {a.shape} and {other} {b.shape} must both be ...×H×W of one shape")
    return [a.astype(bool), b.astype(bool)]
