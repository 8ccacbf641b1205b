"""The studies of fine-tuning: the same pretrained segmenter, of which more or less may change.

``strategies_decisive`` holds the contrasts that decide, ``strategies`` all strategies and first weights, and
``strategies_ranks`` sweeps the rank of the adapters; all three fill one table.  Rates were chosen in
``strategies_tuning`` by the highest Dice with reader A, of as many trials for each model and strategy.
Random weights are a control: what is frozen there has learnt nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.models.inspect import drift
from mammo_utils.models.lora import NEW
from mammo_utils.models.segmentation import build
from mammo_utils.study import density, phantoms, transfer, transfer_film
from mammo_utils.study.encoders import LARGE, SMALL
from mammo_utils.study.film import FILM as FIXED
from mammo_utils.study.grid import Study
from mammo_utils.training import tasks
from mammo_utils.training.strategies import STRATEGIES, trainable

RUN = "mammo_utils.study.strategies:fine_tune"
DECIDING = ("full", "layerwise", "head", "bnbitfit", "lora")
PRETRAINED = {SMALL: "simclr", LARGE: "imagenet"}  # what the contrasts that decide start from
SOURCES = {SMALL: ("none", "fractal", "simclr"), LARGE: ("imagenet",)}
LABELS = (16, 64)
RANK, RANKS = 4, (1, 2, 8, 16)  # of the adapters, and those swept beside it
TRIALS = (*density.TRIALS, 1e-1)  # a strategy that changes little may need larger steps
LOOKS = 32  # times that a run is looked at on its way
DRIFT = 64  # images that show how far features have moved
SHARE = 0.95  # of the final Dice, by which convergence is told


def arm(
    strategy: str,
    *,
    source: str,
    model: str = SMALL,
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
    and of its encoder that change, adapters included; ``epochs_95``, when the Dice of the validation women
    first reached 95 % of its final value; ``cka_PART`` and ``distance_PART``, how far each part has moved
    (`models.inspect.drift`); and for the cohort ``train`` the scores on women of another vendor and site,
    ``dice_shifted`` and ``mae_shifted``.  ``gradual`` thaws a part at a time over the first half of the run.
    """
    drawn = density.women_of(settings, seed)
    epochs = density.epochs_of(settings["budget"], drawn.rows)
    torch.manual_seed(seed)
    start = transfer.initial(settings["model"], settings["source"], seed)
    model = build(settings["model"], size=settings["size"], weights=start)
    before, valid, curve = copy.deepcopy(model), density.validation(drawn, settings), {}
    plan = STRATEGIES[settings["strategy"]](
        model, lr=settings["lr"], epochs=epochs, **options(settings, model, epochs)
    )

    def watch(history) -> None:
        epoch = len(history.rows)
        if epoch % max(1, epochs // LOOKS) == 0 or epoch == epochs:
            curve[epoch] = tasks.dice(model, valid)

    history = density.learn(
        model,
        drawn.images,
        drawn.rows,
        seed=seed,
        strategy=plan,
        watch=watch,
        **{name: settings[name] for name in density.LEARNING},
    )
    threshold = density.tuned(tasks.predict(model, valid, precision="auto"))
    scores = _scores(model, drawn.held, drawn.unseen, threshold)
    if settings["cohort"] == "train":
        away = phantoms.women("test", size=settings["size"], shifted=True)
        shifted = _scores(model, away, phantoms.draw(away, 0), threshold)
        scores |= {f"{name}_shifted": shifted[name] for name in ("dice", "mae")}
    shown = Batches(drawn.held, drawn.unseen[:DRIFT], target="dense", batch_size=DRIFT)
    moved = drift(before, model, next(iter(shown)).image).unstack()
    table = trainable(model, plan, epochs - 1)
    encoder = table.drop(list(NEW))
    changing = {"trainable": table, "trainable_encoder": encoder}
    return (
        scores
        | {name: float(one["trainable"].sum() / one["all"].sum()) for name, one in changing.items()}
        | {f"{name}_{part}": float(value) for (name, part), value in moved.items()}
        | {"epochs_95": float(reached(curve)), "train_seconds": history.seconds}
    )


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


def _scores(model, images, rows, threshold: float) -> dict[str, float]:
    batches = Batches(images, rows, target="dense", batch_size=64, device=profile.device())
    return density.scored(tasks.predict(model, batches, precision="auto"), images, threshold)


def _arms(names, sources: Mapping, labels: tuple = LABELS, **changes) -> list[dict]:
    """Arms of every strategy in ``names``, source of a model and number of labels, at their own rates."""
    return [
        arm(name, source=source, model=model, labels=amount, lr=RATES[model, name], **changes)
        for model, own in sources.items()
        for amount in labels
        for source in own
        for name in names
    ]


DECISIVE_SOURCES = {model: (source,) for model, source in PRETRAINED.items()}
PARTS = ("stem", "stage1", "stage2", "stage3", "stage4", *NEW)  # of both models
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
        arm(name, source=source, model=model, labels=64, lr=lr, cohort="develop")
        for model, source in PRETRAINED.items()
        for name in STRATEGIES
        for lr in TRIALS
    ],
    seeds=[0],
    order="settings",
    tolerance=TOLERANCE,
)
# Learning rates, each the best of as many trials.
RATES = {(model, name): 1e-2 for model in PRETRAINED for name in STRATEGIES}
DECISIVE = Study(
    "strategies_decisive",
    RUN,
    _arms(DECIDING, DECISIVE_SOURCES),
    seeds=range(10),
    result="strategies",
    tolerance=TOLERANCE,
)
STUDY = Study("strategies", RUN, _arms(STRATEGIES, SOURCES), seeds=range(3), tolerance=TOLERANCE)
SWEEP = Study(
    "strategies_ranks",
    RUN,
    [one for rank in RANKS for one in _arms(["lora"], DECISIVE_SOURCES, rank=rank)],
    seeds=range(3),
    result="strategies",
    tolerance=TOLERANCE,
)
# Real film: rates lower by as much as that of `study.film` is, for its smaller batches.
FILM = Study(
    "strategies_film",
    transfer_film.RUN,
    [
        {"source": PRETRAINED[SMALL], "strategy": name, "model": SMALL, "films": number}
        | {"lr": round(FIXED["lr"] / 1e-2 * RATES[SMALL, name], 6)}
        for number in transfer_film.FILMS
        for name in STRATEGIES
    ],
    seeds=range(10),
    tolerance=transfer_film.STUDY.tolerance,
)
