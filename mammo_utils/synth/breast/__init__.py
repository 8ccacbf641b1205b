"""The phantom breast: four mammograms of one woman, with known truth.

The breast is three-dimensional (``anatomy``), compressed and projected twice (``projection``), exposed and
processed (``exposure``), with lesions (``lesions``) and two readers (``readers``).  All of it is a pure
function of (seed, patient): the same arrays for any order of calls and any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mammo_utils.data.preprocess import width_for
from mammo_utils.profile import choose

from . import lesions as _lesions
from .anatomy import CLASSES, LIKENESS, SHIFTED_FROM, Breast, breast, stream, vendor_at, woman
from .exposure import VENDORS, display, expose, mark
from .lesions import Lesion
from .projection import Frame, Grid, muscle, outline, splat, thickness, tissue
from .readers import birads_call, density_call
from .readers import outline as drawn_by

__all__ = ["CLASSES", "DENSE_FRACTION", "LIKENESS", "SHIFTED_FROM", "VENDORS", "VERSION", "Lesion", "View"]
__all__ += ["exam"]

VERSION = 1  # stands in every row of results; a change of the images is a new version
DENSE_FRACTION = 0.25  # gland share of a ray above which it counts as dense, the same for all women


@dataclass(frozen=True)
class View:
    """One mammogram and everything that is known about it.

    ``image`` is H×W float32 in 0–1, bright = dense, oriented as acquired: a left breast has its chest wall at
    the left edge, a right breast at the right edge.  All masks are H×W bool in the same frame.
    """

    image: np.ndarray
    breast_mask: np.ndarray  # the breast without the pectoral muscle
    pectoral_mask: np.ndarray
    dense_mask: np.ndarray  # projected glandular fraction above one constant
    lesion_mask: np.ndarray
    reader_masks: dict[str, np.ndarray]  # dense tissue as drawn by readers "A" and "B"
    laterality: str  # "L" or "R"
    view: str  # "CC" or "MLO"
    percent_density: float  # 0–100, dense area over breast area, muscle left out
    density: str  # "A"–"D", one reader's call for the woman
    cancer: bool  # of this breast
    birads: int  # a reader's call for this breast: 1 or 2, or 4 or 5 where suspicious
    patient_id: str
    age: int  # years
    vendor: int  # 0, 1 or 2, whose style the image has: see exposure.VENDORS
    spacing_mm: float  # of a pixel of ``image``
    thickness_mm: float  # of the compressed breast
    lesions: tuple = ()  # what was placed in this breast


def exam(
    patient: int,
    *,
    seed: int = 0,
    size: int = 256,
    lesions: tuple[Lesion, ...] | None = None,
    prevalence: float = _lesions.PREVALENCE,
    likeness: float = LIKENESS,
    vendors: str = "woman",
) -> list[View]:
    """Four mammograms (L CC, L MLO, R CC, R MLO) of one phantom woman.

    ``size`` is the height in pixels, the width is 13/16 of it.  ``lesions`` None draws them with a
    cancer in a share ``prevalence`` of women; ``()`` gives the same woman without any, all else equal to the
    pixel; a tuple of ``Lesion`` places these.  Patients from ``SHIFTED_FROM`` on come from the site with the
    held-out vendor.

    ``likeness`` is the correlation of the noise that gland and septa of the left and of the right breast are
    made of: 1 is the same noise, 0 independent noise.  How much gland a breast has beside the woman's mean
    follows it: the less alike, the wider percent density spreads.  At any likeness the breasts share the
    woman's traits, and ducts, vessels, finest texture and compression of a breast are its own.

    ``vendors`` is ``woman`` (one vendor's style for all her views) or ``view``: the style of every view
    (processing, display curve, marker, how the file is stored) is drawn from the vendors at her site.  Field
    and pixel spacing stay those of her own vendor, so that masks and exposure are equal in both cases.

    Raises ``ValueError`` for a negative patient, an image under 32 pixels, a prevalence or likeness outside
    0–1, another word for ``vendors`` and a lesion that lies outside its breast.

    >>> views = exam(3, size=64)
    >>> [view.laterality + view.view for view in views], views[0].image.shape
    (['LCC', 'LMLO', 'RCC', 'RMLO'], (64, 52))
    """
    if patient < 0 or size < 32:
        raise ValueError(
            f"patient {patient} and size {size}: give a patient of 0 or more and a size of at least 32"
        )
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence {prevalence}: give a share of women from 0 to 1")
    if not 0 <= likeness <= 1:
        raise ValueError(f"likeness {likeness}: give a correlation from 0 to 1")
    choose("vendors", vendors, ("woman", "view"))
    traits = woman(patient, seed)
    bodies = {side: breast(traits, patient, seed, side, likeness=likeness) for side in "LR"}
    if lesions is None:
        lesions = _lesions.draw(bodies, patient, seed, prevalence)
    views = [
        _view(bodies[side], side, mlo, size, patient, seed, vendors, lesions)
        for side in "LR"
        for mlo in (False, True)
    ]
    percent = np.mean([view["percent_density"] for view in views])
    call = density_call(percent, CLASSES, stream(seed, patient, "density call"))
    return [View(**view, density=call) for view in views]


def _view(
    body: Breast, side: str, mlo: bool, size: int, patient: int, seed: int, vendors: str, lesions: tuple
) -> dict:
    """All of a ``View`` but the class, which belongs to the woman."""
    traits = body.woman
    lesions = tuple(lesion for lesion in lesions if lesion.laterality == side)
    vendor = traits.vendor
    if vendors == "view":
        vendor = vendor_at(patient, stream(seed, patient, "vendor", side, mlo))
    style, field = VENDORS[vendor], VENDORS[traits.vendor].field
    rng = stream(seed, patient, "view", side, mlo)
    name = "MLO" if mlo else "CC"
    frame = Frame((size, width_for(size)), field / size, mlo, traits, field * rng.uniform(0.48, 0.54))
    grid = Grid(frame)
    pectoral, top = muscle(frame, grid, rng)
    compressed = traits.thickness * (1.06 if mlo else 1.0) * np.exp(0.03 * rng.normal())
    whole, skin, distance = thickness(
        frame, grid, outline(frame, top, rng), compressed, rng.uniform(-0.05, 0.25)
    )
    inner = np.maximum(whole - skin, 0)
    inside = distance > 0
    share, septa = tissue(body, frame, grid, whole, rng)
    soft = inner * (1 - pectoral)
    gland = share * soft + 0.45 * splat(body.ducts, frame)
    tissues = {"skin": skin, "muscle": inner * pectoral, "septa": septa, "blood": splat(body.vessels, frame)}

    mask, foreign = np.zeros(frame.shape, bool), {}
    if lesions:
        found = [_lesions.project(lesion, frame, grid, patient, seed) for lesion in lesions]
        mass = np.minimum(sum(part[0] for part in found), soft)
        for lesion, part in zip(lesions, found, strict=True):
            if not (part[2] & inside).any():
                raise ValueError(f"{lesion} lies outside the {side} breast of patient {patient}")
        mask = np.any([part[2] for part in found], axis=0) & inside
        kept = 1 - mass / np.maximum(soft, 1e-6)  # a mass takes the place of what was there
        foreign = {"fat": (soft - share * soft) * kept, "gland": gland * kept, "mass": mass}
        foreign["calcium"] = sum(part[1] for part in found)
    tissues |= {"gland": gland, "fat": soft - share * soft}

    exposure = expose(
        tissues, foreign, compressed, frame.spacing, stream(seed, patient, "noise", side, mlo, size)
    )
    image = display(exposure, whole, compressed, frame.spacing, style, rng)

    is_muscle = (pectoral > 0.02) & inside
    is_breast = inside & ~is_muscle
    dense = (share > DENSE_FRACTION) & is_breast
    readers = {
        reader: drawn_by(
            share, is_breast, DENSE_FRACTION, frame.spacing, reader, stream(seed, patient, reader, side, mlo)
        )
        for reader in "AB"
    }
    arrays = {
        "image": image,
        "breast_mask": is_breast,
        "pectoral_mask": is_muscle,
        "dense_mask": dense,
        "lesion_mask": mask,
    }
    if (
        side == "R"
    ):  # anatomy is drawn with the chest wall left; a right breast is acquired the other way round
        arrays = {key: np.ascontiguousarray(value[:, ::-1]) for key, value in arrays.items()}
        readers = {key: np.ascontiguousarray(value[:, ::-1]) for key, value in readers.items()}
    mark(arrays["image"], f"{side} {name}", frame.spacing, style, rng)
    arrays["image"] = np.clip(arrays["image"], 0, 1).astype(np.float32)
    cancer = any(lesion.malignant for lesion in lesions)
    return arrays | {
        "reader_masks": readers,
        "laterality": side,
        "view": name,
        "percent_density": float(100 * dense.sum() / is_breast.sum()),
        "cancer": cancer,
        "birads": birads_call(lesions, stream(seed, patient, "birads call", side)),
        "patient_id": f"P{patient:07d}",
        "age": traits.age,
        "vendor": vendor,
        "spacing_mm": frame.spacing,
        "thickness_mm": float(compressed),
        "lesions": lesions,
    }
