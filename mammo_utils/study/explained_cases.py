"""Which views of phantom women are explained: what each shows, whether it is called, and its healthy twin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.explain import twins
from mammo_utils.study import screening_scores
from mammo_utils.synth.breast.lesions import cancer_shape

KINDS = ("cancer", "benign finding", "normal")
SMALL = 20.0  # mm: diameter of a disc of the lesion's area up to which it is small


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
    shapes = [cancer_shape(number(name)) for name in images.table["patient_id"]]
    mm = 2 * np.sqrt(area / np.pi) * images.geometry["spacing_mm"].to_numpy()
    found = pd.DataFrame({"row": range(len(views)), "woman": pd.factorize(images.table["group"])[0]})
    found = found.assign(kind=kind, shape=shapes, mm=mm, logit=views["logit"].to_numpy())
    return found.assign(called=found["logit"] >= threshold)


def examples(views: pd.DataFrame, *, count: int, seed: int = 0) -> pd.DataFrame:
    """At most ``count`` rows of `called` of each kind, called and not, drawn by ``seed``, one a woman.

    Of cancers and benign findings those views are taken that show them.
    """
    shown = views[(views["kind"] == KINDS[2]) | (views["mm"] > 0)].sample(frac=1, random_state=seed)
    # Sorted so that a woman stands for the rarer of what her views are.
    shown = shown.assign(many=shown.groupby(["kind", "called"])["row"].transform("size"))
    shown = shown.sort_values("many", kind="stable").drop(columns="many")
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


def number(patient_id: str) -> int:
    """Number of the phantom woman who is called so in a table."""
    return int(patient_id.removeprefix("P"))


def _single(table: pd.DataFrame, size: int, count: int) -> dict[int, twins.Pair]:
    """{place in ``table``: pair} of the first ``count`` views with one lesion; a woman is rendered once."""
    rendered, found = {}, {}
    keys = table[["patient_id", "laterality", "view"]].itertuples(index=False, name=None)
    for place, (name, *view) in enumerate(keys):
        if len(found) == count:
            break
        if name not in rendered:
            pairs = twins.pairs(number(name), size=size)
            rendered[name] = {(pair.laterality, pair.view): pair for pair in pairs}
        pair = rendered[name][tuple(view)]
        if len(pair.lesions) == 1:
            found[place] = pair
    return found
