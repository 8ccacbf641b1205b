"""Random numbers by their number: a hash of what they are for, so that no order of events can change them."""

from __future__ import annotations

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio


def hashed(*parts) -> np.ndarray:
    """uint64 hash of the integers in ``parts``, any of which may be an array (N,); 1 or N numbers.

    Source: Steele, Lea and Flood 2014, 10.1145/2660193.2660195 (SplitMix64), once for every part.

    >>> bool((hashed(5, [1, 2])[1] == hashed(5, 2)).all())
    True
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        # Multiplied, or the parts of (1, 2) and (2, 1) could meet in the same sum.
        part = np.atleast_1d(np.asarray(part, np.int64)).view(np.uint64)
        state = _mixed(state * np.uint64(0xD1342543DE82EF95) + part)
    return state


def uniform(keys: np.ndarray, count: int) -> np.ndarray:
    """``count`` float64 numbers in 0…1 (1 excluded) for each of the (N,) ``keys``, as (N, count)."""
    numbers = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return (_mixed(keys[:, None] + numbers) >> np.uint64(11)) * 2.0**-53


def _mixed(state: np.ndarray) -> np.ndarray:
    """One step of SplitMix64; uint64 arithmetic wraps around."""
    state = state + _STEP
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
