"""What a run of the density recipe says of itself: a model card, and its numbers beside the paper's."""

from __future__ import annotations

import json
import textwrap
from importlib import import_module
from pathlib import Path

import pandas as pd

from mammo_utils.models import weights
from mammo_utils.study.segmenter import SETTINGS, Settings

BANNER = "**For teaching and research only: this is no medical device, and nothing here is a diagnosis.**"
PAPER = "Qu et al. 2026, medRxiv 10.64898/2026.02.23.26346855"
# What its abstract says of the step from the reference to the recipe.
PUBLISHED = {"density_mae": "14.8 → 11.8", "spearman": "0.42 → 0.51"}
METRICS = {
    "dice": "Dice of dense tissue",
    "iou": "intersection over union of dense tissue",
    "sensitivity": "share of the dense tissue that is found",
    "precision": "share of what is found that is dense",
    "density_mae": "error of percent density, mean of its size (points)",
    "density_bias": "error of percent density with its sign, mean (points)",
    "density_lower": "lower limit of agreement of percent density (points)",
    "density_upper": "upper limit of agreement of percent density (points)",
    "dice_breast": "Dice of the breast",
    "spearman": "Spearman's correlation of percent density and class A–D",
}
ON = {
    "test": "labelled women left out, against their labels or the radiologist's class",
    "test, truth": "the same women against the true masks, which only a phantom has",
    "unseen": "women without labels from whom nothing was learnt",
    "pool": "women without labels from whom the encoder may have learnt",
}
NOT_FOUND = (
    "the formula and weights of the hybrid loss",
    "a table of Dice or IoU",
    "the size of images, optimiser, learning rates, epochs and batch",
    "which EfficientNet and which decoder",
    "which views are alike in its multi-view learning: all of a woman or those of a breast",
    "how long the encoder learnt without labels",
    "the rank of LoRA",
    "how the 596 labelled images were split, and what both numbers were measured on",
    "whether the labelled women were left out of the 20,000 unlabelled images",
    "its table of GPU hours, and a repository of its code",
)
SPLITS = {
    "train": "labelled, learnt from",
    "valid": "labelled, the best epoch was chosen on them",
    "test": "labelled, left out",
    "pool": "unlabelled",
    "unseen": "unlabelled, left out",
}
PHANTOM = (
    "The network learnt from phantoms, which are simulated breasts: its scores say nothing about patients, "
    "and it is of no use on their images."
)
LIMITS = (
    "Intervals are of 95 % and resample women: they speak of other women of this data set, not of another "
    "training. One training is one draw of split, weights and order.",
    "An interval of fewer than some twenty women is too narrow, and of two or three it means nothing.",
    "The encoder has seen the images of `pool` without labels, if it learnt from any: read `test`, and "
    "`unseen` where there is any, first. Where no breast is found in an image its density counts as 0.",
    "Nothing was tested on other machines, sites or populations than those of the data above.",
)


def write(folder: Path, given, settings: Settings, data: dict, table, scores, *, lost: int) -> None:
    """Write ``model_card.md`` and ``report.md`` of a run of `recipe.recipe` into ``folder``.

    ``given`` is its `recipe.Recipe`, ``table`` that of ``density.csv`` with the column ``group``, ``lost``
    the number of files that could not be prepared.
    """
    phantom = "phantom" in (data["data"], data["labelled"])
    for name, lines in (
        ("model_card.md", card(folder, given, settings, data, table, scores, lost)),
        ("report.md", report(given, table, scores)),
    ):
        text = "\n".join([lines[0], "", BANNER, *(["", PHANTOM] if phantom else []), *lines[1:], ""])
        (folder / name).write_text(_filled(text), encoding="utf-8")


