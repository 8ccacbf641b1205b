"""The studies of fine-tuning: the same pretrained segmenter, of which more or less may change.

All of them fine-tune one network, the only one for which there are weights of every source.
``strategies_decisive`` holds the contrasts that decide, ``strategies`` the other strategies and first
weights, and ``strategies_ranks`` sweeps the rank of the adapters; all three fill one table.
``strategies_abroad`` scores such runs on real film, ``strategies_film`` learns from it.  Rates were
chosen in ``strategies_tuning`` by the highest Dice with reader A, mean of two draws, of the same trials for
each strategy and each of the ``TUNED`` sources, and of ``BEYOND`` where these did not reach far enough.
Random weights are a control: what is frozen there has learnt nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.models.inspect import drift
from mammo_utils.models.lora import NEW
from mammo_utils.models.segmentation import build
from mammo_utils.study import density, phantoms, transfer, transfer_film
from mammo_utils.study.encoders import LARGE
from mammo_utils.study.film import FILM as FIXED
from mammo_utils.study.grid import Study
from mammo_utils.training import tasks
from mammo_utils.training.strategies import STRATEGIES, trainable

RUN = "mammo_utils.study.strategies:fine_tune"
DECIDING = ("full", "layerwise", "bnbitfit", "lora")
DECISIVE_SOURCE, LABELS = "imagenet", (16, 64)
# Sources with rates of their own, and the strategies that are tried from them.
TUNED = {"imagenet": tuple(STRATEGIES), "imagenet+multiview": (*DECIDING, "head")}
CONTROLS, CONTROLLED = ("none", "fractal"), ("full", "head", "lora")
RANK, RANKS = 4, (1, 16)  # of the adapters, and those swept beside it
TRIALS = density.TRIALS
# Rates tried besides, until the best of all was neither the lowest nor the highest.
BEYOND = {
    ("imagenet", "layerwise"): (1e-1,),
    ("imagenet", "lp_ft"): (1e-1, 3e-1),
    ("imagenet+multiview", "full"): (3e-4,),
    ("imagenet+multiview", "layerwise"): (1e-1,),
    ("imagenet+multiview", "lora"): (1e-1,),
}
LOOKS = 16  # times that a run is looked at on its way
AWAY = 200  # women of another vendor and site
DRIFT = 64  # images that show how far features have moved
SHARE = 0.95  # of the final Dice, by which convergence is told


def arm(
    strategy: str,
    *,
    source: str = DECISIVE_SOURCE,
    model: str = LARGE,
    labels: int,
    lr: float,
    rank: int = RANK,
    cohort: str = "train",
) -> dict:
    """Settings of one arm, for `fine_tune`; only ``lora`` has a rank."""
    profile.choose("strategy", strategy, STRATEGIES)
    own = {"strategy": strategy, "rank": rank if strategy == "lora" else None}
    return own | transfer.arm(source, model=model, labels=labels, lr=lr, cohort=cohort)


def fine_tune(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune a segmenter from its source with a strategy and score it as `density.segment` does.

    Beside these scores: ``trainable`` and ``trainable_encoder``, the share of the parameters of the network
    and of its encoder that change, adapters included; ``cka_PART`` and ``distance_PART``, how far each part
    has moved (`models.inspect.drift`); and for the cohort ``train`` ``epochs_95``, when the Dice of the
    validation women first reached 95 % of its final value, and the scores on women of another vendor and
    site, ``dice_shifted`` and ``mae_shifted``.  ``gradual`` thaws a part at a time over the first half of
    the run.
    """
    drawn = density.women_of(settings, seed)
    before, model, plan, epochs = prepared(settings, seed, drawn)
    valid, curve = density.validation(drawn, settings), {}
    tuning = settings["cohort"] == "develop"

    def watch(history) -> None:
        epoch = len(history.rows)
        if not tuning and (epoch % max(1, epochs // LOOKS) == 0 or epoch == epochs):
            curve[epoch] = tasks.dice(model, valid)

    history = learn(model, plan, drawn, settings, seed, watch=watch)
    threshold = density.tuned(tasks.predict(model, valid, precision="auto"))
    found = scores(model, drawn.held, drawn.unseen, threshold)
    if not tuning:
        away = phantoms.women("test", size=settings["size"], count=AWAY, shifted=True)
        shifted = scores(model, away, phantoms.draw(away, 0), threshold)
        found |= {f"{name}_shifted": shifted[name] for name in ("dice", "mae")}
        found["epochs_95"] = float(reached(curve))
    shown = Batches(drawn.held, drawn.unseen[:DRIFT], target="dense", batch_size=DRIFT)
    moved = drift(before, model, next(iter(shown)).image).unstack()
    table = trainable(model, plan, epochs - 1)
    encoder = table.drop(list(NEW))
    changing = {"trainable": table, "trainable_encoder": encoder}
    return (
        found
        | {name: float(one["trainable"].sum() / one["all"].sum()) for name, one in changing.items()}
        | {f"{name}_{part}": float(value) for (name, part), value in moved.items()}
        | {"train_seconds": history.seconds}
    )


def prepared(settings: dict, seed: int, drawn) -> tuple:
    """The network as built, the one to be fine-tuned, the plan of its strategy and the epochs of the run."""
    epochs = density.epochs_of(settings["budget"], drawn.rows)
    torch.manual_seed(seed)
    start = transfer.initial(settings["model"], settings["source"], seed)
    model = build(settings["model"], size=settings["size"], weights=start)
    before, make = copy.deepcopy(model), STRATEGIES[settings["strategy"]]
    plan = make(model, lr=settings["lr"], epochs=epochs, **options(settings, model, epochs))
    return before, model, plan, epochs


def learn(model, plan, drawn, settings: dict, seed: int, **more):
    """Fine-tune ``model`` on the ``drawn`` women; returns the history."""
    chosen = {name: settings[name] for name in density.LEARNING}
    return density.learn(model, drawn.images, drawn.rows, seed=seed, strategy=plan, **more, **chosen)


def abroad(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune on phantom women as `fine_tune` does and score every real film; none is learnt from."""
    drawn = density.women_of(settings, seed)
    _, model, plan, _ = prepared(settings, seed, drawn)
    learn(model, plan, drawn, settings, seed)
    films = transfer_film.films()
    return transfer_film.scored(model, films, range(len(films)))


def options(settings: dict, model, epochs: int) -> dict:
    """The options of an arm's strategy in a run of ``epochs``."""
    if settings["strategy"] == "lora":
        return {"rank": settings["rank"]}
    if settings["strategy"] == "gradual":
        depth = sum(name not in NEW for name, _ in model.parts)
        return {"every": max(1, epochs // (2 * depth))}
    return {}


def reached(curve: Mapping[int, float]) -> int:
    """The first epoch of ``curve`` {epoch: score} whose score is ``SHARE`` of the last one or more.

    >>> reached({2: 0.1, 4: 0.58, 6: 0.5, 8: 0.6})
    4
    """
    return next(epoch for epoch, score in curve.items() if score >= SHARE * list(curve.values())[-1])


def scores(model, images, rows, threshold: float) -> dict[str, float]:
    """`density.scored` of what ``model`` says of ``rows`` of a cache."""
    batches = Batches(images, rows, target="dense", batch_size=64, device=profile.device())
    return density.scored(tasks.predict(model, batches, precision="auto"), images, threshold)


PARTS = ("stem", "stage1", "stage2", "stage3", "stage4", *NEW)
TOLERANCE = density.TOLERANCE | {
    **{f"{name}_{part}": 0.2 for name in ("cka", "distance") for part in PARTS},
    "dice_shifted": 0.05,
    "mae_shifted": 4.0,
    "epochs_95": float("inf"),
}
TUNING = Study(
    "strategies_tuning",
    RUN,
    [
        arm(name, source=source, labels=max(LABELS), lr=lr, cohort="develop")
        for source, names in TUNED.items()
        for name in names
        for lr in (*TRIALS, *BEYOND.get((source, name), ()))
    ],
    seeds=range(2),
    order="settings",
    tolerance=TOLERANCE,
)
RATES = {
    ("imagenet", "full"): 1e-2,
    ("imagenet", "layerwise"): 3e-2,
    ("imagenet", "gradual"): 1e-2,
    ("imagenet", "head"): 3e-3,
    ("imagenet", "bnbitfit"): 1e-2,
    ("imagenet", "lora"): 1e-2,
    ("imagenet", "lp_ft"): 1e-1,
    ("imagenet", "l2_sp"): 3e-3,
    ("imagenet+multiview", "full"): 1e-3,
    ("imagenet+multiview", "layerwise"): 3e-2,
    ("imagenet+multiview", "head"): 1e-2,
    ("imagenet+multiview", "bnbitfit"): 3e-3,
    ("imagenet+multiview", "lora"): 3e-2,
}


def _arms(source: str, names, labels: Iterable[int] = LABELS, **changes) -> list[dict]:
    """Arms of the strategies in ``names`` at their rates, of a control at those of the deciding source."""
    tuned = source if source in TUNED else DECISIVE_SOURCE
    return [
        arm(name, source=source, labels=amount, lr=RATES[tuned, name], **changes)
        for amount in labels
        for name in names
    ]


DECISIVE = Study(
    "strategies_decisive",
    RUN,
    _arms(DECISIVE_SOURCE, DECIDING),
    seeds=range(10),
    result="strategies",
    tolerance=TOLERANCE,
)
STUDY = Study(
    "strategies",
    RUN,
    [one for source, names in TUNED.items() for one in _arms(source, names)]
    + [one for source in CONTROLS for one in _arms(source, CONTROLLED, [max(LABELS)])],
    seeds=range(3),
    tolerance=TOLERANCE,
)
SWEEP = Study(
    "strategies_ranks",
    RUN,
    [one for rank in RANKS for one in _arms(DECISIVE_SOURCE, ["lora"], [max(LABELS)], rank=rank)],
    seeds=range(3),
    result="strategies",
    tolerance=TOLERANCE,
)
# The same runs, scored on real film.
ABROAD = Study(
    "strategies_abroad",
    "mammo_utils.study.strategies:abroad",
    _arms(DECISIVE_SOURCE, STRATEGIES, [max(LABELS)]),
    seeds=range(4),
    tolerance=transfer_film.STUDY.tolerance,
)
# Learning from real film: rates lower by as much as that of `study.film` is, for its smaller batches.
FILM = Study(
    "strategies_film",
    transfer_film.RUN,
    [
        {"source": DECISIVE_SOURCE, "strategy": name, "model": LARGE, "films": 10}
        | {"lr": round(FIXED["lr"] / 1e-2 * RATES[DECISIVE_SOURCE, name], 6)}
        for name in ("full", "lp_ft", "head", "lora")
    ],
    seeds=range(4),
    tolerance=transfer_film.STUDY.tolerance,
)
