"""What every segmenter has around its network: normalisation, padding, named parts, a prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammo_utils.models import families
from mammo_utils.models.blocks import breast_box


def padded(shape: tuple[int, int], stride: int) -> tuple[int, int]:
    """The next (height, width) that a network with this ``stride`` takes.

    At least two strides, so that the deepest map has more than one pixel: batch and instance norm cannot be
    trained on a single one.

    >>> padded((128, 104), 32), padded((20, 20), 32)
    ((128, 128), (64, 64))
    """
    height, width = (max(2, -(-side // stride)) * stride for side in shape)
    return height, width


def ready(image: Tensor, network: nn.Module) -> Tensor:
    """(N, channels, H, W) in 0–1, padded and normalised as ``network`` takes it.

    Of ``network``, a `Segmenter` or its encoder, ``stride``, ``only``, ``mean`` and ``std`` are used.
    """
    height, width = image.shape[-2:]
    tall, wide = padded((height, width), network.stride)
    if network.only not in (None, (tall, wide)):
        raise ValueError(
            f"this network was built for images of up to {network.only[0]}×{network.only[1]}, these are "
            f"{height}×{width}; build it with size=({height}, {width})"
        )
    # Black goes right and below, where prepared images have theirs; hence before normalisation.
    return (F.pad(image, (0, wide - width, 0, tall - height)) - network.mean) / network.std


class Segmenter(nn.Module):
    """A network with the care that every one needs: normalisation, padding to its stride, cropping back.

    ``net`` has ``encoder``, ``decoder`` and ``segmentation_head``; ``stages`` names the parts of the encoder
    by the paths of their modules; ``only`` is the padded shape of a network that takes no other.
    """

    def __init__(
        self,
        net: nn.Module,
        stages: families.Stages,
        *,
        stride: int,
        mean: list[float],
        std: list[float],
        only: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.net, self.stride, self.only = net, stride, only
        self._stages = stages
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @property
    def encoder(self) -> nn.Module:
        """The encoder as timm names it (segmentation-models-pytorch keeps timm's inside its own)."""
        return getattr(self.net.encoder, "model", self.net.encoder)

    @property
    def parts(self) -> list[tuple[str, nn.Module]]:
        """(name, module) from stem to head; together they hold every parameter exactly once.

        Looked up anew at each call, so that layers which were exchanged in the meantime are found.
        """
        encoder = [(name, _together(self.encoder, paths)) for name, paths in self._stages.items()]
        return [*encoder, ("decoder", self.net.decoder), ("head", self.net.segmentation_head)]

    def forward(self, image: Tensor, *prompt: Tensor) -> Tensor:
        """(N, channels, H, W) in 0–1 to logits (N, classes, H, W): dense tissue, breast without muscle."""
        height, width = image.shape[-2:]
        return self.net(ready(image, self), *prompt)[..., :height, :width]


class PromptedSegmenter(Segmenter):
    """A segmenter that is prompted by a box (N, 4), by default the one around the breast in the image."""

    def forward(self, image: Tensor, box: Tensor | None = None) -> Tensor:
        return super().forward(image, breast_box(image) if box is None else box)


def _together(root: nn.Module, paths: list[str]) -> nn.Module:
    """One module that holds the modules and parameters at ``paths``."""
    if len(paths) == 1:
        return root.get_submodule(paths[0])
    parameters = dict(root.named_parameters(recurse=False))
    modules = [root.get_submodule(path) for path in paths if path not in parameters]
    held = nn.ParameterList(parameters[path] for path in paths if path in parameters)
    return nn.ModuleList([*modules, held] if len(held) else modules)
