"""Random changes of a batch on its device: drawn for each image by itself, then applied to all together.

``draw`` gives parameters and ``apply`` is a deterministic function of them, so that a change can be
repeated, shown in a figure or made by hand.  The draw of an image is a hash of (seed, epoch, view, row) and
of nothing else: batch size, order, workers, processes and device play no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F

from mammo_utils.data.draws import hashed, uniform
from mammo_utils.data.strengths import STRENGTHS, Ranges, ranges_of

__all__ = ["STRENGTHS", "Parameters", "Ranges", "apply", "draw", "ranges_of"]

WAVES = 3  # cosines along each axis of an elastic warp: 0, 1 and 2 half-waves from edge to edge
REACH = 6  # of the blur's kernel in pixels, three times the largest standard deviation in LIMITS


@dataclass(frozen=True)
class Parameters:
    """What is done to each image, tensors (N,) on the CPU; None where it is done to no image.

    Names and units are those of ``Ranges``, except that flips are bool, ``elastic`` (N, 2, 3, 3) holds the
    coefficients of the warp of rows and of columns in shares of the height, and ``noise_key`` (N,) int64
    decides what the noise looks like.

    >>> Parameters(rotation=torch.tensor([10.0]), gamma=torch.tensor([0.8])).scale is None  # made by hand
    True
    """

    rotation: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    shear: torch.Tensor | None = None
    shift_rows: torch.Tensor | None = None
    shift_columns: torch.Tensor | None = None
    centre_rows: torch.Tensor | None = None
    centre_columns: torch.Tensor | None = None
    elastic: torch.Tensor | None = None
    vertical_flip: torch.Tensor | None = None
    horizontal_flip: torch.Tensor | None = None
    blur: torch.Tensor | None = None
    gamma: torch.Tensor | None = None
    gain: torch.Tensor | None = None
    offset: torch.Tensor | None = None
    noise: torch.Tensor | None = None
    noise_key: torch.Tensor | None = None


def draw(
    rows, *, ranges: str | Ranges = "standard", seed: int = 0, epoch: int = 0, view: int = 0
) -> Parameters:
    """Draw the parameters of the images in ``rows``, (N,) integers that name the images for good.

    ``ranges``: a name of ``STRENGTHS`` or ``Ranges``.  ``view`` numbers the versions of one image that
    self-supervision needs at a time.

    >>> bool(draw([7, 3]).rotation[1] == draw([3]).rotation[0])
    True
    """
    ranges, keys = ranges_of(ranges), hashed(seed, epoch, view, rows)
    names = [field.name for field in fields(Ranges)]
    shares = uniform(keys, len(names) + 2 * WAVES**2)
    drawn = {}
    for name, share in zip(names, shares.T, strict=False):
        low, high = ranges.ends(name)
        if getattr(ranges, name) == getattr(STRENGTHS["none"], name):
            continue
        if name.endswith("flip"):
            drawn[name] = share < high
        elif name in ("scale", "gamma"):
            drawn[name] = low * (high / low) ** share
        else:
            drawn[name] = low + (high - low) * share
    if "elastic" in drawn:
        waves = 2 * shares[:, len(names) :].reshape(-1, 2, WAVES, WAVES) - 1
        waves[:, :, 0, 0] = 0  # this one would be a mere shift
        # No cosine exceeds 1: with coefficients that sum to the amplitude no pixel moves farther than that.
        waves /= np.abs(waves).sum((2, 3), keepdims=True)
        drawn["elastic"] = drawn["elastic"][:, None, None, None] * waves
    if "noise" in drawn:
        drawn["noise_key"] = hashed(keys.view(np.int64)).view(np.int64)
    return Parameters(**{name: torch.from_numpy(values) for name, values in drawn.items()})


@torch.no_grad()
def apply(parameters: Parameters, image: torch.Tensor, *, masks=None, points=None):
    """Change images by ``parameters``, their masks and points along; returns ``(image, masks, points)``.

    ``image`` (N, 1, H, W) float32 0–1 on any device, ``masks`` (N, C, H, W) float32 0/1, ``points``
    (N, K, 2) as (row, column) in pixels; 0 is a pixel's middle, NaN stands for no point.  Points come back as
    float64 on the CPU, also those that left the image.  Nothing is changed in place.

    All geometry is one bilinear resampling with zeros beyond the edges.  A mask becomes 1 where its
    resampled value is at least one half, which moves its outline by fractions of a pixel; the nearest pixel
    would leave jags.  Intensity is changed where the image is above 0 and clipped to 0–1; the background
    stays exactly 0.
    """
    p, shape = parameters, tuple(image.shape[-2:])
    geometry = [field.name for field in fields(p)][: [field.name for field in fields(p)].index("blur")]
    if points is not None:
        points = torch.as_tensor(np.asarray(points, dtype=np.float64))
    # In the half precision of autocast pixels would be moved by whole pixels.
    with torch.autocast(image.device.type, enabled=False):
        if any(getattr(p, name) is not None for name in geometry):
            linear, offset = _affine(p, len(image), shape)
            waves = None if p.elastic is None else p.elastic.double() * shape[0]
            grid = _grid(linear, offset, waves, shape, image.device)
            image, masks = _resample(image, masks, grid)
            points = None if points is None else _move(points, linear, offset, waves, shape)
        return _intensity(p, image), masks, points


def _affine(p: Parameters, n: int, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 2, 2) and (N, 2) float64: (row, column) p goes to linear · p + offset, before the warp."""

    def get(name, neutral=0.0):
        value = getattr(p, name)
        return torch.as_tensor(neutral if value is None else value, dtype=torch.float64).expand(n)

    def matrix(a, b, c, d):
        return torch.stack([a, b, c, d], 1).view(n, 2, 2)

    size = torch.tensor(shape, dtype=torch.float64)
    angle = torch.deg2rad(get("rotation"))
    turn = matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    slide = matrix(one, torch.tan(torch.deg2rad(get("shear"))), zero, one)
    linear = get("scale", 1.0)[:, None, None] * turn @ slide
    # A share of the image's extent, whose edge lies half a pixel before the middle of pixel 0.
    centre = torch.stack([get("centre_rows", 0.5), get("centre_columns")], 1) * size - 0.5
    shift = torch.stack([get("shift_rows"), get("shift_columns")], 1) * size
    offset = centre + shift - _times(linear, centre)
    flips = torch.stack([get("vertical_flip"), get("horizontal_flip")], 1)
    return (1 - 2 * flips)[:, :, None] * linear, torch.where(flips > 0, size - 1 - offset, offset)


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _move(points, linear, offset, waves, shape) -> torch.Tensor:
    """Points (N, K, 2) of the image in the result: q = linear · p + offset - warp(q), solved by iteration.

    The warp is a function of the result, so that resampling needs no inverse.
    """
    straight = points @ linear.mT + offset[:, None]
    moved = straight
    for _ in range(0 if waves is None else 60):  # a warp within LIMITS contracts
        row, column = (_cosines(moved[..., axis], shape[axis]) for axis in (0, 1))
        moved = straight - torch.einsum("nki,naij,nkj->nka", row, waves, column)
    return moved


