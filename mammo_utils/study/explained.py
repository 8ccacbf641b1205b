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
from mammo_utils.explain import localisation, perturbation, sanity, twins
from mammo_utils.explain.cam import METHODS, explain
from mammo_utils.study import screening_scores
from mammo_utils.synth.breast.lesions import cancer_shape

KINDS = ("cancer", "benign finding", "normal")
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


def called(model: nn.Module, images: ImageCache, *, threshold: float) -> pd.DataFrame:
    """What each view shows and whether ``model``, with one logit, calls it: a row a view.

    Columns: ``row`` of the cache, ``woman``, ``kind`` (one of ``KINDS``: every view of a breast with cancer
    is one), ``shape`` of the cancer that this woman has or would have, ``mm``, the diameter of a disc of the
    area that is outlined (0 where nothing is), ``logit`` and ``called``, a logit of ``threshold`` and above.
    """
    views = screening_scores.predicted(model, images)
    area = images.masks["lesion"].sum((1, 2))
    kind = np.where(views["label"] == 1, KINDS[0], np.where(area > 0, KINDS[1], KINDS[2]))
    shapes = [cancer_shape(_number(name)) for name in images.table["patient_id"]]
    mm = 2 * np.sqrt(area / np.pi) * images.geometry["spacing_mm"].to_numpy()
    found = pd.DataFrame({"row": range(len(views)), "woman": pd.factorize(images.table["group"])[0]})
    found = found.assign(kind=kind, shape=shapes, mm=mm, logit=views["logit"].to_numpy())
    return found.assign(called=found["logit"] >= threshold)


def examples(views: pd.DataFrame, *, count: int, seed: int = 0) -> pd.DataFrame:
    """At most ``count`` rows of `called` of each kind, called and not, drawn by ``seed``, one a woman.

    Of cancers and benign findings those views are taken that show them.
    """
    shown = views[(views["kind"] == KINDS[2]) | (views["mm"] > 0)].sample(frac=1, random_state=seed)
    drawn = shown.drop_duplicates("woman").groupby(["kind", "called"]).head(count)
    order = drawn["kind"].map(KINDS.index) + 0.5 * ~drawn["called"]
    return drawn.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def detected(
    model: nn.Module, images: ImageCache, *, threshold: float, count: int | None = None, seed: int = 0
) -> Cases:
    """The views of phantom women with a cancer that ``model``, with one logit, calls; at most ``count``.

    A view with a benign finding beside the cancer is left out, for mask and twin would be of both.  ``owed``:
    whether the view is called because of its cancer, that is, its twin without it is not called.

    Called is a logit of ``threshold`` and above, which is chosen on other women: that of
    `screening_file.trained`, or `operating.threshold_at` of what `screening_scores.predicted` says of the
    women ``valid``, at `screening_scores.SPECIFICITY`.

    Raises ``ValueError`` where no cancer is called.
    """
    views = called(model, images, threshold=threshold)
    label, shows = (views["kind"] == KINDS[0]).to_numpy(), (views["mm"] > 0).to_numpy()
    auc = {}
    for kind, chosen in kinds(views["shape"].to_numpy(), views["mm"].to_numpy()).items():
        rows = (chosen & label & (shows | (kind == "all"))) | ~label
        auc[kind] = roc_auc(views["logit"][rows], label[rows])
    rows = np.flatnonzero(label & shows & views["called"])
    rows = np.random.default_rng(seed).permutation(rows)
    pairs = _single(images.table.iloc[rows], images.images.shape[1], len(rows) if count is None else count)
    if not pairs:
        raise ValueError("this classifier calls no view with a cancer: there is nothing to explain")
    order = sorted(pairs, key=lambda place: rows[place])
    rows, pairs = rows[order], [pairs[place] for place in order]
    table = views.loc[rows, ["row", "woman", "shape", "mm", "logit"]].reset_index(drop=True)
    table = table.assign(effect=twins.effect(model, pairs))
    table = table.assign(owed=table["logit"] - table["effect"] < threshold)
    pixels = (images.images[rows] / 65535).astype(np.float32)
    masks = (np.asarray(images.masks[name][rows]) for name in ("lesion", "foreground"))
    return Cases(pixels, *masks, table, pairs, auc)


