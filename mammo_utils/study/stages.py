"""The studies of screening: warm-up and unfreezing, crossed, and four ways to meet rare positives.

``screening_decisive`` holds the 2×2 of {one stage, warm-up first} × {all layers at once, progressive
unfreezing} in ten paired seeds; ``screening`` adds the warm-up alone, the ways to meet rare positives and
other first weights.  ``screening_seconds`` repeats the arms in which layers are frozen at first with the
images that the time of the others is enough for; all three fill one table.

Decided are the effects of a warm-up and of unfreezing, each the mean over the other factor, on ROC-AUC and
on PR-AUC at 2 % of breasts: four t-intervals over the ten seeds, each at 1 - 0.05/4 (Bonferroni).
Everything else is explored: pF1, sensitivity, the images to a level, interactions, equal seconds.

``screening_tuning`` tries the same rates for each arm, and those of ``BEYOND`` where these do not reach far
enough; the rule is the highest area under the ROC curve by breast, mean of its seeds.
"""

from __future__ import annotations

from mammo_utils.study.grid import Study
from mammo_utils.study.screening import BUDGET, IMBALANCE, RUN, TOLERANCE, arm

CROSSED = [
    {"stages": stages, "unfreezing": unfreezing}
    for stages in ("single", "warm_up")
    for unfreezing in ("all", "progressive")
]
ALONE = {"stages": "warm_up_only"}
WAYS = [{"imbalance": way} for way in IMBALANCE if way != arm()["imbalance"]]
SOURCES = [{"weights": source} for source in ("none", "simclr")]
ARMS = [*CROSSED, ALONE, *WAYS, *SOURCES]
# Those whose logits of breasts come with the package.
SHOWN = [CROSSED[0], {"imbalance": "plain"}]
TRIALS = (1e-4, 3e-4, 1e-3, 3e-3)
SEEDS = range(10)


def name(settings: dict) -> tuple[str, ...]:
    """What a rate belongs to."""
    return tuple(settings.get(key, arm()[key]) for key in ("stages", "unfreezing", "imbalance", "weights"))


# Rates that were tried as well where the best of TRIALS was at their end.
BEYOND = {
    ("single", "progressive", "pos_weight", "lesions"): (1e-2,),
    ("warm_up_only", "all", "pos_weight", "lesions"): (3e-5,),
}
RATES = {
    ("single", "all", "pos_weight", "lesions"): 1e-3,
    ("single", "progressive", "pos_weight", "lesions"): 3e-3,
    ("warm_up", "all", "pos_weight", "lesions"): 3e-4,
    ("warm_up", "progressive", "pos_weight", "lesions"): 1e-3,
    ("warm_up_only", "all", "pos_weight", "lesions"): 1e-4,
    ("single", "all", "balanced", "lesions"): 3e-4,
    ("single", "all", "focal", "lesions"): 3e-4,
    ("single", "all", "plain", "lesions"): 3e-4,
    ("single", "all", "pos_weight", "none"): 3e-3,
    ("single", "all", "pos_weight", "simclr"): 3e-3,
}
# Images a second with unfreezing over those of all layers at once: median over the pairs of the deciding
# runs, two of which went on at a time.
PACE = {"single": 1.23, "warm_up": 1.10}


def at_rate(changes: dict, **more) -> dict:
    """The settings of an arm at its own rate."""
    return arm(**changes, lr=RATES[name(changes)], **more)


TUNING = Study(
    "screening_tuning",
    RUN,
    [arm(**one, lr=lr, cohort="develop") for one in ARMS for lr in (*TRIALS, *BEYOND.get(name(one), ()))],
    seeds=range(2),
    order="settings",
    tolerance=TOLERANCE,
)
DECISIVE = Study(
    "screening_decisive",
    RUN,
    [at_rate(one) for one in CROSSED],
    seeds=SEEDS,
    result="screening",
    tolerance=TOLERANCE,
)
STUDY = Study("screening", RUN, [at_rate(one) for one in ARMS], seeds=range(3), tolerance=TOLERANCE)
SECONDS = Study(
    "screening_seconds",
    RUN,
    [
        at_rate(one, budget=round(BUDGET * PACE[one["stages"]]))
        for one in CROSSED
        if one["unfreezing"] == "progressive"
    ],
    seeds=SEEDS,
    result="screening",
    tolerance=TOLERANCE,
)