def _grid(linear, offset, waves, shape, device) -> torch.Tensor:
    """Where each pixel of the result is read, (N, H, W, 2) as (x, y), -1 and 1 being the image's edges."""
    back, to_unit = torch.linalg.inv(linear), 2 / torch.tensor(shape, dtype=torch.float64)
    start = to_unit * (0.5 - _times(back, offset)) - 1
    back = to_unit[:, None] * back
    # float64 as long as the numbers are few; a sum of products, for which no device lowers the precision.
    affine = torch.cat([back, start[:, :, None]], 2).float().to(device)[..., None, None]
    row, column = (torch.arange(n, dtype=torch.float32, device=device) for n in shape)
    y, x = (a[:, 0] * row[:, None] + a[:, 1] * column + a[:, 2] for a in affine.unbind(1))
    if waves is not None:
        bent = torch.einsum("nab,nbij->naij", back, waves).float().to(device)
        warp = _cosines(row, shape[0]) @ bent @ _cosines(column, shape[1]).mT
        y, x = y + warp[:, 0], x + warp[:, 1]
    return torch.stack([x, y], -1)


def _cosines(position: torch.Tensor, size: int) -> torch.Tensor:
    """(…, WAVES): 0, 1, 2 half-waves over ``size`` pixels at ``position``."""
    number = torch.arange(WAVES, dtype=position.dtype, device=position.device)
    return torch.cos(math.pi / size * (position[..., None] + 0.5) * number)


