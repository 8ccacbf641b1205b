"""Phantom histology: H&E tiles of patients whose label is known, and of source domains beside them.

Every tile is a pure function of its arguments.  It is a drawing that serves leakage, stain shift, transfer
and plumbing; what holds on it is said of the phantom alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from mammo_utils.profile import choose
from mammo_utils.synth.histology import cases, layouts, sources, tissue
from mammo_utils.synth.histology.cases import (
    MALIGNANT,
    REGIMES,
    SUBTYPES,
    VERSION,
    Patient,
    observer,
    patient,
)
from mammo_utils.synth.histology.optics import FINE, shown

__all__ = ["COHORTS", "LAYOUTS", "MAGNIFICATIONS", "MALIGNANT", "REGIMES", "SUBTYPES", "VERSION"]
__all__ += ["Patient", "Tile", "amounts", "cohort", "observer", "patient", "tile", "write"]

# Edge in µm of the field of view of a tile, whatever its pixels.
MAGNIFICATIONS = {40: 640.0, 100: 256.0, 200: 128.0, 400: 64.0}
# Patients a cohort: `develop` for all tuning.
COHORTS = {"develop": 1000, "train": 4000, "valid": 1000, "test": 2000}
LAYOUTS = ("breakhis", "lc25000")


@dataclass(frozen=True)
class Tile:
    """``image`` (H, W, 3) uint8 with the ``traits`` (7,) and the ``architecture`` that it shows."""

    image: np.ndarray
    traits: np.ndarray
    architecture: str


def cohort(name: str) -> range:
    """The patients of a cohort; no two cohorts share one.

    >>> cohort("train")
    range(1000, 5000)
    """
    choose("cohort", name, COHORTS)
    names = list(COHORTS)
    first = sum(COHORTS[other] for other in names[: names.index(name)])
    return range(first, first + COHORTS[name])


def tile(
    person: Patient, number: int = 0, *, magnification: int = 200, size: int = 96, seed: int = 0
) -> Tile:
    """Field ``number`` of a patient at a magnification of `MAGNIFICATIONS`, ``size`` pixels along the edge.

    ``seed`` should be that of the patient.  The tissue is the same in every stain regime.

    Raises ``ValueError`` for an unknown magnification.

    >>> tile(patient(0), magnification=400, size=32).image.shape
    (32, 32, 3)
    """
    edge, rng, traits, architecture = _field(person, number, magnification, seed)
    image = shown(person, tissue.ARCHITECTURES[architecture], traits, rng, size=size, edge=edge)
    return Tile(image, traits, architecture)


def amounts(
    person: Patient, number: int = 0, *, magnification: int = 200, size: int = 96, seed: int = 0
) -> np.ndarray:
    """What was drawn into the `tile` of the same arguments: (2, size, size) float32, haematoxylin and eosin.

    They are those of the tissue, before a laboratory stained it: about 1 of haematoxylin in a nucleus, at
    most 0.3 elsewhere, so that what lies above 0.5 is nuclei.

    Raises ``ValueError`` as `tile`.

    >>> amounts(patient(0), magnification=400, size=32).shape
    (2, 32, 32)
    """
    edge, rng, traits, architecture = _field(person, number, magnification, seed)
    drawn = tissue.stained(tissue.ARCHITECTURES[architecture], traits, rng, size=FINE * size, edge=edge)
    return np.stack(drawn).reshape(2, size, FINE, size, FINE).mean((2, 4)).astype(np.float32)


def _field(person: Patient, number: int, magnification: int, seed: int) -> tuple:
    """The edge of a field in µm, its generator, its traits and its architecture."""
    edge = MAGNIFICATIONS[choose("magnification", magnification, MAGNIFICATIONS)]
    rng = cases.generator(cases.FIELD, seed, person.number, magnification, number)
    return edge, rng, *cases.field(person, rng)


def write(
    root,
    patients,
    *,
    layout: str,
    seed: int = 0,
    size: int = 96,
    fields: int = 4,
    regime: str = "irrelevant",
    malignant: float = MALIGNANT,
    workers: int = 1,
) -> Path:
    """Write tiles in the layout of a data set below ``root``; returns the path of a table of the truth.

    One folder can hold both layouts: the table is ``truth_breakhis.csv`` or ``truth_lc25000.csv``.

    ``"breakhis"``: PNG files of the phantom patients ``patients``, ``fields`` at each magnification;
    ``regime`` and ``malignant`` as in `patient`.  ``"lc25000"``: JPEG files of the originals numbered
    ``patients`` of each of the five classes, 20 copies each, whose file numbers say nothing about the
    original.  All files are the same for any number of ``workers``.

    Raises ``ValueError`` for an unknown layout, no patients and no fields.
    """
    choose("layout", layout, LAYOUTS)
    patients, root = [int(patient) for patient in patients], Path(root)
    if not patients or fields < 1:
        raise ValueError(f"{len(patients)} patients and {fields} fields: give 1 or more of each")
    root.mkdir(parents=True, exist_ok=True)

    def case(number: int) -> list[dict]:
        person = patient(number, seed=seed, regime=regime, malignant=malignant)
        tiles = {
            m: [tile(person, n, magnification=m, size=size, seed=seed).image for n in range(fields)]
            for m in MAGNIFICATIONS
        }
        return layouts.breakhis(root, person, tiles)

    def original(kind: str, order: int, number: int) -> list[dict]:
        places = cases.generator(sources.COPY, seed).permutation(sources.COPIES * len(patients)) + 1
        places = places[sources.COPIES * order : sources.COPIES * (order + 1)]
        image = sources.original(kind, number, size=size, seed=seed)
        return layouts.lc25000(root, kind, number, image, places, seed)

    if layout == "breakhis":
        jobs = [delayed(case)(number) for number in patients]
    else:
        jobs = [delayed(original)(kind, *one) for kind in sources.ORGANS for one in enumerate(patients)]
    done = Parallel(n_jobs=workers)(jobs)
    return layouts.table(root, [row for rows in done for row in rows], layout)
