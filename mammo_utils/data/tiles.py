"""Colour tiles of histology: a file → a square picture → all of a table in one memory map."""

from __future__ import annotations

import hashlib
import json
import os
from operator import index
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from mammo_utils.data import catalogs, lock, splits
from mammo_utils.data.header import MAX_PIXELS, SIGNATURES, ImageReadError, fail, naming

BLOCK = 256  # tiles that are read at a time


class Tiles(NamedTuple):
    """``images`` (N, size, size, 3) uint8 and the ``table`` whose row i belongs to ``images[i]``."""

    images: np.ndarray
    table: pd.DataFrame


def read(path, size: int) -> np.ndarray:
    """The middle square of a PNG or JPEG file as (size, size, 3) uint8, its shorter side being ``size``.

    Raises
        ImageReadError: no such file, damaged, too large, partly transparent or of 16 bits.
    """
    with naming(path):
        try:
            image = Image.open(path, formats=list(SIGNATURES.values()))
        except FileNotFoundError:
            fail("no such file", "check the path")
        except Exception:  # only Pillow's parser runs here
            fail("the header is damaged, or it is neither PNG nor JPEG")
        with image:
            if image.width * image.height > MAX_PIXELS:
                fail(f"more than {MAX_PIXELS // 10**6} million pixels", "cut the slide into tiles")
            if image.mode.startswith("I"):
                fail("the image has 16 bits", "save it with 8 bits a channel")
            try:
                image.draft("RGB", (size, size))  # a JPEG is decoded at no more than twice the size
                image = image.convert("RGBA" if image.mode in ("P", "PA", "LA", "RGBA") else "RGB")
            except Exception:  # only Pillow's decoder runs here
                fail("the image is truncated or damaged")
        if image.mode == "RGBA":
            if image.getextrema()[3][0] < 255:
                fail("the image is partly transparent", "save it without alpha channel")
            image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        # Where it is made smaller, pixels are means of all that fall into them.
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def build(table: pd.DataFrame, directory, *, size: int, workers: int = 1) -> Tiles:
    """Read every tile of ``table`` once into the folder ``directory`` and open what is there.

    ``workers`` processes by joblib.  Tiles that cannot be read are left out and listed in ``failures.csv``
    with the reason and what to do.  A folder that holds the same files at the same size is opened as it is,
    with the split and the labels of ``table``; any other is made anew.  A second process waits for the first.

    Raises ``ValueError`` for a size under 1, ``splits.SplitError`` for a split that a group crosses, and
    ``ImageReadError`` where no tile can be read.
    """
    if index(size) < 1:
        raise ValueError(f"size={size} must be 1 or more")
    if "split" in table:
        splits.check(table)
    directory, table = Path(directory), table.reset_index(drop=True)
    directory.mkdir(parents=True, exist_ok=True)
    stamps = [[path, os.path.getsize(path) if os.path.isfile(path) else -1] for path in table["path"]]
    key = hashlib.sha256(json.dumps([size, stamps]).encode()).hexdigest()
    with lock.locked(directory / ".lock"):
        state = directory / "tiles.json"
        if not state.is_file() or json.loads(state.read_text())["key"] != key:
            state.unlink(missing_ok=True)
            good = _read_all(table, directory, size, workers)
            state.write_text(json.dumps({"key": key, "rows": good}))
        good = json.loads(state.read_text())["rows"]
        kept = table.iloc[good].reset_index(drop=True)
        catalogs.write(kept, directory / "table.csv")
    images = np.memmap(directory / "tiles.raw", np.uint8, "r", shape=(len(good), size, size, 3))
    return Tiles(images, kept)


def _read_all(table: pd.DataFrame, directory: Path, size: int, workers: int) -> list[int]:
    """Write ``tiles.raw`` and ``failures.csv``; the rows of the tiles that could be read."""
    good, failed, paths = [], [], list(table["path"])
    with (
        open(directory / "tiles.raw", "wb") as file,
        Parallel(n_jobs=workers) as pool,
        tqdm(total=len(paths), desc="read", unit="tile", disable=None) as bar,
    ):
        for start in range(0, len(paths), BLOCK):
            for row, found in enumerate(
                pool(delayed(_attempt)(path, size) for path in paths[start : start + BLOCK]), start
            ):
                if isinstance(found, ImageReadError):
                    failed.append((table["image_id"][row], found.file, found.reason, found.remedy))
                else:
                    good.append(row)
                    file.write(found.tobytes())
                bar.update()
    failures = pd.DataFrame(failed, columns=["image_id", "path", "reason", "remedy"])
    catalogs.write(failures, directory / "failures.csv")
    if not good:
        raise ImageReadError(*failed[0][1:])
    return good


def _attempt(path: str, size: int) -> np.ndarray | ImageReadError:
    try:
        return read(path, size)
    except ImageReadError as error:
        return error
