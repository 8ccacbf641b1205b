"""The claims of the density work, judged by the studies of architectures, sources, strategies and losses.

Its full text could not be reached: we know its abstract, by a mirror, and a summary written by an AI.  The
arms are those of the studies in which each question was asked beforehand, ten paired seeds each.
"""

from __future__ import annotations

from mammo_utils.study import architectures, losses, strategies, transfer
from mammo_utils.study.claims.registry import Claim, Question, minus
from mammo_utils.study.claims.rule import DELTA
from mammo_utils.study.encoders import LARGE, SEEDS

WORK = "density"
ABSTRACT, SUMMARY = "abstract", "summary"
CNN, TRANSFORMER = "unet/mobilenetv2_050", "segformer/small"
DOUBLINGS = 5  # of the labels, from 8 to 256

FAMILIES = {(one["model"], one["labels"]): one for one in architectures.DECISIVE.settings}
ORIGINS = {one["source"]: one for one in transfer.DECISIVE.settings if one["model"] == LARGE}
TUNINGS = {(one["strategy"], one["labels"]): one for one in strategies.DECISIVE.settings}
LOSSES = {one["loss"]: one for one in losses.DECISIVE.settings}
REAL = "ImageNet weights for it and its rivals, the labelled mammograms, larger images"


def lower(labels: int) -> Question:
    """Whether the small transformer ends below the small convolutional network."""
    return Question(
        asks=f"Dice: transformer minus CNN, {labels} labels",
        table="architectures",
        terms=minus(FAMILIES[TRANSFORMER, labels], FAMILIES[CNN, labels], "dice"),
        direction="down",
        delta=DELTA["dice"],
        kind="inductive bias only",
    )


def catching_up() -> Question:
    """Whether the small transformer gains more from each doubling of the labels."""
    ends = [
        *minus(FAMILIES[TRANSFORMER, 256], FAMILIES[CNN, 256], "dice"),
        *minus(FAMILIES[CNN, 8], FAMILIES[TRANSFORMER, 8], "dice"),
    ]
    return Question(
        asks="Dice a doubling of labels: transformer minus CNN",
        table="architectures",
        terms=tuple(one._replace(weight=one.weight / DOUBLINGS) for one in ends),
        direction="up",
        delta=DELTA["dice"] / DOUBLINGS,
        kind="inductive bias only",
    )


def learnt(second: str, first: str, direction: str) -> Question:
    """What the larger network makes of one source of first weights, against another; 64 labels."""
    names = {"imagenet": "ImageNet", "simclr": "SimCLR", "multiview": "multi-view"}
    said = [" → ".join(names[step] for step in source.split("+")) for source in (second, first)]
    return Question(
        asks=f"Dice: {said[0]} minus {said[1]}",
        table="sources",
        terms=minus(ORIGINS[second], ORIGINS[first], "dice"),
        direction=direction,
        delta=DELTA["dice"],
        nests=SEEDS,
    )


def tuned(second: str, first: str, labels: int) -> Question:
    """Whether more freedom in fine-tuning ends higher than a parameter-efficient strategy, from ImageNet."""
    names = {"full": "full", "layerwise": "layer-wise", "lora": "LoRA", "bnbitfit": "BNBitFit"}
    return Question(
        asks=f"Dice: {names[second]} minus {names[first]}, {labels} labels",
        table="strategies",
        terms=minus(TUNINGS[second, labels], TUNINGS[first, labels], "dice"),
        direction="up",
        delta=DELTA["dice"],
    )


def weighed(metric: str, label: str, direction: str) -> Question:
    """What the term for the density changes, against BCE + Dice alone."""
    return Question(
        asks=f"{label}: hybrid minus BCE + Dice",
        table="losses",
        terms=minus(LOSSES["hybrid_density"], LOSSES["bce_dice"], metric),
        direction=direction,
        delta=DELTA[metric],
    )


CLAIMS = (
    Claim(
        "backbone",
        WORK,
        "A convolutional network, EfficientNet, is the backbone to choose for few labels",
        ABSTRACT,
        "the recommended default; its scores were not found",
        missing=REAL + " (the paper's size was not found)",
    ),
    Claim(
        "transformers",
        WORK,
        "Transformers fall short of it",
        SUMMARY,
        "names, sizes and scores of the transformers were not found",
        questions=tuple(lower(labels) for labels in (8, 256)),
        missing=f"{REAL}; from random weights a ranking is inductive bias only",
    ),
    Claim(
        "SAM-like",
        WORK,
        "SAM-like networks fall short of it",
        SUMMARY,
        "scores of Medical-SAM2 were not found",
        missing="Medical SAM 2 with its weights, the labelled mammograms; sam/small shares SAM's plan alone",
    ),
    Claim(
        "too much or nothing",
        WORK,
        "Transformers and SAM-like networks find far too much dense tissue or nearly none",
        SUMMARY,
        "in words alone",
        missing=f"{REAL}; errors by density class of the real networks",
    ),
    Claim(
        "catching up",
        WORK,
        "Transformers catch up as the number of labels grows",
        f"our reading of {SUMMARY}",
        "in words alone",
        questions=(catching_up(),),
        missing="pretrained networks and more labelled mammograms; "
        "from random weights a gain is inductive bias only",
    ),
    Claim(
        "generic pretraining",
        WORK,
        "Generic self-supervision (here SimCLR) brings little over ImageNet",
        ABSTRACT,
        "often a negligible or negative gain over ImageNet",
        questions=(learnt("imagenet+simclr", "imagenet", "little"),),
    ),
    Claim(
        "multi-view",
        WORK,
        "Multi-view contrastive learning brings the most",
        ABSTRACT,
        "the best of its four pretrainings; how much was not found",
        questions=tuple(learnt("imagenet+multiview", one, "up") for one in ("imagenet", "imagenet+simclr")),
    ),
    Claim(
        "fine-tuning",
        WORK,
        "Full and layer-wise fine-tuning beat parameter-efficient updates",
        f"{ABSTRACT}; LoRA and BNBitFit: {SUMMARY}",
        "reliably, in words alone",
        questions=tuple(
            tuned(high, low, labels)
            for high in ("full", "layerwise")
            for low in ("lora", "bnbitfit")
            for labels in strategies.LABELS
        ),
    ),
    Claim(
        "hybrid loss",
        WORK,
        "A loss that joins segmentation and density measures density better than BCE + Dice",
        f"our reading of {ABSTRACT} and {SUMMARY}",
        "for the loss alone not in the abstract",
        questions=(weighed("mae", "MAE of density, points", "down"),),
    ),
    Claim(
        "hybrid overlap",
        WORK,
        "Such a loss costs no overlap that matters",
        "our own question",
        "none",
        questions=(weighed("dice", "Dice", "little"),),
    ),
    Claim(
        "together",
        WORK,
        "Multi-view pretraining and the hybrid loss together measure density better and rank it better",
        ABSTRACT,
        "VinDr: MAE of density 14.8 → 11.8 points, Spearman with the BI-RADS classes 0.42 → 0.51",
        missing="a study that crosses the two in one network; "
        "the tables here vary one at a time, each in another network",
    ),
    Claim(
        "recipe",
        WORK,
        "EfficientNet, multi-view pretraining, full fine-tuning, hybrid loss: most accuracy for its cost",
        ABSTRACT,
        "the recommended default; the hours on a GPU were not found",
        missing="the recipe against its parts on women opened for it alone, with the time of each; "
        "EfficientNet's ImageNet weights for the published form",
    ),
)
