"""What the screening work reads from its heat maps, judged by maps of one classifier on phantom women."""

from __future__ import annotations

from mammo_utils.study.claims.registry import Claim, Tabled
from mammo_utils.study.claims.rule import DELTA

WORK = "screening"


def reading(asks: str, name: str, *, delta: float = DELTA["roc_auc"]) -> Tabled:
    """A row of the table of readings, which the claim says is above 0."""
    return Tabled(asks, "explained_readings", {"reading": name}, "up", delta)


CLAIMS = (
    Claim(
        "maps",
        WORK,
        "Maps are red and on the lesion in malignant cases, yellow and weak in benign ones",
        "slides, Grad-CAM",
        "by eye",
        questions=(
            reading("how often a called view has the stronger map, less one half", "strength"),
            reading("how often a called view has the better focused map, less one half", "focus"),
            Tabled(
                "highest point in the mass, Grad-CAM minus the centre of the breast",
                "explained",
                {"method": "gradcam", "layer": "stage4", "score": "pointing", "lesion": "masses"},
                "up",
                DELTA["accuracy"],
                column="over_centre",
                ends=("over_centre_low", "over_centre_high"),
            ),
        ),
    ),
    Claim(
        "structure",
        WORK,
        "The network tells cases by structure and not by texture",
        "slides, Grad-CAM",
        "by eye",
        questions=(
            reading("logit of a woman with her cancer minus without", "cancer", delta=DELTA["effect"]),
            reading("logit with a spiculated minus a smooth outline", "outline", delta=DELTA["effect"]),
        ),
    ),
)
