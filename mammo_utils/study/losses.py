"""The studies of losses: what each one does to the overlap and to the amount of dense tissue.

``losses_decisive`` compares the hybrid loss with BCE + Dice in ten paired seeds, ``losses`` crosses them all
with the truth and both readers as labels, ``losses_weight`` sweeps the weight of the density term; all three
fill one table.  Rates were chosen by the highest Dice with reader A in ``losses_tuning``.
"""

from __future__ import annotations

from mammo_utils.study.density import RUN, TOLERANCE, arm, trials
from mammo_utils.study.grid import Study

LAM = 1.0  # weight of the density term, fixed before the study; the others are swept beside it
WEIGHTS = (0.3, 3.0, 10.0, 30.0)
TARGETS = ("reader_A", "dense", "reader_B")
RATES = {"bce_dice": 1e-2, "hybrid_density": 1e-2, "bce": 1e-2, "dice": 1e-2, "focal": 1e-2, "tversky": 1e-2}


def loss_arm(loss: str, *, target: str = "reader_A", lam: float = LAM) -> dict:
    """Settings of a loss at its own learning rate."""
    return arm(loss=loss, lam=lam if loss == "hybrid_density" else None, target=target, lr=RATES[loss])


TUNING = Study(
    "losses_tuning",
    RUN,
    [
        settings
        for loss in RATES
        for settings in trials(loss=loss, lam=LAM if loss == "hybrid_density" else None)
    ],
    seeds=[0],
    tolerance=TOLERANCE,
)
DECISIVE = Study(
    "losses_decisive",
    RUN,
    [loss_arm(loss) for loss in ("bce_dice", "hybrid_density")],
    seeds=range(10),
    result="losses",
    tolerance=TOLERANCE,
)
STUDY = Study(
    "losses",
    RUN,
    [loss_arm(loss, target=target) for target in TARGETS for loss in RATES],
    seeds=range(3),
    tolerance=TOLERANCE,
)
WEIGHT = Study(
    "losses_weight",
    RUN,
    [loss_arm("hybrid_density", lam=lam) for lam in WEIGHTS],
    seeds=range(3),
    result="losses",
    tolerance=TOLERANCE,
)
