"""One function a family: the network and the stages of its encoder, as paths from stem to end.

Each takes ``channels`` and ``classes`` of the images, whether the encoder is ``pretrained`` (a download by
the library), and returns a module with ``encoder``, ``decoder`` and ``segmentation_head``.
"""

from __future__ import annotations

import segmentation_models_pytorch as smp
import timm
from torch import nn

from mammo_utils.models.blocks import PlainUNet, PromptedVit

Stages = dict[str, list[str]]


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


def unet(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    # True and None, because these encoders would warn of any name of weights
    net = smp.Unet(
        f"tu-{encoder}", encoder_weights=pretrained or None, in_channels=channels, classes=classes, **options
    )
    return net, _blocks(net.encoder.model)


def xception(*, channels: int, classes: int, pretrained: bool):
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


def plain(widths: tuple[int, ...], *, channels: int, classes: int, pretrained: bool):
    stages = {f"stage{index}": [f"stages.{index}"] for index in range(min(5, len(widths)))}
    if len(widths) > 5:
        stages["bottom"] = [f"stages.{index}" for index in range(5, len(widths))]
    return PlainUNet(channels, classes, widths), stages


def segformer(encoder: str, *, channels: int, classes: int, pretrained: bool):
    weights = "imagenet" if pretrained else None
    net = smp.Segformer(encoder, encoder_weights=weights, in_channels=channels, classes=classes)
    # Each stage has its own patch embedding, so there is no stem apart.
    return net, {f"stage{n}": [f"patch_embed{n}", f"block{n}", f"norm{n}"] for n in range(1, 5)}


def pvt_segformer(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
    net = smp.Segformer(
        f"tu-{encoder}", encoder_weights=None, in_channels=channels, classes=classes, **options
    )
    return net, _listed(net.encoder.model)


def upernet(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
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


def dpt(encoder: str, *, channels: int, classes: int, pretrained: bool, **options):
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


def sam(*, channels: int, classes: int, pretrained: bool, decoder_heads: int, decoder_depth: int, **options):
    encoder = timm.create_model(
        "samvit_base_patch16", pretrained=pretrained, in_chans=channels, num_classes=0, **options
    )
    net = PromptedVit(encoder, classes, heads=decoder_heads, depth=decoder_depth)
    return net, {**_quarters(encoder), "neck": ["neck"]}
