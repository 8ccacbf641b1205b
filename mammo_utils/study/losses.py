"""The studies of losses: what each one does to overlap and to the amount of dense tissue."""

from __future__ import annotations

from mammo_utils.study.density import RUN, trials
from mammo_utils.study.grid import Study

LAM = 1.0  # weight of the density term, fixed before the study; WEIGHTS is swept beside it
WEIGHTS = (0.3, 3.0, 10.0, 30.0)
TARGETS = ("reader_A", "dense", "reader_B")
LOSSES = ("bce_dice", "hybrid_density", "bce", "dice", "focal", "tversky")


def _lam(loss: str) -> float | None:
    return LAM if loss == "hybrid_density" else None


TUNING = Study(
    "losses_tuning",
    RUN,
    [settings for loss in LOSSES for settings in trials(loss=loss, lam=_lam(loss))],
    seeds=[0],
)
