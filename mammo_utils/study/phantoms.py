"""The phantom women that studies learn from and are scored on, and the controls that need no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mammo_utils import profile
from mammo_utils.data import cache, catalogs
from mammo_utils.data.lock import locked
from mammo_utils.evaluation.segmentation import dice, percent_density
from mammo_utils.synth import breast, exams

# Women of a cohort that a study uses.  Ten runs learn from ten disjoint draws of DRAW women of `train`.
WOMEN = {"train": 640, "valid": 160, "test": 500, "final": 500, "develop": 264}
DRAW = 64
LEVELS = np.linspace(0.1, 1.0, 61)  # candidates for the one intensity threshold


def women(
    name: str,
    *,
    size: int,
    count: int | None = None,
    shifted: bool = False,
    likeness: float = breast.LIKENESS,
    vendors: str = "woman",
    workers: int = 1,
) -> cache.ImageCache:
    """Four views of the first ``count`` women (by default ``WOMEN``) of a cohort, prepared at ``size``.

    They are written once, as DICOM files of twice the size in `profile.cache_dir`, and read by the same door
    as a real data set.  Rows are in the order of the women.  ``likeness`` of left and right and ``vendors``
    are those of `breast.exam`; women who differ from the default in them lie in a folder of their own.
    """
    count = WOMEN[name] if count is None else count
    site = "_shifted" * shifted
    kind = "" if likeness == breast.LIKENESS else f"_likeness_{float(likeness)}"
    kind += "" if vendors == "woman" else f"_vendors_{vendors}"
    folder = profile.cache_dir() / f"phantom_{breast.VERSION}" / f"{name}{site}_{count}_{size}{kind}"
    patients = exams.cohort(name, shifted=shifted)[:count]
    return kept(folder, patients, size=size, workers=workers, likeness=likeness, vendors=vendors)


def kept(folder: Path, patients, *, size: int, workers: int = 1, **options) -> cache.ImageCache:
    """The cache of ``patients`` in ``folder``, made at the first call.

    ``options`` are those of `exams.write`.  The folder must be named after whatever may differ: what lies in
    it is taken as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not (folder / "cache" / "table.csv").is_file():
            files = {"layout": "phantom", "size": 2 * size, "workers": workers}
            exams.write(folder / "files", patients, **files, **options)
            table = catalogs.load("phantom", folder / "files")
            cache.build(table, folder / "cache", size=size, workers=workers)
    return cache.ImageCache.open(folder / "cache")


def draw(images: cache.ImageCache, first: int, count: int | None = None) -> np.ndarray:
    """Rows of ``count`` women, by default of all there are, from the one numbered ``first`` on.

    Raises ``ValueError`` for fewer: runs that learn from unequally many women could not be compared.
    """
    groups = images.table["group"].to_numpy(str)
    names = np.unique(groups)
    end = len(names) if count is None else first + count
    if not 0 <= first < end <= len(names):
        raise ValueError(f"women {first} to {end - 1} are wanted, and there are 0 to {len(names) - 1}")
    return np.flatnonzero(np.isin(groups, names[first:end]))


def above(images, rows: np.ndarray, level: float) -> np.ndarray:
    """What is brighter than ``level`` (0–1) inside the breast, (N, H, W) bool."""
    return (images.images[rows] > level * 65535) & images.masks["breast"][rows]


def fitted_level(images, rows: np.ndarray, target: str, levels=LEVELS) -> float:
    """The one level for all images at which `above` has the highest mean Dice with the mask ``target``."""
    wanted = images.masks[target][rows]
    return float(levels[np.argmax([dice(above(images, rows, x), wanted).mean() for x in levels])])


def controls(images, fit: np.ndarray, rows: np.ndarray, *, scored=None) -> pd.DataFrame:
    """What needs no network, on ``rows``: Dice with the truth and with reader A, and error of the density.

    A fitted intensity threshold (one for all women, inside the breast), a mean shape for each view, both
    fitted on the rows ``fit`` and on reader A as a network is, and the two readers themselves.  ``rows`` are
    of the cache ``scored`` if there is one, else of ``images`` like ``fit``.  The last column is the mean
    absolute error of percent density in points.
    """
    scored = images if scored is None else scored
    own, held, breast = images.masks, scored.masks, scored.masks["breast"][rows]
    reader = own["reader_A"][fit]

    level = fitted_level(images, fit, "reader_A")
    shape, views = np.zeros(breast.shape, bool), images.table["view"].to_numpy(str)[fit]
    for view in np.unique(views):
        same = views == view
        inside, wanted = own["breast"][fit[same]], reader[same]
        mean = wanted.mean(0)
        candidates = mean > np.quantile(mean[mean > 0], np.linspace(0, 0.98, 50))[:, None, None]
        best = candidates[np.argmax([dice(one & inside, wanted).mean() for one in candidates])]
        shape[scored.table["view"].to_numpy(str)[rows] == view] = best
    truth, first = held["dense"][rows], held["reader_A"][rows]
    predictions = {
        f"intensity threshold {level:.2f}": above(scored, rows, level),
        "mean shape": shape & breast,
        "reader A": first,
        "reader B": held["reader_B"][rows],
    }
    return pd.DataFrame({name: judged(mask, truth, first, breast) for name, mask in predictions.items()}).T


def judged(mask: np.ndarray, truth: np.ndarray, reader: np.ndarray, breast: np.ndarray) -> dict[str, float]:
    """The columns of `controls` for one prediction; all (N, H, W) bool."""
    error = percent_density(mask, breast) - percent_density(truth, breast)
    return {
        "Dice with truth": dice(mask, truth).mean().round(3),
        "Dice with reader A": dice(mask, reader).mean().round(3),
        "density MAE": np.nanmean(np.abs(error)).round(2),
    }
