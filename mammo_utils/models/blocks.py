"""The two networks that no library builds for us: a plain U-Net and a prompted vision transformer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn


def _convolutions(inside: int, outside: int, *, stride: int = 1) -> nn.Sequential:
    """Two 3×3 convolutions, each with instance norm and leaky ReLU; the first one may stride."""
    layers: list[nn.Module] = []
    for before, step in ((inside, stride), (outside, 1)):
        layers += [
            nn.Conv2d(before, outside, 3, stride=step, padding=1),
            nn.InstanceNorm2d(outside, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class _PlainEncoder(nn.Module):
    def __init__(self, channels: int, widths: tuple[int, ...]):
        super().__init__()
        self.stages = nn.ModuleList(
            _convolutions(before, width, stride=1 if index == 0 else 2)
            for index, (before, width) in enumerate(zip((channels, *widths), widths, strict=False))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _PlainDecoder(nn.Module):
    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (coarse, fine), deepest first
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in pairs)
        self.convolutions = nn.ModuleList(_convolutions(2 * fine, fine) for _, fine in pairs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for up, convolutions, skip in zip(self.ups, self.convolutions, maps[-2::-1], strict=True):
            x = convolutions(torch.cat([up(x), skip], dim=1))
        return x


class PlainUNet(nn.Module):
    """A U-Net in the style of nnU-Net: plain blocks, instance norm, leaky ReLU, strides instead of pooling.

    ``widths`` are the channels of the stages, each at half the resolution of the one before; the input's
    sides must be multiples of ``2 ** (len(widths) - 1)``.  The framework around it (planning from the data,
    deep supervision, ensembles) is not rebuilt here.

    Source: Isensee 2021, 10.1038/s41592-020-01008-z.
    """

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...]):
        super().__init__()
        self.encoder = _PlainEncoder(channels, widths)
        self.decoder = _PlainDecoder(widths)
        self.segmentation_head = nn.Conv2d(widths[0], classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.segmentation_head(self.decoder(self.encoder(x)))


@torch.no_grad()
def breast_box(image: Tensor) -> Tensor:
    """Box around the bright area of each image: (N, 4) float32, top, left, bottom, right in pixels.

    ``image`` is (N, channels, H, W), black outside the breast.  Bright is over half of the image's mean; a
    row or column counts from 2 % bright pixels on, so that single bright dots do not widen the box.  An image
    without anything bright has its whole area as its box.
    """
    grey = image.float().mean(dim=1)
    bright = (grey > grey.mean(dim=(1, 2), keepdim=True) / 2).float()
    edges = []
    for lines in (bright.mean(dim=2), bright.mean(dim=1)):
        inside = (lines > 0.02).int()
        edges += [inside.argmax(dim=1), inside.shape[1] - inside.flip(1).argmax(dim=1)]
    top, bottom, left, right = edges
    return torch.stack([top, left, bottom, right], dim=1).float()


class _Attention(nn.Module):
    """Residual attention with layer norm behind it; positions are added to queries and keys only."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, place: Tensor, other: Tensor, other_place: Tensor) -> Tensor:
        found, _ = self.attend(x + place, other + other_place, other, need_weights=False)
        return self.norm(x + found)


class _TwoWay(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.among_tokens = _Attention(dim, heads)
        self.from_image = _Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm = nn.LayerNorm(dim)
        self.from_tokens = _Attention(dim, heads)

    def forward(self, tokens: Tensor, prompt: Tensor, image: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.among_tokens(tokens, prompt, tokens, prompt)
        tokens = self.from_image(tokens, prompt, image, grid)
        tokens = self.norm(tokens + self.mlp(tokens))
        return tokens, self.from_tokens(image, grid, tokens, prompt)


class _PromptDecoder(nn.Module):
    def __init__(self, dim: int, classes: int, *, heads: int, depth: int):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, dim // 2))
        self.corners = nn.Parameter(torch.randn(2, dim))  # what a first and a second corner mean
        self.masks = nn.Parameter(torch.randn(classes, dim))  # one token for every mask that is wanted
        self.blocks = nn.ModuleList(_TwoWay(dim, heads) for _ in range(depth))
        self.last = _Attention(dim, heads)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )

    def position(self, points: Tensor) -> Tensor:
        """Points (…, 2) in 0–1 to (…, dim): sine and cosine of random projections."""
        angles = 2 * math.pi * (2 * points - 1) @ self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
        number, dim, height, width = image.shape
        rows, columns = (
            (torch.arange(n, device=image.device, dtype=torch.float32) + 0.5) / n for n in (height, width)
        )
        grid = self.position(torch.cartesian_prod(rows, columns))[None]
        tokens = torch.cat([self.masks.expand(number, -1, -1), self.position(corners) + self.corners], dim=1)
        prompt, pixels = tokens, image.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens, pixels = block(tokens, prompt, pixels, grid)
        tokens = self.last(tokens, prompt, pixels, grid)
        features = self.upscale(pixels.transpose(1, 2).reshape(number, dim, height, width))
        return tokens[:, : len(self.masks)], features


class _MaskHead(nn.Module):
    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim // 8)) for _ in range(classes)
        )

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        filters = torch.stack([mlp(tokens[:, index]) for index, mlp in enumerate(self.mlps)], dim=1)
        return torch.einsum("ncd,ndhw->nchw", filters, features)


class PromptedVit(nn.Module):
    """A vision transformer with a light mask decoder that is prompted by a box: SAM-like, not SAM.

    ``encoder`` is timm's image encoder of SAM.  As there, the box enters as position encodings of its two
    corners, mask tokens and image attend to each other, and each mask is the product of its token's filter
    with the upscaled image.  Left out: points and masks as prompts, several answers, predicted quality.

    ``forward`` takes (N, channels, H, W) and boxes (N, 4) in pixels and returns (N, classes, H, W); H and W
    are multiples of 16.

    Source: Kirillov 2023, arXiv 2304.02643.
    """

    def __init__(self, encoder: nn.Module, classes: int, *, heads: int, depth: int):
        super().__init__()
        dim = encoder.num_features
        self.encoder = encoder
        self.decoder = _PromptDecoder(dim, classes, heads=heads, depth=depth)
        self.segmentation_head = _MaskHead(dim, classes)

    def forward(self, x: Tensor, box: Tensor) -> Tensor:
        shape = x.shape[-2:]
        corners = box.view(-1, 2, 2) / torch.tensor(shape, device=box.device)
        tokens, features = self.decoder(self.encoder.forward_features(x), corners)
        logits = self.segmentation_head(tokens, features)
        return F.interpolate(logits, shape, mode="bilinear", align_corners=False)
