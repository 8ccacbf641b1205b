"""Source domains for transfer at graded similarity: tissue of other organs, and patterns that are no tissue.

As in LC25000 there are few originals and many copies of each, rotated, cropped and mirrored.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

from mammo_utils.profile import choose
from mammo_utils.synth.histology import cases, tissue
from mammo_utils.synth.histology.noise import smooth, streaks
from mammo_utils.synth.histology.optics import shown

# Class → mean of its malignancy score.
ORGANS = {"lung_n": -1.2, "lung_aca": 1.2, "lung_scc": 1.6, "colon_n": -1.2, "colon_aca": 1.2}
PATTERNS = ("spots", "stripes", "checks", "ridges", "clouds")
DOMAINS = {"organs": tuple(ORGANS), "patterns": PATTERNS}
EDGE = 128.0  # µm of a field
COPIES, TURN = 20, 25.0  # of an original, and degrees that a copy is rotated at most
ORIGINAL, COPY, PATTERN = range(10, 13)  # what random numbers are for, beside those of `cases`


def original(kind: str, number: int, *, size: int = 96, seed: int = 0) -> np.ndarray:
    """Original ``number`` of a class, (size, size, 3) uint8.

    ``kind``: one of ``DOMAINS["organs"]``, drawn by the generator of the breast tiles with other glands, or
    of ``DOMAINS["patterns"]``, which another generator draws in any colours.

    Raises ``ValueError`` for an unknown class.
    """
    known = [*ORGANS, *PATTERNS]
    place = known.index(choose("class", kind, known))
    rng = cases.generator(ORIGINAL, seed, place, number)
    if kind in PATTERNS:
        return _pattern(kind, rng, size)
    person = cases.patient(number, seed=seed + 1)  # for the stain alone
    traits = ORGANS[kind] + rng.standard_normal() * 0.8 + 0.8 * rng.standard_normal(len(cases.TRAITS))
    return shown(person, tissue.ARCHITECTURES[kind], traits, rng, size=size, edge=EDGE)


def copy(image: np.ndarray, *key: int) -> np.ndarray:
    """A copy of an image (H, W, 3): rotated by up to 25°, without its empty corners, mirrored or not.

    ``key``: integers that decide how.  Source: Borkowski 2019, arXiv 1912.12142 (rotation and flips).
    """
    rng = cases.generator(COPY, *key)
    angle = np.deg2rad(TURN) * (2 * rng.random() - 1)
    mirror = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn * mirror / (np.cos(angle) + np.sin(abs(angle)))  # the largest square without a corner
    middle = (np.array(image.shape[:2]) - 1) / 2
    planes = [
        affine_transform(
            image[..., k].astype(np.float32), turn, middle - turn @ middle, order=1, mode="nearest"
        )
        for k in range(3)
    ]
    return np.rint(np.stack(planes, 2)).astype(np.uint8)


def _pattern(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """Two colours mixed by a picture of spots, stripes, checks, ridges or clouds."""
    scale = size / 96
    grain = scale * np.exp(rng.uniform(np.log(4), np.log(14)))
    bent = [smooth(rng, size, 40 * scale) * 10 * scale for _ in range(2)]
    place = np.arange(size, dtype=np.float32)
    angle = rng.random() * np.pi
    x, y = place + bent[0], place[:, None] + bent[1]
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    field = {
        "spots": lambda: smooth(rng, size, grain) - 0.5,
        "stripes": lambda: np.sin(2 * np.pi * u / (2 * grain)),
        "checks": lambda: np.sin(np.pi * u / grain) * np.sin(np.pi * v / grain),
        "ridges": lambda: 0.35 - np.abs(smooth(rng, size, 1.5 * grain)),
        "clouds": lambda: streaks(rng, u / (3 * grain), v / grain) - 0.5,
    }[kind]()
    share = 1 / (1 + np.exp(-field * rng.uniform(2, 10)))[..., None]
    first, second = rng.random((2, 3)) * 255
    image = first * share + second * (1 - share) + 6 * rng.standard_normal((size, size, 1))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
