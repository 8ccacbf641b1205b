"""One woman's breasts in three dimensions: traits, and the fields and threads that tissue is made of.

Anatomical coordinates of a breast are millimetres: ``x`` from the chest wall to the nipple, ``y`` lateral,
``z`` superior; the right breast is the mirror image of the left by construction.  Nothing here knows pixels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

SHIFTED_FROM = 1_000_000  # patients from here on come from the site with the held-out vendor

# Area percent density of the classes A–D: share of women, mean, standard deviation.
CLASSES = {"A": (0.10, 4.3, 4.3), "B": (0.40, 19.3, 11.3), "C": (0.40, 40.4, 14.8), "D": (0.10, 62.3, 11.7)}

CUBE, VOXEL = 48, 3.2  # noise volumes: periodic, edge 154 mm; the shortest wave they carry is 6.4 mm
LIKENESS = 0.85  # correlation of the noise of left and right breast, unless told
TEXTURE, STRANDS = 0.85, 0.55  # weight of the power-law texture and of strands in the gland field

# Area density (first row) that a volume fraction of gland (second row) gives, measured on `develop`.
AREA_TO_VOLUME = (
    (0.0, 0.003, 0.02, 0.07, 0.13, 0.24, 0.34, 0.48, 0.59, 0.69, 0.80, 1.0),
    (0.01, 0.02, 0.04, 0.07, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.65, 0.9),
)


def stream(seed: int, patient: int, *names) -> np.random.Generator:
    """A generator of its own for every purpose, so that one draw never shifts another."""
    keys = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.default_rng([seed, patient, *keys])


@dataclass(frozen=True)
class Woman:
    """Traits that both breasts share.  Lengths are in mm, angles in radians."""

    area_density: float  # wanted dense share of the breast area, 0–1
    depth: float  # chest wall to nipple
    radius: float  # half the width at the chest wall
    roundness: float  # exponent of the superellipse of the outline
    thickness: float  # compressed, CC
    sag: float  # how far the nipple hangs in MLO
    beta: float  # power-law exponent of the texture
    angle: float  # of the MLO projection
    muscle_share: float  # of the MLO breast area
    muscle_tilt: float  # width over height of the muscle triangle
    crescent: float  # width of the muscle in CC, 0 in most women
    fat_layer: float  # depth of the subcutaneous fat
    patchiness: float  # how much texture, against a compact disc, decides where gland lies
    gland_depth: float  # middle of the gland between chest wall (0) and nipple (1)
    vendor: int
    age: int


def vendor_at(patient: int, rng) -> int:
    """Draw one of the vendors at the patient's site."""
    vendor = int(rng.integers(2))
    return 2 if patient >= SHIFTED_FROM else vendor


def woman(patient: int, seed: int) -> Woman:
    """Draw the traits of one woman."""
    rng = stream(seed, patient, "woman")
    shares, means, spreads = np.transpose(list(CLASSES.values()))
    group = rng.choice(len(shares), p=shares / shares.sum())
    density = np.clip(rng.normal(means[group], spreads[group]), 0.5, 88.0) / 100
    size = 0.9 * rng.normal() - 1.2 * (density - 0.3)
    thickness = rng.normal(64 - 34 * density, 8)
    vendor = vendor_at(patient, rng)
    return Woman(
        area_density=density,
        depth=96 * np.exp(0.16 * size + 0.06 * rng.normal()),
        radius=92 * np.exp(0.12 * size + 0.04 * rng.normal()),
        roundness=rng.uniform(1.75, 2.1),
        thickness=float(np.clip(thickness, 25, 90)),
        sag=float(np.clip(rng.normal(16 + 8 * size, 7), 0, 40)),
        beta=float(np.clip(rng.normal(2.8, 0.4), 2.2, 3.4)),
        angle=np.radians(rng.uniform(38, 56)),
        muscle_share=float(np.clip(0.17 * np.exp(0.6 * rng.normal()), 0.02, 0.49)),
        muscle_tilt=rng.uniform(0.3, 0.6),
        crescent=rng.uniform(3, 10) if rng.random() < 0.3 else 0.0,
        fat_layer=rng.uniform(3, 9),
        patchiness=rng.uniform(1.0, 2.4),
        gland_depth=rng.uniform(0.45, 0.75),
        vendor=vendor,
        age=int(np.clip(rng.normal(58, 9), 40, 85)),
    )


