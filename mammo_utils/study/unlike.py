"""Is an image like those that a segmenter has learnt from?  Plain objections first, then a distance.

A network gives a percent density for everything, a page of text too.  What it says is worth something only
where the image is of the kind that it was calibrated on, so each rule here turns an image into numbers, and
`evaluation.novelty` measures how far they lie from those of the training women.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage, stats

from mammo_utils.data import dicom, header, preprocess
from mammo_utils.models.inspect import mode
from mammo_utils.models.segmenter import ready

FLAT = 0.01  # interquartile range inside the breast below which there is nothing to see, of values in 0–1
MODALITIES = ("MG", "CR", "DX", "RG")  # PS3.3 C.7.3.1.1.1: digital, computed and film mammograms
CUT = 0.1  # share of the side opposite to the chest wall that a whole breast may at most reach


class Seen(NamedTuple):
    """A file as the network takes it (None where no breast is found) and a plain objection to it, or ""."""

    prepared: preprocess.Prepared | None
    objection: str


def seen(path: str | Path, size: int) -> Seen:
    """Read and prepare a file at ``size`` pixels of height, as `data.cache` does, and look at it plainly.

    Objections: its header says that it is no mammogram or that letters are burnt into it, it is smaller than
    the network's images, no breast is found, the breast is nearly of one grey, or it is cut at the side where
    the nipple should be.

    Raises ``ImageReadError`` for a file that cannot be read.
    """
    found = dicom.read(path, size=2 * size)  # the breast often fills only half of the image
    try:
        shape = (size, preprocess.width_for(size))
        prepared = preprocess.prepare(found.image, shape, laterality=found.laterality)
    except preprocess.NoBreastError as error:
        return Seen(None, error.reason)
    return Seen(prepared, _declared(path) or _objection(found.image, prepared, size))


def _objection(image: np.ndarray, prepared: preprocess.Prepared, size: int) -> str:
    if max(image.shape) < size:
        return f"too small: {image.shape[0]}×{image.shape[1]} pixels, at least {size} needed"
    if np.subtract(*np.quantile(prepared.image[prepared.foreground], [0.75, 0.25])) < FLAT:
        return "nearly constant: what was found as breast is of one grey"
    return "the breast is cut: it reaches the side opposite to the chest wall" if _cut(prepared) else ""


def _declared(path: str | Path) -> str:
    """What a DICOM file says against itself, without values of its header, which could name a patient."""
    if header.kind(path) != "DICOM":
        return ""
    found = header.parse(path)
    if header.tag(found, "Modality", strict=False) not in (None, *MODALITIES):
        return f"no mammogram: its header gives another modality than {', '.join(MODALITIES)}"
    if header.tag(found, "BurnedInAnnotation", strict=False) == "YES":
        return "its header says that letters are burnt into the picture, which may name the patient"
    return ""


def _cut(prepared: preprocess.Prepared) -> bool:
    """Whether the breast goes on beyond the edge of the file where its nipple should be."""
    height, width = prepared.inner
    last = prepared.foreground[:height, width - 1]
    return prepared.box[3] == prepared.original_shape[1] and last.mean() > CUT


def statistics(segmenter, images: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Eleven numbers an image that need no network: extent and shape of the breast, its greys, its detail."""
    return np.array([_described(*pair) for pair in zip(images, foreground, strict=True)])


def _described(image: np.ndarray, inside: np.ndarray) -> list[float]:
    values = image[inside].astype(float)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    rim = inside & (ndimage.distance_transform_edt(inside) <= 3)
    # Differences of smoothed copies: how strong detail of about 1, 2 and 4 pixels is.
    smooth = [image, *(ndimage.gaussian_filter(image, sigma) for sigma in (1, 2, 4))]
    bands = [np.std((fine - coarse)[inside]) for fine, coarse in zip(smooth, smooth[1:], strict=False)]
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    shape = [inside.mean(), inside.sum() / box, (np.ptp(columns) + 1) / (np.ptp(rows) + 1)]
    greys = [low, middle, high, float(stats.skew(values)), image[rim].mean() - middle]
    return [*shape, *greys, *np.log(np.array(bands) + 1e-6)]


def deepest(segmenter, images: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The deepest map of the encoder, averaged over its places: what the network makes of the whole image."""
    return _pooled(segmenter, images)[-1]


def stages(segmenter, images: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The maps of all stages of the encoder, each averaged over its places: from edges to the whole."""
    return np.concatenate(_pooled(segmenter, images), axis=1)


def _pooled(segmenter, images: np.ndarray) -> list[np.ndarray]:
    """The mean over the places of each stage's map, (N, channels) a stage, in float32 arithmetic."""
    device, parts = next(segmenter.parameters()).device, []
    with mode(segmenter), torch.no_grad():
        for block in np.array_split(images, range(64, len(images), 64)):
            given = torch.from_numpy(np.ascontiguousarray(block, np.float32))[:, None].to(device)
            maps = segmenter.net.encoder(ready(given, segmenter))[1:]  # before them stands the image itself
            parts.append([each.float().mean((2, 3)).cpu().numpy() for each in maps])
    return [np.concatenate(stage) for stage in zip(*parts, strict=True)]


# Name of a rule → the function that describes N images (H×W in 0–1) with their breasts by (N, D) numbers.
RULES = {"statistics": statistics, "deepest": deepest, "stages": stages}
