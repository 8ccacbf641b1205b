"""What the screening work reads from its heat maps, judged by maps of one classifier on phantom women.

All of it is explored: the questions, and the least effect on a logit that matters, were put after the first
maps had been seen.
"""

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
        "Maps of malignant calls are red and focused, those of benign ones yellow, weak and diffuse",
        "slides, Grad-CAM",
        "by eye",
        questions=(
            reading("how often a called view has the stronger map, class of its call", "strength"),
            reading("how often a called view has the smaller spot, class of its call", "focus"),
            reading("how often a called view has the smaller spot, malignant for all", "focus_malignant"),
        ),
        missing="which class and layer the maps are of and how they were scaled: the answer turns with it",
    ),
    Claim(
        "on masses",
        WORK,
        "Maps of malignant calls lie on masses",
        "slides, Grad-CAM",
        "often, by eye",
        questions=(
            Tabled(
                "AUC of what the twin lacks in the map, Grad-CAM minus the centre of the breast",
                "explained",
                {"method": "gradcam", "layer": "stage4", "score": "twin", "lesion": "masses"},
                "up",
                DELTA["roc_auc"],
                column="over_centre",
                ends=("over_centre_low", "over_centre_high"),
            ),
        ),
    ),
    Claim(
        "structure",
        WORK,
        "The network may have learnt structure and does not rely on global texture alone",
        "slides, Grad-CAM",
        "as an inference from maps",
        questions=(
            reading("logit of a woman with her cancer minus without", "cancer", delta=DELTA["effect"]),
        ),
    ),
    Claim(
        "outline",
        WORK,
        "It uses the outline that makes a mass malignant",
        "our own question",
        "none",
        questions=(
            reading("logit with a spiculated minus a smooth outline", "outline", delta=DELTA["effect"]),
        ),
    ),
)
