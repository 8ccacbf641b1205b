"""Grids of settings × seeds: one process a run, one row of a CSV table a run, resumable at any time.

A study is written once and registered in ``STUDIES``; ``python -m mammo_utils study NAME`` runs what is
missing of it, ``read`` gives its table to figures and verdicts.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from mammo_utils import profile
from mammo_utils.data.lock import locked
from mammo_utils.study import process, provenance, results
from mammo_utils.study.results import read

__all__ = ["STUDIES", "Study", "again", "find", "product", "read", "run", "table_of"]

# Name of a study -> module:attribute that holds it; imported only when it is called for.
STUDIES = {
    "losses_tuning": "mammo_utils.study.losses:TUNING",
    "losses_decisive": "mammo_utils.study.losses:DECISIVE",
    "losses": "mammo_utils.study.losses:STUDY",
    "losses_weight": "mammo_utils.study.losses:WEIGHT",
    "architectures_tuning": "mammo_utils.study.architectures:TUNING",
    "architectures_decisive": "mammo_utils.study.architectures:DECISIVE",
    "architectures": "mammo_utils.study.architectures:STUDY",
    "sources_tuning": "mammo_utils.study.transfer:TUNING",
    "encoders_repeated": "mammo_utils.study.transfer:ENCODERS_REPEATED",
    "encoders": "mammo_utils.study.transfer:ENCODERS",
    "encoders_cost": "mammo_utils.study.transfer:COST",
    "encoders_likeness": "mammo_utils.study.transfer:LIKENESS",
    "sources_rates": "mammo_utils.study.transfer:RATES_TUNING",
    "sources_decisive": "mammo_utils.study.transfer:DECISIVE",
    "sources": "mammo_utils.study.transfer:STUDY",
    "sources_film": "mammo_utils.study.transfer_film:STUDY",
    "strategies_tuning": "mammo_utils.study.strategies:TUNING",
    "strategies_decisive": "mammo_utils.study.strategies:DECISIVE",
    "strategies": "mammo_utils.study.strategies:STUDY",
    "strategies_ranks": "mammo_utils.study.strategies:SWEEP",
    "strategies_abroad": "mammo_utils.study.strategies:ABROAD",
    "strategies_film": "mammo_utils.study.strategies:FILM",
    "screening_tuning": "mammo_utils.study.stages:TUNING",
    "screening_decisive": "mammo_utils.study.stages:DECISIVE",
    "screening": "mammo_utils.study.stages:STUDY",
    "screening_seconds": "mammo_utils.study.stages:SECONDS",
    "histology_tuning": "mammo_utils.study.histology_studies:TUNING",
    "histology_decisive": "mammo_utils.study.histology_studies:DECISIVE",
    "histology": "mammo_utils.study.histology_studies:STUDY",
    "recipe": "mammo_utils.study.ingredients:CROSSED",
    "recipe_network": "mammo_utils.study.ingredients:NETWORK",
    "lesion_sizes": "mammo_utils.study.observer:SIZES",
}


@dataclass(frozen=True)
class Study:
    """What is run, with which settings and seeds, and how closely a run can be repeated.

    ``run`` is ``"module:function"``; the function takes a dict of settings (text, numbers, booleans or None)
    and a seed and returns a dict of metrics (numbers), each time in a process of its own with
    ``MAMMO_PROFILE`` set to ``profile``.  ``order`` is ``"seed"`` (every setting of the first seed first, so
    that paired contrasts are complete early) or ``"settings"`` (every seed of the first setting first).
    ``result`` is the name of the table, by default the study's own; studies may share one.  ``tolerance``
    {metric: largest difference} is for ``again``.
    """

    name: str
    run: str
    settings: Sequence[Mapping]
    seeds: Sequence[int]
    result: str = ""
    order: str = "seed"
    tolerance: Mapping[str, float] = field(default_factory=dict)
    profile: str = "cpu"

    def __post_init__(self):
        profile.choose("order", self.order, ("seed", "settings"))
        profile.choose("profile", self.profile, profile.PROFILES)
        for settings in self.settings:
            for name, value in settings.items():
                if name == "seed" or name in results.MEASURED:
                    raise ValueError(f"study {self.name}: a setting cannot be called {name!r}")
                if not isinstance(value, str | int | float | None) or "\n" in str(value):
                    raise ValueError(f"study {self.name}: {name}={value!r} is not text, number or None")
        keys = [results.key(*one, self.profile) for one in self.runs()]
        for one, key in zip(self.runs(), keys, strict=True):
            if keys.count(key) > 1:
                raise ValueError(f"study {self.name} has a run twice: {_name(*one)}")

    def runs(self, *, only: Mapping | None = None, seeds: Sequence[int] | None = None) -> list[tuple]:
        """(settings, seed) of every run in order; of those with the settings ``only`` {name: values}.

        Raises ``ValueError`` if a name, value or seed is not one of the study's.
        """
        for name, values in (only or {}).items():
            profile.choose("setting", name, {name: None for settings in self.settings for name in settings})
            there = {results.text(settings.get(name)): None for settings in self.settings}
            for value in values:
                profile.choose(f"value of {name}", results.text(value), there)
        for seed in seeds if seeds is not None else ():
            profile.choose("seed", seed, self.seeds)
        wanted = {name: {results.text(value) for value in values} for name, values in (only or {}).items()}
        chosen = [
            dict(settings)
            for settings in self.settings
            if all(results.text(settings.get(name)) in values for name, values in wanted.items())
        ]
        seeds = self.seeds if seeds is None else seeds
        if self.order == "seed":
            return [(settings, seed) for seed in seeds for settings in chosen]
        return [(settings, seed) for settings in chosen for seed in seeds]


def product(**values) -> list[dict]:
    """Every combination of the values, the last name varying fastest.

    >>> product(loss=["bce", "dice"], labels=[16, 64])[:2]
    [{'loss': 'bce', 'labels': 16}, {'loss': 'bce', 'labels': 64}]
    """
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def find(name: str) -> Study:
    """The study called ``name`` in ``STUDIES``, or the one of your own at ``"module:attribute"``."""
    place = name if ":" in name else STUDIES[profile.choose("study", name, STUDIES)]
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no study at {place}: {error}") from error


def table_of(study: Study) -> Path:
    """Where the study's table is written: ``data/results`` of a clone, else the present folder."""
    clone = provenance.PACKAGE.parent
    folder = clone / "data" / "results" if (clone / "pyproject.toml").is_file() else Path()
    return folder / f"{study.result or study.name}.csv"


