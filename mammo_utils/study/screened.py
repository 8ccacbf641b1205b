"""The phantom women of the screening study: few with cancer to learn from, enriched ones to be scored on.

RSNA has 2.1 % positive images and breasts and 4.1 % positive women: a woman with cancer has it in one breast.
Training women are drawn as rare as that, by every seed anew, half of those there are: two
runs share about half of their women.  A test set as rare would need 20,000 breasts for 400 positive ones,
so it is enriched and weighted back, with `evaluation.classification.prevalence_weights` and ``groups``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mammo_utils import profile
from mammo_utils.data import cache
from mammo_utils.study import phantoms
from mammo_utils.synth import breast, exams

# Shares of positive breasts to which test women are weighted: RSNA's, and one nearer to real screening.
PREVALENCES = (0.02, 0.005)


class Women(NamedTuple):
    """How many women with and without cancer come from which cohort; ``shifted``: of the other site."""

    cohort: str
    positive: int
    negative: int
    shifted: bool = False


# `external` are women of the site with the held-out vendor; `valid` is for thresholds and calibration.  Of
# `develop` some are learnt from and the others scored, enough of them to tell rates apart.  From those
# `outlined` come first weights.
WOMEN = {
    "develop": Women("develop", 130, 770),
    "train": Women("train", 198, 4752),
    "valid": Women("valid", 100, 500),
    "test": Women("test", 400, 2000),
    "external": Women("test", 200, 1000, shifted=True),
    "outlined": Women("pool", 600, 600),
}


def women(
    name: str, *, size: int, positive: int | None = None, negative: int | None = None, workers: int = 1
) -> cache.ImageCache:
    """Four views, prepared at ``size``, of the women ``name`` of `WOMEN`; their label is ``cancer``.

    ``positive`` and ``negative`` are numbers of women that take the place of those in `WOMEN`.  They are
    written once, as `phantoms.women` are.  The few views in which no breast is found are absent.

    Raises ``ValueError`` for an unknown name, and as `exams.enriched`.
    """
    chosen = WOMEN[profile.choose("women", name, WOMEN)]
    positive = chosen.positive if positive is None else positive
    negative = chosen.negative if negative is None else negative
    cohort = exams.cohort(chosen.cohort, shifted=chosen.shifted)
    patients, prevalence = exams.enriched(cohort, positive=positive, negative=negative)
    site = "_shifted" * chosen.shifted
    folder = f"{chosen.cohort}{site}_{positive}_of_{positive + negative}_{size}"
    home = profile.cache_dir() / f"phantom_{breast.VERSION}" / folder
    return phantoms.kept(home, patients, size=size, workers=workers, prevalence=prevalence)


def draw(images: cache.ImageCache, *, positive: int, negative: int, seed: int) -> np.ndarray:
    """Rows of ``positive`` women with cancer and ``negative`` without, drawn anew by every ``seed``.

    Raises ``ValueError`` where there are fewer.
    """
    cancer = images.table.groupby("group")["cancer"].max()
    rng, names = np.random.default_rng(seed), []
    for label, count in ((1, positive), (0, negative)):
        there = np.sort(cancer.index[cancer == label].to_numpy(str))
        if not 0 < count <= len(there):
            raise ValueError(f"{count} women with label {label} are wanted, and there are {len(there)}")
        names.extend(rng.choice(there, count, replace=False))
    return np.flatnonzero(images.table["group"].isin(names))
