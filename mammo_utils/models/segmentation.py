"""Named segmenters over segmentation-models-pytorch and timm, each with its own input normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammo_utils.data.preprocess import width_for
from mammo_utils.models import weights as sources
from mammo_utils.models.blocks import PlainUNet, PromptedVit, breast_box
from mammo_utils.profile import choose

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Stages = dict[str, list[str]]


def padded(shape: tuple[int, int], stride: int) -> tuple[int, int]:
    """The next (height, width) that a network with this ``stride`` takes.

    At least two strides, so that the deepest map has more than one pixel: batch and instance norm cannot be
    trained on a single one.

    >>> padded((128, 104), 32), padded((20, 20), 32)
    ((128, 128), (64, 64))
    """
    height, width = (max(2, -(-side // stride)) * stride for side in shape)
    return height, width


class Segmenter(nn.Module):
    """A network with the care that every one needs: normalisation, padding to its stride, cropping back.

    ``net`` has ``encoder``, ``decoder`` and ``segmentation_head``; ``stages`` names the parts of the encoder
    by the paths of their modules; ``only`` is the padded shape of a network that takes no other.
    """

    def __init__(
        self,
        net: nn.Module,
        stages: Stages,
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
        tall, wide = padded((height, width), self.stride)
        if self.only not in (None, (tall, wide)):
            raise ValueError(
                f"this network was built for images of up to {self.only[0]}×{self.only[1]}, these are "
                f"{height}×{width}; build it with size=({height}, {width})"
            )
        # Black goes right and below, where prepared images have theirs; hence before normalisation.
        image = F.pad(image, (0, wide - width, 0, tall - height))
        return self.net((image - self.mean) / self.std, *prompt)[..., :height, :width]


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


def _blocks(encoder: nn.Module) -> Stages:
    """Stages of timm's EfficientNet family, each ending with the last block of a resolution."""
    ends = [int(name.split(".")[1]) + 1 for name in encoder.feature_info.module_name()]
    stages = {
        f"stage{index}": [f"blocks.{block}" for block in range(*between)]
        for index, between in enumerate(zip(ends, ends[1:], strict=False), 1)
    }
    return {"stem": ["conv_stem", "bn1", *(f"blocks.{block}" for block in range(ends[0]))], **stages}


def _listed(encoder: nn.Module) -> Stages:
    """Stages of timm's hierarchical transformers: the patch embedding and what follows it."""
    stem, *others = (name for name, _ in encoder.named_children())
    return {"stem": [stem], **{f"stage{index}": [name] for index, name in enumerate(others, 1)}}


def _quarters(encoder: nn.Module) -> Stages:
    """Stages of a plain vision transformer: its tokens, and its blocks in four groups."""
    number = len(encoder.blocks)
    ends = [round(number * quarter / 4) for quarter in range(5)]
    stages = {
        f"stage{index}": [f"blocks.{block}" for block in range(ends[index - 1], ends[index])]
        for index in range(1, 5)
    }
    return {"stem": ["patch_embed", *(name for name, _ in encoder.named_parameters(recurse=False))], **stages}


