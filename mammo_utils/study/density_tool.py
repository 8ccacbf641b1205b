"""Percent density of one's own mammograms by a segmenter of phantom women: with an interval, or refused.

`density_file` makes the file that `trained` loads; ``python -m mammo_utils density`` prints what `measured`
finds.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mammo_utils import profile
from mammo_utils.evaluation import novelty
from mammo_utils.evaluation.density import CLASSES, density_classes, percent_density
from mammo_utils.models import weights
from mammo_utils.models.inspect import mode
from mammo_utils.models.segmentation import Segmenter, build
from mammo_utils.study import unlike
from mammo_utils.synth import breast
from mammo_utils.synth.breast.readers import class_odds

NAME = f"mobilenetv2_050_density{weights.SUFFIX}"
NOTE = (
    "learnt from phantoms (simulated women) alone, so that of a real mammogram its density is a guess; for "
    "teaching and research, no medical device"
)
ANYWAY = "refused, computed anyway"
COLUMNS = ("file", "percent_density", "low", "high", "class", "verdict", "reason", "distance", "limit")


class Densitometer(nn.Module):
    """A segmenter of dense tissue and breast, and what the images that it learnt from are like.

    ``rule`` names the numbers that describe an image (`unlike.RULES`), whose ``reference`` over the training
    women lies in buffers beside the weights.
    """

    def __init__(self, segmenter: Segmenter, rule: str, reference: novelty.Reference):
        super().__init__()
        self.segmenter, self.rule = segmenter, profile.choose("rule", rule, unlike.RULES)
        for name, values in reference._asdict().items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) prepared images in 0–1 to probabilities (N, 2, H, W): dense tissue, breast."""
        return self.segmenter(image).sigmoid()

    def distances(self, images: np.ndarray, foreground: np.ndarray) -> np.ndarray:
        """How far N prepared images (H×W) with their breasts are from the training women, (N,)."""
        described = unlike.RULES[self.rule](self.segmenter, images, foreground)
        reference = novelty.Reference(self.centre.cpu().numpy(), self.whiten.cpu().numpy())
        return novelty.distance(described, reference)


class Trained(NamedTuple):
    """A `Densitometer` in evaluation mode and what stands beside it in its file: see `density_file.write`."""

    model: Densitometer
    made: dict


class Measured(NamedTuple):
    """What is said of one file.

    ``percent``, ``low`` and ``high`` (0–100) and ``grade`` (A–D) are NaN and "" where nothing was computed;
    ``verdict`` is "accepted", "refused", `ANYWAY` or "unreadable", with the ``reason`` of all but the first.
    ``image``, ``dense`` and ``breast`` (H×W) are the prepared image and the masks, None where there are none.
    """

    verdict: str
    reason: str = ""
    percent: float = np.nan
    low: float = np.nan
    high: float = np.nan
    grade: str = ""
    distance: float = np.nan
    image: np.ndarray | None = None
    dense: np.ndarray | None = None
    breast: np.ndarray | None = None


def trained(path: str | Path | None = None) -> Trained:
    """The densitometer in ``path``, by default the one that comes with the package.

    Raises ``FileNotFoundError`` where there is none and ``ValueError`` for a file that `density_file` did not
    make.
    """
    if path is None:
        try:
            path = profile.shipped(f"weights/{NAME}")
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no density tool comes with this package ({NAME}); make one with\n"
                "  python -m mammo_utils gauge --out DIR\nand give the path of that file as --weights"
            ) from None
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; leave --weights out for the file of the package")
    made = weights.made(path)
    if "margin" not in made:
        raise ValueError(f"{path} is no densitometer of python -m mammo_utils gauge; name such a file")
    tensors, settings = load_file(path), made["settings"]
    reference = novelty.Reference(tensors["centre"], tensors["whiten"])
    segmenter = build(settings["model"], size=settings["size"])
    model = Densitometer(segmenter, settings["rule"], reference)
    model.load_state_dict(tensors)
    return Trained(model.to(profile.device()).eval(), made)


def measured(path: str | Path, tool: Trained, *, anyway: bool = False) -> Measured:
    """Percent density of the mammogram in a file, or why there is none.

    The interval is percent density ± the margin of the file, cut to 0–100; the class is what a phantom reader
    would most probably call it.  Nothing is computed for an image with an objection of `unlike.seen` or
    beyond the limit of the distance, unless ``anyway``; an image without a breast has no density in any case.

    Raises ``ImageReadError`` for a file that cannot be read.
    """
    made = tool.made
    prepared, reason = unlike.seen(path, made["settings"]["size"])
    if prepared is None:
        return Measured("refused", reason)
    distance = float(tool.model.distances(prepared.image[None], prepared.foreground[None])[0])
    if not reason and not distance <= made["limit"]:
        reason = f"unlike its training images: distance {distance:.1f}, at most {made['limit']:.1f}"
    if reason and not anyway:
        return Measured("refused", reason, distance=distance, image=prepared.image)
    dense, whole = (mask[0] for mask in masks(tool.model, prepared.image[None], made["threshold"]))
    percent = percent_density(dense, whole)
    if np.isnan(percent):
        reason = reason or "the network finds no breast"
        return Measured("refused", reason, distance=distance, image=prepared.image)
    low, high = interval(percent, made["margin"])
    grade = str(density_classes([percent], made["cuts"])[0])
    verdict = ANYWAY if reason else "accepted"
    return Measured(
        verdict, reason, float(percent), low, high, grade, distance, prepared.image, dense & whole, whole
    )


def masks(model: Densitometer, images: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Dense tissue (probability of at least ``threshold``) and breast (0.5) in N images H×W, bool each."""
    device, found = next(model.parameters()).device, []
    with mode(model), torch.no_grad():
        for block in np.array_split(images, range(64, len(images), 64)):
            given = torch.from_numpy(np.ascontiguousarray(block, np.float32))[:, None]
            found.append(model(given.to(device)).cpu().numpy())
    dense, whole = np.moveaxis(np.concatenate(found), 1, 0)
    return dense >= threshold, whole >= 0.5


def interval(percent, margin: float) -> tuple:
    """Lower and upper limit around percent densities, which lie in 0–100."""
    low, high = np.maximum(np.subtract(percent, margin), 0), np.minimum(np.add(percent, margin), 100)
    return (float(low), float(high)) if np.ndim(percent) == 0 else (low, high)


def cuts() -> tuple[float, float, float]:
    """The percent densities from which on a phantom reader's likeliest class is B, C and D.

    A property of the phantom.  A radiologist calls a BI-RADS class by looking, above all for what may hide a
    cancer; since its fifth edition BI-RADS names no per cent.

    >>> cuts()
    (6.9, 30.6, 62.9)
    """
    percents = np.round(np.arange(0, 100.1, 0.1), 1)
    likeliest = np.array([np.argmax(class_odds(percent, breast.CLASSES)) for percent in percents])
    return tuple(float(percents[np.argmax(likeliest >= grade)]) for grade in range(1, len(CLASSES)))


def table(files: list, found: list[Measured], limit: float) -> pd.DataFrame:
    """A row a file with `COLUMNS` and the `NOTE`; files by their names alone, densities in per cent."""
    rows = [
        (Path(file).name, one.percent, one.low, one.high, one.grade, one.verdict, one.reason, one.distance)
        for file, one in zip(files, found, strict=True)
    ]
    whole = pd.DataFrame([(*row, limit) for row in rows], columns=list(COLUMNS))
    return whole.round({"percent_density": 1, "low": 1, "high": 1, "distance": 2, "limit": 2}).assign(
        note=NOTE
    )
