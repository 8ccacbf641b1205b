"""The layer that a map is taken from, how its output is laid out, and where its cells lie in the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from mammo_utils.models.inspect import mode
from mammo_utils.models.lora import NEW
from mammo_utils.profile import choose


@dataclass(frozen=True)
class Grid:
    """Where the cells of a coarse map lie in the image, for rows and columns.

    Cell i has its middle at pixel ``first + i * stride``; pixel 0 has its middle at 0.  A 3×3 convolution of
    stride 2 with padding 1 has its middles at the pixels 0, 2, 4 …, not at 0.5, 2.5, 4.5 …: after five of
    them a cell of 32 pixels lies 15.5 pixels further up and left than where it lands if the map is stretched
    over the image, and columns that are no multiple of the stride are squeezed on top.
    """

    shape: tuple[int, int]
    stride: tuple[float, float]
    first: tuple[float, float]

    @classmethod
    def stretched(cls, cells: tuple[int, int], image: tuple[int, int]) -> Grid:
        """Cells that tile an image of this shape side by side, as plain enlarging takes them to do.

        >>> Grid.stretched((4, 2), (128, 64)).first
        (15.5, 15.5)
        """
        stride = tuple(float(side / count) for side, count in zip(image, cells, strict=True))
        return cls(tuple(cells), stride, tuple(step / 2 - 0.5 for step in stride))

    def _shares(self, image: tuple[int, int]) -> list[np.ndarray]:
        """(pixels, cells) for rows and columns: what each cell gives to each pixel, linear in between."""
        shares = []
        for side, cells, stride, first in zip(image, self.shape, self.stride, self.first, strict=True):
            at = np.clip((np.arange(side) - first) / stride, 0, cells - 1)
            shares.append(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))))
        return shares

    def enlarge(self, maps: np.ndarray, image: tuple[int, int]) -> np.ndarray:
        """Maps (…, cells) over an image of this (height, width), linear between the middles of cells.

        Beyond the outermost middles a map goes on as it ends there.  float32.
        """
        rows, columns = self._shares(image)
        return (rows @ np.asarray(maps, float) @ columns.T).astype(np.float32)

    def reduce(self, maps: np.ndarray) -> np.ndarray:
        """Means (…, cells) of maps (…, H, W) over the pixels of each cell, near ones counting more.

        The weights are those by which `enlarge` spreads a cell; a cell without pixels is 0.
        """
        rows, columns = (w / np.maximum(w.sum(0), 1e-12) for w in self._shares(np.shape(maps)[-2:]))
        return rows.T @ np.asarray(maps, float) @ columns

    def passed(self, maps: np.ndarray) -> np.ndarray:
        """What is left of maps or masks (…, H, W) when they are seen through this grid; float32."""
        return self.enlarge(self.reduce(maps), np.shape(maps)[-2:])


class Place(NamedTuple):
    """A target layer: ``to_maps`` brings its output to (N, channels, cells) in float32, a copy."""

    module: nn.Module
    to_maps: Callable[[Tensor], Tensor]
    grid: Grid
    output: Tensor  # of the model, for one image


def names(model: nn.Module) -> list[str]:
    """Names of the ``parts`` of ``model`` in which a map can be taken, from stem on."""
    return [name for name, _ in getattr(model, "parts", ()) if name != "head"]


def find(model: nn.Module, image: Tensor, layer: str | None = None) -> Place:
    """Find the target layer of ``model`` by one pass of ``image`` (1, channels, H, W) in evaluation mode.

    ``layer``: the name of one of ``model.parts``, which stands for its last module, or the dotted path of a
    module; by default the last part of the encoder.  Outputs may be channels first, channels last (Swin,
    SAM) or tokens, with or without class token.  Where the cells lie follows from kernels, strides and
    paddings on the way to the layer; a grid that comes about otherwise (patches that are merged) tiles the
    image.

    Raises ``ValueError`` for an unknown layer and for one whose output is no map of the image.
    """
    last = [name for name in names(model) if name not in NEW][-1:]
    if layer is None and not last:
        raise ValueError("this model has no parts: name the layer by the path of its module")
    layer = layer or last[0]
    parts = dict(getattr(model, "parts", ()))
    modules = dict(model.named_modules())
    if layer not in parts and layer not in modules:
        choose("layer", layer, names(model) or [name for name in modules if name])
    inside = set((parts.get(layer) or modules[layer]).modules())
    encoder = getattr(model, "encoder", model)
    prefix = next((m.num_prefix_tokens for m in model.modules() if hasattr(m, "num_prefix_tokens")), 0)
    found, grids = {}, {}

    def follow(module: nn.Module, given: tuple, out) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and hasattr(module, "kernel_size"):
            frame = tuple(given[0].shape[2:])
            grids.setdefault("image", frame)  # what the first convolution sees: the image and its padding
            before = grids.get(frame) or Grid.stretched(frame, grids["image"])
            grids[tuple(out.shape[2:])] = _after(module, before, out)
        if module in inside and isinstance(out, Tensor):
            found["last"] = module, tuple(out.shape), dict(grids)  # the outermost module of a part ends it

    hooks = [module.register_forward_hook(follow) for module in model.modules()]
    try:
        with mode(model), torch.no_grad():
            output = model(image.to(next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    if "last" not in found:
        raise ValueError(f"the layer {layer!r} takes no part in a pass of this model")
    module, shape, grids = found["last"]
    last_dimension = module in set(encoder.modules()) and getattr(encoder, "output_fmt", None) == "NHWC"
    cells, to_maps = _layout(shape, grids, prefix, last_dimension)
    if cells is None:
        raise ValueError(f"the layer {layer!r} gives {shape}, which is no map of the image")
    return Place(module, to_maps, grids.get(cells) or Grid.stretched(cells, grids["image"]), output)


def _after(module: nn.Module, before: Grid, out: Tensor) -> Grid:
    """The grid behind a convolution or a pooling."""
    steps = []
    for name in ("kernel_size", "stride", "padding", "dilation"):
        value = getattr(module, name, 1)
        steps.append(value if isinstance(value, tuple) else (value, value))
    shape = tuple(out.shape[2:])
    if isinstance(module, nn.ConvTranspose2d) or isinstance(steps[2][0], str):
        return Grid.stretched(shape, tuple(n * s for n, s in zip(before.shape, before.stride, strict=True)))
    first, stride = [], []
    for axis, (kernel, step, padding, dilation) in enumerate(zip(*steps, strict=True)):
        reach = dilation * (kernel - 1)
        if isinstance(module, Conv2dSame):  # TensorFlow's: what is missing, the larger half behind
            padding = max(0, (shape[axis] - 1) * step + reach + 1 - before.shape[axis]) // 2
        first.append(before.first[axis] + before.stride[axis] * (reach / 2 - padding))
        stride.append(before.stride[axis] * step)
    return Grid(shape, tuple(stride), tuple(first))


def _layout(shape: tuple, grids: dict, prefix: int, channels_last: bool) -> tuple:
    """The cells (rows, columns) of an output of this shape, or None, and the way to (N, channels, cells)."""
    image = grids.get("image")
    if image and len(shape) == 3:
        fitting = [cells for cells in grids if cells != "image" and np.prod(cells) == shape[1] - prefix]
        if fitting:
            cells = fitting[-1]
            return cells, lambda x: x[:, prefix:].float().mT.reshape(len(x), -1, *cells).clone()
    if image and len(shape) == 4:
        first, last = _tiles(shape[2:], image), _tiles(shape[1:3], image)
        if last and (channels_last or not first):
            return shape[1:3], lambda x: x.float().permute(0, 3, 1, 2).clone()
        if first:
            # A copy, for the activation behind may write into the same memory.
            return shape[2:], lambda x: x.float().clone()
    return None, None


def _tiles(cells: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether so many cells cover the image in steps that are the same for rows and columns."""
    steps = range(1, max(image) + 1)
    return min(cells) > 1 and any(
        all(abs(n - side / step) < 1 for n, side in zip(cells, image, strict=True)) for step in steps
    )
