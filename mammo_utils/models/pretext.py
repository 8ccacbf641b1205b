"""An encoder with the head of a pretext task: what self-supervision and formula-driven pretraining train.

The encoder is that of a segmenter and stays the same object: after training, the segmenter has its weights
and the head is thrown away.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammo_utils.models.inspect import mode
from mammo_utils.models.segmenter import Segmenter, ready


class Features(nn.Module):
    """The encoder of ``segmenter`` with its padding and normalisation, without decoder and head.

    ``forward``: (N, channels, H, W) in 0–1 to the deepest map (N, ``width``, H / ``reduction``,
    W / ``reduction``).
    """

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.net, self.stride, self.only = segmenter.net.encoder, segmenter.stride, segmenter.only
        self.register_buffer("mean", segmenter.mean)
        self.register_buffer("std", segmenter.std)
        example = torch.zeros(1, self.mean.shape[1], *(self.only or (128, 128)), device=self.mean.device)
        with mode(self), torch.no_grad():
            found = self(example)
        self.width, self.reduction = found.shape[1], example.shape[2] // found.shape[2]

    def forward(self, image: Tensor) -> Tensor:
        encode = getattr(self.net, "forward_features", self.net)  # SAM's encoder would pool its map
        maps = encode(ready(image, self))
        if isinstance(maps, tuple):
            maps = maps[0]  # a vision transformer gives its other tokens too
        return maps[-1] if isinstance(maps, list) else maps

    def pooled(self, image: Tensor) -> Tensor:
        """The mean of the deepest map, (N, ``width``)."""
        return self(image).mean((2, 3))


class Projected(nn.Module):
    """Embeddings (N, ``out``) of images: pooled features through two layers, which serve the loss alone."""

    def __init__(self, segmenter: Segmenter, *, hidden: int, out: int):
        super().__init__()
        self.features = Features(segmenter)
        self.projector = nn.Sequential(
            nn.Linear(self.features.width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.projector(self.features.pooled(image))


class Painter(nn.Module):
    """Images (N, channels, H, W) painted from images whose ``hidden`` pixels (N, 1, H, W) were taken away.

    Hidden pixels are filled with a value that is learnt; each cell of the deepest map paints its square.
    """

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.features, channels = Features(segmenter), segmenter.mean.shape[1]
        self.fill = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))
        self.head = nn.Sequential(
            nn.Conv2d(self.features.width, channels * self.features.reduction**2, 1),
            nn.PixelShuffle(self.features.reduction),
        )

    def forward(self, image: Tensor, hidden: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        painted = self.head(self.features(torch.where(hidden, self.fill.to(image.dtype), image)))
        return painted[..., :height, :width]


class Labeller(nn.Module):
    """Logits (N, ``classes``) of images: one linear layer on pooled features."""

    def __init__(self, segmenter: Segmenter, *, classes: int):
        super().__init__()
        self.features = Features(segmenter)
        self.head = nn.Linear(self.features.width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features.pooled(image))


def embed(network: nn.Module, batches) -> Tensor:
    """Pooled features of all images of ``batches``, (N, D) float32 on the CPU, in evaluation mode.

    ``network`` is a segmenter, or one of the heads above with an encoder below it.
    """
    features = Features(network) if isinstance(network, Segmenter) else network.features
    with mode(features), torch.no_grad():
        parts = [features.pooled(batch.image.to(features.mean.device)).float().cpu() for batch in batches]
    return torch.cat(parts)
