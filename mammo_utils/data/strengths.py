"""How strongly images are changed in training: a range for every parameter, and named sets of ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from mammo_utils.profile import choose

# What an operation can do.  A larger warp could fold the image; the blur's kernel reaches six pixels.
LIMITS = {"scale": (0.05, 20), "shear": (-60, 60), "elastic": (0, 0.05), "blur": (0, 2), "gamma": (0.05, 20)}
LIMITS |= {"vertical_flip": (0, 1), "horizontal_flip": (0, 1), "gain": (0, math.inf), "noise": (0, 1)}


@dataclass(frozen=True)
class Ranges:
    """From where to where each parameter is drawn, evenly; the defaults change nothing and cost nothing.

    Geometry: ``rotation`` degrees counter-clockwise; ``scale``, even in its logarithm; ``shear`` degrees by
    which columns slide along the chest wall; ``shift_rows`` and ``shift_columns``, shares of height and
    width.  Rotation, scale and shear leave the point at the shares ``centre_rows`` and ``centre_columns`` of
    the image in place, by default the middle of the chest wall, which is the left edge; with (0, 1) for both
    and a ``scale`` above 1 they are the random resized crop of self-supervision.  ``elastic``: largest
    displacement of a smooth warp along each axis, as a share of the height.  At the end come
    ``vertical_flip`` and ``horizontal_flip``, probabilities; the second moves the chest wall to the right.

    Intensity: ``blur``, standard deviation in pixels; ``gamma``, an exponent, even in its logarithm; ``gain``
    and ``offset``, image · gain + offset; ``noise``, standard deviation.

    Raises: ``ValueError`` for ends that fall or lie outside ``LIMITS``.
    """

    rotation: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: tuple[float, float] = (0.0, 0.0)
    shift_rows: tuple[float, float] = (0.0, 0.0)
    shift_columns: tuple[float, float] = (0.0, 0.0)
    centre_rows: tuple[float, float] = (0.5, 0.5)
    centre_columns: tuple[float, float] = (0.0, 0.0)
    elastic: tuple[float, float] = (0.0, 0.0)
    vertical_flip: float = 0.0
    horizontal_flip: float = 0.0
    blur: tuple[float, float] = (0.0, 0.0)
    gamma: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        for name in (field.name for field in fields(self)):
            least, most = LIMITS.get(name, (-math.inf, math.inf))
            low, high = self.ends(name)
            if not (least <= low <= high <= most and math.isfinite(high - low)):
                raise ValueError(f"{name}={getattr(self, name)}: it must rise and lie within {least}…{most}")

    def ends(self, name: str) -> tuple[float, float]:
        """The lower and the upper end; of a flip, its probability twice."""
        value = getattr(self, name)
        return (value, value) if name.endswith("flip") else value


# Shared by "standard" and "crop".
INTENSITY = {
    "blur": (0, 0.7),
    "gamma": (0.75, 1.33),
    "gain": (0.85, 1.15),
    "offset": (-0.05, 0.05),
    "noise": (0, 0.02),
}
STRENGTHS = {
    "none": Ranges(),
    "light": Ranges(
        rotation=(-5, 5),
        scale=(0.95, 1.05),
        shift_rows=(-0.03, 0.03),
        gamma=(0.9, 1.1),
        gain=(0.95, 1.05),
        offset=(-0.02, 0.02),
    ),
    "standard": Ranges(
        rotation=(-10, 10),
        scale=(0.85, 1.2),
        shear=(-5, 5),
        shift_rows=(-0.06, 0.06),
        shift_columns=(-0.04, 0.02),
        elastic=(0, 0.03),
        vertical_flip=0.5,
        **INTENSITY,
    ),
    "strong": Ranges(
        rotation=(-25, 25),
        scale=(0.7, 1.4),
        shear=(-12, 12),
        shift_rows=(-0.12, 0.12),
        shift_columns=(-0.1, 0.05),
        elastic=(0, 0.05),
        vertical_flip=0.5,
        blur=(0, 1.5),
        gamma=(0.5, 2.0),
        gain=(0.7, 1.3),
        offset=(-0.1, 0.1),
        noise=(0, 0.06),
    ),
    # Self-supervision: the intensities of "standard" on a part of the image, a quarter of its area or more.
    "crop": Ranges(
        rotation=(-10, 10),
        scale=(1.0, 2.0),
        centre_rows=(0, 1),
        centre_columns=(0, 1),
        vertical_flip=0.5,
        **INTENSITY,
    ),
}


def ranges_of(strength: str | Ranges) -> Ranges:
    """The ranges of that name in ``STRENGTHS``; ``Ranges`` are returned as they are.

    >>> ranges_of("light").rotation
    (-5, 5)
    """
    if isinstance(strength, Ranges):
        return strength
    return STRENGTHS[choose("strength of augmentation", strength, STRENGTHS)]
