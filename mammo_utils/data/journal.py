"""The files of a cache of prepared images: which of their rows are still true."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from mammo_utils.data import rows

EARLIER = "earlier"  # folder of the files that were set aside
BLOCK = 256  # rows handed out at a time: bounds the results that wait for a slow one


def resume(directory: Path, settings: dict, jobs: list[dict], workers: int) -> list[dict]:
    """Make the folder ready for what is missing; the lines of the first rows that are there and still true.

    What cannot stay behind them is cut off.  If some of it is wanted again, all files are set aside first,
    unless an earlier run that was killed has already done so: then its files serve.
    """
    settings_file, journal, earlier = (directory / n for n in ("settings.json", "rows.jsonl", EARLIER))
    before = _parsed(settings_file.read_bytes()) if settings_file.is_file() else settings
    same = before == settings
    if not same:
        shutil.rmtree(earlier, ignore_errors=True)
    there = lines_of(directory, settings) if same else []
    failing = _all_fail(there, jobs, workers)
    kept = 0
    for job, (line, _) in zip(jobs, there, strict=False):
        if line["source"] != job["source"] or ("failure" in line and not failing):
            break
        kept += 1
    length = sum(length for _, length in there[:kept])
    finished = same and kept == len(jobs) and length == _length(journal)
    if finished and (directory / "table.csv").is_file():
        return [line for line, _ in there]
    (directory / "table.csv").unlink(missing_ok=True)  # unfinished from here on
    wanted = {key_of(job) for job in jobs[kept:]}
    if not earlier.exists() and any("geometry" in x and key_of(x) in wanted for x, _ in there[kept:]):
        earlier.mkdir()
        for name in (*files_of(settings), "rows.jsonl"):
            os.replace(directory / name, earlier / name)
        kept = length = 0
    _cut(journal, length)
    for name in set(files_of(before or {"masks": []})) - set(files_of(settings)):
        (directory / name).unlink(missing_ok=True)
    for name, size in _sizes(settings).items():
        _cut(directory / name, size * sum("geometry" in line for line, _ in there[:kept]))
    temporary = directory / "settings.json.part"
    temporary.write_text(json.dumps(settings))
    os.replace(temporary, settings_file)
    return [line for line, _ in there[:kept]]


def lines_of(directory: Path, settings: dict) -> list[tuple[dict, int]]:
    """The lines of a journal with their lengths in bytes, up to the first that is damaged or lacks pixels."""
    journal, lines = directory / "rows.jsonl", []
    room = min(_length(directory / name) // size for name, size in _sizes(settings).items())
    for raw in journal.read_bytes().splitlines(keepends=True) if journal.is_file() else ():
        line = _parsed(raw) if raw.endswith(b"\n") else None
        if line is None or ("geometry" in line and not room):
            break
        room -= "geometry" in line
        lines.append((line, len(raw)))
    return lines


def _parsed(raw: bytes) -> dict | None:
    """A JSON object, None for what a power loss made of it."""
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _all_fail(there: list[tuple[dict, int]], jobs: list[dict], workers: int) -> bool:
    """Whether all rows that failed still do; asked a block at a time, as one that works settles it."""
    failed = {key_of(line) for line, _ in there if "failure" in line}
    again = [job for job in jobs if key_of(job) in failed]
    blocks = (again[start : start + BLOCK] for start in range(0, len(again), BLOCK))
    return all(all(Parallel(n_jobs=workers)(delayed(_fails)(job) for job in block)) for block in blocks)


def _fails(job: dict) -> bool:
    return "failure" in rows.prepare(job)[0]


def key_of(line_or_job: dict) -> str:
    return json.dumps(line_or_job["source"])


def _sizes(settings: dict) -> dict[str, int]:
    """Bytes that an image takes in each file."""
    height, width = settings["size"]
    return {name: np.dtype(kind).itemsize * height * width for name, kind in files_of(settings).items()}


def files_of(settings: dict) -> dict[str, type]:
    masks = {f"mask_{column.removesuffix('_mask')}.raw": np.bool_ for column in settings["masks"]}
    return {"images.raw": np.uint16, **masks}


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _cut(path: Path, length: int) -> None:
    with open(path, "ab") as file:
        file.truncate(length)