def _resample(image, masks, grid):
    stack = image if masks is None else torch.cat([image, masks.to(image.dtype)], 1)
    stack = F.grid_sample(stack, grid, padding_mode="zeros", align_corners=False)
    image, rest = stack[:, : image.shape[1]], stack[:, image.shape[1] :]
    return image.contiguous(), None if masks is None else (rest >= 0.5).to(masks.dtype)


def _intensity(p: Parameters, image: torch.Tensor) -> torch.Tensor:
    names = ["blur", "gamma", "gain", "offset", "noise"]
    drawn = {name: getattr(p, name) for name in names if getattr(p, name) is not None}
    if not drawn:
        return image
    values = torch.stack([v.float() for v in drawn.values()]).to(image.device)[..., None, None, None]
    drawn, inside = dict(zip(drawn, values, strict=True)), image > 0
    if "blur" in drawn:
        image = _blurred(image, drawn["blur"])
    if "gamma" in drawn:
        image = image ** drawn["gamma"]
    image = image * drawn.get("gain", 1) + drawn.get("offset", 0)
    if "noise" in drawn:
        image = image + drawn["noise"] * _normal(p.noise_key, image)
    return image.clamp(0, 1) * inside


def _blurred(image: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Each image under a Gaussian of its own, continued beyond the edges; sums of shifted images, as a device
    may lower the precision of a convolution."""
    step = torch.arange(REACH + 1, device=image.device)
    weights = torch.exp(-0.5 * (step / sigma.clamp(min=1e-3)) ** 2)
    weights = (weights / (2 * weights.sum(-1, keepdim=True) - weights[..., :1])).unbind(-1)
    for axis, edge in ((2, (0, 0, REACH, REACH)), (3, (REACH, REACH, 0, 0))):
        wide, size = F.pad(image, edge, mode="replicate"), image.shape[axis]
        image = wide.narrow(axis, REACH, size) * weights[0][..., None]
        for number in range(1, REACH + 1):
            for start in (REACH - number, REACH + number):
                image.addcmul_(wide.narrow(axis, start, size), weights[number][..., None])
    return image


def _normal(key: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Normal numbers (mean 0, variance 1) of the image's shape: a hash of the image's key and the pixel.

    Source: 32-bit finaliser of MurmurHash3 (A. Appleby), the same integers on every device.
    """
    pixel = torch.arange(image[0].numel(), dtype=torch.int32, device=image.device).view(image[0].shape)
    state = (key & 0x7FFFFFFF).to(image.device, torch.int32)[:, None, None, None] + pixel
    state = (state ^ ((state >> 16) & 0xFFFF)) * -2048144789
    state = (state ^ ((state >> 13) & 0x7FFFF)) * -1028477387
    state = state ^ ((state >> 16) & 0xFFFF)
    # Odd numbers over 2^23 are exact, even about 0 and never -1 or 1.
    return torch.erfinv((state >> 8 | 1).float() * 2.0**-23) * math.sqrt(2)
