"""The studies of architectures: families of segmenters on one split, with the labels that they get."""

from __future__ import annotations

from mammo_utils.study.density import RUN, trials
from mammo_utils.study.grid import Study

MODELS = (
    "unet/mobilenetv2_050",
    "segformer/small",
    "nnunet/small",
    "upernet/swin_small",
    "dpt/test_vit",
    "sam/small",
)

TUNING = Study(
    "architectures_tuning", RUN, [settings for name in MODELS for settings in trials(model=name)], seeds=[0]
)
