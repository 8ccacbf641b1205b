"""The phantom tiles of the histology study: patients by cohort, source domains, and batches of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mammo_utils import profile
from mammo_utils.data import catalogs
from mammo_utils.data.lock import locked
from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.synth import fractals, histology
from mammo_utils.synth.histology import sources

# Patients of a cohort and fields of each at a magnification.  A run learns from PATIENTS of them, whose last
# HELD fields are left out: what a split by image would be judged on.  Validation patients, who are looked at
# often, have one field: of two, the second says little more of a patient.
COHORTS = {"develop": (480, 6), "train": (480, 6), "valid": (120, 1), "test": (240, 4)}
PATIENTS, HELD = 80, 2
# Of each class of a source domain: a fifth of those of LC25000, with 20 copies each as there.
ORIGINALS = 50
DOMAINS = ("patterns", "fractals", "organs")
PORTION, BATCH = 160, 32  # tiles between two looks at the validation patients, and of a step
STRENGTH = 0.25  # of varied stains
CLASSES = list(histology.SUBTYPES)


def patients(
    name: str, *, magnification: int, regime: str = "irrelevant", size: int = 96, workers: int = 1
) -> Tiles:
    """Tiles of the phantom patients of a cohort, drawn at the first call and kept.

    The table has ``cancer``, ``kind`` (0–7, place in `CLASSES`), ``magnification``, ``lab``, ``field`` and
    ``group``.

    Raises ``ValueError`` for an unknown cohort, magnification or regime.
    """
    count, fields = COHORTS[profile.choose("cohort", name, COHORTS)]
    profile.choose("magnification", magnification, histology.MAGNIFICATIONS)
    profile.choose("stain regime", regime, histology.REGIMES)

    def one(number: int) -> list[tuple]:
        person = histology.patient(number, regime=regime)
        known = {"cancer": person.label, "kind": CLASSES.index(person.subtype), "lab": person.lab}
        known |= {"magnification": magnification, "group": f"patient {number}"}
        return [
            (
                histology.tile(person, field, magnification=magnification, size=size).image,
                known | {"field": field},
            )
            for field in range(fields)
        ]

    numbers = histology.cohort(name)[:count]
    return _kept(f"{name}_{count}x{fields}_{magnification}_{regime}_{size}", one, numbers, workers)


def domain(name: str, *, size: int = 96, workers: int = 1) -> Tiles:
    """5,000 tiles of a source domain: 250 originals with 20 copies each; their class is ``kind``.

    ``organs`` and ``patterns`` have five classes of 50 originals, ``fractals`` 250 formulae of 20 instances.

    Raises ``ValueError`` for an unknown domain.
    """
    profile.choose("source domain", name, DOMAINS)
    if name == "fractals":
        made = fractals.arrays(5 * ORIGINALS, sources.COPIES, size=size)
        images = np.repeat((made.images >> 8).astype(np.uint8)[..., None], 3, axis=3)
        return Tiles(images, pd.DataFrame({"kind": made.table["category"], "group": made.table["category"]}))

    def one(place: int) -> list[tuple]:
        kind, number = divmod(place, ORIGINALS)
        original = sources.original(sources.DOMAINS[name][kind], number, size=size)
        return [
            (sources.copy(original, place, turn), {"kind": kind, "group": f"original {place}"})
            for turn in range(sources.COPIES)
        ]

    count = len(sources.DOMAINS[name]) * ORIGINALS
    return _kept(f"{name}_{count}x{sources.COPIES}_{size}", one, range(count), workers)


def drawn(tiles: Tiles, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that run ``seed`` learns from and rows of the same patients that it does not."""
    names = tiles.table["group"].unique()
    chosen = np.random.default_rng(seed).choice(names, PATIENTS, replace=False)
    own = tiles.table["group"].isin(chosen).to_numpy()
    last = (tiles.table["field"] > tiles.table["field"].max() - HELD).to_numpy()
    return np.flatnonzero(own & ~last), np.flatnonzero(own & last)


def others(tiles: Tiles, rows: np.ndarray) -> np.ndarray:
    """Rows of the patients who have no tile among ``rows``."""
    known = tiles.table["group"].iloc[rows].unique()
    return np.flatnonzero(~tiles.table["group"].isin(known).to_numpy())


def feed(tiles: Tiles, task: str, stains: str, seed: int, *, turns: bool = True) -> TileBatches:
    """Shuffled batches of a portion of the tiles for training, stained anew if ``stains`` says so.

    ``turns``: they are turned and mirrored.
    """
    return TileBatches(
        tiles,
        target="kind" if task == "subtypes" else "cancer",
        batch_size=BATCH,
        shuffle=True,
        turns=turns,
        stains=STRENGTH if stains in ("augment", "both") else 0.0,
        seed=seed,
        limit=max(1, PORTION // BATCH),
        device=profile.device(),
    )


def _kept(name: str, one: Callable, numbers, workers: int) -> Tiles:
    """Tiles that ``one(number)`` draws for each of ``numbers``, in the folder of the phantom's version."""
    folder = profile.cache_dir() / f"histology_{histology.VERSION}" / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not (folder / "table.csv").is_file():
            done = Parallel(n_jobs=workers)(delayed(one)(number) for number in numbers)
            rows = [row for part in done for row in part]
            _save(folder / "tiles.npy", np.stack([image for image, _ in rows]))
            catalogs.write(pd.DataFrame([known for _, known in rows]), folder / "table.csv")
    return Tiles(np.load(folder / "tiles.npy", mmap_mode="r"), catalogs.read(folder / "table.csv"))


def _save(path: Path, array: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.save(file, array)
    os.replace(part, path)
