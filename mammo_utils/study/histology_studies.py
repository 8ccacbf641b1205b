"""The contrasts of the histology work: every arm beside the reference, in paired seeds.

Run them as ``python -m mammo_utils study mammo_utils.study.histology_studies:DECISIVE``.
"""

from __future__ import annotations

from mammo_utils.study.grid import Study
from mammo_utils.study.histology import RUN, SOURCES, STAINS, TOLERANCE, arm
from mammo_utils.synth.histology import MAGNIFICATIONS, REGIMES

RATES = (1e-3, 3e-3, 1e-2)
# Rates are tuned for what decides: with and without gates, from scratch and after both levels.
TUNED = [
    {"model": model, "source": source}
    for model in ("densenet_small", "se_densenet_small")
    for source in ("none", "patterns+organs")
]

TUNING = Study(
    "histology_tuning",
    RUN,
    [arm(**one, lr=lr, cohort="develop") for one in TUNED for lr in RATES],
    seeds=range(2),
    order="settings",
    tolerance=TOLERANCE,
)
# Gates on (starting as nothing, and as published) and off; levels of transfer at equal tiles; stains in each
# regime; each magnification against all; binary and eight subtypes.  What a split by image would have said is
# a column of every row.
GATED = [arm(model="densenet_small"), arm(), arm(gates="sigmoid")]
LEVELS = [arm(source=source) for source in SOURCES if source != "patterns+organs"]
COLOURS = [arm(regime=regime, stains=stains) for regime in REGIMES for stains in STAINS]
DECISIVE = Study(
    "histology_decisive",
    RUN,
    GATED + LEVELS + [one for one in COLOURS if one != arm()],
    seeds=range(10),
    result="histology",
    tolerance=TOLERANCE,
)
POWERS = [arm(magnification=magnification, tested="all") for magnification in MAGNIFICATIONS]
DEPTHS = [arm(source=source, depth=depth) for source in ("patterns", "organs") for depth in range(1, 5)]
STUDY = Study(
    "histology",
    RUN,
    POWERS
    + DEPTHS
    + [arm(task="subtypes", source=source) for source in ("none", "patterns+organs")]
    + [arm(model=model, source="none") for model in ("densenet_small", "test_resnet", "mobilenetv2_050")],
    seeds=range(3),
    tolerance=TOLERANCE,
)
