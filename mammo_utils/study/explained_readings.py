"""What is read from heat maps in pictures, each reading as a number with an interval by woman.

Slides of the screening work read from their maps that those of malignant calls are stronger and better
focused, and that the network goes by structure.  Strength and focus become areas under the ROC curve: how
often a view that is called comes before one that is not, less one half.  The slides do not say of which class
their maps are, so focus is told both ways.  Structure is asked of the logit and not of a map: what a cancer
adds to it, and what its outline does, in standard deviations between women without cancer.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.evaluation.intervals import Interval, bootstrap, paired_t
from mammo_utils.explain import twins
from mammo_utils.explain.cam import explain
from mammo_utils.study.explained_cases import KINDS, called, number

MALIGNANT, SMOOTH = "spiculated", "circumscribed"
BRIGHT = 0.5  # of its own maximum: where a map is bright
BENIGN, CANCER = 0, 1


def table(
    model: nn.Module, images: ImageCache, *, threshold: float, women: int, n: int = 1000
) -> pd.DataFrame:
    """A row a reading: columns ``reading``, ``estimate``, ``low``, ``high`` and ``women``.

    ``strength``: of the highest value of the Grad-CAM in the last layer for the class of the call; ``focus``:
    of how small a part of the picture is bright in it, among views with any map; ``focus_malignant``: the
    same where all maps are for malignant; ``cancer``: a cancer against none; ``outline``: the cancer as a
    spiculated mass against a circumscribed one.  The latter two are of the first ``women`` whose cancer is a
    mass.  ``model`` has one logit, at which ``threshold`` calls a view.
    """
    views = called(model, images, threshold=threshold)
    group, calls = views["woman"].to_numpy(), views["called"].to_numpy(int)
    benign, malignant = (looks(model, images, target=target) for target in (BENIGN, CANCER))
    high, bright = (np.where(calls, *both) for both in zip(malignant, benign, strict=True))
    rows = {"strength": _before(high, calls, group, n=n)}
    counts = [len(np.unique(group))]
    for name, own in {"focus": bright, "focus_malignant": malignant[1]}.items():
        some = np.isfinite(own)
        rows[name] = _before(-own[some], calls[some], group[some], n=n)
        counts.append(len(np.unique(group[some])))
    healthy = views[views["kind"] == KINDS[2]].groupby("woman")["logit"].mean().std()
    added = effects(model, _patients(images, views, women), size=images.images.shape[1]) / healthy
    rows["cancer"] = paired_t(added["cancer"])
    rows["outline"] = paired_t(added[MALIGNANT] - added[SMOOTH])
    found = pd.DataFrame.from_dict({name: one._asdict() for name, one in rows.items()}, orient="index")
    return found.assign(women=[*counts, len(added), len(added)]).rename_axis("reading").reset_index()


def looks(
    model: nn.Module, images: ImageCache, *, target: int, batch: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Of each view: the highest value of its Grad-CAM for ``target`` in raw scale, and the share of the
    picture in which it is above ``BRIGHT`` of that (NaN for an empty map)."""
    high, bright = [], []
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        pixels = torch.from_numpy((images.images[rows] / 65535).astype(np.float32))[:, None]
        heat = explain(model, pixels, target=target, method="gradcam", normalise=False)
        top = heat.max((1, 2))
        high.append(top)
        bright.append(np.where(top > 0, (heat >= BRIGHT * top[:, None, None]).mean((1, 2)), np.nan))
    return np.concatenate(high), np.concatenate(bright)


def effects(model: nn.Module, patients: list[int], *, size: int) -> pd.DataFrame:
    """What the cancer of each phantom woman adds to the logit, the mean of her views: a row a woman.

    Columns: ``cancer``, as she has it, and the same with either outline.
    """
    rows = []
    for patient in patients:
        found = {"cancer": twins.pairs(patient, size=size)}
        found |= twins.reshaped(patient, (MALIGNANT, SMOOTH), size=size)
        rows.append({name: twins.effect(model, pairs).mean() for name, pairs in found.items()})
    return pd.DataFrame(rows)


def _before(values: np.ndarray, calls: np.ndarray, group: np.ndarray, *, n: int) -> Interval:
    return bootstrap(lambda value, call: roc_auc(value, call) - 0.5, values, calls, groups=group, n=n)


def _patients(images: ImageCache, views: pd.DataFrame, count: int) -> list[int]:
    """Numbers of the first ``count`` women whose cancer is a mass and is seen in a view."""
    seen = (views["kind"] == KINDS[0]) & (views["mm"] > 0)
    masses = seen & ~views["shape"].str.contains("calcifications")
    names = images.table["patient_id"][masses.to_numpy()].unique()[:count]
    return [number(name) for name in names]
