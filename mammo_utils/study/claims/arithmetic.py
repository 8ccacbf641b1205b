"""What follows from figures that the works give themselves, or from a rule that they state, by arithmetic.

Each function returns a difference with its limits; where nothing is left open the limits are the difference.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from mammo_utils.data import splits
from mammo_utils.evaluation import implied
from mammo_utils.evaluation.intervals import Interval, paired_t
from mammo_utils.models.se_densenet import CLAIMED_MEGABYTES, CLAIMED_PARAMETERS, megabytes

# Positive images of RSNA and all of them; counts by third parties.
RSNA = (1_158, 54_706)
# Images of INbreast by BI-RADS, from its table.
INBREAST = {"1": 67, "2": 220, "3": 23, "4a": 13, "4b": 8, "4c": 22, "5": 49, "6": 8}
# What a fifth would hold, for no size of a validation set is given: breasts of RSNA with and without cancer,
# and images of the large subset.
FULL, SUBSET = (98, 4_600), 2_300 // 5
PUBLISHED = {"large": (0.80, 0.938), "small": (0.66, 0.857)}  # F1 and accuracy, fine-tuned
WOMEN, SPLITS = 250, range(10)  # of the audit


@cache  # it takes seconds, and every table of verdicts asks for it
def straddling() -> Interval:
    """Share of women on both sides of a split by breast, as our audit finds it, over the splits."""
    rows = pd.DataFrame({"patient_id": np.repeat(np.arange(WOMEN), 2).astype(str)})
    rows = rows.assign(laterality=["L", "R"] * WOMEN, exam_id=pd.NA)
    rows["group"] = rows["image_id"] = rows["patient_id"] + rows["laterality"]
    shares = []
    for seed in SPLITS:
        parts = splits.split(rows, fractions={"train": 0.8, "valid": 0.2}, seed=seed)
        leaks = splits.audit(parts, pixels=False)
        shares.append((leaks["kind"] == "woman").sum() / WOMEN)
    return paired_t(shares)


def balanced(name: str) -> Interval:
    """Positives that fit the published F1 and accuracy of a subset, less one half."""
    low, high = implied.prevalence(*PUBLISHED[name])
    return Interval((low + high) / 2 - 0.5, low - 0.5, high - 0.5)


def survived() -> Interval:
    """Published ROC-AUC on the full set less that on the large subset, as independent sets of 95 %.

    Of the shares of positives that the subset's scores leave possible the least is taken, the surest for wide
    limits.
    """
    positive = round(implied.prevalence(*PUBLISHED["large"]).low * SUBSET)
    error = np.hypot(implied.area_error(0.672, *FULL), implied.area_error(0.86, positive, SUBSET - positive))
    return Interval(0.672 - 0.86, 0.672 - 0.86 - 1.96 * error, 0.672 - 0.86 + 1.96 * error)


def nobody() -> Interval:
    """Accuracy of calling every image of RSNA negative, less the published 98 %."""
    return Interval(*[implied.all_negative(*RSNA) - 0.98] * 3)


def beyond_nobody() -> Interval:
    """Published accuracy on INbreast less that of calling all negative, from BI-RADS 4 on positive.

    The rule of the label is not given: the limits are those of BI-RADS 3 and of BI-RADS 5 and above.
    """
    cases = sum(INBREAST.values())
    gains = {
        first: 0.822 - implied.all_negative(sum(n for grade, n in INBREAST.items() if grade >= first), cases)
        for first in ("3", "4", "5")
    }
    return Interval(gains["4"], min(gains.values()), max(gains.values()))


def described() -> Interval:
    """Size of the published number of parameters over the published size, less one."""
    return Interval(*[megabytes(CLAIMED_PARAMETERS) / CLAIMED_MEGABYTES - 1] * 3)
