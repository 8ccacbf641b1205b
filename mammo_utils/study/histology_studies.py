"""The contrasts of the histology work: every arm beside the published system, in paired seeds.

The reference is the system as published, small: squeeze-and-excitation, two levels of transfer, normalised
stains, colour irrelevant to the label.  ``histology_decisive`` holds what is decided, in ten paired seeds:

* several levels over a single one: both sources against the first one alone;
* gates: squeeze-and-excitation against the plain network;
* normalisation: against nothing, where laboratories differ and colour says nothing about the label;
* that normalisation can remove diagnostic colour: the same where colour is diagnostic (downwards);
* that distant sources can harm: the first level alone against none (downwards);
* the whole system: against a plain network without transfer and normalisation, by accuracy;
* fewer epochs to a level: tiles until `histology.LEVEL`, both levels against none (downwards); the estimand
  is the difference of ``log_tiles``, a ratio of tiles, which are looked at every `histology.PORTION` of them.

These are seven t-intervals over the ten seeds, each of which has its own pretrainings, at 1 - 0.05/7
(Bonferroni), on ROC-AUC by tile where nothing else is said.

``histology`` has what is explored, in three seeds, in the same table: the second level alone, fractals in
the place of the first, no transfer at as many tiles in all, gates as published and in every layer, no turning
and mirroring, confounded colour, varied stains in each regime, each magnification against all, two parts
alone from either source, eight subtypes and another network.  What a split by image would have said is a
column of every row.  Cut for time were fractals alone, the other depths (`histology.arm` takes them), both
ways with stains at once but in irrelevant colour, subtypes without transfer and more sizes of network.

``histology_tuning`` tries the same rates for each arm that is decided and for the second level alone; the
rule is the highest ROC-AUC by tile, mean of its seeds.  All other arms borrow the rate of a tuned one.  Where
``BORROWED`` names a value, it is that of the arm with the value behind it: fractals as patterns, varied
stains as those left as they are, confounded colour as irrelevant colour, the other network as the gated one
without transfer.  Gates started or placed otherwise, depths, magnifications, subtypes, more tiles and tiles
that are not turned take the rate of the same arm without the change.
"""

from __future__ import annotations

from mammo_utils.study.grid import Study
from mammo_utils.study.histology import BUDGET, RUN, TOLERANCE, arm
from mammo_utils.study.histology_levels import SOURCE_BUDGET
from mammo_utils.synth.histology import MAGNIFICATIONS, REGIMES

BOTH, PLAIN = "patterns+organs", {"model": "densenet_small"}
DECIDED = [
    {},
    PLAIN,
    {"source": "none"},
    {"source": "patterns"},
    {"stains": "none"},
    {"regime": "diagnostic"},
    {"regime": "diagnostic", "stains": "none"},
    PLAIN | {"source": "none", "stains": "none"},
]
TUNED = [*DECIDED, {"source": "organs"}]
BORROWED = {
    "fractals": "patterns",
    "fractals+organs": BOTH,
    "augment": "none",
    "both": "normalise",
    "confounded": "irrelevant",
    "mobilenetv2_050": "se_densenet_small",
}
TRIALS = (1e-3, 3e-3, 1e-2)


def name(changes: dict) -> tuple[str, ...]:
    """The tuned arm whose rate an arm takes: model, source, stains, regime."""
    own = arm(**changes)
    values = (own[key] for key in ("model", "source", "stains", "regime"))
    return tuple(BORROWED.get(value, value) for value in values)


# Rates that were tried as well where the best of TRIALS was at their end.
HIGHER, HIGHEST = (3e-2, 1e-1), (3e-2, 1e-1, 3e-1)
BEYOND: dict[tuple[str, ...], tuple] = {
    ("densenet_small", "none", "none", "irrelevant"): HIGHEST,
    ("densenet_small", BOTH, "normalise", "irrelevant"): HIGHER,
    ("se_densenet_small", "none", "normalise", "irrelevant"): HIGHER,
    ("se_densenet_small", "organs", "normalise", "irrelevant"): HIGHER,
    ("se_densenet_small", BOTH, "normalise", "irrelevant"): HIGHER,
    ("se_densenet_small", BOTH, "none", "irrelevant"): HIGHER,
    ("se_densenet_small", BOTH, "none", "diagnostic"): HIGHEST,
}
RATES = {
    ("se_densenet_small", BOTH, "normalise", "irrelevant"): 1e-2,
    ("densenet_small", BOTH, "normalise", "irrelevant"): 3e-2,
    ("se_densenet_small", "none", "normalise", "irrelevant"): 1e-2,
    ("se_densenet_small", "patterns", "normalise", "irrelevant"): 3e-3,
    ("se_densenet_small", BOTH, "none", "irrelevant"): 1e-2,
    ("se_densenet_small", BOTH, "normalise", "diagnostic"): 3e-3,
    ("se_densenet_small", BOTH, "none", "diagnostic"): 1e-1,
    ("densenet_small", "none", "none", "irrelevant"): 1e-1,
    ("se_densenet_small", "organs", "normalise", "irrelevant"): 1e-2,
}


def at_rate(changes: dict) -> dict:
    """The settings of an arm at its own rate or at the one that it borrows."""
    return arm(**changes, lr=RATES[name(changes)])


TUNING = Study(
    "histology_tuning",
    RUN,
    [arm(**one, lr=lr, cohort="develop") for one in TUNED for lr in (*TRIALS, *BEYOND.get(name(one), ()))],
    seeds=range(2),
    order="settings",
    tolerance=TOLERANCE,
)
DECISIVE = Study(
    "histology_decisive",
    RUN,
    [at_rate(one) for one in DECIDED],
    seeds=range(10),
    result="histology",
    tolerance=TOLERANCE,
)
SOURCES = [{"source": "organs"}, {"source": "fractals+organs"}]
LONGER = {"source": "none", "budget": BUDGET + SOURCE_BUDGET}
GATES = [{"gates": "sigmoid"}, {"position": "layer"}]
COLOURS = [{"regime": "confounded", "stains": stains} for stains in ("none", "normalise")]
COLOURS += [{"regime": regime, "stains": "augment"} for regime in REGIMES] + [{"stains": "both"}]
POWERS = [{"magnification": magnification, "tested": "all"} for magnification in MAGNIFICATIONS]
DEPTHS = [{"source": source, "depth": 2} for source in ("patterns", "organs")]
SUBTYPES = {"task": "subtypes"}  # what its tiles were called comes with the package
OTHERS = [{"turns": False}, {"model": "mobilenetv2_050", "source": "none"}]
EXPLORED = [*SOURCES, LONGER, *GATES, *COLOURS, *POWERS, *DEPTHS, SUBTYPES, *OTHERS]
STUDY = Study("histology", RUN, [at_rate(one) for one in EXPLORED], seeds=range(3), tolerance=TOLERANCE)
