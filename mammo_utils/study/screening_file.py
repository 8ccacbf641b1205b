"""The screening classifier that comes with the course: one network of the screening study, whole.

`encoder_file` keeps what networks start from; this is what one of them became: the run with seed 0 of one
stage, all layers at once and weighted positives, with the logit from which it calls a view.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from mammo_utils import profile
from mammo_utils.evaluation import operating
from mammo_utils.models import weights
from mammo_utils.models.classification import Classifier, build
from mammo_utils.study import results, screening_scores, stages
from mammo_utils.study.screened import women
from mammo_utils.synth.breast import VERSION

NAME = f"mobilenetv2_050_screening{weights.SUFFIX}"
SEED = 0  # of the run whose weights the study keeps
SCORES = ("roc_auc", "roc_auc_image", "pr_auc_2", "sensitivity_cut", "specificity_cut", "roc_auc_external")


class Trained(NamedTuple):
    """A classifier with one logit, the logit of a view from which it is called, and what `write` noted."""

    model: Classifier
    threshold: float
    made: dict


def trained(path: str | Path | None = None) -> Trained:
    """The classifier in ``path``, by default the one that comes with the package; in evaluation mode.

    ``made``: ``settings`` and ``seed`` of its training, ``threshold`` and the ``specificity`` that it keeps
    on views of the women ``valid``, ``scores`` by breast of the women ``test`` as `screening.classify` has
    them, ``phantom``, ``seconds``, ``machine``, ``commit`` and ``date`` of the training.

    Raises ``FileNotFoundError`` where there is none and ``ValueError`` for a file that `write` did not make.
    """
    if path is None:
        try:
            path = profile.shipped(f"weights/{NAME}")
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no screening classifier comes with this package ({NAME}); make one with\n"
                f"  python -m mammo_utils study {stages.DECISIVE.name} --seeds {SEED}\n"
                "  python -m mammo_utils screener --out DIR\nand give the path of that file"
            ) from None
    made = weights.made(path)
    if "threshold" not in made:
        raise ValueError(f"{path} is no classifier of python -m mammo_utils screener; name such a file")
    model = build(made["settings"]["model"], size=made["settings"]["size"])
    model.load_state_dict(load_file(path))
    return Trained(model.to(profile.device()).eval(), made["threshold"], made)


def write(path: Path, *, settings: dict, table: Path) -> dict:
    """Write the classifier that the run of ``settings`` with seed 0 left in the cache folder to ``path``.

    ``table``: the study's results, in which the run has its row.  Returns what stands beside the weights, as
    in `trained`.

    Raises
        FileNotFoundError: the run was not done here.
        ValueError: it has no row, or the weights do not give the logits that were kept with them.
    """
    kept = screening_scores.kept(settings)
    source = kept.with_suffix(weights.SUFFIX)
    if not (kept.is_file() and source.is_file()):
        raise FileNotFoundError(
            f"{source.name} is not in {source.parent}: run seed {SEED} of the study first, with the same "
            "MAMMO_CACHE"
        )
    rows = {results.key_of(row): row for row in results.load(table)[1]}
    row = rows.get(results.key(settings, SEED, stages.DECISIVE.profile))
    if row is None:
        raise ValueError(f"{table} has no row of the run whose weights are {source.name}")
    model = build(settings["model"], size=settings["size"])
    model.load_state_dict(load_file(source))
    views = screening_scores.predicted(model.to(profile.device()), women("valid", size=settings["size"]))
    breasts, then = screening_scores.by(views), pd.read_csv(kept).query("cohort == 'valid'")
    if not np.allclose(breasts["logit"], then["logit"], rtol=1e-2, atol=1e-2):
        raise ValueError(f"{source} does not give the logits of {kept.name}: remove both and run it again")
    specificity = screening_scores.SPECIFICITY
    cut = operating.threshold_at(views["logit"], views["label"], specificity=specificity)
    made = {"settings": settings, "seed": SEED, "phantom": VERSION}
    made |= {"threshold": cut, "specificity": specificity}
    made |= {"scores": {name: float(row[name]) for name in SCORES}, "seconds": float(row["seconds"])}
    made |= {name: row[name] for name in ("machine", "commit", "date")}
    weights.save(model, path, made)
    return made
