"""What the two frozen tools of the course say of women at home and at another site, case by case.

The screening classifier (`screening_file`) gives a logit a breast, the density tool (`density_tool`) a
percent density and a distance a view.  Beside each stands who the woman is and what she has, so that scores
can be looked at by subgroup and the worst cases can be found: the patient number makes her again.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation import conformal
from mammo_utils.evaluation.segmentation import percent_density
from mammo_utils.models.classification import Classifier
from mammo_utils.profile import cache_dir
from mammo_utils.study import density_tool, explained_cases, phantoms, screened
from mammo_utils.synth import breast

COHORTS = ("valid", "test", "external")  # of `screened.WOMEN`: to choose by, of the same site, of another
TRAITS = ("density", "age", "vendor")  # of a woman: a reader's class A–D, years, 0 to 2


def views(model: Classifier, images: ImageCache) -> pd.DataFrame:
    """`explained_cases.called` without a threshold, with ``patient`` (her number), ``side`` and `TRAITS`.

    A row a view, in the order of the cache.
    """
    table = images.table.reset_index(drop=True)
    found = explained_cases.called(model, images, threshold=np.inf).drop(columns=["called", "woman"])
    return found.assign(side=table["laterality"].astype(str), **_traits(table))


def breasts(model: Classifier, images: ImageCache) -> pd.DataFrame:
    """A row a breast: the highest ``logit`` of its views, and what there is to know about it.

    Columns: ``patient`` (number of the phantom woman), ``side``, ``label``, ``finding`` (of
    `explained_cases.KINDS`), ``shape`` of a cancer (empty for others), ``mm``, the largest diameter of what
    is outlined in a view, 0 where nothing is, `TRAITS` and ``logit``.
    """
    found = views(model, images)
    found["rank"] = found["kind"].map(explained_cases.KINDS.index)
    of = found.groupby(["patient", "side"], sort=False)
    table = of[[*TRAITS, "shape"]].first().assign(mm=of["mm"].max().round(1), logit=of["logit"].max())
    finding = of["rank"].min().map(lambda rank: explained_cases.KINDS[rank])
    cancer = finding == explained_cases.KINDS[0]
    table = table.assign(label=cancer.astype(int), finding=finding, shape=table["shape"].where(cancer))
    return table.reset_index()[["patient", "side", "label", "finding", "shape", "mm", *TRAITS, "logit"]]


def shown(found: pd.DataFrame, cases: pd.DataFrame, *, by: str) -> list[int]:
    """For each breast of ``cases`` the row of its view in which ``by`` is highest.

    ``found``: of `views`; ``cases`` of `breasts`; ``by``: ``mm`` or ``logit``.  Raises ``KeyError`` for a
    breast without a view.
    """
    best = found.loc[found.groupby(["patient", "side"])[by].idxmax()].set_index(["patient", "side"])["row"]
    return [int(best[case]) for case in cases[["patient", "side"]].itertuples(index=False, name=None)]


def densities(tool: density_tool.Trained, images: ImageCache, *, seed: int = 0) -> pd.DataFrame:
    """A row a woman, for one view of hers drawn by ``seed``: true and measured percent density.

    Columns: ``patient``, ``side``, ``view``, `TRAITS`, ``truth`` and ``found`` (0–100, NaN where no breast is
    found) and ``distance`` from the training women of the tool.
    """
    rows = conformal.one_each(images.table["group"], seed=seed)
    table = images.table.iloc[rows].reset_index(drop=True)
    pixels = (images.images[rows] / 65535).astype(np.float32)
    masks = {name: np.asarray(images.masks[name][rows]) for name in ("breast", "dense", "foreground")}
    dense, whole = density_tool.masks(tool.model, pixels, tool.made["threshold"])
    found = pd.DataFrame({**_traits(table), "side": table["laterality"], "view": table["view"]})
    found = found.assign(truth=percent_density(masks["dense"], masks["breast"]))
    found = found.assign(found=percent_density(dense, whole))
    found["distance"] = tool.model.distances(pixels, masks["foreground"])
    return found[["patient", "side", "view", *TRAITS, "truth", "found", "distance"]]


def _traits(table: pd.DataFrame) -> dict[str, pd.Series]:
    patient = table["patient_id"].astype(str).map(explained_cases.number)
    vendor = table["machine"].astype(str).str.removeprefix("vendor ").astype(int)
    return {
        "patient": patient,
        "density": table["density"].astype(str),
        "age": table["age"].astype(int),
        "vendor": vendor,
    }


def again(patients, cohort: str, *, size: int) -> ImageCache:
    """The women ``patients`` of a cohort of `COHORTS` once more, with the lesions that they have there.

    ``patients`` are numbers as in the tables; their views are written once, as `phantoms.women` are.
    """
    one = screened.WOMEN[cohort]
    patients = sorted({int(patient) for patient in patients})
    folder = f"{cohort}_{'_'.join(map(str, patients))}_{size}"
    home = cache_dir() / f"phantom_{breast.VERSION}" / "clinic" / folder
    return phantoms.kept(home, patients, size=size, prevalence=one.positive / (one.positive + one.negative))
