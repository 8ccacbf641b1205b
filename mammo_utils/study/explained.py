"""Every method and layer scored on the detected cancers of phantom women: which map finds the lesion?

Only views that the classifier calls, at a threshold from other women, are scored, for the map of a missed
cancer has nothing to find; the others say whether the classifier is good enough for its maps to be ranked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from mammo_utils.explain import layers as places
from mammo_utils.explain import localisation, perturbation, sanity, twins
from mammo_utils.explain.cam import METHODS, explain
from mammo_utils.profile import choose
from mammo_utils.study.explained_cases import Cases, kinds

OWED = "called for the cancer"  # the kind of views whose twin without it is not called
TARGET = 1
KEYS = ["method", "layer", "score"]


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


def answers(scores: pd.DataFrame, checks: pd.DataFrame, *, layer: str, score: str, lesion: str = "all"):
    """Which method finds the lesion, by how much more than what needs no network, and is it to be trusted?

    ``scores`` of `table`, ``checks`` of `trust`.  A row a method, those without a network last: ``estimate``,
    ``low``, ``high``, the differences from each of `localisation.RIVALS` with their limits as text, ``head``
    and ``all``, the rank correlation with the method's own maps when the head and when every layer is
    scrambled, ``labels``, that with the maps of a network of permuted labels, and ``fails`` (`sanity.fails`).

    Raises ``ValueError`` for an unknown layer, score or kind of lesion.
    """
    for name, value in {"layer": layer, "score": score, "lesion": lesion}.items():
        choose(name, value, list(dict.fromkeys(scores[name])))
    own = scores.query("layer == @layer and score == @score and lesion == @lesion").set_index("method")
    found = own[["estimate", "low", "high"]].copy()
    for rival in localisation.RIVALS:
        columns = own[[f"over_{rival}{end}" for end in ("", "_low", "_high")]].to_numpy()
        found[f"over {rival}"] = [f"{x:+.2f} [{low:+.2f}, {high:+.2f}]" for x, low, high in columns]
    for method, part in checks[checks["layer"] == layer].groupby("method"):
        cascade = part[part["order"] == "cascading"]
        rank = cascade.set_index("part")["rank"].drop([sanity.NOTHING, sanity.ANOTHER], errors="ignore")
        found.loc[method, ["head", "all"]] = rank.iloc[0], rank.iloc[-1]
        found.loc[method, "labels"] = part.loc[part["order"] == "labels", "rank"].mean()
        found.loc[method, "fails"] = "yes" if sanity.fails(cascade) else "no"
    return found.loc[[name for name in (*METHODS, "centre prior", "edges") if name in found.index]]
