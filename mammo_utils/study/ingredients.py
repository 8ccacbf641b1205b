"""The density recipe taken apart: multi-view first weights, full fine-tuning and the hybrid loss, in and out.

``recipe`` crosses the three in ten paired seeds, scored on the women of ``final``, whom no other study sees:
with the recipe stand what is left of it without each ingredient, what each brings alone, and the 2×2 of first
weights and loss.  It fine-tunes the one network for which there are weights of every source; what takes the
place of an ingredient is what the works compare it with: ImageNet alone, low-rank adapters, BCE + Dice.
``recipe_network`` has another network in its place, which has no first weights here, in three seeds.

Decided are five differences of ten seeds, nested in the pretrainings, at 1 - 0.05/5: the density's error and
its rank correlation with the classes, of the recipe against ImageNet with BCE + Dice, and its error against
the recipe without each ingredient.  Rates are those of ``strategies``; the density term took the same rate
as BCE + Dice in ``losses_tuning``.
"""

from __future__ import annotations

from mammo_utils.study import density, losses, phantoms, strategies, transfer
from mammo_utils.study.architectures import RATES
from mammo_utils.study.encoders import LARGE
from mammo_utils.study.grid import Study
from mammo_utils.training import tasks

RUN = "mammo_utils.study.ingredients:fine_tune"
# Each ingredient, behind what stands in its place.
INGREDIENTS = {
    "source": ("imagenet", "imagenet+multiview"),
    "strategy": ("lora", "full"),
    "loss": ("bce_dice", "hybrid_density"),
}
RECIPE = {name: found for name, (_, found) in INGREDIENTS.items()}
OTHER = "segformer/small"
LABELS, AWAY = 64, 200  # labelled images; women of another vendor and site


def arm(source: str, strategy: str, loss: str, *, model: str = LARGE) -> dict:
    """Settings of one arm, for `fine_tune`; another ``model`` than the first begins without weights."""
    own = {"loss": loss, "lam": losses.LAM if loss == "hybrid_density" else None, "cohort": "final"}
    if model != LARGE:
        budget = transfer.BUDGETS[LARGE][1]
        fixed = density.arm(model=model, labels=LABELS, budget=budget, lr=RATES[model])
        return {"strategy": strategy, "rank": None, "source": "none"} | fixed | own
    lr = strategies.RATES[source, strategy]
    return strategies.arm(strategy, source=source, labels=LABELS, lr=lr) | own


def fine_tune(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune a segmenter with the ingredients of ``settings`` and score it as `density.segment` does.

    Beside these ``dice_shifted``, ``mae_shifted`` and ``spearman_shifted``, of women of another vendor and
    site.
    """
    drawn = density.women_of(settings, seed)
    _, model, plan, _ = strategies.prepared(settings, seed, drawn)
    history = strategies.learn(model, plan, drawn, settings, seed)
    valid = density.validation(drawn, settings)
    threshold = density.tuned(tasks.predict(model, valid, precision="auto"))
    away = phantoms.women(settings["cohort"], size=settings["size"], count=AWAY, shifted=True)
    shifted = strategies.scores(model, away, phantoms.draw(away, 0), threshold)
    told = {f"{name}_shifted": shifted[name] for name in ("dice", "mae", "spearman")}
    speed = {"images_per_second": history.images_per_second, "train_seconds": history.seconds}
    return strategies.scores(model, drawn.held, drawn.unseen, threshold) | told | speed


TOLERANCE = density.TOLERANCE | {"dice_shifted": 0.05, "mae_shifted": 4.0, "spearman_shifted": 0.05}
CROSSED = Study(
    "recipe",
    RUN,
    [
        arm(source, strategy, loss)
        for source in INGREDIENTS["source"]
        for strategy in INGREDIENTS["strategy"]
        for loss in INGREDIENTS["loss"]
    ],
    seeds=range(10),
    tolerance=TOLERANCE,
)
NETWORK = Study(
    "recipe_network",
    RUN,
    [arm(**(RECIPE | {"source": "none"}), model=OTHER)],
    seeds=range(3),
    result="recipe",
    tolerance=TOLERANCE,
)
