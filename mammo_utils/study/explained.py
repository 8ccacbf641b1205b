"""Every method and layer scored on the detected cancers of phantom women: which map finds the lesion?

Only views that the classifier calls, at a threshold from other women, are scored, for the map of a missed
cancer has nothing to find; the others say whether the classifier is good enough for its maps to be ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.explain import layers as places
from mammo_utils.explain import localisation, perturbation, twins
from mammo_utils.explain.cam import METHODS, explain
from mammo_utils.study import screening_scores
from mammo_utils.synth.breast.lesions import cancer_shape

SMALL = 20.0  # mm: diameter of a disc of the lesion's area up to which it is small
OWED = "called for the cancer"  # the kind of views whose twin without it is not called
TARGET = 1
KEYS = ["method", "layer", "score"]


class Cases(NamedTuple):
    """Views with a cancer that the classifier detected, and how well it tells cancers at all."""

    images: np.ndarray  # (N, H, W) float32 in 0–1
    masks: np.ndarray  # (N, H, W) bool, the lesion
    breast: np.ndarray  # (N, H, W) bool, with muscle
    table: pd.DataFrame  # ``row`` of the cache, ``woman``, ``shape``, ``mm``, ``logit``, ``effect``, ``owed``
    pairs: list[twins.Pair]
    auc: dict[str, float]  # by view, of all cancers and of every kind, against all views without


def detected(
    model: nn.Module, images: ImageCache, *, threshold: float, count: int | None = None, seed: int = 0
) -> Cases:
    """The views of phantom women with a cancer that ``model``, with one logit, calls; at most ``count``.

    A view with a benign finding beside the cancer is left out, for mask and twin would be of both.  ``owed``:
    whether the view is called because of its cancer, that is, its twin without it is not called.

    Called is a logit of ``threshold`` and above, which is chosen on other women: `operating.threshold_at` of
    what `screening_scores.predicted` says of the women ``valid``, at `screening_scores.SPECIFICITY`.

    Raises ``ValueError`` where no cancer is called.
    """
    views = screening_scores.predicted(model, images)
    logit, label = views["logit"].to_numpy(), views["label"].to_numpy() == 1
    shapes = np.array([cancer_shape(_number(name)) for name in images.table["patient_id"]])
    area = images.masks["lesion"].sum((1, 2))
    mm = 2 * np.sqrt(area / np.pi) * images.geometry["spacing_mm"].to_numpy()
    auc = {}
    for kind, chosen in kinds(shapes, mm).items():
        rows = (chosen & label & ((area > 0) | (kind == "all"))) | ~label
        auc[kind] = roc_auc(logit[rows], label[rows])
    rows = np.flatnonzero(label & (area > 0) & (logit >= threshold))
    rows = np.random.default_rng(seed).permutation(rows)
    pairs = _single(images.table.iloc[rows], images.images.shape[1], len(rows) if count is None else count)
    if not pairs:
        raise ValueError("this classifier calls no view with a cancer: there is nothing to explain")
    order = sorted(pairs, key=lambda place: rows[place])
    rows, pairs = rows[order], [pairs[place] for place in order]
    women, effect = pd.factorize(images.table["group"])[0], twins.effect(model, pairs)
    about = {"row": rows, "woman": women[rows], "shape": shapes[rows], "mm": mm[rows]}
    about |= {"logit": logit[rows], "effect": effect, "owed": logit[rows] - effect < threshold}
    pixels = (images.images[rows] / 65535).astype(np.float32)
    masks = (np.asarray(images.masks[name][rows]) for name in ("lesion", "foreground"))
    return Cases(pixels, *masks, pd.DataFrame(about), pairs, auc)


def kinds(shapes: np.ndarray, mm: np.ndarray) -> dict[str, np.ndarray]:
    """Which of N lesions are of each kind: all, by shape and by size."""
    found = {"all": np.ones(len(shapes), bool)}
    found |= {str(shape): shapes == shape for shape in sorted(set(shapes))}
    return found | {f"up to {SMALL:g} mm": mm <= SMALL, f"over {SMALL:g} mm": mm > SMALL}


def measure(
    model: nn.Module,
    cases: Cases,
    *,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    steps: int = perturbation.STEPS,
    seed: int = 0,
) -> pd.DataFrame:
    """Every score of every map: a row an image, method, layer and score.

    ``layers``: by default all encoder parts but the stem.  Columns: ``image``, ``woman``, ``shape``, ``mm``,
    ``owed``, ``method``, ``layer``, ``score``, ``value``, ``chance`` and ``ceiling``.  Beside the methods
    stand ``centre prior`` and ``edges``.  Scores: those of `localisation.SCORES`; ``twin``, that of
    `twins.agreement`, whose ceiling is the difference itself; ``insertion`` and ``deletion`` (low is good),
    whose chance is one random map an image and whose ceiling the lesion, which is no bound: a network need
    not look there.
    """
    layers = [name for name in places.names(model) if name != "stem"] if layers is None else layers
    inputs = torch.from_numpy(cases.images)[:, None]
    change, frames = twins.difference(cases.pairs), []
    for layer in layers:
        grid = places.find(model, inputs[:1], layer).grid
        maps = {
            method: explain(model, inputs, target=TARGET, method=method, layer=layer, normalise=False)
            for method in methods
        }
        maps |= localisation.references(grid, cases.images, cases.breast, cases.masks)
        # Random maps end where the breast does: what a coarse cell spills beyond counts for no map.
        maps = {name: heat * cases.breast for name, heat in maps.items()}
        scores = {
            name: {method: own(heat, cases.masks) for method, heat in maps.items()}
            | {"random": localisation.chance(own, grid, cases.breast, cases.masks, seed=seed)}
            for name, own in localisation.SCORES.items()
        }
        draws = localisation.random(grid, cases.breast, seed=seed, draws=localisation.DRAWS)
        seen = maps | {"lesion": grid.passed(change)}
        scores["twin"] = {name: twins.agreement(heat, cases.pairs) for name, heat in seen.items()}
        scores["twin"]["random"] = np.mean([twins.agreement(one, cases.pairs) for one in draws], axis=0)
        options = {"target": TARGET, "steps": steps, "seed": seed}
        areas = {
            name: perturbation.curves(model, inputs, heat, **options).areas
            for name, heat in (maps | {"random": draws[0]}).items()
        }
        for place, name in enumerate(("insertion", "deletion")):
            scores[name] = {method: both[place] for method, both in areas.items()}
        for score, values in scores.items():
            chance, ceiling = values.pop("random"), values.pop("lesion")
            frames += [
                cases.table[["woman", "shape", "mm", "owed"]]
                .assign(image=cases.table["row"], method=method, layer=layer, score=score)
                .assign(value=value, chance=chance, ceiling=ceiling)
                for method, value in values.items()
            ]
    return pd.concat(frames, ignore_index=True)


def table(measured: pd.DataFrame, auc: dict[str, float], *, n: int = 1000) -> pd.DataFrame:
    """`localisation.summary` of `measure`, with ``auc`` of the kind of lesion and the ``rank`` of a method.

    Maps of the network (not the references) are ranked within a layer, score and kind of lesion, 1 being the
    best: layers differ in their ceilings, and the best of all layers would be chosen on the views that it is
    scored on.  Where the AUC is below `localisation.RANKABLE` they are not ranked (NaN).  A negative ``gain``
    of ``deletion`` is good.
    """
    every = kinds(measured["shape"].to_numpy(), measured["mm"].to_numpy())
    every[OWED], auc = measured["owed"].to_numpy(bool), auc | {OWED: auc["all"]}
    found = localisation.summary(measured, KEYS, kinds={k: v for k, v in every.items() if v.any()}, n=n)
    found["auc"] = found["lesion"].map(auc)
    good = found["estimate"].where(found["score"] != "deletion", -found["estimate"])
    ranked = found["method"].isin(METHODS) & (found["auc"] >= localisation.RANKABLE)
    within = [found[column] for column in ("layer", "score", "lesion")]
    found["rank"] = good[ranked].groupby(within).rank(ascending=False, method="min")
    return found


def _number(patient_id: str) -> int:
    return int(patient_id.removeprefix("P"))


def _single(table: pd.DataFrame, size: int, count: int) -> dict[int, twins.Pair]:
    """{place in ``table``: pair} of the first ``count`` views with one lesion; a woman is rendered once."""
    rendered, found = {}, {}
    keys = table[["patient_id", "laterality", "view"]].itertuples(index=False, name=None)
    for place, (name, *view) in enumerate(keys):
        if len(found) == count:
            break
        if name not in rendered:
            pairs = twins.pairs(_number(name), size=size)
            rendered[name] = {(pair.laterality, pair.view): pair for pair in pairs}
        pair = rendered[name][tuple(view)]
        if len(pair.lesions) == 1:
            found[place] = pair
    return found
