"""Named segmenters over segmentation-models-pytorch and timm, each with its own input normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mammo_utils.data.preprocess import width_for
from mammo_utils.models import families
from mammo_utils.models import weights as sources
from mammo_utils.models.segmenter import PromptedSegmenter, Segmenter, padded
from mammo_utils.profile import choose

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


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
        "U-Net", "CNN", "smoke", partial(families.unet, "test_efficientnet", decoder_channels=SMALL)
    ),
    "unet/mobilenetv2_050": Model(
        "U-Net", "CNN", "cpu", partial(families.unet, "mobilenetv2_050", decoder_channels=SMALL)
    ),
    "nnunet/small": Model(
        "nnU-Net style",
        "CNN",
        "cpu",
        partial(families.plain, (16, 32, 64, 96, 128)),
        stride=16,
        download=None,
    ),
    # PVT v2 is MiT in all but name: overlapping patches, reduced keys and values, convolution in the MLP.
    "segformer/small": Model(
        "SegFormer",
        "transformer",
        "cpu",
        partial(
            families.pvt_segformer,
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
            families.upernet,
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
            families.dpt,
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
            families.sam,
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
    "unet/efficientnet-b0": Model("U-Net", "CNN", "gpu", partial(families.unet, "efficientnet_b0")),
    "unet/efficientnet-b3": Model("U-Net", "CNN", "gpu", partial(families.unet, "efficientnet_b3")),
    "unet/xception": Model("U-Net", "CNN", "gpu", families.xception, normal=HALF),
    # TensorFlow's MobileNetV2 pads unevenly; its weights come from a file.
    "unet/tf_mobilenetv2_100": Model(
        "U-Net",
        "CNN",
        "cpu",
        partial(families.unet, "mobilenetv2_100", pad_type="same", decoder_channels=SMALL),
        download=None,
        normal=HALF,
    ),
    "nnunet/plain": Model(
        "nnU-Net style",
        "CNN",
        "gpu",
        partial(families.plain, (32, 64, 128, 256, 512, 512, 512)),
        stride=64,
        download=None,
    ),
    "segformer/mit_b0": Model("SegFormer", "transformer", "gpu", partial(families.segformer, "mit_b0")),
    "segformer/mit_b2": Model("SegFormer", "transformer", "gpu", partial(families.segformer, "mit_b2")),
    "upernet/swin_tiny": Model(
        "UPerNet", "transformer", "gpu", partial(families.upernet, "swin_tiny_patch4_window7_224"), sized=True
    ),
    "dpt/vit_small": Model(
        "DPT",
        "transformer",
        "gpu",
        partial(
            families.dpt,
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
        partial(families.sam, decoder_heads=8, decoder_depth=2),
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

    ``weights`` of the encoder: "none"; "imagenet" ("sa1b" for ``sam/vit_b``), as the library has them;
    "fractal", "simclr", "barlow_twins", "masked" or "multiview", which come with this package for some
    encoders; or the path of a safetensors file with timm's names.  For grey images the first convolution of
    colour weights is summed over its channels, which is what three equal channels would give, and the input
    is normalised by the average of the three means and deviations.  With ImageNet's this is close to the
    colour network, with equal ones (0.5) exactly the same.

    Raises
        ValueError: an unknown name or unknown weights; the right ones are listed.
        FileNotFoundError: there is no file of these weights; says how to make one.
        RuntimeError: the weights could not be downloaded; says what to do.

    >>> import torch
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
