"""The contrasts of the histology work: every arm beside the published system, in paired seeds.

The reference is the system as published, small: squeeze-and-excitation, two levels of transfer, normalised
stains, colour irrelevant to the label.  ``histology_decisive`` holds what is decided, in ten paired seeds:

* several levels over a single one: both sources against the first one alone;
* gates: squeeze-and-excitation against the plain network;
* normalisation: against nothing, where laboratories differ and colour says nothing about the label;
* that normalisation can remove diagnostic colour: the same where colour is diagnostic (downwards);
* that distant sources can harm: the first level alone against none (downwards);
* the whole system: against a plain network without transfer and normalisation, by accuracy;
* fewer epochs to a level: tiles until `histology.LEVEL`, both levels against none (downwards).

These are seven t-intervals, each at 1 - 0.05/7 (Bonferroni), on ROC-AUC by tile where nothing else is said.
All other arms and scores are explored: ``histology`` has three seeds.  ``histology_tuning`` tries the same
rates with and without gates, without transfer and after both levels; the rule is the highest ROC-AUC, mean of
its seeds.  Other sources, starts of gates and stains take the rate of their neighbour.
"""

from __future__ import annotations

from mammo_utils.study.grid import Study
from mammo_utils.study.histology import RUN, SOURCES, STAINS, TOLERANCE, arm
from mammo_utils.synth.histology import MAGNIFICATIONS, REGIMES

BOTH = "patterns+organs"
TUNED = [
    {"model": model, "source": source}
    for model in ("densenet_small", "se_densenet_small")
    for source in ("none", BOTH)
]
TRIALS = (1e-3, 3e-3, 1e-2)
BEYOND: dict[tuple[str, str], tuple] = {}
# (model, source) → learning rate; provisional until the trials have been run.
RATES = {(one["model"], one["source"]): 3e-3 for one in TUNED}


def at_rate(**changes) -> dict:
    """The settings of an arm at its rate, or at that of the nearest arm that was tuned."""
    settings = arm(**changes)
    model = settings["model"] if "densenet" in settings["model"] else "densenet_small"
    return settings | {"lr": RATES[model, "none" if settings["source"] == "none" else BOTH]}


TUNING = Study(
    "histology_tuning",
    RUN,
    [
        arm(**one, lr=lr, cohort="develop")
        for one in TUNED
        for lr in (*TRIALS, *BEYOND.get((one["model"], one["source"]), ()))
    ],
    seeds=range(2),
    order="settings",
    tolerance=TOLERANCE,
)
GATED = [{}, {"model": "densenet_small"}]
LEVELS = [{"source": source} for source in ("none", "patterns", "organs")]
COLOURS = [{"regime": regime, "stains": stains} for regime in REGIMES for stains in ("none", "normalise")]
COLOURS = [one for one in COLOURS if arm(**one) != arm()]
BASELINE = {"model": "densenet_small", "source": "none", "stains": "none"}
DECISIVE = Study(
    "histology_decisive",
    RUN,
    [at_rate(**one) for one in (*GATED, *LEVELS, *COLOURS, BASELINE)],
    seeds=range(10),
    result="histology",
    tolerance=TOLERANCE,
)
# Gates as published; other sources; varied stains; each magnification against all; how deep a source reaches;
# eight subtypes; other sizes of network.  What a split by image would have said is a column of every row.
WAYS = [{"regime": regime, "stains": stains} for regime in REGIMES for stains in STAINS[2:]]
POWERS = [{"magnification": magnification, "tested": "all"} for magnification in MAGNIFICATIONS]
DEPTHS = [{"source": source, "depth": depth} for source in ("patterns", "organs") for depth in range(1, 5)]
OTHERS = [{"source": source} for source in SOURCES if "fractals" in source]
SUBTYPES = [{"task": "subtypes", "source": source} for source in ("none", BOTH)]
SIZES = [{"model": model, "source": "none"} for model in ("densenet_small", "test_resnet", "mobilenetv2_050")]
STUDY = Study(
    "histology",
    RUN,
    [at_rate(**one) for one in ({"gates": "sigmoid"}, *OTHERS, *WAYS, *POWERS, *DEPTHS, *SUBTYPES, *SIZES)],
    seeds=range(3),
    tolerance=TOLERANCE,
)