def run(
    study: Study,
    *,
    out=None,
    jobs: int = 1,
    threads: int = 1,
    only: Mapping | None = None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """Do the runs that the table ``out`` lacks, ``jobs`` at a time with ``threads`` threads each.

    ``only`` {name: values} and ``seeds`` choose among the study's runs.  Each finished run is on disk at
    once.  A run that fails stands with its last output in ``failures_of(out)``, the others go on, and the
    next call tries it again.  A second process waits until the first has finished.  Returns a line for each
    failed run.

    Raises ``ValueError`` if a setting or seed is not one of the study's or ``out`` is another kind of file.
    """
    if min(jobs, threads) < 1:
        raise ValueError(f"{jobs} jobs of {threads} threads: give at least one of each")
    path = Path(out or table_of(study))
    chosen = study.runs(only=only, seeds=seeds)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = failures_of(path)
    failed = []

    def waits():
        print(f"another process is writing {path}: waiting for it", flush=True)

    with locked(path.with_name(f".{path.stem}.lock"), busy=waits):
        done = results.done(path)
        waiting = [one for one in chosen if results.key(*one, study.profile) not in done]
        before, started = len(chosen) - len(waiting), time.monotonic()
        print(f"{len(chosen)} runs, {before} done before", flush=True)
        failures.unlink(missing_ok=True)
        with closing(_finished(study, waiting, jobs=jobs, threads=threads)) as finished:
            for number, ended in enumerate(finished, 1):
                if ended.failure:
                    failed.append(f"{_name(ended.settings, ended.seed)}: {ended.failure}")
                    with open(failures, "a", encoding="utf-8") as file:
                        file.write(f"{failed[-1]}\n\n{ended.log}\n\n\n")
                else:
                    results.append(path, ended)
                left = (time.monotonic() - started) / number * (len(waiting) - number)
                print(f"[{before + number} of {len(chosen)}] {_said(ended)} | {_span(left)} left", flush=True)
        if waiting:
            results.arrange(path)
    return failed


def failures_of(path: Path) -> Path:
    """The file that says why runs of the last call failed."""
    return path.with_suffix(".failures.txt")


def _finished(study: Study, waiting: list[tuple], *, jobs: int, threads: int):
    """Start the runs, ``jobs`` at a time, and give each one back as it ends; all end with the caller."""
    waiting, under_way = deque(waiting), []
    try:
        while waiting or under_way:
            while waiting and len(under_way) < jobs:
                settings, seed = waiting.popleft()
                under_way.append(
                    process.Run(study.run, settings, seed, profile=study.profile, threads=threads)
                )
            ended = [one for one in under_way if one.finished()]
            under_way = [one for one in under_way if one not in ended]
            yield from ended
            if not ended:
                time.sleep(0.02)
    finally:
        for one in under_way:
            one.end()


def _name(settings: Mapping, seed: int) -> str:
    return " ".join(f"{name}={results.text(value)}" for name, value in (*settings.items(), ("seed", seed)))


def _said(ended: process.Run) -> str:
    name = _name(ended.settings, ended.seed)
    if ended.failure:
        return f"{name}: failed: {ended.failure}"
    metrics = " ".join(f"{metric} {value:.4g}" for metric, value in ended.metrics.items())
    return f"{name}: {metrics} | {_span(ended.measured['seconds'])}"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def again(study: Study, row: int, *, out=None, threads: int = 1):
    """Repeat row ``row`` (0 is the first) of the table; a DataFrame of each metric then and now.

    Columns: ``recorded``, ``again``, ``tolerance`` and ``agrees``.  A metric without a tolerance in the study
    must be the same in the digits that the table has.

    Raises ``ValueError`` if the row is not one of the study's, ``RuntimeError`` if the run fails.
    """
    import pandas as pd

    path = Path(out or table_of(study))
    table = read(path)  # refuses rows of another phantom
    header, rows = results.load(path)
    if not 0 <= row < len(rows):
        raise ValueError(f"{path} has the rows 0 to {len(rows) - 1}, not {row}")
    runs = {results.key(*one, study.profile): one for one in study.runs()}
    if results.key_of(rows[row]) not in runs:
        raise ValueError(f"row {row} of {path} is not a run of the study {study.name}")
    (ended,) = _finished(study, [runs[results.key_of(rows[row])]], jobs=1, threads=threads)
    if ended.failure:
        raise RuntimeError(f"{_name(ended.settings, ended.seed)}: {ended.failure}\n{ended.log}")
    names = header[header.index("seed") + 1 : -len(results.MEASURED)]
    both = pd.DataFrame({"recorded": table.loc[row, names].astype(float), "again": pd.Series(ended.metrics)})
    both = both.dropna(how="all").rename_axis("metric")
    digits = 1e-5 * both["recorded"].abs()
    both["tolerance"] = both.index.map(lambda name: study.tolerance.get(name, 0.0)).astype(float)
    both["tolerance"] = both["tolerance"].clip(lower=digits)
    both["agrees"] = (both["recorded"] - both["again"]).abs() <= both["tolerance"]
    return both