def card(folder: Path, given, settings: Settings, data: dict, table, scores, lost: int) -> list[str]:
    """The model card, line by line; as `write`, whose ``folder`` holds the run."""
    start = "random weights" if data["start"] == "none" else data["start"]
    first = f"an encoder that learnt from several views of a woman, starting from {start}"
    pretrained = table["pretrained"].any()
    through = weights.made(settings.weights)["images_through"] if pretrained else 0
    run = {
        "network": given.model,
        "size of images": f"{given.size} pixels high",
        "encoder starts from": first if pretrained else start,
        "images through the encoder without labels": through,
        "loss": settings.loss + (f", λ = {settings.lam:g}" if settings.lam is not None else ""),
        "strategy": settings.strategy,
        "learnt masks": f"{settings.target} in {settings.breast}",
        "epochs, highest rate, batch": f"{given.epochs}, {given.lr:g}, {given.batch_size}",
        "seed": given.seed,
        **json.loads((folder / SETTINGS).read_text())["made"],  # when it was begun
    }
    sources = [
        import_module(f"mammo_utils.data.catalogs.{name}").SOURCE
        for name in dict.fromkeys((data["data"], data["labelled"]))
    ]
    licences = [f"* {one.title}: {one.licence}; from {one.where}" for one in sources]
    missing = f"Not prepared: {lost} more files, see `failures.csv` beside the prepared images."
    return [
        "# Model card: dense tissue and breast on mammograms",
        "",
        "`weights.safetensors` marks dense tissue and breast in a prepared grey image (two logits a pixel); "
        "percent density is the share of the found breast that is found dense. `encoder.safetensors` is its "
        "encoder before it saw a label, if it learnt without labels.",
        "",
        "## Images",
        "",
        *_table(["split", "what", "images", "women"], counts(table)),
        "",
        f"Labelled: {data['labelled']}; unlabelled: {data['data']}. No woman is in two splits, and none of "
        "those with labels is in the pool.",
        *(["", missing] if lost else []),
        "",
        "## Settings",
        "",
        *_table(["", ""], run.items()),
        "",
        "## Scores",
        "",
        *_scores(scores),
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in LIMITS),
        "",
        "## Licences of the data",
        "",
        "As far as they could be found; the owner's page decides what may be done with data and weights that "
        "come from it, so check it before you use or pass on anything.",
        "",
        *licences,
    ]


def report(given, table: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """The numbers beside the paper's, line by line."""
    rows = []
    for metric, published in PUBLISHED.items():
        name, own = METRICS[metric], scores[scores["metric"] == metric]
        seen = {"pool": "pool, pretrained on"} if table["pretrained"].any() else {}
        for _, row in own.iterrows():
            on = f"{seen.get(row['on'], row['on'])}: {row['images']} images of {row['women']} women"
            rows.append((name, published, _interval(row), on))
        if own.empty:
            rows.append((name, published, "not known", "no image has a density class"))
    without = ", ".join(given.leave_out)
    return [
        "# Report: the density recipe",
        "",
        f"Left out: {without}."
        if without
        else "Nothing is left out: multi-view, full fine-tuning, hybrid loss.",
        "",
        f"## Beside the paper ({PAPER})",
        "",
        *_table(["", "paper: before → recipe", "this run", "of"], rows),
        "",
        "The two columns cannot be compared as they stand: protocols differ. The paper's numbers are those "
        "of its abstract, read in a mirror; its full text could not be reached. This run is one training, "
        "not a step from one recipe to another: for that train again with `--leave-out` in another folder, "
        "with a rate that suits it, and with several seeds.",
        "",
        "Not found in what could be read of it:",
        "",
        *(f"* {fact}" for fact in NOT_FOUND),
        "",
        "So the loss, the sizes, the rates and the split are this course's own.",
        "",
        "## All scores",
        "",
        *_scores(scores),
        "",
        "`scores.csv` has them with more digits, `density.csv` the percent density of every image, "
        "`predictions.png` test images from the worst to the best, `model_card.md` data and settings.",
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in LIMITS),
    ]


def counts(table: pd.DataFrame) -> list[tuple]:
    """Split, what it is, images and women of every split that has any."""
    found = []
    for name, what in SPLITS.items():
        own = table[table["split"] == name]
        if name == "pool":
            what += ", learnt from without labels" if own["pretrained"].any() else ", not learnt from"
        if len(own):
            found.append((name, what, len(own), own["group"].nunique()))
    return found


def _scores(scores: pd.DataFrame) -> list[str]:
    """The table of all scores, and below it what they were taken on."""
    rows = [
        (r["on"], METRICS[r["metric"]], _interval(r), r["images"], r["women"]) for _, r in scores.iterrows()
    ]
    table = _table(["on", "score", "estimate [95 %]", "images", "women"], rows)
    return [*table, "", *(f"* {on}: {said}." for on, said in ON.items() if (scores["on"] == on).any())]


def _interval(row: pd.Series) -> str:
    """
    >>> _interval(pd.Series({"metric": "dice", "estimate": 0.5, "low": 0.45, "high": 0.55}))
    '0.50 [0.45, 0.55]'
    """
    places = 1 if row["metric"].startswith("density") else 2
    low, high = (f"{row[limit]:.{places}f}" for limit in ("low", "high"))
    return f"{row['estimate']:.{places}f} [{low}, {high}]"


def _table(header: list[str], rows) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def _filled(text: str) -> str:
    """The text with its paragraphs and list entries broken at 120 characters, tables as they are."""
    return "\n".join(
        line
        if line.startswith(("|", "#"))
        else textwrap.fill(
            line,
            120,
            subsequent_indent="  " * line.startswith("*"),
            break_on_hyphens=False,  # addresses
        )
        for line in text.split("\n")
    )
