"""Phantom tiles on disk in the folders and under the names of BreakHis and LC25000."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from mammo_utils.synth.histology import cases, sources

FIRST = 10_001  # case number of patient 0
BREAKHIS = "BreaKHis_v1/histology_slides/breast"
LC25000 = "lung_colon_image_set"


def breakhis(root: Path, person: cases.Patient, tiles: dict[int, list[np.ndarray]]) -> list[dict]:
    """Write the tiles {magnification: images} of one patient; returns a row a file.

    A patient with an even number has two slides, AB and CD, in folders of their own; they are one case.
    """
    name, label, _ = cases.SUBTYPES[person.subtype]
    kind = "BM"[label]
    slides = ("AB", "CD") if person.number % 2 == 0 else ("",)
    rows = []
    for magnification, images in tiles.items():
        for number, image in enumerate(images):
            case = f"{FIRST + person.number}{slides[number % len(slides)]}"
            folder = root / BREAKHIS / ("benign", "malignant")[label] / "SOB" / name
            folder = folder / f"SOB_{kind}_{person.subtype}_14-{case}" / f"{magnification}X"
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"SOB_{kind}_{person.subtype}-14-{case}-{magnification}-{number + 1:03d}.png"
            Image.fromarray(image).save(file)
            rows.append({"image_id": file.stem, "patient": person.number, "lab": person.lab})
    return rows


def lc25000(
    root: Path, kind: str, number: int, image: np.ndarray, places: np.ndarray, seed: int
) -> list[dict]:
    """Write the copies of one original of a class as the files numbered ``places``; returns a row a file."""
    organ = kind.partition("_")[0]
    folder = root / LC25000 / f"{organ}_image_sets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for turn, place in enumerate(places):
        file = folder / f"{kind.replace('_', '')}{place}.jpeg"
        copy = sources.copy(image, seed, tuple(sources.ORGANS).index(kind), number, turn)
        Image.fromarray(copy).save(file, quality=95)
        rows.append({"image_id": file.stem, "original": f"{kind}_{number}"})
    return rows


def table(root: Path, rows: list[dict], layout: str) -> Path:
    """Write what is known of the files of a layout, which is no part of the data set itself."""
    path = root / f"truth_{layout}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
