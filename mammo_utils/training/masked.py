"""Masked images: squares of an image are hidden, and the network paints what was there.

The input is masked, not the tokens, so the same objective serves convolutional networks and transformers.
Source: SimMIM, Xie et al. 2021, arXiv 2111.09886.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squares(count: int, shape: tuple[int, int], *, patch: int, ratio: float, device="cpu") -> Tensor:
    """Which pixels are hidden, (``count``, 1, H, W) bool: the share ``ratio`` of the squares of each image.

    ``patch`` is the edge of a square in pixels; squares at the right and lower edge may be cut.  Drawn from
    torch's generator of the ``device``.

    Raises ``ValueError`` for a ratio that would hide nothing or everything, as with squares too large.

    >>> squares(2, (32, 26), patch=8, ratio=0.5)[:, 0, ::8, ::8].sum((1, 2)).tolist()  # of 4 × 4
    [8, 8]
    """
    high, wide = (-(-side // patch) for side in shape)
    number = round(ratio * high * wide)
    if not 0 < number < high * wide:
        raise ValueError(
            f"ratio={ratio} hides {number} of {high * wide} squares of {patch} pixels: hide some, not all; "
            "take another ratio or a smaller patch"
        )
    rank = torch.rand(count, high * wide, device=device).argsort(1).argsort(1)
    chosen = (rank < number).view(-1, 1, high, wide)
    return chosen.repeat_interleave(patch, 2).repeat_interleave(patch, 3)[..., : shape[0], : shape[1]]


def reconstruction(painted: Tensor, image: Tensor, hidden: Tensor, *, breast: Tensor | None = None) -> Tensor:
    """Mean absolute error of what was painted, over the hidden pixels alone; all (N, 1, H, W).

    With ``breast`` (0/1) only hidden pixels inside of it count: black air teaches nothing.  In float32 or
    above, since a sum over pixels overflows in half precision.
    """
    shapes = [tuple(t.shape) for t in (painted, image, hidden, image if breast is None else breast)]
    if len(set(shapes)) > 1:
        raise ValueError(f"painted, image, hidden and breast must be of one shape, not {shapes}")
    weight = hidden.to(torch.float32) if breast is None else hidden * breast.to(torch.float32)
    error = (painted.to(torch.promote_types(painted.dtype, torch.float32)) - image).abs()
    return (error * weight).sum() / weight.sum().clamp(min=1)
