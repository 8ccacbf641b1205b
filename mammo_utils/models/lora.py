"""Low-rank adaptation: a frozen weight plus the product of two thin matrices that are learnt.

The weight W of a linear or convolution layer, seen as a matrix (outputs, inputs of one output), becomes
W + alpha / rank · B·A with A (rank, inputs) and B (outputs, rank).  For a convolution this is one to
``rank`` channels followed by a 1×1 convolution; in a grouped one each output sees the inputs of its group,
so depthwise layers are served as well.  B starts at zero: at step 0 nothing has changed.  It is a
parametrisation of torch, so every module keeps its name, its class and its forward.

Source: Hu 2021, arXiv 2106.09685.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NEW = ("decoder", "head")  # the parts that a transfer starts anew; what lies before them is the encoder


class Adapter(nn.Module):
    """What is added to a weight: ``alpha / rank · b @ a``, zero at first."""

    def __init__(self, weight: Tensor, *, rank: int, alpha: float):
        super().__init__()
        self.alpha, options = alpha, {"device": weight.device, "dtype": weight.dtype}
        self.a = nn.Parameter(torch.empty(rank, weight[0].numel(), **options))
        self.b = nn.Parameter(torch.zeros(len(weight), rank, **options))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def change(self) -> Tensor:
        return self.alpha / len(self.a) * (self.b @ self.a)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.change().view_as(weight)


def add(model: nn.Module, *, rank: int = 4, alpha: float = 1.0, targets: Iterable[str] | None = None) -> None:
    """Give linear and convolution layers an adapter, in place, and freeze their weights.

    ``targets``: patterns of module names, such as ``"*.attn.*"``; by default all layers of the encoder, which
    are the ``parts`` of ``model`` before decoder and head, or of a model without parts.  ``rank`` is lowered
    where a weight has fewer outputs or inputs, for more would hold nothing more; the change of such a layer
    is scaled by ``alpha`` over its own rank.  Biases are left as they are.  Random numbers come from torch's
    global generator.

    Raises ``ValueError`` for a rank below 1, where no layer is meant, and for a model that has adapters.

    >>> layer = nn.Conv2d(8, 8, 3, groups=8)
    >>> add(layer, rank=2)
    >>> {name: tuple(p.shape) for name, p in layer.named_parameters() if p.requires_grad}
    {'bias': (8,), 'parametrizations.weight.0.a': (2, 9), 'parametrizations.weight.0.b': (8, 2)}
    """
    if rank < 1:
        raise ValueError(f"rank={rank}: give 1 or more")
    _refuse_adapted(model)
    if targets is None:
        parts = [part for name, part in getattr(model, "parts", [("", model)]) if name not in NEW]
        within = {module for part in parts for module in part.modules()}
        layers = [module for module in _layers(model).values() if module in within]
    else:
        targets = [targets] if isinstance(targets, str) else list(targets)
        layers = [m for name, m in _layers(model).items() if any(fnmatch(name, t) for t in targets)]
    if not layers:
        what = "in the encoder" if targets is None else f"whose name matches {', '.join(targets)}"
        raise ValueError(f"no linear or convolution layer {what}; there are: {', '.join(_layers(model))}")
    for layer in layers:
        _attach(layer, rank=min(rank, len(layer.weight), layer.weight[0].numel()), alpha=alpha)


def adapters(model: nn.Module) -> dict[str, Adapter]:
    """The adapters of ``model`` by the name of their layer."""
    return {
        name: module.parametrizations.weight[0]
        for name, module in _layers(model).items()
        if parametrize.is_parametrized(module, "weight")
        and isinstance(module.parametrizations.weight[0], Adapter)
    }


def merge(model: nn.Module) -> None:
    """Add each adapter to its weight for good, in place; the names of all weights are as before `add`.

    A model without adapters is left as it is.
    """
    for name in adapters(model):
        layer = model.get_submodule(name)
        # Torch empties the class of the layer, which the layers of a copied model have in common.
        layer.__class__ = type(type(layer).__name__, type(layer).__bases__, dict(vars(type(layer))))
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer.weight.requires_grad_(True)


def unmerge(model: nn.Module, path: str | Path) -> None:
    """Take the adapters in the file out of merged weights and attach them again, in place.

    The weights are those before `merge` but for rounding.  Raises as `load`.
    """
    load(model, path)
    with torch.no_grad():
        for name, adapter in adapters(model).items():
            original = model.get_submodule(name).parametrizations.weight.original
            original -= adapter.change().view_as(original)


def save(model: nn.Module, path: str | Path) -> None:
    """Write the adapters alone as safetensors; the file appears whole or not at all.

    Raises ``ValueError`` for a model that has none.
    """
    found = adapters(model)
    if not found:
        raise ValueError("this model has no adapters: call lora.add before, and lora.merge after saving")
    tensors = {
        f"{name}.{part}": p.detach().cpu()
        for name, one in found.items()
        for part, p in one.named_parameters()
    }
    alpha = next(iter(found.values())).alpha  # `add` gives all the same one
    path = Path(path)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"alpha": str(alpha)})
    os.replace(part, path)


def load(model: nn.Module, path: str | Path) -> None:
    """Give ``model`` the adapters in a file of `save`, in place, with their ranks and alphas.

    Raises
        FileNotFoundError: there is no such file.
        ValueError: it holds no adapters, or they belong to another network (all that differ are listed), or
            ``model`` has adapters.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; lora.save writes one")
    _refuse_adapted(model)
    try:
        with safe_open(path, framework="pt") as file:
            alpha, keys = float((file.metadata() or {})["alpha"]), file.keys()
            names = dict.fromkeys(key[:-2] for key in keys)
            found = {name: (file.get_tensor(f"{name}.a"), file.get_tensor(f"{name}.b")) for name in names}
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a file of adapters ({error}); lora.save writes one") from None
    layers = _layers(model)
    wrong = [f"{name} is unknown" for name in found if name not in layers]
    wrong += [
        f"{name} is for {len(b)} outputs of {a.shape[1]} inputs, not {len(weight)} of {weight[0].numel()}"
        for name, (a, b) in found.items()
        if name in layers and (len(b), a.shape[1]) != (len(weight := layers[name].weight), weight[0].numel())
    ]
    if wrong:
        raise ValueError(f"{path} belongs to another network:\n  " + "\n  ".join(wrong))
    for name, (a, b) in found.items():
        adapter = _attach(layers[name], rank=len(a), alpha=alpha)
        adapter.load_state_dict({"a": a, "b": b})


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYERS)}


def _refuse_adapted(model: nn.Module) -> None:
    if adapters(model):
        raise ValueError("this model has adapters already: call lora.merge first, or build it anew")


def _attach(layer: nn.Module, *, rank: int, alpha: float) -> Adapter:
    adapter = Adapter(layer.weight, rank=rank, alpha=alpha)
    parametrize.register_parametrization(layer, "weight", adapter)
    layer.parametrizations.weight.original.requires_grad_(False)
    return adapter
