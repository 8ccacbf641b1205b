"""Masses and calcification clusters at positions in three dimensions, benign and malignant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mammo_utils.profile import choose

from .anatomy import Breast, Threads, _walk, gland_field, stream
from .projection import Frame, splat

# Shapes as in the BI-RADS lexicon → odds among benign and among malignant lesions: the looks overlap.
SHAPES = {
    "circumscribed": (0.34, 0.06),
    "lobulated": (0.26, 0.16),
    "spiculated": (0.05, 0.48),
    "round calcifications": (0.26, 0.06),
    "fine linear calcifications": (0.09, 0.24),
}
SIZES = (18.0, 22.0)  # mm, medians of benign and malignant; the outline of a mass is 0.88 as wide
SIZE_SPREAD = 0.4  # standard deviation of the logarithm of the size
PREVALENCE = 0.10  # share of women with a cancer, unless told
BENIGN = 0.15  # share of women with a benign finding, drawn apart from cancer
REACH = 40.0  # mm: spicules end at this distance from the centre of their mass


@dataclass(frozen=True)
class Lesion:
    """One lesion: its place is anatomical (x, y, z) in mm, its size the diameter of mass or cluster in mm."""

    laterality: str
    shape: str
    malignant: bool
    place: tuple[float, float, float]
    size: float
    key: int = 0  # draws the details

    def __post_init__(self):
        choose("lesion shape", self.shape, SHAPES)
        choose("laterality", self.laterality, ("L", "R"))

    @property
    def is_mass(self) -> bool:
        """Whether it is a mass and not a cluster of calcifications."""
        return "calcifications" not in self.shape


def draw(bodies: dict[str, Breast], patient: int, seed: int, prevalence: float) -> tuple[Lesion, ...]:
    """The lesions of one woman; cancer does not depend on her density, age, vendor or thickness."""
    chances, found = _chances(patient, seed), []
    for number, (malignant, chance) in enumerate(((True, prevalence), (False, BENIGN))):
        side, shape, rng = _kind(patient, seed, malignant)
        if chances[number] < chance:
            found.append(grow(bodies[side], side, shape, malignant, rng, key=number))
    return tuple(found)


def has_cancer(patient: int, *, seed: int = 0, prevalence: float = PREVALENCE) -> bool:
    """Whether `draw` gives this woman a cancer at that prevalence, without making her.

    >>> [patient for patient in range(20) if has_cancer(patient)]
    [6, 9, 15, 16]
    """
    return bool(_chances(patient, seed)[0] < prevalence)


def cancer_shape(patient: int, *, seed: int = 0) -> str:
    """The shape of the cancer that `draw` gives this woman if she has one, without making her.

    >>> cancer_shape(1)
    'spiculated'
    """
    return _kind(patient, seed, True)[1]


def _kind(patient: int, seed: int, malignant: bool) -> tuple[str, str, np.random.Generator]:
    """Side and shape of a woman's cancer or benign finding, and the stream that draws the rest of it."""
    rng = stream(seed, patient, "lesion", 0 if malignant else 1)
    side = "LR"[rng.integers(2)]
    odds = np.array([odds[malignant] for odds in SHAPES.values()])
    return side, str(rng.choice(list(SHAPES), p=odds)), rng


def _chances(patient: int, seed: int) -> np.ndarray:
    """Two numbers in 0–1, for cancer and for a benign finding: a higher prevalence only adds cancers."""
    return stream(seed, patient, "lesions").random(2)


def grow(body: Breast, side: str, shape: str, malignant: bool, rng, *, key: int = 0) -> Lesion:
    """A lesion of a given shape and nature in one breast, of random size at a random place."""
    size = float(np.clip(rng.lognormal(np.log(SIZES[malignant]), SIZE_SPREAD), 6, 36))
    return Lesion(side, shape, malignant, _place(body, size, rng), size, key)


def _place(body: Breast, size: float, rng) -> tuple[float, float, float]:
    """A point in or beside gland, clear of skin, nipple and chest wall; no gland is likelier than other."""
    traits = body.woman
    points = rng.uniform((0.25, -0.8, -0.8), (0.85, 0.8, 0.8), (400, 3))
    points = points[np.linalg.norm(points, axis=1) < 0.85 - 0.5 * size / traits.radius]
    points = points * (traits.depth, traits.radius, traits.radius)
    field = np.minimum(gland_field(body, *points.T), body.threshold) + rng.gumbel(size=len(points))
    return tuple(float(v) for v in points[field.argmax()])


