"""``python -m mammo_utils maps``: score heat maps of the screening classifier on phantom women.

Writes ``explained.csv`` (`explained.table`: a row a method, layer, score and kind of lesion) and
``explained_sanity.csv`` (`explained.trust`: a row a method, layer, order and part), which the figures draw,
and ``explained_readings.csv`` (`explained_readings.table`: a row a reading), by which claims are judged.
Every row depends on the seed alone: ``--tables``, ``--methods`` and ``--layers`` make some of them once more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

# Tables, and the last column of each that says what a row is of.
TABLES = {"explained": "lesion", "explained_sanity": "part", "explained_readings": "reading"}
SEED = 0
VIEWS = 100  # with a detected cancer, on which maps are scored
PERTURBED = 30  # of them for insertion and deletion, in steps of 1/12
STEPS = 12
CHECKED = 10  # of them for the sanity checks, in which every map is made sixteen times
READ = 100  # women with a mass, whose outline is changed


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``maps`` to its parser."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default: data/results here)")
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="FILE",
        help="of python -m mammo_utils screener (default: shipped)",
    )
    parser.add_argument(
        "--tables", nargs="+", choices=list(TABLES), default=list(TABLES), help="(default: all)"
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="of maps (default: all)")
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME", help="(default: all encoder parts but the stem)"
    )


def main(options: argparse.Namespace) -> int:
    """Write the tables; 1 if there is no classifier or an option is wrong."""
    from mammo_utils.explain import layers
    from mammo_utils.explain.cam import METHODS
    from mammo_utils.profile import choose
    from mammo_utils.study import (
        explained,
        explained_cases,
        explained_readings,
        grid,
        provenance,
        relabelled,
        screened,
        screening_file,
        stages,
    )

    commit, methods = provenance.commit(), options.methods or list(METHODS)
    folder = options.out or grid.table_of(stages.STUDY).parent
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, table, started: float) -> None:
        about = provenance.measured(time.perf_counter() - started, commit=commit, precision="32-true")
        stamped = table.assign(**about)
        stamped.insert(list(table).index(TABLES[name]) + 1, "seed", SEED)
        stamped.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")
        print(f"{folder / name}.csv: {len(table)} rows in {about['seconds']:.0f} s", flush=True)

    started = time.perf_counter()
    try:
        model, threshold, made = screening_file.trained(options.classifier)
        for kind, names, known in (
            ("method", methods, METHODS),
            ("layer", options.layers or (), layers.names(model)),
        ):
            for name in names:  # before a table is written
                choose(kind, name, known)
        women = screened.women("test", size=made["settings"]["size"])
        if "explained_readings" in options.tables:
            found = explained_readings.table(model, women, threshold=threshold, women=READ)
            write("explained_readings", found, started)
            started = time.perf_counter()
        if options.tables == ["explained_readings"]:
            return 0
        cases = explained_cases.detected(model, women, threshold=threshold, count=VIEWS, seed=SEED)
        said = ", ".join(f"{kind} {area:.3f}" for kind, area in cases.auc.items())
        print(f"{len(cases.table)} views of {cases.table['woman'].nunique()} women; AUC: {said}", flush=True)
        own = {"methods": methods, "layers": options.layers, "seed": SEED}
        if "explained" in options.tables:
            measured = explained.measure(model, cases, steps=STEPS, perturbed=PERTURBED, **own)
            write("explained", explained.table(measured, cases.auc), started)
        if "explained_sanity" in options.tables:
            started = time.perf_counter()
            blind = relabelled.learn(made["settings"], seed=SEED)
            print(f"permuted labels fitted to an AUC of {blind.fitted:.2f}", flush=True)
            checks = explained.trust(model, cases, blind=blind.model, count=CHECKED, **own)
            write("explained_sanity", checks.assign(fitted=blind.fitted), started)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
