"""DenseNet with squeeze-and-excitation, into which the weights of a plain DenseNet load unchanged.

The published histology work names both.  Where its gates sit and how narrow they are was not found (its full
text was not reached): the position is an option here, the reduction is that of Hu 2018.
"""

from __future__ import annotations

import timm
import torch
from timm.models.densenet import DenseBlock
from torch import Tensor, nn

from mammo_utils.profile import choose

POSITIONS = ("block", "layer")
STARTS = ("identity", "sigmoid")
REDUCTION, LEAST = 16, 8  # channels over those of the squeezed layer, which has 8 or more
# Plain networks: timm's own, and one for a processor.
LARGE = {"densenet121": "densenet121.ra_in1k", "densenet201": "densenet201.tv_in1k"}
SMALL = {"growth_rate": 12, "block_config": (3, 4, 4, 3)}
# What the published work says of its network, which cannot both be of one: float32 takes 4 bytes a parameter.
CLAIMED_PARAMETERS, CLAIMED_MEGABYTES = 1_068_993, 84.7


class Gate(nn.Module):
    """Squeeze-and-excitation: every channel times a number that depends on the means of all channels.

    ``start="identity"``: the number is twice a sigmoid, 0–2, and exactly 1 for every image before training,
    so that gates can be put into a trained network without harming it.  ``"sigmoid"``: the published form,
    a sigmoid with random weights, about one half at the start.

    Source: Hu 2018, arXiv 1709.01507.
    """

    def __init__(self, channels: int, *, reduction: int = REDUCTION, start: str = "identity"):
        super().__init__()
        choose("start of the gates", start, STARTS)
        if reduction < 1:
            raise ValueError(f"reduction={reduction} must be 1 or more")
        hidden = max(LEAST, channels // reduction)
        self.squeeze, self.excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.most = 1.0
        if start == "identity":
            nn.init.zeros_(self.excite.weight)
            nn.init.zeros_(self.excite.bias)
            self.most = 2.0

    def forward(self, x: Tensor) -> Tensor:
        strength = self.excite(self.squeeze(x.mean((2, 3))).relu())
        return x * (self.most * strength.sigmoid())[:, :, None, None]


class Encoder(nn.Module):
    """The features of timm's DenseNet, under its names, with ``gates`` named after their block or layer."""

    def __init__(self, net: nn.Module, gates: dict[str, nn.Module]):
        super().__init__()
        self.features, self.gates, self.num_features = net.features, nn.ModuleDict(gates), net.num_features

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, H, W) normalised to a list with the last map, which is what a classifier needs."""
        for name, module in self.features.named_children():
            x = self._block(name, module, x) if isinstance(module, DenseBlock) else module(x)
        return [x]

    def _block(self, name: str, block: nn.Module, x: Tensor) -> Tensor:
        maps = [x]
        for layer, module in block.named_children():
            own, gate = module(maps), f"{name}_{layer}"
            maps.append(self.gates[gate](own) if gate in self.gates else own)
        x = torch.cat(maps, 1)
        return self.gates[name](x) if name in self.gates else x

    def plain(self) -> nn.Module:
        """The same weights without gates, under the names that a plain DenseNet has."""
        return nn.ModuleDict({"features": self.features})


def encoder(
    name: str,
    *,
    channels: int = 3,
    pretrained: bool = False,
    position: str = "block",
    start: str = "identity",
    reduction: int = REDUCTION,
) -> tuple[Encoder, dict[str, list[str]]]:
    """The encoder called ``name`` and its stages, as `classification.Classifier` takes them.

    ``name``: ``densenet121``, ``densenet201``, ``densenet_small``, or these behind ``se_``, which have gates:
    ``position``, after every dense ``block`` on all of its channels or in every ``layer`` on its new ones;
    ``start`` and ``reduction`` as in `Gate`.  ``pretrained`` downloads timm's weights.

    Raises ``ValueError`` for an unknown name, position or start, and for weights of the small one.
    """
    choose("position of the gates", position, POSITIONS)
    bare = choose("DenseNet", name.removeprefix("se_"), (*LARGE, "densenet_small"))
    if bare in LARGE:
        net = timm.create_model(LARGE[bare], pretrained=pretrained, in_chans=channels, num_classes=0)
    elif pretrained:
        raise ValueError(f"there are no ImageNet weights of {name}, which is this package's own")
    else:
        net = timm.models.densenet.DenseNet(in_chans=channels, num_classes=0, **SMALL)
    gates = {}
    if name != bare:
        options = {"reduction": reduction, "start": start}
        for block, module in net.features.named_children():
            if isinstance(module, DenseBlock):
                layers = list(module.named_children())
                own = layers[0][1].conv2.out_channels
                inside = layers[0][1].conv1.in_channels
                if position == "block":
                    gates[block] = Gate(inside + own * len(layers), **options)
                else:
                    gates |= {f"{block}_{layer}": Gate(own, **options) for layer, _ in layers}
    made = Encoder(net, gates)
    return made, _stages(made)


def _stages(made: Encoder) -> dict[str, list[str]]:
    """Paths of the stem and of four stages, each a dense block with its gates and what follows it."""
    names = [
        name for name, module in made.features.named_children() if any(True for _ in module.parameters())
    ]
    first = names.index("denseblock1")
    stages = {"stem": [f"features.{name}" for name in names[:first]]}
    for number in range(1, 5):
        block = f"denseblock{number}"
        at = names.index(block)
        gates = [f"gates.{gate}" for gate in made.gates if gate.split("_")[0] == block]
        stages[f"stage{number}"] = [f"features.{block}", *gates, f"features.{names[at + 1]}"]
    return stages


def megabytes(parameters: int) -> float:
    """Size of so many float32 parameters in MB (10⁶ bytes).

    >>> round(megabytes(CLAIMED_PARAMETERS), 1), round(CLAIMED_MEGABYTES * 1e6 / 4 / 1e6, 1)
    (4.3, 21.2)
    """
    return parameters * 4 / 1e6