def kinds(shapes: np.ndarray, mm: np.ndarray) -> dict[str, np.ndarray]:
    """Which of N lesions are of each kind: all, by type and by size."""
    specks = np.array(["calcifications" in shape for shape in shapes], bool)
    found = {"all": np.ones(len(specks), bool), "masses": ~specks, "calcifications": specks}
    return found | {f"up to {SMALL:g} mm": mm <= SMALL, f"over {SMALL:g} mm": mm > SMALL}


def measure(
    model: nn.Module,
    cases: Cases,
    *,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    steps: int = perturbation.STEPS,
    perturbed: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Every score of every map: a row an image, method, layer and score.

    ``layers``: by default all encoder parts but the stem.  ``perturbed``: how many of the images get
    insertion and deletion, which take many passes; by default all.  Columns: ``image``, ``woman``, ``shape``,
    ``mm``, ``owed``, ``method``, ``layer``, ``score``, ``value``, ``chance``, ``centre``, ``edges`` (what
    these reach on the same image) and ``ceiling``.  Beside the methods stand ``centre prior`` and ``edges``.
    Scores: those of `localisation.SCORES`; ``twin``, that of `twins.agreement`, whose ceiling is the
    difference itself; ``insertion`` and ``deletion`` (low is good), whose chance is one random map an image
    and whose ceiling the lesion, which is no bound: a network need not look there.
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
            name: perturbation.curves(model, inputs[:perturbed], heat[:perturbed], **options).areas
            for name, heat in (maps | {"random": draws[0]}).items()
        }
        for place, name in enumerate(("insertion", "deletion")):
            scores[name] = {method: both[place] for method, both in areas.items()}
        for score, values in scores.items():
            rivals = {"chance": values.pop("random"), "ceiling": values.pop("lesion")}
            rivals |= {"centre": values["centre prior"], "edges": values["edges"]}
            frames += [
                cases.table.iloc[: len(value)][["woman", "shape", "mm", "owed"]]
                .assign(image=cases.table["row"], method=method, layer=layer, score=score)
                .assign(value=value, **rivals)
                for method, value in values.items()
            ]
    return pd.concat(frames, ignore_index=True)


def table(measured: pd.DataFrame, auc: dict[str, float], *, n: int = 1000) -> pd.DataFrame:
    """`localisation.summary` of `measure`, with ``auc`` of the kind of lesion and the ``rank`` of a method.

    Maps of the network (not the references) are ranked within a layer, score and kind of lesion, 1 being the
    best: layers differ in their ceilings, and the best of all layers would be chosen on the views that it is
    scored on.  Where the AUC is below `localisation.RANKABLE` they are not ranked (NaN).  Of ``deletion`` a
    negative difference is good.
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


def trust(
    model: nn.Module,
    cases: Cases,
    *,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    blind: nn.Module | None = None,
    count: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The sanity checks of every method and layer on the first ``count`` cases: does a map need the network?

    Columns: ``method``, ``layer``, ``order`` (those of `sanity.ORDERS`, and ``labels`` where there is a
    network ``blind``, of `relabelled.learn`) and those of `sanity.summary`; the part of ``labels`` is
    ``permuted labels``.
    """
    layers = [name for name in places.names(model) if name != "stem"] if layers is None else layers
    inputs, inside = torch.from_numpy(cases.images[:count])[:, None], cases.breast[:count]
    women, rows = cases.table["woman"].to_numpy()[:count], []
    for layer in layers:
        for method in methods:
            own = {"target": TARGET, "method": method, "layer": layer}
            found = {
                order: sanity.randomisation(model, inputs, inside, order=order, seed=seed, **own)
                for order in sanity.ORDERS
            }
            if blind is not None:
                other = sanity.between(model, blind, inputs, inside, **own)
                found["labels"] = other.assign(part="permuted labels", image=range(len(other)))
            for order, one in found.items():
                named = sanity.summary(one, women).assign(method=method, layer=layer, order=order)
                rows.append(named[["method", "layer", "order", *named.columns[:-3]]])
    return pd.concat(rows, ignore_index=True)


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
