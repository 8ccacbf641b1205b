"""Who a phantom histology patient is: her label, what her tissue looks like on average, and her stain.

A label is never drawn into a tile.  It shifts a malignancy score, the score shifts seven traits of nuclei and
glands, each of which has variation of its own, and only traits are drawn:

    score = ±SHIFT + patient + field,        trait = score + patient's own + field's own

All terms but the first are normal, so that the best any observer can do is known where colour says nothing
about the label: `observer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from mammo_utils.data.draws import hashed
from mammo_utils.profile import choose

VERSION = 1  # of the phantom histology: stands in every row of results
TRAITS = (
    "nuclear size",
    "pleomorphism",  # spread of nuclear size and shape
    "chromatin",  # pale nuclei with a dark nucleolus
    "crowding",
    "layers",  # of epithelium, until no lumen is left
    "outline",  # irregularity of glands
    "invasion",  # epithelial cells among the fibres
)
SHIFT = 0.95  # of the score by the label, up or down
SCORE = (0.8, 0.6)  # standard deviations of the score: between patients, between fields of a patient
OWN = (0.7, 0.5)  # the same of what each trait has of its own

# A benign and a malignant subtype share each architecture, so that it says nothing about the label.
ARCHITECTURES = ("lobules", "myxoid", "fronds", "tubules")
SUBTYPES = {
    "A": ("adenosis", 0, "lobules"),
    "F": ("fibroadenoma", 0, "myxoid"),
    "PT": ("phyllodes_tumor", 0, "fronds"),
    "TA": ("tubular_adenoma", 0, "tubules"),
    "DC": ("ductal_carcinoma", 1, "lobules"),
    "MC": ("mucinous_carcinoma", 1, "myxoid"),
    "PC": ("papillary_carcinoma", 1, "fronds"),
    "LC": ("lobular_carcinoma", 1, "tubules"),
}
STRAY = 0.15  # of fields show another architecture than their subtype's
MALIGNANT = 58 / 82  # of patients, as of the folders of BreakHis

# How colour goes with the label: not at all, through the laboratory that a patient came to, or in the tissue.
REGIMES = ("irrelevant", "confounded", "diagnostic")
LABS = 6
CONFOUNDED = 0.9  # of patients come to a laboratory of their label: the odd ones are for the malignant
DIAGNOSTIC = 0.35  # change of the logarithm of haematoxylin over eosin by one unit of the score
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.17, 0.93, 0.33)  # optical density in red, green, blue
# What random numbers are for, so that no two draws share theirs.
PATIENT, FIELD, LAB = range(3)


@dataclass(frozen=True)
class Patient:
    """One phantom patient.

    ``label`` 1 is malignant; ``subtype`` a key of `SUBTYPES`; ``score`` and ``traits`` (7,) those of the
    patient before fields vary; ``lab`` 0–5.  ``stains`` (2, 3) float64 are unit vectors of optical density of
    haematoxylin and eosin in red, green and blue, ``amounts`` (2,) their amounts, ``light`` (3,) what the
    empty slide shows (0–1).
    """

    number: int
    label: int
    subtype: str
    score: float
    traits: np.ndarray
    lab: int
    stains: np.ndarray
    amounts: np.ndarray
    light: np.ndarray

    @property
    def architecture(self) -> str:
        return SUBTYPES[self.subtype][2]


def generator(*parts: int) -> np.random.Generator:
    """Random numbers that depend on the integers ``parts`` alone."""
    return np.random.Generator(np.random.PCG64(int(hashed(*parts)[0])))


def patient(
    number: int, *, seed: int = 0, regime: str = "irrelevant", malignant: float = MALIGNANT
) -> Patient:
    """The patient called ``number``; the same for the same arguments.

    ``regime``, one of `REGIMES`, changes laboratory and stain of a patient and nothing else.  ``malignant``
    is the share of patients with a malignant label; subtypes of a label are equally frequent.

    Raises ``ValueError`` for an unknown regime.

    >>> patient(3).subtype == patient(3, regime="confounded").subtype
    True
    """
    choose("stain regime", regime, REGIMES)
    rng = generator(PATIENT, seed, number)
    label = int(rng.random() < malignant)
    subtype = [name for name, (_, malign, _) in SUBTYPES.items() if malign == label][rng.integers(4)]
    score = float(SHIFT * (2 * label - 1) + SCORE[0] * rng.standard_normal())
    traits = score + OWN[0] * rng.standard_normal(len(TRAITS))
    lab, own_lab = int(rng.integers(LABS)), rng.random() < CONFOUNDED
    if regime == "confounded" and own_lab:
        lab = lab // 2 * 2 + label
    stains, amounts, light = _stain(lab, rng)
    if regime == "diagnostic":
        amounts = amounts * np.exp(np.array([0.5, -0.5]) * DIAGNOSTIC * score)
    return Patient(number, label, subtype, score, traits, lab, stains, amounts, light)


def _stain(lab: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, amounts and light of a laboratory, a little changed from section to section."""
    home = generator(LAB, lab)
    stains = np.array([HAEMATOXYLIN, EOSIN])
    stains = stains + 0.07 * home.standard_normal((2, 3)) + 0.015 * rng.standard_normal((2, 3))
    stains = np.clip(stains, 0.02, None)
    amounts = np.exp(0.22 * home.standard_normal(2) + 0.10 * rng.standard_normal(2))
    light = np.array([0.95, 0.93, 0.93]) + 0.02 * home.standard_normal(3)
    return stains / np.linalg.norm(stains, axis=1, keepdims=True), amounts, np.clip(light, 0.85, 0.99)


def field(person: Patient, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Traits (7,) and architecture of one field of view of a patient."""
    traits = person.traits + SCORE[1] * rng.standard_normal() + OWN[1] * rng.standard_normal(len(TRAITS))
    stray = ARCHITECTURES[rng.integers(len(ARCHITECTURES))]
    return traits, stray if rng.random() < STRAY else person.architecture


def observer() -> float:
    """Area under the ROC curve of the best observer of one tile, who reads all seven traits without error.

    Where colour is confounded or diagnostic, who sees it as well can do better.  Traits are normal with equal
    covariance c·11ᵀ + v·I for both labels, whose means are 2·SHIFT apart.

    >>> round(observer(), 2)
    0.9
    """
    common, own, count = np.square(SCORE).sum(), np.square(OWN).sum(), len(TRAITS)
    distance = 2 * SHIFT * sqrt(count / (own + count * common))
    return (1 + erf(distance / 2)) / 2
