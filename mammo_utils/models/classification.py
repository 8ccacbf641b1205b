"""Named classifiers over timm: an encoder as the segmenters have it, the mean of its last map, one layer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from mammo_utils.data.preprocess import width_for
from mammo_utils.models import families, se_densenet
from mammo_utils.models import weights as sources
from mammo_utils.models.segmentation import IMAGENET
from mammo_utils.models.segmenter import _together
from mammo_utils.profile import choose

STRIDE = 32  # of the last map of every encoder here


def _resnet(encoder: nn.Module) -> families.Stages:
    return {"stem": ["conv1", "bn1"], **{f"stage{n}": [f"layer{n}"] for n in range(1, 5)}}


def _convnext(encoder: nn.Module) -> families.Stages:
    return {"stem": ["stem_0", "stem_1"], **{f"stage{n}": [f"stages_{n - 1}"] for n in range(1, 5)}}


@dataclass(frozen=True)
class Model:
    """What is known of a named classifier.

    ``encoder`` is timm's name of it, with that of its ImageNet weights; ``profile`` the one it is meant for;
    ``norm`` says that the family normalises the mean over the last map.  A DenseNet (``stages`` is None) is
    made by `se_densenet.encoder`.
    """

    family: str
    profile: str
    encoder: str
    stages: Callable[[nn.Module], families.Stages] | None
    norm: bool = False


MODELS = {
    "test_efficientnet": Model("EfficientNet", "smoke", "test_efficientnet", families._blocks),
    "mobilenetv2_050": Model("EfficientNet", "cpu", "mobilenetv2_050", families._blocks),
    "test_resnet": Model("ResNet", "cpu", "test_resnet", _resnet),
    "test_convnext2": Model("ConvNeXt", "cpu", "test_convnext2", _convnext, norm=True),
    "resnet101": Model("ResNet", "gpu", "resnet101.tv_in1k", _resnet),
    "efficientnet-b0": Model("EfficientNet", "gpu", "efficientnet_b0", families._blocks),
    "efficientnet-b3": Model("EfficientNet", "gpu", "efficientnet_b3", families._blocks),
    "convnext_small": Model("ConvNeXt", "gpu", "convnext_small.fb_in22k_ft_in1k_384", _convnext, norm=True),
}
MODELS |= {
    f"{gated}{name}": Model("DenseNet", profile, name, None)
    for name, profile in (("densenet_small", "cpu"), ("densenet121", "gpu"), ("densenet201", "gpu"))
    for gated in ("", "se_")
}


class Classifier(nn.Module):
    """An encoder with its input normalisation, global average pooling and a linear layer.

    ``stages`` names the parts of ``encoder``, whose last map counts, by the paths of their modules; ``head``
    takes the pooled features (N, features) to logits.
    """

    def __init__(
        self,
        encoder: nn.Module,
        stages: families.Stages,
        head: nn.Module,
        *,
        mean: list[float],
        std: list[float],
    ):
        super().__init__()
        self.encoder, self.head, self._stages = encoder, head, stages
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @property
    def parts(self) -> list[tuple[str, nn.Module]]:
        """(name, module) from stem to head; together they hold every parameter exactly once.

        Looked up anew at each call, so that layers which were exchanged in the meantime are found.
        """
        stages = [(name, _together(self.encoder, paths)) for name, paths in self._stages.items()]
        return [*stages, ("head", self.head)]

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) in 0–1 to logits (N, classes)."""
        features = self.encoder((image - self.mean) / self.std)[-1]
        return self.head(features.mean((2, 3)))


def build(
    name: str,
    *,
    weights: str | Path = "none",
    classes: int = 1,
    size: int | tuple[int, int],
    channels: int = 1,
    **gates,
) -> Classifier:
    """Build the classifier called ``name``, one of ``MODELS``.

    ``size`` is the height of the images (their width is then that of prepared ones) or (height, width), in
    pixels; any other is taken afterwards as well.  The network takes (N, ``channels``, H, W) float in 0–1 and
    returns logits (N, ``classes``); one is positive against negative.  Random weights come from torch's
    global generator.

    ``weights`` of the encoder: as in `segmentation.build`.  An encoder has what a segmenter of the same name
    has, so that the weights of one serve the other; the layers that timm puts between the last map and its
    classifier (``conv_head`` of EfficientNet) are left out.  Grey images are normalised by the average of
    ImageNet's means and deviations.

    ``gates``: the options ``position``, ``start`` and ``reduction`` of `se_densenet.encoder`, for models that
    begin with ``se_``.  Weights of a plain DenseNet load into them as well; the gates are then new.

    Raises
        ValueError: an unknown name or unknown weights, of which the right ones are listed; a side below 32;
            gates of another model.
        FileNotFoundError, RuntimeError: as in `segmentation.build`.

    Source: He 2016, arXiv 1512.03385; Tan 2019, arXiv 1905.11946; Liu 2022, arXiv 2201.03545.

    >>> build("test_efficientnet", size=64)(torch.zeros(2, 1, 64, 52)).shape
    torch.Size([2, 1])
    """
    model = MODELS[choose("classification model", name, MODELS)]
    if gates and not name.startswith("se_"):
        raise ValueError(f"{name} has no gates to choose {', '.join(gates)} of; take the model se_{name}")
    weights = sources.check(weights, name, "imagenet")
    height, width = (size, width_for(size)) if isinstance(size, int) else size
    if min(height, width) < STRIDE:
        raise ValueError(
            f"images of {height}×{width} vanish on their way: give {STRIDE} pixels or more a side"
        )
    with sources.downloading(weights, name) if weights == "imagenet" else nullcontext():
        encoder, stages, features = _encoder(name, channels, weights == "imagenet", gates)
    head = nn.Linear(features, classes)
    mean, std = ([sum(three) / 3] * channels if channels != 3 else list(three) for three in IMAGENET)
    classifier = Classifier(
        encoder,
        stages,
        nn.Sequential(nn.LayerNorm(features), head) if model.norm else head,
        mean=mean,
        std=std,
    )
    if isinstance(weights, Path):
        gated = isinstance(encoder, se_densenet.Encoder) and "gates" not in sources.modules(weights)
        sources.load(encoder.plain() if gated else encoder, weights)
    return classifier


def _encoder(name: str, channels: int, pretrained: bool, gates: dict) -> tuple:
    """The encoder of a model, its stages and the number of channels of its last map."""
    model = MODELS[name]
    if model.stages is None:
        encoder, stages = se_densenet.encoder(name, channels=channels, pretrained=pretrained, **gates)
        return encoder, stages, encoder.num_features
    encoder = timm.create_model(model.encoder, pretrained=pretrained, features_only=True, in_chans=channels)
    return encoder, model.stages(encoder), encoder.feature_info.channels()[-1]
