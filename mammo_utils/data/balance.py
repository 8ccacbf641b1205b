"""Few positives among many negatives: the weight that balances them, a balanced subset, balanced epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammo_utils.data.batches import Batches
from mammo_utils.data.draws import hashed


def pos_weight(label) -> float:
    """Negatives over positives of N labels 0/1: the ``pos_weight`` of a loss that balances the two.

    It belongs to these very images: a subset, such as a balanced one, has its own.

    Raises ``ValueError`` for other labels and where a class is absent.

    >>> pos_weight([1, 0, 0, 0])
    3.0
    """
    label = _labels(label)
    return float((label == 0).sum() / label.sum())


def subset(label, groups, *, seed: int = 0) -> np.ndarray:
    """N booleans that choose every group with a positive image and as many groups without one.

    ``groups``: N keys of women (or of breasts, which lets a woman be on both sides); a group comes with all
    its images, so that women with cancer bring their healthy breasts.  Which groups are chosen depends on
    ``seed`` and the order of the groups.

    Raises ``ValueError`` as `pos_weight`, and for more groups with than without a positive.

    >>> subset([1, 0, 0, 0], ["ann", "ann", "bea", "cleo"], seed=2)
    array([ True,  True,  True, False])
    """
    label, codes = _labels(label), pd.factorize(pd.Series(groups))[0]
    if len(codes) != len(label) or (codes < 0).any():
        raise ValueError(f"each of the {len(label)} images needs the key of its group")
    positive = np.bincount(codes, label) > 0
    if positive.sum() > (~positive).sum():
        raise ValueError(
            f"{positive.sum()} groups have a positive image and {(~positive).sum()} have none: a balanced "
            "subset needs as many without"
        )
    others = np.flatnonzero(~positive)
    drawn = others[np.argsort(hashed(seed, others), kind="stable")[: positive.sum()]]
    positive[drawn] = True
    return positive[codes]


class BalancedBatches(Batches):
    """`Batches` whose epoch has every positive image once and negatives that are drawn anew, shuffled.

    ``negatives``: how many to a positive, 1 by default.  Nothing is repeated within an epoch, because a
    repeated image would come with the same augmentation; an epoch is as short as the positives are few, so
    compare runs by images and not by epochs.  ``target`` is a column of 0/1; other options as in `Batches`.

    Raises: ``ValueError`` as `Batches`, for a target that is no label, and for fewer negatives than asked.
    """

    def __init__(self, cache, rows=None, *, target: str, negatives: float = 1.0, **options):
        super().__init__(cache, rows, target=target, shuffle=True, **options)
        if self._target is None:
            raise ValueError(f"target {target!r} is a mask; balance images by a column of labels")
        label = _labels(self._target.numpy())
        self._positive, self._negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
        self._wanted = round(negatives * len(self._positive))
        if not 1 <= self._wanted <= len(self._negative):
            raise ValueError(
                f"{negatives} negatives to each of {len(self._positive)} positives are {self._wanted}, and "
                f"there are {len(self._negative)}"
            )
        self.count = len(self._positive) + self._wanted
        if not len(self):
            raise ValueError(
                f"{self.count} images do not fill one batch of {self.batch_size}; lower batch_size"
            )

    def _order(self) -> np.ndarray:
        keys = hashed(self.seed, self.epoch, self._negative, 1)
        drawn = self._negative[np.argsort(keys, kind="stable")[: self._wanted]]
        chosen = np.zeros(len(self.rows), bool)
        chosen[self._positive] = chosen[drawn] = True
        order = super()._order()
        return order[chosen[order]]


def _labels(label) -> np.ndarray:
    label = np.asarray(label, float)
    if not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 or 1 throughout; leave unlabelled images out first")
    if not 0 < label.sum() < len(label):
        raise ValueError(f"{label.sum():.0f} of {len(label)} labels are positive; both classes are needed")
    return label