def project(
    lesion: Lesion, frame: Frame, grid, patient: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Millimetres of mass and of calcium along each ray, and the lesion's outline as a reader would draw it.

    Returns two H×W float arrays and an H×W bool mask: the body of a mass without its spicules, or the area
    within 2.5 mm of a speck.
    """
    rng = stream(seed, patient, "lesion body", lesion.laterality, lesion.key)
    centre = frame.to_film(np.array([lesion.place]))[0]
    empty = np.zeros(frame.shape)
    if lesion.is_mass:
        mass = _spheres(lesion, rng, centre, frame, grid)
        mask = mass > 0.15 * lesion.size
        if lesion.shape == "spiculated":
            mass = mass + splat(_spicules(lesion, rng), frame)
        return mass, empty, mask
    specks = _specks(lesion, rng)
    calcium = splat(specks, frame)
    film = frame.to_film(specks.points)
    away = np.full(frame.shape, np.inf)
    for row, column in film:
        np.minimum(away, np.hypot(grid.rows[:, None] - row, grid.columns - column), out=away)
    return empty, calcium, away < 2.5


def _spheres(lesion: Lesion, rng, centre, frame: Frame, grid) -> np.ndarray:
    """Chord through a union of spheres, averaged over a sub-grid of each pixel near the lesion."""
    radius = lesion.size / 2
    parts = {"circumscribed": 2, "lobulated": 5, "spiculated": 9}[lesion.shape]
    offsets = rng.normal(size=(parts, 3))
    offsets *= (
        radius * np.array([0.2, *[0.55] * (parts - 1)])[:, None] / np.linalg.norm(offsets, axis=1)[:, None]
    )
    radii = radius * np.array([0.85, *rng.uniform(0.35, 0.6, parts - 1)])
    if lesion.shape == "circumscribed":
        offsets *= 0.4
        radii[1:] = 0.8 * radius
    sin, cos = np.sin(frame.angle), np.cos(frame.angle)
    at = centre - np.stack([sin * offsets[:, 1] + cos * offsets[:, 2], -offsets[:, 0]], 1)
    fine = max(int(np.ceil(frame.spacing / 0.35)), 1)
    sub = ((np.arange(fine) + 0.5) / fine - 0.5) * frame.spacing
    near = [
        np.flatnonzero(np.abs(axis - c) < 1.3 * lesion.size)
        for axis, c in ((grid.rows, centre[0]), (grid.columns, centre[1]))
    ]
    chord = np.zeros(frame.shape)
    if not all(len(n) for n in near):
        return chord
    rows = (grid.rows[near[0]][:, None] + sub).ravel()[:, None]
    columns = (grid.columns[near[1]][:, None] + sub).ravel()
    union = np.zeros((rows.size, columns.size))
    for (row, column), r in zip(at, radii, strict=True):
        half = r**2 - (rows - row) ** 2 - (columns - column) ** 2
        np.maximum(union, 2 * np.sqrt(np.maximum(half, 0)), out=union)
    small = union.reshape(len(near[0]), fine, len(near[1]), fine).mean((1, 3))
    chord[near[0][0] : near[0][-1] + 1, near[1][0] : near[1][-1] + 1] = small
    return chord


def _spicules(lesion: Lesion, rng) -> Threads:
    pieces = []
    for _ in range(rng.integers(20, 34)):
        heading = rng.normal(size=3)
        start = np.array(lesion.place) + 0.35 * lesion.size * heading / np.linalg.norm(heading)
        length = min(rng.uniform(0.5, 1.3) * lesion.size, REACH - 0.6 * lesion.size)
        pieces.append(_walk(rng, start, heading, length, 0.12, rng.uniform(0.7, 1.2)))
    return Threads(*(np.concatenate(part) for part in zip(*pieces, strict=True)), 0.3)


def _specks(lesion: Lesion, rng) -> Threads:
    """Calcified specks: scattered round ones, or casts of ducts: uneven rods along branching lines."""
    if lesion.shape == "round calcifications":
        count = rng.integers(5, 14)
        points = np.clip(rng.normal(size=(count, 3)), -1.5, 1.5) * lesion.size / 3
        diameters = rng.uniform(0.4, 0.8, count)
    else:
        count = rng.integers(12, 30)
        lines = rng.normal(size=(3, 3))
        lines /= np.linalg.norm(lines, axis=1, keepdims=True)
        along = rng.uniform(-0.5, 0.5, count)
        line = lines[rng.integers(3, size=count)]
        points = along[:, None] * lesion.size * line + 0.25 * rng.normal(size=(count, 3))
        diameters = np.clip(rng.lognormal(np.log(0.38), 0.3, count), 0.2, 0.7)
        beads = rng.integers(1, 6, count)  # a rod is a string of specks
        nth = np.concatenate([np.arange(n) - (n - 1) / 2 for n in beads])
        points, line, diameters = (np.repeat(part, beads, axis=0) for part in (points, line, diameters))
        points = points + (nth * diameters)[:, None] * line
    return Threads(np.array(lesion.place) + points, np.pi / 6 * diameters**3, 0.15)
