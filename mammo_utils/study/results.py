"""Tables of results: one CSV row a run, written so that a kill costs no finished row.

Columns: the settings, ``seed``, the metrics, then ``MEASURED``.  A row is known by its settings, seed
and profile; a blank stands for a setting that the run did not have or a metric that is not a number.
"""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

from mammo_utils import profile

MEASURED = ("seconds", "memory_mib", "cuda_mib", "profile", "phantom", "commit", "machine", "date")


def text(value) -> str:
    """How a value is written: floats with six digits, whole ones exactly, None and NaN blank.

    >>> [text(value) for value in (1 / 3, 1e-5, 2.0, 1_600_123.0, True, "dice", None, math.nan)]
    ['0.333333', '1e-05', '2', '1600123', 'True', 'dice', '', '']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


def key(settings: dict, seed, profile: str) -> tuple:
    """What tells one run from another, whatever the order of its settings."""
    named = {name: text(value) for name, value in settings.items()}
    return (*sorted(item for item in named.items() if item[1]), text(seed), profile)


def phantom_version() -> int:
    """Version of the phantom that this package makes."""
    from mammo_utils.synth import breast

    return breast.VERSION


def tissue_version() -> int:
    """Version of the phantom histology that this package makes, the setting ``tissue`` of its runs."""
    from mammo_utils.synth import histology

    return histology.VERSION


def load(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows as they stand in the file, without a last line that was not written to its end."""
    header, *lines = csv.reader(io.StringIO(_whole(path), newline="")) if path.is_file() else ((),)
    if header and ("seed" not in header or tuple(header[-len(MEASURED) :]) != MEASURED):
        raise ValueError(f"{path} is not a table of results: move it away, or name another file")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(line)} fields under {len(header)} columns; "
                "delete the line, the next call of the study repeats the run"
            )
    return list(header), [dict(zip(header, line, strict=True)) for line in lines]


def _whole(path: Path) -> str:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].decode() or "\n"


def key_of(row: dict[str, str]) -> tuple:
    """The key of a row of ``load``."""
    names = list(row)
    return key({name: row[name] for name in names[: names.index("seed")]}, row["seed"], row["profile"])


def done(path: Path) -> set[tuple]:
    """Keys of the rows that stem from the present phantom."""
    version = text(phantom_version())
    return {key_of(row) for row in load(path)[1] if row["phantom"] == version}


def append(path: Path, run) -> None:
    """Add the row of a finished ``process.Run``, in place of an older one of the same run.

    New columns take their place in the header.  The caller holds the file's lock.
    """
    header, rows = load(path)
    at = header.index("seed") if header else 0
    values = run.settings | {"seed": run.seed} | run.metrics | run.measured
    row = {name: text(value) for name, value in values.items()}
    known = [*header[:at], *run.settings, "seed", *header[at + 1 : -len(MEASURED)], *run.metrics]
    wanted = [*dict.fromkeys(known), *MEASURED]
    own = key(run.settings, run.seed, row["profile"])
    others = [other for other in rows if key_of(other) != own]
    if wanted != header or len(others) < len(rows) or not path.read_bytes().endswith(b"\n"):
        _write(path, wanted, [*others, row])
        return
    with open(path, "a", encoding="utf-8", newline="") as file:
        file.write(_lines(wanted, [row]))
        file.flush()
        os.fsync(file.fileno())


def arrange(path: Path) -> None:
    """Sort the rows by settings, seed and profile: a table does not depend on the order of its runs."""
    header, rows = load(path)
    names = [*header[: header.index("seed") + 1], "profile"] if header else ()
    arranged = sorted(rows, key=lambda row: [_sortable(row[name]) for name in names])
    if arranged != rows:
        _write(path, header, arranged)


def _sortable(value: str) -> tuple:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def _lines(header: list[str], rows: list[dict]) -> str:
    lines = io.StringIO()
    csv.DictWriter(lines, header, restval="", lineterminator="\n").writerows(rows)
    return lines.getvalue()


def _write(path: Path, header: list[str], rows: list[dict]) -> None:
    """Write the whole file beside itself first: whoever reads it sees the old one or the new one."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8", newline="") as file:
        file.write(_lines(header, [dict(zip(header, header, strict=True)), *rows]))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read(name_or_path, *, stale: bool = False):
    """The DataFrame of a table: by name one that comes with the package, else the file ``*.csv``.

    Metrics, seconds and memory are float64, ``seed`` and ``phantom`` int64, ``commit``, ``machine``,
    ``profile`` and ``date`` text; settings are what their values are.  Row i is line i + 2 of the file.

    Raises ``ValueError`` if rows stem from another version of the phantom, or of the phantom histology where
    there is the setting ``tissue``, unless ``stale``.
    """
    import pandas as pd

    path = Path(name_or_path)
    if path.suffix != ".csv":
        path = profile.shipped(f"results/{name_or_path}.csv")
    content = _whole(path)
    header, rows = load(path)
    if not rows:
        raise ValueError(f"{path} holds no row yet: run its study")
    types = dict.fromkeys(header[header.index("seed") + 1 :], float) | {"seed": "int64", "phantom": "int64"}
    types |= dict.fromkeys(("profile", "commit", "machine", "date"), str)
    # A setting may be called "None" or "NA": only a blank is missing.
    table = pd.read_csv(io.StringIO(content), dtype=types, keep_default_na=False, na_values=[""])
    known, tissue = f"version {phantom_version()}", ("",)
    if "tissue" in header:
        known, tissue = f"{known}, tissue {tissue_version()}", ("", text(tissue_version()))
    there = [row["phantom"] == text(phantom_version()) and row.get("tissue", "") in tissue for row in rows]
    old = there.count(False)
    if old and not stale:
        raise ValueError(
            f"{path}: {old} of {len(rows)} rows stem from another phantom than {known}; "
            "repeat them with python -m mammo_utils study, delete what the study no longer has, "
            "or read them with stale=True"
        )
    return table
