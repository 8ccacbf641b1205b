"""Scores of dense-tissue masks: a table of overlap, distance and percent density with intervals by woman."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammo_utils.evaluation.density import (
    CLASSES,
    Agreement,
    agreement,
    class_codes,
    cut_points,
    density_classes,
    kappa_cells,
    kappa_of_cells,
    percent_density,
    spearman,
    weighted_kappa,
)
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.evaluation.overlap import dice, iou, precision, sensitivity
from mammo_utils.evaluation.surface import SurfaceDistance, surface_distance
from mammo_utils.profile import choose

__all__ = [
    "CLASSES",
    "METRICS",
    "Agreement",
    "SurfaceDistance",
    "agreement",
    "cut_points",
    "density_classes",
    "dice",
    "iou",
    "percent_density",
    "precision",
    "scores",
    "sensitivity",
    "spearman",
    "surface_distance",
    "weighted_kappa",
]

# Rows of the table of scores, and what each needs beside the two masks.
METRICS = {
    "dice": (),
    "iou": (),
    "sensitivity": (),
    "precision": (),
    "surface_distance": (),
    "hausdorff_95": (),
    "density_mae": ("breast",),
    "density_bias": ("breast",),
    "density_lower": ("breast",),
    "density_upper": ("breast",),
    "spearman": ("breast", "density_class"),
    "kappa": ("breast", "density_class", "cuts"),
}
_USUAL = ("dice", "density_mae", "density_bias", "spearman", "kappa")
_OVERLAPS = {"dice": dice, "iou": iou, "sensitivity": sensitivity, "precision": precision}


def scores(
    prediction,
    target,
    *,
    groups,
    weights=None,
    breast=None,
    predicted_breast=None,
    density_class=None,
    cuts=None,
    spacing=1.0,
    metrics=None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Table of scores over N images with intervals (95 % unless ``level`` differs) that resample groups.

    ``prediction``, ``target``: dense tissue, N×H×W masks; ``groups``: N keys of women; ``weights``: N weights
    of the images in every row.
    ``breast``: N×H×W masks of the breast; with it the error of percent density is scored too, in points,
    where the predicted density refers to ``predicted_breast`` if that is given.  An image whose predicted
    breast is empty is predicted to have density 0.
    ``density_class``: N classes A–D of a reader; with them (and ``breast``) the rank correlation of the
    predicted density with them, and with the three cut points ``cuts`` of `density_classes` the quadratic
    kappa of the predicted class.  ``spacing``: as in `surface_distance`.

    Rows: ``metrics``, names of `METRICS` in any order; by default ``dice``, with ``breast`` ``density_mae``
    (mean absolute error) and ``density_bias`` (mean of predicted - true), with ``density_class``
    ``spearman``, with ``cuts`` ``kappa``.  ``density_lower`` and ``density_upper`` are the limits of
    agreement.  Empty masks as in `dice` and `surface_distance`.  Columns: ``estimate``, ``low``, ``high``.

    Raises ``ValueError`` for masks that are not N×H×W of one shape, weights that are negative or all zero, an
    empty true breast, a metric that is unknown or lacks what it needs, and as `bootstrap` does.
    """
    if np.ndim(prediction) != 3:
        raise ValueError(f"masks must be N×H×W, not {np.shape(prediction)}; give one image as mask[None]")
    metrics = _wanted(metrics, breast=breast, density_class=density_class, cuts=cuts)
    weights = np.ones(len(prediction)) if weights is None else np.asarray(weights, float)
    if weights.shape != (len(prediction),) or not (weights >= 0).all() or weights.sum() == 0:
        raise ValueError(f"weights must be {len(prediction)} numbers, none negative and not all zero")

    # One number an image; what is not asked for is not computed, except percent density, which costs little.
    values = {name: overlap(prediction, target) for name, overlap in _OVERLAPS.items() if name in metrics}
    if {"surface_distance", "hausdorff_95"} & set(metrics):
        values["surface_distance"], values["hausdorff_95"] = surface_distance(
            prediction, target, spacing=spacing
        )
    if breast is not None:
        own = breast if predicted_breast is None else predicted_breast
        measured, reference = np.nan_to_num(percent_density(prediction, own)), percent_density(target, breast)
        empty = np.flatnonzero(np.isnan(reference)).tolist()
        if empty:
            raise ValueError(f"breast mask is empty for images {empty}")
        values |= {"density_mae": np.abs(measured - reference), "density_bias": measured - reference}
    if density_class is not None:
        codes = class_codes(density_class)
        if len(codes) != len(prediction):
            raise ValueError(f"density_class has {len(codes)} rows but there are {len(prediction)} images")
    if "kappa" in metrics:
        cells = kappa_cells(class_codes(density_classes(measured, cuts)), codes)
    table = np.stack(list(values.values()), axis=1)

    def all_of_them(rows):
        share = weights[rows]
        if share.sum() == 0:
            return [np.nan] * len(metrics)
        found = dict(zip(values, share @ table[rows] / share.sum(), strict=True))
        if {"density_lower", "density_upper"} & set(metrics):
            limits = agreement(measured[rows], reference[rows], weights=share)
            found |= {"density_lower": limits.lower, "density_upper": limits.upper}
        if "spearman" in metrics:
            found["spearman"] = spearman(measured[rows], codes[rows], weights=share)
        if "kappa" in metrics:
            found["kappa"] = kappa_of_cells(cells[rows], case_weights=share)
        return [found[name] for name in metrics]

    rows = np.arange(len(prediction))
    interval = bootstrap(all_of_them, rows, groups=groups, n=n, seed=seed, level=level)
    return pd.DataFrame(interval._asdict(), index=pd.Index(metrics, name="metric"))


def _wanted(metrics, **inputs) -> list[str]:
    """The rows of the table: those asked for, or the usual ones of the inputs that were given."""
    given = {name for name, value in inputs.items() if value is not None}
    if metrics is None:
        # The last thing that a metric needs is what asks for it.
        metrics = [name for name in _USUAL if given.issuperset(METRICS[name][-1:])]
    if not metrics:
        raise ValueError(f"metrics names no row; choose from: {', '.join(METRICS)}")
    for name in metrics:
        missing = set(METRICS[choose("metric", name, METRICS)]) - given
        if missing:
            raise ValueError(f"the metric {name!r} needs {' and '.join(sorted(missing))}")
    return list(metrics)
