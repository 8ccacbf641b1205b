"""Colour of stains: normalised to a reference by torchstain, or varied in training as the alternative.

A reference is fitted on training tiles alone: what it takes from a test tile, the test tile gives away.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchstain.torch.normalizers import TorchMacenkoNormalizer
from torchstain.torch.utils.lab2rgb import lab2rgb
from torchstain.torch.utils.rgb2lab import rgb2lab

from mammo_utils.data.draws import hashed, uniform
from mammo_utils.profile import choose

METHODS = ("reinhard", "macenko")
LIGHT = 240  # transmitted light, as in Macenko's method
FITTED = 200  # training tiles that a reference is fitted on, at most
BLOCK = 64  # tiles whose Lab values are held at a time
TISSUE = 0.02  # share of pixels that must be stained for the stains of a tile to be found
# Haematoxylin, eosin and a third that takes what is neither (DAB): optical density in red, green and blue, in
# which stains are varied.  Source: Ruifrok and Johnston 2001.
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
HED = HED / np.linalg.norm(HED, axis=1, keepdims=True)
DRAW = 77  # what its random numbers are for, so that they are not those of other changes


class Normaliser:
    """Gives tiles the colours of a reference; made by `fit`.

    ``left`` counts the tiles of the last call that were returned as they were, for want of tissue.
    """

    def __init__(self, method: str, reference):
        self.method, self.left, self._reference = method, 0, reference

    def __call__(self, images) -> np.ndarray:
        """Tiles (N, H, W, 3) uint8 in the colours of the reference, same shape and type."""
        images = _checked(images)
        return {"reinhard": self._reinhard, "macenko": self._macenko}[self.method](images)

    @property
    def stains(self) -> np.ndarray:
        """Unit vectors of optical density of haematoxylin and eosin, (2, 3), of a Macenko reference.

        Raises ``ValueError`` for Reinhard's, which knows no stains.
        """
        if self.method != "macenko":
            raise ValueError(f"{self.method} finds no stains; fit the reference with macenko")
        return self._reference.HERef.T.numpy().copy()

    def _reinhard(self, images: np.ndarray) -> np.ndarray:
        mean, std = self._reference
        result, self.left = np.empty_like(images), 0
        for start in range(0, len(images), BLOCK):  # a data set in float32 may not fit into memory
            part = images[start : start + BLOCK]
            lab = _lab(part)
            own = lab.mean((2, 3), keepdim=True), lab.std((2, 3), keepdim=True)
            lab = (lab - own[0]) / own[1].clamp(min=1e-3) * std + mean
            rgb = lab2rgb(lab.transpose(0, 1).reshape(3, -1, lab.shape[3])).reshape(part.shape)
            result[start : start + BLOCK] = (rgb * 255).round().to(torch.uint8).numpy()
        return result

    def _macenko(self, images: np.ndarray) -> np.ndarray:
        result, self.left = images.copy(), 0
        for row, image in enumerate(images):
            if not _stained(image):
                self.left += 1
                continue
            found, _, _ = self._reference.normalize(_planes(image), Io=LIGHT, stains=False)
            result[row] = found.clamp(0, 255).to(torch.uint8).numpy()
        return result


def fit(images, method: str) -> Normaliser:
    """The normaliser to the look of training tiles (N, H, W, 3) uint8, taken as one large picture.

    ``method``: ``"reinhard"`` matches mean and standard deviation of each channel of CIE Lab; ``"macenko"``
    finds the vectors of two stains in every tile and matches their 99th percentiles.  At most 200 tiles,
    evenly spaced, make the reference; with several laboratories among them its two stains are the outermost
    of all, not the mean ones.

    Raises ``ValueError`` for an unknown method, tiles of another kind and, for Macenko, no stained tissue.

    Source: Reinhard 2001, 10.1109/38.946629; Macenko 2009, 10.1109/ISBI.2009.5193250.
    """
    choose("stain normalisation", method, METHODS)
    images = _checked(images)
    images = images[np.linspace(0, len(images) - 1, min(FITTED, len(images))).astype(int)]
    if method == "reinhard":
        lab = _lab(images).transpose(0, 1).reshape(3, -1)
        shape = (1, 3, 1, 1)
        return Normaliser(method, (lab.mean(1).view(shape), lab.std(1).view(shape)))
    whole = images.reshape(-1, *images.shape[2:])
    if not _stained(whole):
        raise ValueError("the tiles have no stained tissue from which a reference could be fitted")
    reference = TorchMacenkoNormalizer()
    reference.fit(_planes(whole), Io=LIGHT)
    return Normaliser(method, reference)


def density(images) -> np.ndarray:
    """Optical density of pixels, float32 of the same shape: -ln((value + 1) / 240).

    >>> float(density(np.uint8([239]))[0])
    -0.0
    """
    return -np.log((np.asarray(images, np.float32) + 1) / LIGHT)


@torch.no_grad()
def vary(
    images: Tensor, rows, *, strength: float = 0.2, shift: float = 0.05, seed: int = 0, epoch: int = 0
) -> Tensor:
    """Stain images (N, 3, H, W) float in 0–1 anew, each with its own draw; same shape, on the same device.

    In optical density every pixel is a sum of haematoxylin, eosin and a rest.  The amount of each is
    multiplied by a number in 1 ± ``strength``, and ``shift`` at most is added or taken.  The draw depends on
    ``rows`` (N,), seed and epoch alone.

    Raises ``ValueError`` for a strength outside 0 to below 1.

    Source: Tellez 2018, arXiv 1808.05896 (the space and the two changes).
    """
    if not 0 <= strength < 1:
        raise ValueError(f"strength={strength}: give a number from 0 to below 1")
    shares = 2 * uniform(hashed(DRAW, seed, epoch, rows), 6) - 1
    factor, offset = 1 + strength * shares[:, :3], shift * shares[:, 3:]
    # amounts = density · HED⁻¹, so that all of it is one 3×3 matrix and one colour for each image.
    matrix = np.linalg.inv(HED) @ (factor[:, :, None] * HED)
    matrix, colour = (
        torch.from_numpy(value).to(images.device, images.dtype) for value in (matrix, offset @ HED)
    )
    dense = -torch.log(images.clamp(min=1 / 255))
    dense = torch.einsum("nchw,ncd->ndhw", dense, matrix) + colour[:, :, None, None]
    return torch.exp(-dense).clamp(0, 1)


def _checked(images) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"tiles must be (N, H, W, 3) uint8, not {images.shape} {images.dtype}")
    return images


def _stained(image: np.ndarray) -> bool:
    """Whether enough pixels are darker than 0.15 of optical density in every colour."""
    return (density(image).min(-1) > 0.15).mean() > TISSUE


def _planes(image: np.ndarray) -> Tensor:
    return torch.tensor(image).permute(2, 0, 1)


def _lab(images: np.ndarray) -> Tensor:
    """CIE Lab of tiles, (N, 3, H, W) float32: torchstain's conversion, which is one pixel at a time."""
    n, height, width, _ = images.shape
    planes = torch.tensor(images).permute(3, 0, 1, 2).reshape(3, n * height, width)
    return rgb2lab(planes.float() / 255).reshape(3, n, height, width).transpose(0, 1)