@dataclass(frozen=True)
class Threads:
    """Thin tissue as points along curves: N×3 positions in mm, and the mm³ that each point stands for."""

    points: np.ndarray
    volume: np.ndarray
    width: float  # mm, of the blur that gives the points a body


@dataclass(frozen=True)
class Breast:
    """The tissue of one breast as fields over anatomical coordinates."""

    woman: Woman
    gland_noise: np.ndarray  # CUBE³, unit variance, power-law spectrum
    septa_noise: np.ndarray  # CUBE³, unit variance, band-limited: its zero surfaces are the septa
    centre: tuple[float, float]  # of the gland disc in (y, z), as a share of the radius
    threshold: float  # of the gland field: the drawn share of the volume lies above it
    ducts: Threads
    vessels: Threads


def breast(traits: Woman, patient: int, seed: int, laterality: str, *, likeness: float = LIKENESS) -> Breast:
    """Build one breast; the two share the woman's noise with correlation ``likeness`` (0–1)."""
    cubes = []
    for name, beta in (("gland", traits.beta), ("septa", None)):
        shape = (CUBE,) * 3
        shared = stream(seed, patient, name).standard_normal(shape, dtype=np.float32)
        own = stream(seed, patient, name, laterality).standard_normal(shape, dtype=np.float32)
        cubes.append(_filtered(np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * own, beta))
    # The upper outer quadrant holds the most gland.
    centre = tuple(0.10 + 0.14 * stream(seed, patient, "centre").normal(size=2))
    rng = stream(seed, patient, "threads", laterality)
    body = Breast(traits, *cubes, centre, 0.0, _ducts(traits, rng), _vessels(traits, rng))
    own = stream(seed, patient, "amount", laterality).normal()
    volume = np.interp(traits.area_density, *AREA_TO_VOLUME) * np.exp(0.4 * np.sqrt(1 - likeness) * own)
    threshold = np.quantile(gland_field(body, *_lattice(traits)), 1 - min(volume, 0.95))
    return Breast(**{**vars(body), "threshold": float(threshold)})


def _filtered(white: np.ndarray, beta: float | None) -> np.ndarray:
    """White noise with the power spectrum f^-beta, or (beta None) a band around waves of 24 mm."""
    f = np.meshgrid(*(fft.fftfreq(CUBE, VOXEL),) * 2, fft.rfftfreq(CUBE, VOXEL), indexing="ij", sparse=True)
    f = np.sqrt(f[0] ** 2 + f[1] ** 2 + f[2] ** 2).astype(np.float32)
    f[0, 0, 0] = np.inf
    gain = f ** (-beta / 2) if beta else np.exp(-(np.log2(np.minimum(f, 1) * 24) ** 2))
    noise = fft.irfftn(fft.rfftn(white) * gain, s=white.shape)
    return (noise / noise.std()).astype(np.float32)


def _lattice(traits: Woman) -> tuple[np.ndarray, ...]:
    """A regular lattice of points inside the uncompressed breast, for volume statistics."""
    x, y, z = np.meshgrid(
        np.linspace(0.02, 1, 24), np.linspace(-1, 1, 28), np.linspace(-1, 1, 28), indexing="ij"
    )
    inside = x**2 + y**2 + z**2 < 0.98
    return x[inside] * traits.depth, y[inside] * traits.radius, z[inside] * traits.radius


