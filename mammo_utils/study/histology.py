"""One run of the histology work: transfer level by level, fine-tune on few patients, score on others.

A run is counted in tiles through the network, at its sources and at its target, so that arms whose levels
differ in number can be compared.  Sources keep the stains they were drawn with.
"""

from __future__ import annotations

import math

import numpy as np

from mammo_utils import profile
from mammo_utils.data import catalogs, stain
from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.models import weights as files
from mammo_utils.models.classification import Classifier
from mammo_utils.models.se_densenet import POSITIONS, STARTS
from mammo_utils.profile import choose
from mammo_utils.study import histology_levels as levels
from mammo_utils.study import histology_scores as scores
from mammo_utils.study import tiles as phantom
from mammo_utils.study.segmenter import save
from mammo_utils.synth.histology import MAGNIFICATIONS, REGIMES, VERSION
from mammo_utils.training import classes
from mammo_utils.training.history import milestones
from mammo_utils.training.loop import fit

RUN = "mammo_utils.study.histology:classify"
TASKS = ("binary", "subtypes")
STAINS = ("none", "normalise", "augment", "both")
BUDGET = 4000  # tiles through the network at the target
LEVEL = 0.75  # area under the ROC curve, by which the tiles that learning takes are told

# At the highest rates another precision changes a run as another seed would: 0.11 at most in a row at 0.1.
TOLERANCE = {
    **dict.fromkeys(("roc_auc", "roc_auc_patient", "roc_auc_same", "roc_auc_home"), 0.15),
    **dict.fromkeys(("watched", "watched_mean"), 0.15),
    **{f"roc_auc_{magnification}": 0.15 for magnification in MAGNIFICATIONS},
    **dict.fromkeys(("accuracy", "accuracy_patient", "accuracy_subtype", "balanced_subtype"), 0.1),
    **dict.fromkeys(("sensitivity", "specificity"), 0.4),
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
    choose("source", source, levels.SOURCES)
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

    The seed redraws the patients learnt from, the order, the new layers and the levels of transfer; the first
    head is the same for every arm of a seed.  ``cohort``: ``develop`` for tuning, which scores the patients
    of develop that were not drawn, else ``train``, which scores those of ``test``, whom no run on ``develop``
    sees.

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
    start = levels.weights(settings, seed)  # may train, hence before the seed
    model = levels.started(settings, start, seed)
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
    batches = phantom.feed(tiles, settings["task"], settings["stains"], seed, turns=settings["turns"])
    curve, each = {}, min(len(batches) * phantom.BATCH, batches.count)
    epochs = max(1, round(settings["budget"] / each))

    def look(history) -> None:
        curve[len(history.rows) * each] = scores.auc(predicted(model, watch, settings["task"]))

    options = {"epochs": epochs, "lr": settings["lr"], "watch": look, "seed": seed, "progress": False}
    history = fit(model, batches, classes.task(), **options)
    return curve, history.seconds


def predicted(model: Classifier, tiles: Tiles, task: str):
    """The table of `histology_scores.told` for what a network says of all tiles."""
    target = "kind" if task == "subtypes" else "cancer"
    batches = TileBatches(tiles, target=target, batch_size=128, device=profile.device())
    return scores.told(classes.predict(model, batches), tiles.table)
