"""One run of the histology work: transfer level by level, fine-tune on few patients, score on others.

A run is counted in tiles through the network, at its sources and at its target, so that arms whose levels
differ in number can be compared.  Sources keep the stains they were drawn with.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data import catalogs, stain
from mammo_utils.data.lock import locked
from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.models import weights as files
from mammo_utils.models.classification import Classifier, build
from mammo_utils.models.se_densenet import POSITIONS, STARTS
from mammo_utils.profile import choose
from mammo_utils.study import histology_scores as scores
from mammo_utils.study import tiles as phantom
from mammo_utils.study.segmenter import save
from mammo_utils.synth.histology import MAGNIFICATIONS, REGIMES, VERSION
from mammo_utils.training import classes
from mammo_utils.training.history import milestones
from mammo_utils.training.loop import fit

RUN = "mammo_utils.study.histology:classify"
# "a+b": learnt from a, then from b.  Patterns are what images of anything are to tissue, organs are tissue.
SOURCES = ("none", "patterns", "fractals", "organs", "patterns+organs", "fractals+organs")
TASKS = ("binary", "subtypes")
STAINS = ("none", "normalise", "augment", "both")
BUDGET, SOURCE_BUDGET = 4000, 8000  # tiles through the network at the target, and at all sources together
PORTION, BATCH = 160, 32  # tiles between two looks at the validation patients, and of a step
SOURCE_SEEDS = 3  # pretrainings of each source; run s starts from number s modulo this
SOURCE_LR = 3e-3
STRENGTH = 0.25  # of varied stains
LEVEL = 0.75  # area under the ROC curve, by which the tiles that learning takes are told

TOLERANCE = {
    **dict.fromkeys(("roc_auc", "roc_auc_patient", "roc_auc_same", "roc_auc_home"), 0.05),
    **dict.fromkeys(("watched", "watched_mean"), 0.05),
    **{f"roc_auc_{magnification}": 0.05 for magnification in MAGNIFICATIONS},
    **dict.fromkeys(("accuracy", "accuracy_patient", "accuracy_subtype", "balanced_subtype"), 0.08),
    **dict.fromkeys(("sensitivity", "specificity"), 0.2),
    **dict.fromkeys(("reached", "images_to_level", "log_tiles"), math.inf),
    **dict.fromkeys(("images_per_second", "train_seconds"), math.inf),
    "parameters": 0.5,
}


def arm(
    *,
    model: str = "se_densenet_small",
    gates: str = "identity",
    position: str = "block",
    source: str = "patterns+organs",
    depth: int = 5,
    regime: str = "irrelevant",
    stains: str = "normalise",
    turns: bool = True,
    magnification: int = 200,
    tested: str = "own",
    task: str = "binary",
    budget: int = BUDGET,
    lr: float = 3e-3,
    size: int = 96,
    cohort: str = "train",
) -> dict:
    """Settings of one arm of a study, for `classify`.

    ``gates`` and ``position``: how they start and where they sit, as in `se_densenet.encoder`.  ``depth``: so
    many parts of the network, from the stem on, start with what the source taught them (5 is the whole
    encoder).  ``turns``: target tiles are turned and mirrored in training; those of sources always are.
    ``tested``: at the ``own`` magnification or at ``all`` of them.

    ``tissue`` in what is returned is the version of the phantom histology.

    Raises ``ValueError`` for an unknown name, a depth outside 0–5, and settings that would change nothing: a
    start or position of gates that a model does not have, a depth without a source.
    """
    choose("source", source, SOURCES)
    choose("start of the gates", gates, STARTS)
    choose("position of the gates", position, POSITIONS)
    choose("stain regime", regime, REGIMES)
    choose("handling of stains", stains, STAINS)
    choose("magnification", magnification, MAGNIFICATIONS)
    choose("tested magnifications", tested, ("own", "all"))
    choose("task", task, TASKS)
    choose("depth", depth, range(6))
    if (gates, position) != ("identity", "block") and not model.startswith("se_"):
        raise ValueError(f"{model} has no gates: leave gates at identity and position at block")
    if depth != 5 and source == "none":
        raise ValueError(f"depth {depth} of no source: this is the arm without transfer; leave depth at 5")
    return dict(locals()) | {"tissue": VERSION}


def classify(settings: dict, seed: int) -> dict[str, float]:
    """Fine-tune a classifier as `arm` describes and return its scores on patients that it has not seen.

    The seed redraws the patients learnt from, the order and the new layers; the first head is the same for
    every arm of a seed.  ``cohort``: ``develop`` for
    tuning, which scores the patients of develop that were not drawn, else ``train``, which scores those of
    ``test``, whom no run on ``develop`` sees.

    Scores: those of `histology_scores.scored`; ``roc_auc_same``, tiles of the patients learnt from that were
    left out, as a split by image would have them; ``roc_auc_home`` where colour is confounded: test patients
    of the same laboratories, while all other scores but ``roc_auc_same`` are then of patients whose
    laboratory says nothing; ``roc_auc_40`` … where ``tested`` is all.  Beside these the `milestones` of the
    area under the ROC curve on validation patients, at ``LEVEL``, and ``log_tiles``, the natural logarithm of
    ``images_to_level``: differences of it are ratios of tiles.  A run that did not get there counts with all
    of its tiles.
    """
    own = {"magnification": settings["magnification"], "size": settings["size"]}
    images = phantom.patients(settings["cohort"], regime=settings["regime"], **own)
    rows, same = phantom.drawn(images, seed)
    regime = "irrelevant" if settings["regime"] == "confounded" else settings["regime"]
    if settings["cohort"] == "develop":
        away = phantom.patients("develop", regime=regime, **own)
        test = part(away, phantom.others(images, rows))
    else:
        test = phantom.patients("test", regime=regime, **own)
    valid = phantom.patients("valid", regime=regime, **own)
    start = weights(settings, seed)  # may train, hence before the seed
    model = started(settings, start, seed)
    ready = coloured(settings["stains"], images, rows)
    learnt = ready(part(images, rows))
    curve, seconds = learn(model, learnt, settings, seed=seed, watch=ready(valid))
    told = milestones(curve, LEVEL) | {
        "images_per_second": list(curve)[-1] / seconds,
        "train_seconds": seconds,
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    told["log_tiles"] = math.log(told["images_to_level"])

    def area(found: Tiles) -> float:
        return scores.auc(predicted(model, ready(found), settings["task"]))

    told["roc_auc_same"] = area(part(images, same))
    if settings["regime"] == "confounded" and settings["cohort"] == "train":
        told["roc_auc_home"] = area(phantom.patients("test", regime="confounded", **own))
    if settings["tested"] == "all" and settings["cohort"] == "train":
        for magnification in MAGNIFICATIONS:
            other = own | {"magnification": magnification}
            told[f"roc_auc_{magnification}"] = area(phantom.patients("test", regime=regime, **other))
    tiles = predicted(model, ready(test), settings["task"])
    if seed == 0 and settings["cohort"] == "train":
        path = scores.kept(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        catalogs.write(tiles, path)
        save(model, path.with_suffix(files.SUFFIX))
    return scores.scored(tiles) | told


def part(tiles: Tiles, rows: np.ndarray) -> Tiles:
    """The tiles ``rows`` alone, in memory."""
    return Tiles(np.asarray(tiles.images[rows]), tiles.table.iloc[rows].reset_index(drop=True))


def coloured(stains: str, images: Tiles, rows: np.ndarray):
    """A function that brings tiles to the colours of the training tiles, if stains are normalised."""
    if stains not in ("normalise", "both"):
        return lambda tiles: tiles
    normalise = stain.fit(images.images[rows], "macenko")
    return lambda tiles: Tiles(normalise(tiles.images), tiles.table)


def learn(model: Classifier, tiles: Tiles, settings: dict, *, seed: int, watch: Tiles) -> tuple[dict, float]:
    """Train on ``tiles``; returns {tiles so far: area under the ROC curve on ``watch``} and seconds.

    It looks after every epoch, which is a portion of the tiles, drawn anew.
    """
    batches = feed(tiles, settings["task"], settings["stains"], seed, turns=settings["turns"])
    curve, each = {}, min(len(batches) * BATCH, batches.count)
    epochs = max(1, round(settings["budget"] / each))

    def look(history) -> None:
        curve[len(history.rows) * each] = scores.auc(predicted(model, watch, settings["task"]))

    options = {"epochs": epochs, "lr": settings["lr"], "watch": look, "seed": seed, "progress": False}
    history = fit(model, batches, classes.task(), **options)
    return curve, history.seconds


def feed(tiles: Tiles, task: str, stains: str, seed: int, *, turns: bool = True) -> TileBatches:
    """Shuffled batches of a portion of the tiles for training, stained anew if ``stains`` says so.

    ``turns``: they are turned and mirrored.
    """
    return TileBatches(
        tiles,
        target="kind" if task == "subtypes" else "cancer",
        batch_size=BATCH,
        shuffle=True,
        turns=turns,
        stains=STRENGTH if stains in ("augment", "both") else 0.0,
        seed=seed,
        limit=max(1, PORTION // BATCH),
        device=profile.device(),
    )


def predicted(model: Classifier, tiles: Tiles, task: str):
    """The table of `histology_scores.told` for what a network says of all tiles."""
    target = "kind" if task == "subtypes" else "cancer"
    batches = TileBatches(tiles, target=target, batch_size=128, device=profile.device())
    return scores.told(classes.predict(model, batches), tiles.table)


def started(settings: dict, start: str | Path, seed: int) -> Classifier:
    """The network of an arm: the first ``depth`` parts from the file ``start``, the others new."""
    torch.manual_seed(seed)
    model = network(settings, classes=8 if settings["task"] == "subtypes" else 2)
    if start != "none" and settings["depth"]:
        taught = network(settings, classes=2, weights=start)
        for (_, own), (_, other) in zip(model.parts[: settings["depth"]], taught.parts, strict=False):
            own.load_state_dict(other.state_dict())
    torch.manual_seed(seed)  # arms draw different numbers of layers before their head
    model.head.reset_parameters()
    return model


def network(settings: dict, *, classes: int, weights: str | Path = "none") -> Classifier:
    """The classifier of an arm; its gates, if it has any, sit and start as the arm says."""
    gated = settings["model"].startswith("se_")
    gates = {"start": settings["gates"], "position": settings["position"]} if gated else {}
    shape = (settings["size"], settings["size"])
    return build(settings["model"], weights=weights, classes=classes, size=shape, channels=3, **gates)


def weights(settings: dict, seed: int) -> str | Path:
    """The file of the encoder that run ``seed`` starts from, trained at the first call; ``none`` for none."""
    levels = settings["source"].split("+")
    if levels == ["none"]:
        return "none"
    model, number = settings["model"], seed % SOURCE_SEEDS
    home = profile.cache_dir() / f"histology_{VERSION}" / "encoders"
    home.mkdir(parents=True, exist_ok=True)
    start: str | Path = "none"
    for level, domain in enumerate(levels):
        # The first level is taught to the plain network, as ImageNet is; gates come with the next one.
        chosen = settings if level else settings | {"model": model.removeprefix("se_")}
        known = [chosen["model"]]
        known += [settings["gates"], settings["position"]] * chosen["model"].startswith("se_")
        # All that an encoder depends on: one that was taught otherwise must not be taken for it.
        known += ["-".join(levels[: level + 1]), f"of{len(levels)}", settings["size"]]
        known += [f"{SOURCE_BUDGET}x{SOURCE_LR:g}", f"from{phantom.ORIGINALS}", number]
        path = home / ("_".join(map(str, known)) + files.SUFFIX)
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                _teach(chosen, domain, start, path, seed=number, budget=SOURCE_BUDGET // len(levels))
        start = path
    return start


def _teach(settings: dict, domain: str, start: str | Path, path: Path, *, seed: int, budget: int) -> None:
    """Train an encoder on the classes of a source domain, in its own stains, and write it."""
    tiles = phantom.domain(domain, size=settings["size"])
    torch.manual_seed(seed)
    model = network(settings, classes=int(tiles.table["kind"].max()) + 1, weights=start)
    batches = feed(tiles, "subtypes", "none", seed)
    options = {"epochs": max(1, budget // PORTION), "lr": SOURCE_LR, "seed": seed, "progress": False}
    fit(model, batches, classes.task(), **options)
    files.save(model.encoder, path, {"domain": domain, "budget": budget, "seed": seed})
