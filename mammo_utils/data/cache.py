"""Decode and prepare every image once, into memory maps that a training run reads at the speed of the disk.

A cache is a folder: ``images.raw`` (uint16) and ``mask_<name>.raw`` (bool) hold one prepared image after the
other, ``rows.jsonl`` says for each row of the table what became of it, ``table.csv`` and ``failures.csv`` are
written when all rows are done.  One process appends, in the order of the table: first the pixels of a row,
then its line.  What a killed run leaves behind is therefore whole up to the last line, and the next run goes
on from there.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from mammo_utils.data import catalogs, rows, splits

BLOCK = 256  # rows handed out at a time: bounds the results that wait for a slow one


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
        for file, kind in _files(settings).items():
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

    ``size`` (height, width) or the height alone, whose width is then ``size * 13 // 16``, as the phantom has
    it. Masks above 127 of 255 count as set (some are lossy JPEG) and are brought to the image's frame.
    ``workers`` processes by joblib, whose backend the caller may change.  Rows whose files cannot be read are
    listed in ``failures``; an error of the program itself stops the run.

    A run that was killed in whatever way is completed by calling ``build`` again, and ends with the same
    bytes. Where a source file (path, size or time of change) or row differs from what is there, everything
    from that row on is prepared again; rows appended to the table are the only new work.  Another size,
    another set of masks or a change of the code that reads and prepares starts afresh.  Failed rows are tried
    again each time.  A second process that builds in the same folder waits for the first.
    """
    height, width = (size, size * 13 // 16) if np.ndim(size) == 0 else size
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
    with _locked(directory):
        done = _resume(directory, settings, jobs)
        if len(done) < len(jobs):
            _prepare_all(directory, settings, jobs, done, workers)
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
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(directory / name, "ab")) for name in _files(settings)}
        journal = stack.enter_context(open(directory / "rows.jsonl", "a", encoding="utf-8"))
        pool = stack.enter_context(Parallel(n_jobs=workers, return_as="generator"))
        bar = stack.enter_context(
            tqdm(total=len(jobs), initial=len(done), desc="prepare", unit="image", disable=None)
        )
        for start in range(len(done), len(jobs), BLOCK):
            block = jobs[start : start + BLOCK]
            results = pool(delayed(rows.prepare)(job) for job in block)
            for job, (line, arrays) in zip(block, results, strict=True):
                for name, array in arrays.items():
                    files[name].write(array.tobytes())
                    files[name].flush()
                done.append({"source": job["source"], **line})
                journal.write(json.dumps(done[-1]) + "\n")
                journal.flush()
                bar.update()


def _resume(directory: Path, settings: dict, jobs: list[dict]) -> list[dict]:
    """The lines of the rows that are there and still true; everything after them is cut off."""
    settings_file, journal = directory / "settings.json", directory / "rows.jsonl"
    earlier = json.loads(settings_file.read_text()) if settings_file.is_file() else settings
    same = earlier == settings
    text = journal.read_bytes() if same and journal.is_file() else b""
    area = settings["size"][0] * settings["size"][1]
    sizes = {name: np.dtype(kind).itemsize * area for name, kind in _files(settings).items()}
    room = min(_length(directory / name) // size for name, size in sizes.items())
    kept, length = [], 0
    for job, raw in zip(jobs, text.splitlines(keepends=True), strict=False):
        if not raw.endswith(b"\n"):
            break
        line = json.loads(raw)
        works = "geometry" in line
        if line["source"] != job["source"] or (works and not room) or (not works and not _fails(job)):
            break
        room -= works
        length += len(raw)
        kept.append(line)
    finished = same and len(kept) == len(jobs) and length == len(text)
    if not (finished and (directory / "table.csv").is_file()):
        (directory / "table.csv").unlink(missing_ok=True)  # unfinished from here on
        _cut(journal, length)
        for name in set(_files(earlier)) - set(sizes):
            (directory / name).unlink(missing_ok=True)
        for name, size in sizes.items():
            _cut(directory / name, size * sum("geometry" in line for line in kept))
        temporary = directory / "settings.json.part"
        temporary.write_text(json.dumps(settings))
        os.replace(temporary, settings_file)
    return kept


def _fails(job: dict) -> bool:
    return "failure" in rows.prepare(job)[0]


def _files(settings: dict) -> dict[str, type]:
    masks = {f"mask_{column.removesuffix('_mask')}.raw": np.bool_ for column in settings["masks"]}
    return {"images.raw": np.uint16, **masks}


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _cut(path: Path, length: int) -> None:
    with open(path, "ab") as file:
        file.truncate(length)


@contextmanager
def _locked(directory: Path):
    """One builder at a time; the lock ends with the process that holds it, however that ends."""
    with open(directory / ".lock", "w") as file:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
