"""The phantom women that studies learn from and are scored on, and the controls that need no network."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammo_utils import profile
from mammo_utils.data import cache, catalogs
from mammo_utils.data.lock import locked
from mammo_utils.evaluation.segmentation import dice
from mammo_utils.synth import breast, exams

# Women of a cohort that a study uses.  Ten runs learn from ten disjoint draws of DRAW women of `train`.
WOMEN = {"train": 640, "valid": 160, "test": 500, "develop": 264}
DRAW = 64
LEVELS = np.linspace(0.1, 1.0, 61)  # candidates for the one intensity threshold


def women(
    name: str, *, size: int, count: int | None = None, shifted: bool = False, workers: int = 1
) -> cache.ImageCache:
    """Four views of the first ``count`` women (by default ``WOMEN``) of a cohort, prepared at ``size``.

    They are written once, as DICOM files of twice the size in `profile.cache_dir`, and read by the same door
    as a real data set.  Rows are in the order of the women.
    """
    count = WOMEN[name] if count is None else count
    site = "_shifted" * shifted
    folder = profile.cache_dir() / f"phantom_{breast.VERSION}" / f"{name}{site}_{count}_{size}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not (folder / "cache" / "table.csv").is_file():
            patients = exams.cohort(name, shifted=shifted)[:count]
            exams.write(folder / "files", patients, layout="phantom", size=2 * size, workers=workers)
            table = catalogs.load("phantom", folder / "files")
            cache.build(table, folder / "cache", size=size, workers=workers)
    return cache.ImageCache.open(folder / "cache")


def draw(images: cache.ImageCache, first: int, count: int) -> np.ndarray:
    """Rows of ``count`` women, from the one numbered ``first`` on."""
    names = np.unique(images.table["group"].to_numpy(str))[first : first + count]
    return np.flatnonzero(np.isin(images.table["group"].to_numpy(str), names))


def controls(images: cache.ImageCache, fit: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """Dice that needs no network, on ``rows``, with the truth and with reader A.

    A fitted intensity threshold (one for all women, inside the breast), a mean shape for each view, both
    fitted on the rows ``fit`` and on reader A as a network is, and the two readers themselves.
    """
    masks = images.masks

    def inside(level: float, chosen: np.ndarray) -> np.ndarray:
        return (images.images[chosen] > level * 65535) & masks["breast"][chosen]

    level = LEVELS[np.argmax([dice(inside(x, fit), masks["reader_A"][fit]).mean() for x in LEVELS])]
    shape, view = np.zeros(masks["breast"][rows].shape, bool), images.table["view"].to_numpy(str)
    for name in np.unique(view[rows]):
        own, held = fit[view[fit] == name], view[rows] == name
        mean = masks["reader_A"][own].mean(0)
        candidates = mean > np.quantile(mean[mean > 0], np.linspace(0, 0.98, 50))[:, None, None]
        found = [dice(c & masks["breast"][own], masks["reader_A"][own]).mean() for c in candidates]
        shape[held] = candidates[np.argmax(found)] & masks["breast"][rows[held]]
    predictions = {
        f"intensity threshold {level:.2f}": inside(level, rows),
        "mean shape": shape,
        "reader A": masks["reader_A"][rows],
        "reader B": masks["reader_B"][rows],
    }
    against = {"truth": masks["dense"][rows], "reader A": masks["reader_A"][rows]}
    table = {
        name: {f"Dice with {other}": dice(mask, wanted).mean() for other, wanted in against.items()}
        for name, mask in predictions.items()
    }
    return pd.DataFrame(table).T.round(3)
