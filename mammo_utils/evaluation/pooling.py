"""Scores of images to scores of breasts and of women."""

from __future__ import annotations

import pandas as pd

from mammo_utils.profile import choose

UNITS = ("breast", "woman")
HOW = ("max", "mean")


def pooled(scores: pd.DataFrame, *, unit: str = "breast", how: str = "max") -> pd.DataFrame:
    """One row a breast or woman out of rows of images, in the order in which they first appear.

    ``scores`` has the columns ``woman``, ``breast``, ``label`` (0/1), ``probability`` and, if there are case
    weights, ``weight``.  ``unit``: ``breast`` or ``woman``; ``how``: the ``max`` or ``mean`` probability of
    her views.  A unit is positive if any of its images is.  ``images`` of the result counts them.

    The highest of four views of a healthy woman is higher than one of them: a threshold, and calibration,
    belong to the unit and the rule that they were fitted with.

    Raises ``ValueError`` for an unknown unit or rule, absent columns or values, a breast that two women share
    and weights that differ within a unit.

    >>> views = pd.DataFrame({"woman": [1, 1, 1, 2], "breast": ["1L", "1L", "1R", "2L"]})
    >>> views = views.assign(label=[1, 1, 0, 0], probability=[0.2, 0.6, 0.1, 0.3])
    >>> pooled(views, unit="woman", how="max")[["woman", "label", "probability", "images"]].values.tolist()
    [[1.0, 1.0, 0.6, 3.0], [2.0, 0.0, 0.3, 1.0]]
    """
    choose("unit", unit, UNITS)
    choose("rule", how, HOW)
    keys = ["woman", "breast"] if unit == "breast" else ["woman"]
    wanted = ["woman", "breast", "label", "probability", *(["weight"] if "weight" in scores else [])]
    absent = [column for column in wanted if column not in scores or scores[column].isna().any()]
    if absent:
        raise ValueError(f"every image needs a value in the columns {', '.join(wanted)}; look at {absent}")
    if (scores.groupby("breast")["woman"].nunique() > 1).any():
        raise ValueError("a breast has two women: name it after her, such as 12L")
    units = scores.groupby(keys, sort=False)
    columns = {"label": units["label"].max(), "probability": units["probability"].agg(how)}
    if "weight" in scores:
        if (units["weight"].nunique() > 1).any():
            raise ValueError(f"the weights of images differ within a {unit}; weigh women, not images")
        columns["weight"] = units["weight"].first()
    return pd.DataFrame(columns | {"images": units.size()}).reset_index()
