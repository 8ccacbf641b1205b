"""Compression and projection: from a breast in three dimensions to millimetres of tissue along each ray.

Film coordinates are (row, column) in mm from the top left corner, with the chest wall at column 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from .anatomy import CUBE, TEXTURE, Breast, Threads, Woman, gland_field, sample

SLABS = 8  # the compressed breast is summed over this many layers
COARSE = 3.0  # mm between the points at which the volumes are looked up
SKIN = 1.6  # mm
FINE_WAVES = (6.0, 3.0, 1.5)  # mm: what is shorter than the volumes carry is drawn in the projection
STRETCH = 2.0  # fine texture runs towards the nipple: it is longer across than down
OCTAVES = np.log2(CUBE / 2)  # that the volumes carry


@dataclass(frozen=True)
class Frame:
    """The geometry of one exposure: pixel grid, angle of projection and how the breast lies on the film."""

    shape: tuple[int, int]
    spacing: float  # mm a pixel
    mlo: bool
    woman: Woman
    row0: float  # mm from the top of the film to the level of the nipple before it sags

    @property
    def angle(self) -> float:
        """Between the vertical axis of the body and the vertical axis of the film."""
        return self.woman.angle if self.mlo else np.pi / 2

    @property
    def sag(self) -> float:
        return self.woman.sag if self.mlo else 0.0

    @property
    def stretch(self) -> float:
        """How much the upper half is pulled towards the axilla."""
        return 0.35 / self.woman.radius if self.mlo else 1e-6

    def to_film(self, points: np.ndarray) -> np.ndarray:
        """N×3 anatomical mm → N×2 (row, column) mm."""
        x, y, z = points.T
        p = np.cos(self.angle) * z + np.sin(self.angle) * y
        up = p + self.stretch * np.maximum(p, 0) ** 2 - self.sag * (x / self.woman.depth) ** 2
        return np.stack([self.row0 - up, x], 1)

    def from_film(self, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, column) in mm → (x, p): depth, and height in the plane of the film before stretch and sag."""
        w = self.row0 - row + self.sag * np.minimum(column / self.woman.depth, 1) ** 2
        up = (np.sqrt(1 + 4 * self.stretch * np.maximum(w, 0)) - 1) / (2 * self.stretch)
        return column, np.where(w > 0, up, w)

    def to_body(self, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Height in the plane of the film and depth along the ray → (y, z)."""
        sin, cos = np.sin(self.angle), np.cos(self.angle)
        return sin * p + cos * q, cos * p - sin * q

    def radius(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Superellipse radius: 1 on the outline of the breast, 0 at the middle of the chest wall."""
        n = self.woman.roundness
        return ((np.abs(x) / self.woman.depth) ** n + (np.abs(p) / self.woman.radius) ** n) ** (1 / n)


class Grid:
    """Pixel centres of a frame in mm, and smooth fields on them from coarse knots."""

    def __init__(self, frame: Frame):
        self.rows = (np.arange(frame.shape[0]) + 0.5) * frame.spacing
        self.columns = (np.arange(frame.shape[1]) + 0.5) * frame.spacing
        self.extent = (frame.shape[0] * frame.spacing, frame.shape[1] * frame.spacing)

    def knots(self, spacing: float, across: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Knot positions in mm along rows and columns, one beyond each edge.

        Along the columns they are ``across`` times as far apart.
        """
        steps = (spacing, across * spacing)
        return tuple(
            step * np.arange(-1, int(np.ceil(extent / step)) + 3)
            for step, extent in zip(steps, self.extent, strict=True)
        )

    def smooth(self, values: np.ndarray, spacing: float, across: float = 1.0) -> np.ndarray:
        """K×h×w values at ``knots`` → K×H×W float32 by cubic B-splines, the same at every pixel size."""
        k, h, w = values.shape
        down, along = _spline(self.rows, spacing, h), _spline(self.columns, across * spacing, w)
        tall = down @ np.ascontiguousarray(values.transpose(1, 0, 2), np.float32).reshape(h, k * w)
        tall = np.ascontiguousarray(tall.reshape(-1, k, w).transpose(2, 1, 0)).reshape(w, -1)
        return (along @ tall).reshape(len(self.columns), k, len(self.rows)).transpose(1, 2, 0)


def _spline(positions: np.ndarray, spacing: float, count: int) -> sparse.csr_matrix:
    place = positions / spacing + 1
    base = np.floor(place).astype(int)
    t = place - base
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    columns = np.clip(base[:, None] + np.arange(-1, 3), 0, count - 1)
    rows = np.repeat(np.arange(len(positions)), 4)
    return sparse.csr_matrix(
        (weights.ravel().astype(np.float32), (rows, columns.ravel())), shape=(len(positions), count)
    )


def outline(frame: Frame, muscle_top: float, rng) -> np.ndarray:
    """Distance in mm from the chest wall to the skin, for rows 1 mm apart."""
    extent = frame.shape[0] * frame.spacing
    rows, columns = np.arange(0.0, extent + 1), np.arange(0.0, frame.woman.depth * 1.2)
    x, p = frame.from_film(rows[:, None], columns[None, :])
    inside = frame.radius(x, p) < 1
    edge = np.where(inside.any(1), columns[len(columns) - 1 - inside[:, ::-1].argmax(1)], 0.0)
    wobble = ndimage.gaussian_filter1d(rng.normal(size=len(rows)), 22) * 22
    edge = ndimage.gaussian_filter1d(edge, 2) * (1 + 0.012 * wobble)
    if frame.mlo:
        top = muscle_top + rng.uniform(18, 34)
        strip = top * (1 - rows / (frame.row0 + frame.sag))
        # The fold between breast and axilla is a fillet, so the larger of the two is taken softly.
        edge = np.maximum(edge, strip) + 7 * np.log1p(np.exp(-np.abs(edge - strip) / 7)) * (strip > 0)
    nipple_row = frame.to_film(np.array([[frame.woman.depth, 0, 0]]))[0, 0]
    return edge + rng.uniform(0, 6) * np.exp(-(((rows - nipple_row) / 4) ** 2))


def thickness(
    frame: Frame, grid: Grid, edge: np.ndarray, compressed: float, tilt: float
) -> tuple[np.ndarray, ...]:
    """Millimetres of breast and of skin along each ray (H×W), and the signed distance to the outline in mm.

    Between the paddles the breast is flat but for their ``tilt`` (thinning from chest wall to nipple); its
    rim is rounded over about half the compressed thickness.
    """
    at = np.arange(0, len(edge) - 0.9, 0.25)
    line = np.stack([at, np.interp(at, np.arange(len(edge)), edge)], 1)
    line = line[line[:, 1] > 0.05]
    rows, columns = grid.knots(COARSE)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    away = cKDTree(line).query(points.reshape(-1, 2))[0].reshape(points.shape[:2])
    reach = np.interp(points[..., 0], np.arange(len(edge)), edge)
    inside = (points[..., 1] < reach) & (reach > 0.5)
    distance = grid.smooth(np.where(inside, away, -away)[None], COARSE)[0]
    rim = 0.55 * compressed

    def rounded(d, full, over):
        return full * np.sqrt(np.clip(1 - (1 - np.clip(d / over, 0, 1)) ** 2, 0, 1))

    wedge = 1 + tilt * (0.5 - np.clip(grid.columns / frame.woman.depth, 0, 1.2))
    whole = wedge * rounded(distance, compressed, rim)
    inner = wedge * rounded(distance - SKIN, compressed - 2 * SKIN, rim - SKIN)
    return whole, whole - inner, distance


def tissue(body: Breast, frame: Frame, grid: Grid, whole: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Glandular fraction of each ray (H×W, 0–1) and millimetres of septa."""
    rows, columns = (k.astype(np.float32) for k in grid.knots(COARSE))
    x, p = np.broadcast_arrays(*frame.from_film(rows[:, None], columns[None, :]))
    chord = frame.woman.radius * np.sqrt(np.clip(1 - frame.radius(x, p) ** 2, 0, 1))
    depth = np.maximum(chord, 12.0) * ((np.arange(SLABS) + 0.5) / SLABS * 2 - 1)[:, None, None]
    y, z = frame.to_body(p, depth)
    x = np.broadcast_to(x, y.shape)
    field = grid.smooth(gland_field(body, x, y, z) - body.threshold, COARSE)
    fan = 0.6 + 0.4 * np.clip(1 - x / frame.woman.depth, 0, 1)
    web = grid.smooth(sample(body.septa_noise, 0.4 * x, 0.9 * y / fan, 0.9 * z / fan), COARSE)
    # The texture goes on below the waves that the volume carries, by the same power law.
    ratio = 2 ** (3 - body.woman.beta) + 1e-6  # variance of an octave over that of the next longer one
    octave = (1 - 1 / ratio) / (1 - ratio**-OCTAVES)  # share of the volume's shortest octave
    for wave, own in zip(FINE_WAVES, rng.spawn(len(FINE_WAVES)), strict=True):
        octave *= ratio
        if wave >= 2 * frame.spacing:
            knots = grid.knots(wave / 2, STRETCH)
            noise = own.standard_normal((SLABS, *(len(k) for k in knots)), dtype=np.float32)
            blurred = min(wave * SLABS / (2 * frame.woman.thickness), 1)  # a slab averages shorter waves away
            gain = TEXTURE * body.woman.patchiness * np.sqrt(octave * blurred)
            field += gain * grid.smooth(noise, wave / 2, STRETCH)
    gland = 1 / (1 + np.exp(np.clip(-field / 0.16, -30, 30)))
    # A septum is where the web crosses zero; its drawn width never falls below a pixel, its mass stays.
    # Septa hold the gland and thin out away from it.
    width = np.float32(0.11)
    drawn = np.hypot(width, 0.08 * frame.spacing)
    near = 0.4 + 0.6 * np.exp(np.clip(field / 2, -20, 0))
    septa = np.exp(-((web / drawn) ** 2)) * (width / drawn) * (1 - gland) * near
    return gland.mean(0), 0.28 * septa.mean(0) * whole


def splat(threads: Threads, frame: Frame) -> np.ndarray:
    """Millimetres along each ray (H×W) of tissue given as points with a volume, shared bilinearly."""
    at = frame.to_film(threads.points) / frame.spacing - 0.5
    h, w = frame.shape
    base = np.floor(at).astype(int)
    image = np.zeros(h * w)
    for dr in (0, 1):
        for dc in (0, 1):
            r, c = base[:, 0] + dr, base[:, 1] + dc
            share = np.abs(1 - dr - (at[:, 0] - base[:, 0])) * np.abs(1 - dc - (at[:, 1] - base[:, 1]))
            on = (r >= 0) & (r < h) & (c >= 0) & (c < w)
            image += np.bincount(r[on] * w + c[on], (share * threads.volume)[on], h * w)
    image = image.reshape(h, w) / frame.spacing**2
    return ndimage.gaussian_filter(image, threads.width / frame.spacing) if threads.width else image


def muscle(frame: Frame, grid: Grid, rng) -> tuple[np.ndarray, float]:
    """Share of each ray's thickness that is pectoral muscle (H×W, 0–1), and its width in mm at the top.

    In MLO a triangle at the upper chest wall with a soft, slightly bent edge; in CC, in some women, a thin
    crescent.
    """
    traits = frame.woman
    rows, columns = grid.rows[:, None], grid.columns
    bend = rng.uniform(0.75, 1.3)
    if frame.mlo:
        area = traits.muscle_share * 1.6 * traits.depth * traits.radius
        height = np.sqrt(area * (1 + bend) / traits.muscle_tilt)
        top = traits.muscle_tilt * height
        wobble = ndimage.gaussian_filter1d(rng.normal(size=260), 14) * 10
        border = top * np.clip(1 - rows / height, 0, 1) ** bend
        border += np.interp(rows, np.arange(260.0), wobble) * (border > 0) * np.clip(border / 15, 0, 1)
    else:
        top = 0.0
        border = traits.crescent * np.clip(1 - ((rows - frame.row0) / 55) ** 2, 0, 1)
    into = border - columns
    return np.clip(into / 7, 0, 1) ** 1.2 * np.clip(0.40 + 0.006 * into, 0, 0.75), float(top)
