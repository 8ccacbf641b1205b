"""The phantom breast: four mammograms of one woman, with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """One mammogram and everything that is known about it.

    ``image`` is H×W float32 in 0–1, bright = dense, oriented as acquired: a left breast has its chest wall at the
    left edge, a right breast at the right edge.  All masks are H×W bool in the same frame.
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
    birads: int  # 1 negative, 2 benign finding, 4 or 5 suspicious
    patient_id: str
    age: int  # years
    vendor: int  # 0, 1 or 2: see projection.VENDORS
    spacing_mm: float  # of a pixel of ``image``
    thickness_mm: float  # of the compressed breast
    lesions: tuple = ()  # what was placed in this breast
