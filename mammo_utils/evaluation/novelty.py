"""How far an image lies from those that something was learnt from, in a few numbers that describe it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf


class Reference(NamedTuple):
    """The middle (D,) of known features, and the matrix (D, D) that gives them unit spread, unrelated."""

    centre: np.ndarray
    whiten: np.ndarray


def fit(features) -> Reference:
    """The reference of known images, ``features`` (N, D).

    The covariance is shrunk towards independent features of equal spread once these are standardised, so that
    it can be inverted with few images; a feature that never varies gets the spread 1.

    Raises ``ValueError`` for fewer than two images and for missing values.

    Source: Ledoit and Wolf, J Multivariate Anal 88 (2004) 365.
    """
    features = np.asarray(features, float)
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(f"features must be finite and of two images or more, not {features.shape}")
    spread = features.std(0)
    spread[spread == 0] = 1
    centre = features.mean(0)
    covariance = LedoitWolf(assume_centered=True).fit((features - centre) / spread).covariance_
    # Σ⁻¹ = L Lᵀ, and the length of (x - centre) L is the distance of Mahalanobis.
    return Reference(centre, np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None])


def distance(features, reference: Reference) -> np.ndarray:
    """Mahalanobis distance (N,) of ``features`` (N, D) from the middle of the reference.

    Features of the reference itself lie at about √D; what is far beyond is unlike them in some direction, but
    what is near need not be like them in what the features do not describe.

    Source: Mahalanobis 1936; for features of a network Lee et al., NeurIPS 2018, arXiv 1807.03888.

    >>> distance([[3, 4]], Reference(np.zeros(2), np.eye(2)))
    array([5.])
    """
    away = np.asarray(features, float) - reference.centre
    return np.linalg.norm(away @ reference.whiten, axis=-1)