def _unet(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    # True and None, because these encoders would warn of any name of weights
    net = smp.Unet(
        f"tu-{encoder}", encoder_weights=pretrained or None, in_channels=channels, classes=classes, **options
    )
    return net, _blocks(net.encoder.model)


def _xception(*, channels: int, classes: int, pretrained: bool):
    # segmentation-models-pytorch's own, whose maps are halves of the input; timm's lose pixels at the edges
    weights = "imagenet" if pretrained else None
    net = smp.Unet("xception", encoder_weights=weights, in_channels=channels, classes=classes)
    return net, {
        "stem": ["conv1", "bn1", "conv2", "bn2"],
        "stage1": ["block1"],
        "stage2": ["block2"],
        "stage3": [f"block{index}" for index in range(3, 12)],
        "stage4": ["block12", "conv3", "bn3", "conv4", "bn4"],
    }


def _plain(widths: tuple[int, ...], *, channels: int, classes: int, pretrained: bool):
    stages = {f"stage{index}": [f"stages.{index}"] for index in range(min(5, len(widths)))}
    if len(widths) > 5:
        stages["bottom"] = [f"stages.{index}" for index in range(5, len(widths))]
    return PlainUNet(channels, classes, widths), stages


def _segformer(encoder: str, *, channels: int, classes: int, pretrained: bool):
    weights = "imagenet" if pretrained else None
    net = smp.Segformer(encoder, encoder_weights=weights, in_channels=channels, classes=classes)
    # Each stage has its own patch embedding, so there is no stem apart.
    return net, {f"stage{n}": [f"patch_embed{n}", f"block{n}", f"norm{n}"] for n in range(1, 5)}


def _segformer_small(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    net = smp.Segformer(
        f"tu-{encoder}", encoder_weights=None, in_channels=channels, classes=classes, **options
    )
    return net, _listed(net.encoder.model)


def _upernet(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    net = smp.UPerNet(
        f"tu-{encoder}",
        encoder_weights=pretrained or None,
        in_channels=channels,
        classes=classes,
        always_partition=True,  # else the windows, and with them the weights, would shrink with the image
        **options,
    )
    # The pyramid's top is one pixel an image: batch norm could not be trained on a single image.
    pooled = net.decoder.psp.blocks[0][1]
    pooled[1] = nn.GroupNorm(1, pooled[1].num_features)
    return net, _listed(net.encoder.model)


def _dpt(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    net = smp.DPT(
        f"tu-{encoder}",
        encoder_weights="imagenet" if pretrained else None,
        in_channels=channels,
        classes=classes,
        dynamic_img_size=True,
        num_classes=0,
        **options,
    )
    net.encoder.model.norm = nn.Identity()  # only a classifier would use it
    return net, _quarters(net.encoder.model)


def _sam(*, channels: int, classes: int, pretrained: bool, decoder_heads: int, decoder_depth: int, **options):
    encoder = timm.create_model(
        "samvit_base_patch16", pretrained=pretrained, in_chans=channels, num_classes=0, **options
    )
    net = PromptedVit(encoder, classes, heads=decoder_heads, depth=decoder_depth)
    return net, {**_quarters(encoder), "neck": ["neck"]}


@dataclass(frozen=True)
class Model:
    """What is known of a named segmenter.

    ``kind`` is "CNN", "transformer" or "SAM-like"; ``profile`` the one it is meant for; ``download`` the name
    of the weights that a library offers for its encoder; ``normal`` the mean and standard deviation of the
    three channels that these weights expect (kept for random weights too, so that runs differ in nothing
    else); ``sized`` says that the network takes images of one size only.
    """

    family: str
    kind: str
    profile: str
    builder: Callable
    stride: int = 32
    download: str | None = "imagenet"
    normal: tuple = IMAGENET
    sized: bool = False


SMALL = (64, 48, 32, 24, 16)  # decoder channels that leave over half of the weights in a small encoder
MODELS = {
    "unet/test_efficientnet": Model(
        "U-Net", "CNN", "smoke", partial(_unet, "test_efficientnet", decoder_channels=SMALL)
    ),
    "unet/mobilenetv2_050": Model(
        "U-Net", "CNN", "cpu", partial(_unet, "mobilenetv2_050", decoder_channels=SMALL)
    ),
    "nnunet/small": Model(
        "nnU-Net style", "CNN", "cpu", partial(_plain, (16, 32, 64, 96, 128)), stride=16, download=None
    ),
    # PVT v2 is MiT in all but name: overlapping patches, reduced keys and values, convolution in the MLP.
    "segformer/small": Model(
        "SegFormer",
        "transformer",
        "cpu",
        partial(
            _segformer_small,
            "pvt_v2_b0",
            depths=(1, 1, 2, 1),
            embed_dims=(16, 32, 64, 128),
            num_heads=(1, 1, 2, 4),
            decoder_segmentation_channels=64,
        ),
        download=None,
    ),
    "upernet/swin_small": Model(
        "UPerNet",
        "transformer",
        "cpu",
        partial(
            _upernet,
            "swin_tiny_patch4_window7_224",
            embed_dim=32,
            depths=(1, 1, 2, 1),
            num_heads=(1, 2, 4, 8),
            window_size=4,
            drop_path_rate=0.0,
            decoder_channels=32,
        ),
        download=None,
        sized=True,
    ),
    "dpt/test_vit": Model(
        "DPT",
        "transformer",
        "cpu",
        partial(
            _dpt,
            "test_vit",
            decoder_intermediate_channels=(16, 32, 64, 64),
            decoder_fusion_channels=32,
        ),
        normal=HALF,
    ),
    "sam/small": Model(
        "SAM-like",
        "SAM-like",
        "cpu",
        partial(
            _sam,
            embed_dim=96,
            depth=4,
            num_heads=3,
            global_attn_indexes=(1, 3),
            window_size=4,
            img_size=128,
            neck_chans=64,
            decoder_heads=4,
            decoder_depth=1,
        ),
        stride=16,
        download=None,
    ),
    "unet/efficientnet-b0": Model("U-Net", "CNN", "gpu", partial(_unet, "efficientnet_b0")),
    "unet/efficientnet-b3": Model("U-Net", "CNN", "gpu", partial(_unet, "efficientnet_b3")),
    "unet/xception": Model("U-Net", "CNN", "gpu", _xception, normal=HALF),
    # TensorFlow's MobileNetV2 pads unevenly; its weights come from a file.
    "unet/tf_mobilenetv2_100": Model(
        "U-Net",
        "CNN",
        "gpu",
        partial(_unet, "mobilenetv2_100", pad_type="same"),
        download=None,
        normal=HALF,
    ),
    "nnunet/plain": Model(
        "nnU-Net style",
        "CNN",
        "gpu",
        partial(_plain, (32, 64, 128, 256, 512, 512, 512)),
        stride=64,
        download=None,
    ),
    "segformer/mit_b0": Model("SegFormer", "transformer", "gpu", partial(_segformer, "mit_b0")),
    "segformer/mit_b2": Model("SegFormer", "transformer", "gpu", partial(_segformer, "mit_b2")),
    "upernet/swin_tiny": Model(
        "UPerNet",
        "transformer",
        "gpu",
        partial(_upernet, "swin_tiny_patch4_window7_224"),
        sized=True,
    ),
    "dpt/vit_small": Model(
        "DPT",
        "transformer",
        "gpu",
        partial(
            _dpt,
            "vit_small_patch16_224",
            decoder_intermediate_channels=(48, 96, 192, 384),
            decoder_fusion_channels=64,
        ),
        normal=HALF,
    ),
    "sam/vit_b": Model(
        "SAM-like",
        "SAM-like",
        "gpu",
        partial(_sam, decoder_heads=8, decoder_depth=2),
        stride=16,
        download="sa1b",
    ),
}


def build(
    name: str,
    *,
    weights: str | Path = "none",
    size: int | tuple[int, int],
    channels: int = 1,
    classes: int = 2,
) -> Segmenter:
    """Build the segmenter called ``name``, one of ``MODELS``.

    ``size`` is the height of the images (their width is then that of prepared ones) or (height, width), in
    pixels and of any parity; only UPerNet's Swin takes no other size afterwards.  The network takes (N,
    ``channels``, H, W) float in 0–1 and returns logits (N, ``classes``, H, W).  Random weights come from
    torch's global generator.

    ``weights`` of the encoder: "none"; "imagenet" ("sa1b" for ``sam/vit_b``), as the library has them; or the
    path of a safetensors file with timm's names.  For grey images the first convolution of colour weights is
    summed over its channels, which is what three equal channels would give, and the input is normalised by
    the average of the three means and deviations.  With ImageNet's this is close to the colour network, with
    equal ones (0.5) exactly the same.

    Raises
        ValueError: an unknown name or unknown weights; the right ones are listed.
        RuntimeError: the weights could not be downloaded; says what to do.

    >>> build("unet/test_efficientnet", size=64)(torch.zeros(1, 1, 64, 52)).shape
    torch.Size([1, 2, 64, 52])
    """
    model = MODELS[choose("segmentation model", name, MODELS)]
    weights = sources.check(weights, name, model.download)
    shape = (size, width_for(size)) if isinstance(size, int) else tuple(size)
    only = padded(shape, model.stride) if model.sized else None
    make = partial(model.builder, channels=channels, classes=classes, **({"img_size": only} if only else {}))
    if weights == model.download:
        with sources.downloading(weights, name):
            net, stages = make(pretrained=True)
    else:
        net, stages = make(pretrained=False)
    mean, std = ([sum(three) / 3] * channels if channels != 3 else list(three) for three in model.normal)
    kind = PromptedSegmenter if model.family == "SAM-like" else Segmenter
    segmenter = kind(net, stages, stride=model.stride, mean=mean, std=std, only=only)
    if isinstance(weights, Path):
        sources.load(segmenter.encoder, weights)
    return segmenter
