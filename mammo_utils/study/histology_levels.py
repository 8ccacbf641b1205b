"""The network of a run of the histology work, and the levels of transfer that it starts from.

Every run has its own pretrainings, by its seed; sources keep the stains they were drawn with.
"""

from __future__ import annotations

from pathlib import Path

import torch

from mammo_utils import profile
from mammo_utils.data.lock import locked
from mammo_utils.models import weights as files
from mammo_utils.models.classification import Classifier, build
from mammo_utils.study import tiles as phantom
from mammo_utils.synth.histology import VERSION
from mammo_utils.training import classes
from mammo_utils.training.loop import fit

# "a+b": learnt from a, then from b.  Patterns are what images of anything are to tissue, organs are tissue.
SOURCES = ("none", "patterns", "fractals", "organs", "patterns+organs", "fractals+organs")
SOURCE_BUDGET = 8000  # tiles through the network at all sources together
SOURCE_LR = 3e-3


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
    model = settings["model"]
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
        known += [f"{SOURCE_BUDGET}x{SOURCE_LR:g}", f"from{phantom.ORIGINALS}", seed]
        path = home / ("_".join(map(str, known)) + files.SUFFIX)
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                _teach(chosen, domain, start, path, seed=seed, budget=SOURCE_BUDGET // len(levels))
        start = path
    return start


def _teach(settings: dict, domain: str, start: str | Path, path: Path, *, seed: int, budget: int) -> None:
    """Train an encoder on the classes of a source domain, in its own stains, and write it."""
    tiles = phantom.domain(domain, size=settings["size"])
    torch.manual_seed(seed)
    model = network(settings, classes=int(tiles.table["kind"].max()) + 1, weights=start)
    batches = phantom.feed(tiles, "subtypes", "none", seed)
    options = {"epochs": max(1, budget // phantom.PORTION), "lr": SOURCE_LR, "seed": seed, "progress": False}
    fit(model, batches, classes.task(), **options)
    files.save(model.encoder, path, {"domain": domain, "budget": budget, "seed": seed})
