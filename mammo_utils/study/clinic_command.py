"""``python -m mammo_utils clinic``: what the two frozen tools say of women at home and at another site.

Writes ``clinic_breasts.csv`` (`clinic.breasts`: a row a breast) and ``clinic_density.csv``
(`clinic.densities`: a row a woman), with the cohort in front of each, which notebook 11 reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``clinic`` to its parser."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default: data/results here)")


def main(options: argparse.Namespace) -> int:
    """Write both tables; the women are made first where they are not in the cache folder."""
    import pandas as pd

    from mammo_utils.study import clinic, density_tool, grid, provenance, screened, screening_file, stages
    from mammo_utils.synth.breast import VERSION

    folder = options.out or grid.table_of(stages.STUDY).parent
    folder.mkdir(parents=True, exist_ok=True)
    classifier, tool = screening_file.trained(), density_tool.trained()
    made = {"phantom": VERSION, "commit": provenance.commit(), "date": provenance.today()}
    found = {"clinic_breasts": [], "clinic_density": []}
    for cohort in clinic.COHORTS:
        images = screened.women(cohort, size=classifier.made["settings"]["size"])
        found["clinic_breasts"].append(clinic.breasts(classifier.model, images).assign(cohort=cohort))
        found["clinic_density"].append(clinic.densities(tool, images).assign(cohort=cohort))
        print(f"{cohort}: {images.table['group'].nunique()} women", flush=True)
    for name, parts in found.items():
        table = pd.concat(parts)
        table = table[["cohort", *(column for column in table if column != "cohort")]].assign(**made)
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
        print(f"{folder / name}.csv: {len(table)} rows")
    return 0
