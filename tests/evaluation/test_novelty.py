"""The distance from known images, against scipy on a plain covariance, and what it must not depend on."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from mammo_utils.evaluation.novelty import distance, fit


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)) @ [[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.1]] + [5, -1, 100]


def test_with_many_images_it_is_the_distance_of_the_plain_covariance():
    known, new = drawn(20_000), drawn(5, seed=1) + [1, 0, 0.5]
    inverse = np.linalg.inv(np.cov(known.T))
    expected = [mahalanobis(one, known.mean(0), inverse) for one in new]
    np.testing.assert_allclose(distance(new, fit(known)), expected, rtol=0.02)


def test_units_do_not_matter():
    known, new, units = drawn(40), drawn(6, seed=2), np.array([1e3, 1, 1e-3])
    np.testing.assert_allclose(
        distance(new * units, fit(known * units)), distance(new, fit(known)), rtol=1e-6
    )


def test_fewer_images_than_features_and_a_feature_that_never_varies():
    known = np.column_stack([np.random.default_rng(0).normal(size=(10, 30)), np.full(10, 7.0)])
    reference = fit(known)
    own = distance(known, reference)
    assert np.isfinite(own).all()
    away = known[:1].copy()
    away[0, -1] += 3
    assert distance(away, reference)[0] > own[0] + 0.3  # what never varied is noticed when it does


@pytest.mark.parametrize("features", [np.ones((1, 3)), np.ones(5), np.full((4, 2), np.nan)])
def test_what_is_no_set_of_features_is_refused(features):
    with pytest.raises(ValueError, match="finite and of two images or more"):
        fit(features)
