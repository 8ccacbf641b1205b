"""The control of label randomisation: a network that learnt as another one did, from labels that say nothing.

Its maps show what is seen in breasts by a network of this make; a method whose maps of the two networks are
alike does not show what was learnt from the labels.

Source: Adebayo 2018, arXiv 1810.03292, whose networks fit the permuted labels; here they get the images that
the network itself had, and ``fitted`` says how far they came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from mammo_utils.data.cache import ImageCache
from mammo_utils.models.classification import Classifier, build
from mammo_utils.profile import device
from mammo_utils.study import screening
from mammo_utils.study.screened import draw, women


class Network(NamedTuple):
    """A classifier, and the area under the ROC curve that it reaches on the breasts that it learnt from."""

    model: Classifier
    fitted: float


def permuted(images: ImageCache, rows: np.ndarray, *, seed: int = 0) -> ImageCache:
    """``images`` whose labels ``cancer`` have changed places between the breasts of ``rows``.

    All views of a breast get the same label, and as many breasts are positive as before.
    """
    table = images.table.iloc[rows]
    codes, names = pd.factorize(screening.breasts_of(table))
    label = np.zeros(len(names), int)
    np.maximum.at(label, codes, table["cancer"].to_numpy(int))
    everybody = images.table.copy()
    column = everybody.columns.get_loc("cancer")
    everybody.iloc[rows, column] = np.random.default_rng(seed).permutation(label)[codes]
    return replace(images, table=everybody)


def learn(settings: dict, *, seed: int = 0) -> Network:
    """Train as `screening.classify` does with ``settings`` of `screening.arm`, on permuted labels."""
    images = women(settings["cohort"], size=settings["size"])
    positive, negative = screening.DRAWN[settings["cohort"]]
    rows = draw(images, positive=positive, negative=negative, seed=seed)
    blind = permuted(images, rows, seed=seed)
    start = screening.initial(settings)
    torch.manual_seed(seed)
    model = build(settings["model"], size=settings["size"], weights=start).to(device())
    curve, _ = screening.learn(
        model, blind, rows, settings, seed=seed, watch=(blind, screening.watched(blind, rows))
    )
    return Network(model.eval(), list(curve.values())[-1])
