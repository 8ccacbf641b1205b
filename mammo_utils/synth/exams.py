"""Phantom women on disk: real DICOM files and tables in the layouts of the data sets that the catalogues
read."""

from __future__ import annotations

from pathlib import Path

from joblib import Parallel, delayed

from mammo_utils.profile import choose
from mammo_utils.synth import breast, layouts, layouts_contours
from mammo_utils.synth.breast.lesions import PREVALENCE, has_cancer

# Women a cohort: `develop` for all tuning, `pool` without labels, `final` opened only by the recipe.
COHORTS = {"develop": 1000, "pool": 20000, "train": 5000, "valid": 1000, "test": 5000, "final": 2000}

# Layout → the function that writes a woman's files and the one that writes the tables.
LAYOUTS = {
    "phantom": (layouts.phantom, layouts.phantom_tables),
    "rsna": (layouts.rsna, layouts.rsna_tables),
    "vindr": (layouts.vindr, layouts.vindr_tables),
    "density": (layouts.density, layouts.density_tables),
    "inbreast": (layouts_contours.inbreast, layouts_contours.inbreast_tables),
    "cbis_ddsm": (layouts_contours.cbis_ddsm, layouts_contours.cbis_tables),
}


def cohort(name: str, *, shifted: bool = False) -> range:
    """The patients of a cohort; no two cohorts share one.

    ``name`` is one of ``develop``, ``pool``, ``train``, ``valid``, ``test``, ``final``.  ``shifted`` gives
    its sibling from the site with the held-out vendor.

    >>> cohort("train")
    range(21000, 26000)
    >>> cohort("train", shifted=True)[0]
    1021000
    """
    choose("cohort", name, COHORTS)
    start = breast.SHIFTED_FROM if shifted else 0
    for other, women in COHORTS.items():
        if other == name:
            return range(start, start + women)
        start += women


def cohort_of(patient: int) -> str:
    """The name of the cohort that holds ``patient``, ``""`` outside all of them."""
    number = patient % breast.SHIFTED_FROM
    return next((name for name in COHORTS if number in cohort(name)), "")


def enriched(patients, *, positive: int, negative: int, seed: int = 0) -> tuple[list[int], float]:
    """The first ``positive`` of ``patients`` with cancer and the first ``negative`` without, in their order.

    Returns them with the prevalence at which they are so, which `write` must be given as well.  It is that
    of the chosen women; since cancer depends on nothing else of a woman, they are otherwise as the others.

    Raises ``ValueError`` for numbers below 1 and where there are not so many.

    >>> enriched(range(100), positive=2, negative=3)
    ([0, 1, 2, 3, 5], 0.4)
    """
    if min(positive, negative) < 1:
        raise ValueError(f"{positive} women with and {negative} without cancer: give 1 or more of each")
    prevalence = positive / (positive + negative)
    sick, healthy = [], []
    for patient in patients:
        cancer = has_cancer(patient, seed=seed, prevalence=prevalence)
        (sick if cancer else healthy).append(patient)
    if len(sick) < positive or len(healthy) < negative:
        raise ValueError(
            f"at a prevalence of {prevalence:.3f} {len(sick)} women have cancer and {len(healthy)} none, "
            f"fewer than {positive} and {negative}; ask for fewer or give more patients"
        )
    return sorted(sick[:positive] + healthy[:negative]), prevalence


def write(
    root,
    patients,
    *,
    layout: str,
    seed: int = 0,
    size: int = 256,
    prevalence: float = PREVALENCE,
    likeness: float = breast.LIKENESS,
    vendors: str = "woman",
    workers: int = 1,
) -> Path:
    """Write the four views of every phantom woman in ``patients`` below ``root``; returns the main table's
    path.

    ``layout``: ``phantom`` (with every truth), ``rsna``, ``vindr``, ``density`` (version 5, with its part of
    VinDr in the folder vindr), ``inbreast`` or ``cbis_ddsm``.  ``size`` is the height in pixels,
    ``prevalence`` the share of women with cancer; ``likeness`` of left and right and ``vendors`` are those of
    `breast.exam`.  12-bit DICOM, uncompressed for even patients and JPEG 2000 for odd ones; see
    ``files.write_view`` for what differs by vendor.  All files are the same for any number of ``workers``;
    tables that are already there are replaced.

    Raises: ``ValueError`` for an unknown layout or no patients.
    """
    one_woman, tables = LAYOUTS[choose("layout", layout, LAYOUTS)]
    patients = [int(patient) for patient in patients]
    if not patients:
        raise ValueError("no patients to write; give their numbers, such as cohort('train')[:10]")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)

    def one(patient: int) -> list[dict]:
        views = breast.exam(
            patient, seed=seed, size=size, prevalence=prevalence, likeness=likeness, vendors=vendors
        )
        records = one_woman(root, views, (seed, patient, size))
        return [{"cohort": cohort_of(patient), **record} for record in records]

    done = Parallel(n_jobs=workers)(delayed(one)(patient) for patient in patients)
    return tables(root, [record for records in done for record in records])
