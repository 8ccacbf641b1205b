"""The rule by which an interval becomes a verdict on a claim.

It was fixed before the studies, but for the least ``effect`` on a logit, which came with the reading of maps.
"""

from __future__ import annotations

from collections.abc import Iterable

from mammo_utils.profile import choose

# Smallest effects that matter, in the unit of the metric: Dice, correlations and accuracy 0–1, percent
# density in points, cost (epochs, images, sizes) as a share, effects on a logit in standard deviations
# between healthy women.
DELTA = {
    "dice": 0.02,
    "mae": 1.0,
    "spearman": 0.05,
    "roc_auc": 0.02,
    "pr_auc": 0.02,
    "pf1": 0.02,
    "accuracy": 0.02,
    "cost": 0.1,
    "effect": 0.2,
}
DIRECTIONS = ("up", "down", "little")
VERDICTS = ("supported", "not supported", "inconclusive", "not testable here")
NOT_TESTABLE = VERDICTS[-1]


def verdict(low: float, high: float, *, delta: float, direction: str) -> str:
    """What the interval ``low`` to ``high`` of a difference says of a claim about it.

    ``delta``: the smallest difference that matters, above 0.  ``direction``: what the claim says of the
    difference: it goes ``"up"``, ``"down"``, or there is ``"little"`` of it.

    A directional claim is ``"not supported"`` if even the favourable limit falls short of ``delta``, whatever
    the other limit; else ``"supported"`` if the interval leaves 0 out; else ``"inconclusive"``.  ``"little"``
    is supported if the interval lies within ±``delta``, not supported if it lies wholly outside, else
    inconclusive.

    Raises ``ValueError`` for limits that are missing or out of order, a ``delta`` that is not above 0 and an
    unknown direction.

    >>> verdict(0.01, 0.05, delta=0.02, direction="up"), verdict(0.01, 0.015, delta=0.02, direction="up")
    ('supported', 'not supported')
    >>> verdict(-0.01, 0.015, delta=0.02, direction="little"), verdict(-3.0, 0.5, delta=1, direction="down")
    ('supported', 'inconclusive')
    """
    choose("direction", direction, DIRECTIONS)
    if not low <= high:  # written so that NaN is refused as well
        raise ValueError(f"an interval needs a low limit and a high one above it, not {low} and {high}")
    if not delta > 0:
        raise ValueError(f"delta must be above 0, not {delta}")
    if direction == "little":
        if -delta < low and high < delta:
            return "supported"
        return "not supported" if low > delta or high < -delta else "inconclusive"
    if direction == "down":
        low, high = -high, -low
    if high < delta:
        return "not supported"
    return "supported" if low > 0 else "inconclusive"


def joined(parts: Iterable[str]) -> str:
    """The verdict on a claim from those on its parts.

    Supported if every part is, not supported as soon as one part is not, else inconclusive.

    Raises ``ValueError`` for no parts and for other words.

    >>> joined(["supported", "inconclusive"]), joined(["supported", "inconclusive", "not supported"])
    ('inconclusive', 'not supported')
    """
    parts = list(parts)
    for part in parts:
        choose("verdict", part, VERDICTS[:-1])
    if not parts:
        raise ValueError("a claim without parts has no verdict")
    if "not supported" in parts:
        return "not supported"
    return "supported" if set(parts) == {"supported"} else "inconclusive"
