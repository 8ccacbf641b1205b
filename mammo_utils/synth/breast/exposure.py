"""From millimetres of tissue to grey values: attenuation, scatter, noise, processing and markers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Linear attenuation in 1/cm (PENELOPE 2006 tables): energy in keV → value.
ENERGY = (18.0, 20.0, 22.0, 25.0)
ATTENUATION = {
    "fat": (0.635, 0.513, 0.431, 0.353),
    "gland": (1.003, 0.786, 0.642, 0.503),
    "muscle": (1.112, 0.865, 0.700, 0.542),
    "skin": (1.077, 0.841, 0.685, 0.534),
    "septa": (1.123, 0.876, 0.712, 0.554),
    "blood": (1.154, 0.896, 0.725, 0.560),
    "mass": (1.112, 0.872, 0.712, 0.558),  # carcinoma: gland and 10.9 % (Carroll, Invest Radiol 29, 1994)
    "calcium": (13.1, 9.75, 7.47, 5.24),
}
PHOTONS = 1.0e6  # per mm² at the detector without breast
SCATTER, SCATTER_MM = 0.25, 12.0  # scatter-to-primary ratio behind the grid and its reach
ELECTRONIC = 12.0  # noise of a pixel, in photons


@dataclass(frozen=True)
class Vendor:
    """One maker's look."""

    name: str
    field: float  # height of the field of view, mm
    equalise: float  # share of the thickness roll-off that is processed away
    gamma: float  # exponent of the display curve
    air: float  # its grey value
    monochrome1: bool  # how the file is stored


VENDORS = (
    Vendor("digital A", 240.0, 0.70, 1.10, 0.00, False),
    Vendor("digital B", 228.0, 0.45, 0.90, 0.02, True),
    Vendor("film", 252.0, 0.00, 1.05, 0.05, False),
)

# Lead letters at the border, five rows of bits each.
GLYPHS = {"L": "44447", "R": "65655", "C": "74447", "M": "57755", "O": "75557", " ": "00000"}


def expose(tissues: dict, lesions: dict, compressed: float, spacing: float, rng) -> np.ndarray:
    """Logarithmic exposure (H×W, 0 in air, rising with attenuation) of tissue thicknesses in mm.

    Scatter comes from the breast without its lesions, so that a lesion changes nothing at a distance.
    """
    energy = np.clip(rng.normal(19.4 + 0.02 * (compressed - 50), 0.35), 18, 25)
    mu = {name: np.interp(energy, ENERGY, values) / 10 for name, values in ATTENUATION.items()}

    def primary(parts):
        return np.exp(-sum(mu[name] * mm for name, mm in parts.items()))

    healthy = primary(tissues)
    scatter = SCATTER * ndimage.gaussian_filter(
        np.where(healthy < 0.97, healthy, 0), SCATTER_MM / spacing, truncate=3
    )
    arriving = (primary({**tissues, **lesions}) if lesions else healthy) + scatter
    photons = PHOTONS * spacing**2 * arriving
    noise = rng.standard_normal(photons.shape) * np.sqrt(photons + ELECTRONIC**2)
    return -np.log(np.maximum(photons + noise, 1) / (PHOTONS * spacing**2 * (1 + SCATTER)))


def display(exposure: np.ndarray, whole: np.ndarray, compressed: float, spacing: float, vendor: Vendor, rng):
    """Grey values 0–1 of a logarithmic exposure: the maker's processing with this image's window."""
    fat = 0.055 * (1 + 0.1 * rng.normal())  # what the processing takes for the attenuation of fat, 1/mm
    missing = compressed - ndimage.gaussian_filter(whole, 4 / spacing)
    lifted = exposure + vendor.equalise * fat * np.where(whole > 0, missing, 0) * np.clip(whole / 6, 0, 1)
    span = 0.029 * compressed * rng.uniform(0.65, 1.35)  # from fat to white; gland alone would add 0.029 a mm
    grey_fat = rng.uniform(0.22, 0.62)
    low = 0.055 * compressed - span * grey_fat / (1 - grey_fat)
    high = 0.055 * compressed + span
    grey = (lifted - low) / (high - low)
    grey = np.logaddexp(0, 25 * grey) / 25  # the toe of the curve
    grey = grey**vendor.gamma
    grey = np.where(grey > 0.7, 0.7 + 0.3 * np.tanh((grey - 0.7) / 0.3), grey)  # the shoulder of the curve
    return vendor.air + (1 - vendor.air) * grey


def mark(image: np.ndarray, text: str, spacing: float, vendor: Vendor, rng) -> None:
    """Write the lead marker (side first, then view) into the air at the upper far edge, in place."""
    bits = [[int(b) for c in text for b in f"{int(GLYPHS[c][row]):03b}0"][:-1] for row in range(5)]
    glyphs = np.kron(np.array(bits, float), np.ones((max(round(2.2 / spacing), 1),) * 2))
    glyphs = np.rot90(glyphs) if vendor.name == "film" else glyphs
    top, off = (int(mm / spacing) for mm in rng.uniform((8, 6), (18, 12)))
    left = off if text.startswith("R") else image.shape[1] - glyphs.shape[1] - off
    patch = image[top : top + glyphs.shape[0], left : left + glyphs.shape[1]]
    np.maximum(patch, 0.92 * glyphs, out=patch)
