"""One run of pretraining: an encoder learns from the unlabelled pool; its weights are kept and probed."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batches
from mammo_utils.data.lock import locked
from mammo_utils.evaluation import probes, representation
from mammo_utils.models import pretext
from mammo_utils.models import weights as sources
from mammo_utils.models.segmentation import build
from mammo_utils.profile import shipped
from mammo_utils.study import encoder_file
from mammo_utils.study.phantoms import draw, women
from mammo_utils.synth import breast, fractals
from mammo_utils.training.devices import launch
from mammo_utils.training.pretraining import RECIPES

RUN = "mammo_utils.study.encoders:probe"
SMALL, LARGE = "unet/mobilenetv2_050", "unet/tf_mobilenetv2_100"
IMAGENET = "MAMMO_IMAGENET"  # variable with the path of ImageNet weights for LARGE
SEEDS = 3  # pretrainings of an arm
POOL = 5000  # women without labels, four images each
PROBED = 128  # women that a probe is fitted on, and as many that it is scored on

UNTRAINED = ("none", "imagenet")

# What of a recipe a method depends on; the other settings of an arm are the same for all.
OWN = {
    "fractal": ("classes", "instances"),
    "simclr": ("temperature",),
    "barlow_twins": ("off_diagonal",),
    "masked": ("patch", "ratio"),
    "multiview": ("temperature", "positives"),
}
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
    budget: int = 200_000,
    pool: int = POOL,
    size: int = 128,
    likeness: float | None = None,
    vendors: str | None = None,
    **changes,
) -> dict:
    """Settings of a pretraining, for `weights` and `probe`; ``changes`` are those of the method's recipe."""
    own = {"classes": 1000, "instances": 1} if method == "fractal" else {}
    own |= vars(RECIPES[method]) | changes
    fixed = {"method": method, "model": model, "start": start, "budget": budget, "size": size}
    fixed |= {"pool": None if method == "fractal" else pool, "likeness": likeness, "vendors": vendors}
    return fixed | {name: own[name] for name in ("lr", "batch_size", "augment", *OWN[method])}


def weights(settings: dict, seed: int) -> Path:
    """The safetensors file of the encoder that a pretraining with ``settings`` gives, trained if absent.

    The seed redraws the first weights, the head, the order and every change of an image, and the formulae of
    fractals, not the pool.  A pretraining that was stopped goes on where it was.  The file that comes with
    the package serves if it is of this very pretraining.
    """
    asked = settings | {"seed": seed, "precision": "auto"}
    try:
        ready = shipped(f"weights/{sources.file_name(settings['method'], settings['model'])}")
        if sources.made(ready).get("settings") == asked:
            return ready
    except FileNotFoundError:
        pass
    name = "_".join(str(value).replace("/", "-") for value in settings.values() if value is not None)
    path = profile.cache_dir() / f"phantom_{breast.VERSION}" / "encoders" / f"{name}_seed_{seed}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            _train(asked, path)
    return path


def _train(asked: dict, path: Path) -> None:
    method, size, seed = asked["method"], asked["size"], asked["seed"]
    recipe = RECIPES[method]
    recipe = replace(recipe, **{name: asked[name] for name in set(vars(recipe)) & set(asked)})
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

    Probes are fitted on ``PROBED`` women of `develop` and scored on as many others: percent density by ridge
    regression (R²), the vendor by logistic regression (balanced accuracy), the identity of the woman by the
    nearest image that is not of the same breast.  The methods "none" and "imagenet" train nothing.
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


def held(model, size: int) -> dict[str, float]:
    """What the frozen features of an encoder hold; see `probe`."""
    images = women("develop", size=size)
    fit, unseen = draw(images, 0, PROBED), draw(images, PROBED, PROBED)
    table = images.table
    z = {
        name: pretext.embed(model, Batches(images, rows, target="breast", batch_size=64)).numpy()
        for name, rows in {"fit": fit, "unseen": unseen}.items()
    }
    density, vendor = table["percent_density"].to_numpy(float), table["machine"].to_numpy(str)
    group = table["group"].to_numpy(str)
    side = np.char.add(group, table["laterality"].to_numpy(str))
    return {
        "density_r2": probes.probe_regression(
            z["fit"], density[fit], z["unseen"], density[unseen], groups=group[fit]
        ),
        "vendor": probes.probe_classification(
            z["fit"], vendor[fit], z["unseen"], vendor[unseen], groups=group[fit]
        ),
        "identity": representation.retrieval(z["unseen"], group[unseen], exclude=side[unseen]).share,
        "alignment": representation.alignment(z["unseen"], representation.positives(group[unseen])),
        "uniformity": representation.uniformity(z["unseen"]),
        "effective_rank": representation.effective_rank(z["unseen"]),
    }
