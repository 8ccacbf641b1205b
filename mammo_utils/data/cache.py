"""Decode and prepare every image once, into memory maps that a training run reads at the speed of the disk.

A cache is a folder: ``images.raw`` (uint16) and ``mask_<name>.raw`` (bool) hold one prepared image after the
other, ``rows.jsonl`` says for each row of the table what became of it, ``table.csv`` and ``failures.csv`` are
written when all rows are done.  One process appends, in the order of the table: first the pixels of a row,
then its line.  What a killed run leaves behind is therefore whole up to the last line, and the next run goes
on from there.  Where a row changed in between, the files are set aside in the folder ``earlier`` and written
anew from there, so that only that row is decoded and ``images`` stays one plain memory map without gaps.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from operator import index
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from mammo_utils.data import catalogs, journal, lock, preprocess, rows, splits


@dataclass(frozen=True)
class ImageCache:
    """Prepared images and what is known about them; row i of the tables belongs to ``images[i]``.

    ``images`` N×H×W uint16 (0–65535 stands for 0–1, chest wall left), ``masks`` {name: N×H×W bool} for every
    mask column of the table (``dense_mask`` is ``masks["dense"]``; all False where the table has NA) and
    ``masks["foreground"]``, the breast with muscle as found in the image.  ``failures`` lists the rows that
    could not be read: ``image_id``, ``path``, ``reason``, ``remedy``.  ``geometry`` maps pixels of the file
    to the prepared image: prepared = scale × stored + offset for rows and columns (a flip is a negative
    scale), with the spacing of the prepared pixels in mm.
    """

    directory: Path
    images: np.ndarray
    masks: dict[str, np.ndarray]
    table: pd.DataFrame
    failures: pd.DataFrame
    geometry: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    def to_prepared(self, row: int, points) -> np.ndarray:
        """N×2 points (row, column) in pixels of the file as points of ``images[row]``; 0 is a pixel's
        middle."""
        scale, offset = self._affine(row)
        return np.asarray(points, dtype=float) * scale + offset

    def to_original(self, row: int, points) -> np.ndarray:
        """N×2 points (row, column) of ``images[row]`` as pixels of the file."""
        scale, offset = self._affine(row)
        return (np.asarray(points, dtype=float) - offset) / scale

    def _affine(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        scale, offset = ["row_scale", "column_scale"], ["row_offset", "column_offset"]
        return self.geometry.loc[row, scale].to_numpy(), self.geometry.loc[row, offset].to_numpy()

    @classmethod
    def open(cls, directory) -> ImageCache:
        """Open a finished cache; a split in its table is checked again (``splits.check``).

        Raises: ``FileNotFoundError`` if ``build`` has not finished it; ``splits.SplitError``.
        """
        directory = Path(directory)
        if not (directory / "table.csv").is_file():
            raise FileNotFoundError(f"{directory} holds no finished cache; cache.build makes or completes it")
        settings = json.loads((directory / "settings.json").read_text())
        lines = [json.loads(line) for line in (directory / "rows.jsonl").read_text().splitlines()]
        geometry = [line["geometry"] for line in lines if "geometry" in line]
        shape, arrays = (len(geometry), *settings["size"]), {}
        for file, kind in journal.files_of(settings).items():
            there = np.memmap(directory / file, kind, "r", shape=shape) if geometry else np.empty(shape, kind)
            arrays[file.removesuffix(".raw")] = there
        images = arrays.pop("images")
        masks = {name.removeprefix("mask_"): array for name, array in arrays.items()}
        failures = pd.read_csv(directory / "failures.csv", dtype="string")
        geometry = pd.DataFrame(geometry, columns=rows.GEOMETRY, dtype=float)
        table = catalogs.read(directory / "table.csv")
        if "split" in table:
            splits.check(table)
        return cls(directory, images, masks, table, failures, geometry)


def build(table: pd.DataFrame, directory, *, size, workers: int = 1) -> ImageCache:
    """Prepare every image of ``table`` into the folder ``directory`` and open the result.

    ``size`` (height, width) or the height alone, whose width is then ``preprocess.width_for(size)``.  Masks
    above 127 of 255 count as set (some are lossy JPEG) and are brought to the image's frame.
    ``workers`` processes by joblib, whose backend the caller may change.  Rows whose files cannot be read are
    listed in ``failures``; an error of the program itself stops the run.

    A run that was killed in whatever way is completed by calling ``build`` again, and ends with the same
    bytes.  Rows that are new, whose files differ (path, size or time of change) or that failed and can be
    read now are the only ones to be decoded; unless they stand at the end, the others are copied, for which
    the disk must hold the cache twice for a while.  Another size, another set of masks or a change of the
    code that reads and prepares starts afresh.  A second process that builds in the same folder waits for the
    first.

    Raises: ``ValueError`` for a size under 1×1; ``splits.SplitError`` for a split that a group crosses.
    """
    height, width = map(index, (size, preprocess.width_for(size)) if np.ndim(size) == 0 else size)
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1×1 pixels, not {height}×{width}")
    if "split" in table:
        splits.check(table)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    named = [column for column in table if column.endswith("_mask") and table[column].notna().any()]
    settings = {"size": [height, width], "masks": [*named, "foreground_mask"], "code": rows.CODE}
    table = table.reset_index(drop=True)
    jobs = [rows.job_of(row, named, (height, width)) for row in table.to_dict("records")]
    with lock.locked(directory / ".lock"):
        done = journal.resume(directory, settings, jobs, workers)
        if len(done) < len(jobs):
            _prepare_all(directory, settings, jobs, done, workers)
        shutil.rmtree(directory / journal.EARLIER, ignore_errors=True)
        failed = [
            {"image_id": job["image_id"], "path": job["path"], **line["failure"]}
            for job, line in zip(jobs, done, strict=True)
            if "failure" in line
        ]
        failures = pd.DataFrame(failed, columns=["image_id", "path", "reason", "remedy"])
        catalogs.write(failures, directory / "failures.csv")
        catalogs.write(table[["geometry" in line for line in done]], directory / "table.csv")
    return ImageCache.open(directory)


def _prepare_all(directory: Path, settings: dict, jobs: list[dict], done: list[dict], workers: int) -> None:
    """Append what is missing to the files of the cache and to ``done``."""
    earlier = directory / journal.EARLIER
    good = [line for line, _ in journal.lines_of(earlier, settings) if "geometry" in line]
    known = {journal.key_of(line): (slot, line) for slot, line in enumerate(good)}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open(directory / name, "ab")) for name in journal.files_of(settings)
        }
        written = stack.enter_context(open(directory / "rows.jsonl", "a", encoding="utf-8"))
        pool = stack.enter_context(Parallel(n_jobs=workers, return_as="generator"))
        bar = stack.enter_context(
            tqdm(total=len(jobs), initial=len(done), desc="prepare", unit="image", disable=None)
        )
        for start in range(len(done), len(jobs), journal.BLOCK):
            block = jobs[start : start + journal.BLOCK]
            results = pool(
                delayed(_take)(job, known.get(journal.key_of(job)), earlier, settings) for job in block
            )
            for job, (line, arrays) in zip(block, results, strict=True):
                for name, array in arrays.items():
                    files[name].write(array.tobytes())
                    files[name].flush()
                done.append({"source": job["source"], **line})
                written.write(json.dumps(done[-1]) + "\n")
                written.flush()
                bar.update()


def _take(job: dict, found: tuple | None, earlier: Path, settings: dict) -> tuple[dict, dict]:
    """What ``rows.prepare`` gives, read from the files set aside where ``found`` (slot, line) is there."""
    if found is None:
        return rows.prepare(job)
    slot, line = found
    area = settings["size"][0] * settings["size"][1]
    arrays = {
        name: np.fromfile(earlier / name, kind, area, offset=slot * area * np.dtype(kind).itemsize)
        for name, kind in journal.files_of(settings).items()
    }
    return line, arrays
