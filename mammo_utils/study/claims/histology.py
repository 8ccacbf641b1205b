"""The claims of the histology work, judged by the study of tiles and by arithmetic on its own figures.

Its full text could not be reached.  Decided are the seven contrasts that `study.histology_studies` names, ten
paired seeds each; what else its table says is explored.
"""

from __future__ import annotations

import math

from mammo_utils.study.claims import arithmetic
from mammo_utils.study.claims.registry import Arithmetic, Claim, Question, minus
from mammo_utils.study.claims.rule import DELTA
from mammo_utils.study.histology_studies import PLAIN, at_rate

WORK = "histology"
ABSTRACT, SUMMARY = "abstract", "summary"
SHALLOW = 2  # parts: the stem and the first stage
BASELINE = PLAIN | {"source": "none", "stains": "none"}


def question(asks: str, second: dict, first: dict, direction: str = "up", **more) -> Question:
    """An arm minus another, each by what it changes of the published system; ROC-AUC by tile unless told."""
    column = more.pop("column", "roc_auc")
    delta = more.pop("delta", DELTA["roc_auc"])
    terms = minus(at_rate(second), at_rate(first), column)
    return Question(asks, "histology", terms, direction, delta, **more)


def deeper() -> Question:
    """What the deep layers of a near source add over those of a distant one."""
    near, far = {"source": "organs"}, {"source": "patterns"}
    ends = [
        *minus(at_rate(near), at_rate(far), "roc_auc"),
        *minus(at_rate(far | {"depth": SHALLOW}), at_rate(near | {"depth": SHALLOW}), "roc_auc"),
    ]
    asks = "ROC-AUC: gain of the deep layers, near minus distant source"
    more = {"direction": "up", "delta": DELTA["roc_auc"], "kind": "explored"}
    return Question(asks, "histology", tuple(ends), **more)


CLAIMS = (
    Claim(
        "system",
        WORK,
        "The whole system is more accurate than a plain network without transfer and normalisation",
        f"{SUMMARY}; which baselines was not found",
        "accuracy +2 to +6 %",
        questions=(
            question(
                "accuracy: system minus baseline", {}, BASELINE, column="accuracy", delta=DELTA["accuracy"]
            ),
        ),
    ),
    Claim(
        "levels",
        WORK,
        "Transfer over several levels beats transfer over a single one",
        f"our reading of {ABSTRACT}",
        "in words alone",
        questions=(question("ROC-AUC: both levels minus the first alone", {}, {"source": "patterns"}),),
    ),
    Claim(
        "epochs",
        WORK,
        "Transfer needs fewer epochs to a level",
        SUMMARY,
        "faster, in words alone",
        questions=(
            question(
                "logarithm of the tiles to the level: both levels minus none",
                {},
                {"source": "none"},
                "down",
                column="log_tiles",
                delta=-math.log(1 - DELTA["cost"]),
            ),
        ),
    ),
    Claim(
        "gates",
        WORK,
        "Squeeze-and-excitation helps",
        f"{ABSTRACT}, {SUMMARY}",
        "no ablation was found",
        questions=(question("ROC-AUC: with gates minus without", {}, {"model": "densenet_small"}),),
    ),
    Claim(
        "augmentation",
        WORK,
        "Rotation and flip help",
        SUMMARY,
        "no ablation was found",
        questions=(
            question("ROC-AUC: with turns and flips minus without", {}, {"turns": False}, kind="explored"),
        ),
    ),
    Claim(
        "normalisation",
        WORK,
        "Normalising colours helps",
        SUMMARY,
        "no ablation was found",
        questions=(question("ROC-AUC: normalised minus as scanned", {}, {"stains": "none"}),),
    ),
    Claim(
        "diagnostic colour",
        WORK,
        "Normalisation can remove colour that tells the diagnosis",
        SUMMARY,
        "as a condition under which it fails",
        questions=(
            question(
                "ROC-AUC where colour is diagnostic: normalised minus as scanned",
                {"regime": "diagnostic"},
                {"regime": "diagnostic", "stains": "none"},
                "down",
            ),
        ),
    ),
    Claim(
        "distant sources",
        WORK,
        "A source too far from the target can harm",
        SUMMARY,
        "as a condition under which it fails",
        questions=(
            question(
                "ROC-AUC: first level alone minus none", {"source": "patterns"}, {"source": "none"}, "down"
            ),
        ),
    ),
    Claim(
        "layers",
        WORK,
        "Shallow layers are general, deep ones are specific",
        SUMMARY,
        "as an assumption",
        questions=(
            question(
                "ROC-AUC, shallow layers alone: near minus distant source",
                {"source": "organs", "depth": SHALLOW},
                {"source": "patterns", "depth": SHALLOW},
                "little",
                kind="explored",
            ),
            deeper(),
        ),
    ),
    Claim(
        "84 %",
        WORK,
        "The system is right in more than 84 % of BreakHis",
        ABSTRACT,
        "over 84.0 %",
        missing="BreakHis, LC25000 and ImageNet weights; whether the paper kept patients apart was not found",
    ),
    Claim(
        "size",
        WORK,
        "1,068,993 parameters and 84.7 MB describe one network",
        SUMMARY,
        "both figures",
        questions=(
            Arithmetic(
                "size of the parameters over the size given, less one",
                arithmetic.described,
                "published figures, four bytes a parameter",
                "little",
                DELTA["cost"],
            ),
        ),
    ),
)
