"""One run of pretraining: an encoder learns from the unlabelled pool; its weights are kept and probed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.lock import locked
from mammo_utils.evaluation import probes, representation
from mammo_utils.models import pretext
from mammo_utils.models import weights as sources
from mammo_utils.models.segmentation import build
from mammo_utils.study import encoder_file
from mammo_utils.study.phantoms import draw, women
from mammo_utils.synth import breast, fractals
from mammo_utils.training.devices import launch
from mammo_utils.training.pretraining import RECIPES, fields_of

RUN = "mammo_utils.study.encoders:probe"
SMALL, LARGE = "unet/mobilenetv2_050", "unet/tf_mobilenetv2_100"
IMAGENET = "MAMMO_IMAGENET"  # variable with the path of ImageNet weights for LARGE
SEEDS = 3  # pretrainings of an arm
BUDGET = 64_000  # images through the encoder
POOL = 5000  # women without labels, four images each
PROBED = 128  # women that a probe is fitted on, and as many that it is scored on

UNTRAINED = ("none", "imagenet")

FIXED = ("weight_decay", "hidden", "out")  # of a recipe, the same in every run: no column of a table
TOLERANCE = {
    **dict.fromkeys(("loss", "images_per_second", "train_seconds", "uniformity", "effective_rank"), math.inf),
    **dict.fromkeys(("density_r2", "vendor", "identity"), 0.15),
    "alignment": math.inf,
}


def arm(
    method: str,
    *,
    model: str = SMALL,
    start: str = "none",
    budget: int = BUDGET,
    pool: int = POOL,
    size: int = 128,
    likeness: float | None = None,
    vendors: str | None = None,
    **changes,
) -> dict:
    """Settings of a pretraining, for `weights` and `probe`; ``changes`` are those of the method's recipe."""
    own = vars(RECIPES[method]) | {"classes": 1000, "instances": 1} | changes
    fixed = {"method": method, "model": model, "start": start, "budget": budget, "size": size}
    fixed |= {"pool": None if method == "fractal" else pool, "likeness": likeness, "vendors": vendors}
    names = [name for name in fields_of(method) if name not in FIXED]
    names += ["classes", "instances"] * (method == "fractal")
    for name in changes:
        profile.choose(f"setting of {method}", name, names)
    return fixed | {name: own[name] for name in names}


def weights(settings: dict, seed: int) -> Path:
    """The safetensors file of the encoder that a pretraining with ``settings`` gives, trained if absent.

    The seed redraws the first weights, the head, the order and every change of an image, and the formulae of
    fractals, not the pool.  The file that comes with the package serves if it is of this very pretraining.
    """
    return encoder_file.provided(settings["model"], _asked(settings, seed)) or learnt(settings, seed)


def learnt(settings: dict, seed: int) -> Path:
    """As `weights`, but trained here; a pretraining that was stopped goes on where it was."""
    asked = _asked(settings, seed)
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    name = sources.file_name(settings["method"], settings["model"])
    path = profile.cache_dir() / f"phantom_{breast.VERSION}" / "encoders" / digest / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            _train(asked, path)
    return path


def _asked(settings: dict, seed: int) -> dict:
    """Everything that the weights depend on, the fields of the recipe that are no column included."""
    recipe = vars(RECIPES[settings["method"]])
    own = {name: recipe[name] for name in fields_of(settings["method"])}
    return own | settings | {"seed": seed, "precision": "auto"}


def _train(asked: dict, path: Path) -> None:
    method, size, seed = asked["method"], asked["size"], asked["seed"]
    recipe = replace(RECIPES[method], **{name: asked[name] for name in fields_of(method)})
    if method == "fractal":
        images = fractals.arrays(asked["classes"], asked["instances"], size=size, seed=seed)
    else:
        options = {name: asked[name] for name in ("likeness", "vendors") if asked[name] is not None}
        images = women("pool", size=size, count=asked["pool"], **options)
    torch.manual_seed(seed)
    model = build(asked["model"], size=size, weights=start_of(asked, seed))
    encoder_file.learn(path, asked, model, images, recipe=recipe, fabric=launch(asked["precision"]))


def start_of(settings: dict, seed: int) -> str | Path:
    """What the encoder starts from: "none", the file of a pretraining on fractals, or that of ImageNet."""
    start = profile.choose("start", settings["start"], ("none", "fractal", "imagenet"))
    if start == "fractal":
        return weights(arm("fractal", model=settings["model"], size=settings["size"]), seed)
    return imagenet(settings["model"]) if start == "imagenet" else start


def imagenet(model: str) -> Path:
    """The file that the variable MAMMO_IMAGENET names.

    Raises ``ValueError`` where it is not set or is for another model.
    """
    if model != LARGE or IMAGENET not in os.environ:
        raise ValueError(
            f"ImageNet weights are for {LARGE} and lie where the variable {IMAGENET} says: set it to the "
            "path of a safetensors file of timm's mobilenetv2_100"
        )
    return Path(os.environ[IMAGENET])


def probe(settings: dict, seed: int) -> dict[str, float]:
    """Train an encoder, if there is none yet, and say what it cost and what its frozen features hold.

    Probes are fitted on ``PROBED`` women of `develop` and scored on as many of `valid`: percent density by
    ridge regression (R²), the vendor by logistic regression (balanced accuracy), the identity of the woman by
    the nearest image that is not of the same breast.  The methods "none" and "imagenet" train nothing.
    """
    if settings["method"] in UNTRAINED:
        torch.manual_seed(seed)
        start = start_of({"start": settings["method"], "model": settings["model"]}, seed)
        return held(build(settings["model"], size=settings["size"], weights=start), settings["size"])
    path = weights(settings, seed)
    made = sources.made(path)
    model = build(settings["model"], size=settings["size"], weights=path)
    return {
        "loss": made["loss"],
        "train_seconds": made["seconds"],
        "images_per_second": made["images_through"] / made["seconds"],
    } | held(model, settings["size"])


def cost(settings: dict, seed: int) -> dict[str, float]:
    """Train an encoder that is not kept, for its speed: runs that take turns can be compared."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"encoder{sources.SUFFIX}"
        _train(_asked(settings, seed), path)
        made = sources.made(path)
    return {"loss": made["loss"], "images_per_second": made["images_through"] / made["seconds"]}


def held(model, size: int) -> dict[str, float]:
    """What the frozen features of an encoder hold; see `probe`."""
    parts = {}
    for name in ("develop", "valid"):
        images = women(name, size=size)
        rows = draw(images, 0, PROBED)
        z = pretext.embed(model, Batches(images, rows, target="breast", batch_size=64)).numpy()
        parts[name] = z, images.table.iloc[rows]
    (fit, known), (unseen, table) = parts.values()
    group = table["group"].to_numpy(str)
    side = np.char.add(group, table["laterality"].to_numpy(str))

    def probed(probe, column: str, kind: type) -> float:
        learnt, asked = (own[column].to_numpy(kind) for own in (known, table))
        return probe(fit, learnt, unseen, asked, groups=known["group"].to_numpy(str))

    return {
        "density_r2": probed(probes.probe_regression, "percent_density", float),
        "vendor": probed(probes.probe_classification, "machine", str),
        "identity": representation.retrieval(unseen, group, exclude=side).share,
        "alignment": representation.alignment(unseen, representation.positives(group)),
        "uniformity": representation.uniformity(unseen),
        "effective_rank": representation.effective_rank(unseen),
    }
