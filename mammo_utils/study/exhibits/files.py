"""Exhibits as files: PNG, SVG and CSV under their names, and a page that lists them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib import pyplot as plt
from PIL import Image

from mammo_utils.study import claims
from mammo_utils.study.exhibits.registry import Exhibit, Made

DPI = 150
KINDS = ("png", "svg", "csv")
COLOURS = 64  # of a PNG's palette: lines and letters need few
# Neither a date nor a version: the same numbers make the same bytes.
PLAIN = {"Date": None, "Creator": None}
# What the works show, or may show, that no table of results can give.
ELSEWHERE = (
    "Density: the full text was not reached, so that none of its own tables and figures is known.",
    "Histology: the same; its accuracy on BreakHis needs that data set: `train histology`.",
    "Screening: scores on RSNA and INbreast themselves need these data sets: `train screening`.",
    "Screening: the Grad-CAM pictures of single cases; notebook 08 draws such of phantom women.",
)


def save(made: Made, folder: Path, name: str) -> list[Path]:
    """Write ``name``.png, .svg and .csv (six digits) into ``folder``; returns their paths."""
    paths = [folder / f"{name}.{kind}" for kind in KINDS]
    options = {"bbox_inches": "tight", "pad_inches": 0.08}
    drawn = io.BytesIO()
    # Letters stay letters: a fifth of the size of outlines, and they can be searched and edited.
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        made.figure.savefig(drawn, format="png", dpi=DPI, **options)
        made.figure.savefig(paths[1], format="svg", metadata=PLAIN, **options)
    pixels = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    pixels.save(paths[0], "png", optimize=True, dpi=(DPI, DPI))
    made.numbers.to_csv(paths[2], index=False, float_format="%.6g", lineterminator="\n")
    return paths


def page(exhibits: Mapping[str, Exhibit], there: Iterable[str], waiting: Mapping[str, list[str]]) -> str:
    """The Markdown page of a folder that holds the exhibits ``there``; ``waiting`` {table: those without}."""
    there = set(there)
    lines = [
        "# Exhibits",
        "",
        "Every figure and table of the three works that can be rebuilt from the tables of results, each as "
        "PNG, SVG and CSV (the numbers drawn). `python -m mammo_utils figures` writes this folder; nothing "
        "here is edited by hand. Runs were made on phantoms: no number is a clinical result.",
    ]
    works = dict.fromkeys(one.work for one in exhibits.values())
    for work in works:
        own = [one for name, one in exhibits.items() if one.work == work and name in there]
        if own:
            lines += ["", f"## {_heading(work)}", "", "| exhibit | shows | tables | rebuilds |"]
            lines += ["| --- | --- | --- | --- |"]
        for one in own:
            files = f"[{one.name}]({one.name}.png) ([SVG]({one.name}.svg), [CSV]({one.name}.csv))"
            tables = ", ".join(f"`{table}`" for table in one.tables) or "none: arithmetic"
            lines.append(f"| {files} | {one.title} | {tables} | {one.rebuilds} |")
    for title, own in (("Not here yet", waits(waiting)), ("Not rebuilt from tables", ELSEWHERE)):
        lines += ["", f"## {title}", "", *(f"- {line}" for line in own)] if own else []
    return "\n".join(lines) + "\n"


def _heading(work: str) -> str:
    title = claims.TITLES.get(work, work)
    return title[0].upper() + title[1:]


def waits(waiting: Mapping[str, list[str]]) -> list[str]:
    """A line for each table that is absent: which exhibits wait for it."""
    return [f"waiting for the table {table}: {', '.join(names)}" for table, names in waiting.items()]
