"""The studies of architectures: families of segmenters on one split, by the number of labels that they get.

``architectures_decisive`` compares the convolutional U-Net with the SegFormer in ten paired seeds,
``architectures`` has every family; both fill one table.  Rates were chosen by the highest Dice with reader A
in ``architectures_tuning``.
"""

from __future__ import annotations

from mammo_utils.study.density import RUN, TOLERANCE, arm, trials
from mammo_utils.study.grid import Study

LABELS = (256, 8, 64)  # labelled images, four a woman
RATES = {
    "unet/mobilenetv2_050": 1e-2,
    "segformer/small": 1e-2,
    "nnunet/small": 3e-3,
    "upernet/swin_small": 1e-3,
    "dpt/test_vit": 3e-3,
    "sam/small": 3e-3,
}

TUNING = Study(
    "architectures_tuning",
    RUN,
    [settings for name in RATES for settings in trials(model=name)],
    seeds=[0],
    tolerance=TOLERANCE,
)
DECISIVE = Study(
    "architectures_decisive",
    RUN,
    [
        arm(model=name, labels=labels, lr=RATES[name])
        for labels in (256, 8)
        for name in ("unet/mobilenetv2_050", "segformer/small")
    ],
    seeds=range(10),
    result="architectures",
    tolerance=TOLERANCE,
)
STUDY = Study(
    "architectures",
    RUN,
    [arm(model=name, labels=labels, lr=rate) for labels in LABELS for name, rate in RATES.items()],
    seeds=range(3),
    tolerance=TOLERANCE,
)