def sample(cube: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Trilinear value of a periodic noise volume at points in mm."""
    return ndimage.map_coordinates(cube, np.stack([x, y, z]) / VOXEL, order=1, mode="grid-wrap")


def gland_field(body: Breast, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where gland is likely: a disc behind the nipple that thins towards skin and chest wall, plus texture.

    Same shape as the coordinates, arbitrary units; gland is where it exceeds ``body.threshold``.
    """
    traits = body.woman
    across = np.hypot(y / traits.radius - body.centre[0], z / traits.radius - body.centre[1])
    along = x / traits.depth
    under_skin = traits.radius * (1 - np.sqrt(along**2 + (y**2 + z**2) / traits.radius**2))
    prior = -3.5 * across**2 - 1.0 * ((along - traits.gland_depth) / 0.42) ** 2
    prior -= 4.0 * np.exp(-np.maximum(under_skin, -20) / traits.fat_layer)  # fat under the skin
    prior -= 1.5 * np.exp(-np.maximum(x, 0) / 6)  # and before the muscle
    # Strands converge on the nipple: the texture is looked up in coordinates that fan out from it.
    fan = 0.4 + 0.6 * np.clip(1 - along, 0, 1)
    texture = sample(body.gland_noise, 0.45 * x, y / fan, z / fan)
    strands = 0.8 - np.abs(sample(body.septa_noise, 0.3 * x + 31, y / fan, z / fan))
    return prior + traits.patchiness * (TEXTURE * texture + STRANDS * strands)


def _walk(
    rng, start, direction, length, wander, radius, taper=0.3, step=0.4
) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random curve: N×3 points ``step`` mm apart and the volume of each piece (mm³)."""
    n = max(int(length / step), 2)
    turns = ndimage.gaussian_filter1d(rng.normal(size=(n, 3)), 12, axis=0) * wander
    heading = direction / np.linalg.norm(direction) + np.cumsum(turns, axis=0) * step
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    radii = radius * np.linspace(1, taper, n)
    return start + np.cumsum(heading, axis=0) * step, np.pi * radii**2 * step


def _threads(pieces: list, width: float) -> Threads:
    points, volume = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Threads(points, volume, width)


def _ducts(traits: Woman, rng) -> Threads:
    """Eight to twelve ducts that leave the nipple, each with a few branches."""
    nipple = np.array([traits.depth - 3, 0.0, 0.0])
    pieces = []
    for _ in range(rng.integers(8, 13)):
        towards = np.array([-1.0, *(0.55 * rng.normal(size=2))])
        duct = _walk(rng, nipple, towards, rng.uniform(0.35, 0.7) * traits.depth, 0.25, rng.uniform(0.7, 1.1))
        pieces.append(duct)
        for at in rng.uniform(0.25, 0.9, size=rng.integers(1, 4)):
            i = int(at * (len(duct[0]) - 2))
            heading = duct[0][i + 1] - duct[0][i]
            branch = heading / np.linalg.norm(heading) + 0.5 * rng.normal(size=3)
            pieces.append(_walk(rng, duct[0][i], branch, rng.uniform(8, 30), 0.35, 0.5))
    return _threads(pieces, 0.5)


def _vessels(traits: Woman, rng) -> Threads:
    """Five to nine long vessels under the skin, from the chest wall towards the nipple."""
    pieces = []
    for _ in range(rng.integers(5, 10)):
        turn = rng.uniform(0, 2 * np.pi)
        around = 0.75 * traits.radius * np.array([np.sin(turn), np.cos(turn)])
        start = np.array([rng.uniform(0, 0.15) * traits.depth, *around])
        goal = np.array([traits.depth * 0.95, *(0.25 * traits.radius * rng.normal(size=2))])
        length = rng.uniform(0.6, 1.0) * np.linalg.norm(goal - start)
        pieces.append(_walk(rng, start, goal - start, length, 0.1, rng.uniform(0.6, 1.2), taper=0.4))
    return _threads(pieces, 0.6)
