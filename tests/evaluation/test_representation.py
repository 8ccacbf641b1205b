from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_utils.evaluation import representation as rep


@pytest.fixture
def z():
    return np.random.default_rng(0).normal(size=(60, 7)) + 0.3


WOMEN = np.repeat(np.arange(15), 4)
BREASTS = np.repeat(np.arange(30), 2)


def cosine(a, b):
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def test_alignment_and_uniformity_are_what_loops_give(z):
    pairs = [(i, j) for i in range(60) for j in range(i + 1, 60)]
    distances = {pair: 2 - 2 * cosine(z[pair[0]], z[pair[1]]) for pair in pairs}
    same = [pair for pair in pairs if WOMEN[pair[0]] == WOMEN[pair[1]]]
    assert rep.positives(WOMEN).tolist() == [list(pair) for pair in same]
    expected = np.mean([distances[pair] for pair in same])
    assert rep.alignment(z, rep.positives(WOMEN)) == pytest.approx(expected)
    for t in (2, 0.5):
        expected = np.log(np.mean([np.exp(-t * distance) for distance in distances.values()]))
        assert rep.uniformity(z, t=t) == pytest.approx(expected)


def test_uniformity_of_a_simplex_and_of_far_points_by_hand():
    corners = np.eye(4) - 0.25  # cosine -1/3, so squared distance 8/3
    assert rep.uniformity(5 * corners) == pytest.approx(-16 / 3)
    # exp(-4000) is 0 in float64, its logarithm is not
    assert rep.uniformity([[1, 0], [-1, 0]], t=1000) == pytest.approx(-4000)


def test_even_spread_is_more_uniform_than_a_cluster(z):
    tight = z + 20
    assert rep.uniformity(z) < -1.5
    assert -0.05 < rep.uniformity(tight) < 0


@pytest.mark.parametrize("shares", [[1], [0.5, 0.5], [0.7, 0.2, 0.1], [0.25] * 4])
def test_effective_rank_of_given_singular_values(shares):
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(n, len(shares))))[0] for n in (30, 9))
    expected = np.prod([share**-share for share in shares])
    assert rep.effective_rank(left * shares @ right.T) == pytest.approx(expected)


def test_a_collapsed_representation_has_rank_one_and_a_random_one_nearly_all():
    rng = np.random.default_rng(2)
    assert rep.effective_rank(np.tile(rng.normal(size=8), (50, 1))) == pytest.approx(1)
    z = rng.normal(size=(4000, 8))
    assert rep.effective_rank(z) > 7.9
    # a mean far away hides the spread, which is there without it
    assert rep.effective_rank(z + 1000) < 1.1
    assert rep.effective_rank(z + 1000 - (z + 1000).mean(0)) > 7.9


@pytest.mark.parametrize("groups", [None, WOMEN, BREASTS])
def test_neighbours_are_the_best_of_a_slow_search(z, groups):
    keys = np.arange(60) if groups is None else groups
    expected = [
        sorted((j for j in range(60) if keys[j] != keys[i]), key=lambda j, i=i: -cosine(z[i], z[j]))[:5]
        for i in range(60)
    ]
    assert rep.neighbours(z, 5, groups=groups).tolist() == expected


def test_many_rows_are_searched_in_parts():
    z = np.random.default_rng(3).normal(size=(2500, 3))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    cosines = unit @ unit.T - 3 * np.eye(2500)
    np.testing.assert_array_equal(rep.neighbours(z, 1)[:, 0], cosines.argmax(1))


def test_equal_neighbours_come_in_the_order_of_the_rows():
    assert rep.neighbours([[1, 0], [0, 1], [0, 1], [0, 1]], 3)[:2].tolist() == [[1, 2, 3], [2, 3, 0]]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=3, max_size=25),
    seed=st.integers(0, 99),
)
def test_retrieval_and_its_chance_are_what_loops_give(rows, seed):
    labels, exclude = [f"w{label}" for label, _ in rows], [key for _, key in rows]
    z = np.random.default_rng(seed).normal(size=(len(rows), 4))
    hits, chances = [], []
    for i in range(len(rows)):
        candidates = [j for j in range(len(rows)) if exclude[j] != exclude[i]]
        if not candidates:
            with pytest.raises(ValueError, match="largest group"):
                rep.retrieval(z, labels, exclude=exclude)
            return
        right = [labels[j] == labels[i] for j in candidates]
        if any(right):
            best = max(candidates, key=lambda j: cosine(z[i], z[j]))
            hits.append(labels[best] == labels[i])
            chances.append(np.mean(right))
    if not hits:
        with pytest.raises(ValueError, match="nothing can be found"):
            rep.retrieval(z, labels, exclude=exclude)
        return
    found = rep.retrieval(z, labels, exclude=exclude)
    assert found == pytest.approx((np.mean(hits), np.mean(chances)))


def test_what_a_breast_has_alone_does_not_find_the_woman():
    rng = np.random.default_rng(4)
    of_breast = np.repeat(rng.normal(size=(400, 20)), 2, 0) + 0.1 * rng.normal(size=(800, 20))
    women, breasts = np.repeat(np.arange(200), 4), np.repeat(np.arange(400), 2)
    assert rep.retrieval(of_breast, women).share == 1
    found = rep.retrieval(of_breast, women, exclude=breasts)
    assert found.chance == pytest.approx(2 / 798)
    assert found.share < 0.02
    of_woman = of_breast + 2 * np.repeat(rng.normal(size=(200, 20)), 4, 0)
    assert rep.retrieval(of_woman, women, exclude=breasts).share > 0.9


def test_chance_is_met_by_features_that_know_nothing():
    rng = np.random.default_rng(5)
    labels = rng.choice(list("ABCD"), 2000, p=[0.1, 0.4, 0.4, 0.1])
    found = rep.retrieval(rng.normal(size=(2000, 10)), labels)
    assert abs(found.share - found.chance) < 0.04
    assert found.chance == pytest.approx(0.34, abs=0.03)  # 0.1² + 0.4² + 0.4² + 0.1²


def test_the_plane_holds_the_largest_variances_and_lengthens_no_distance(z):
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    variances = np.linalg.eigvalsh(np.cov(unit.T))[::-1]
    points, share = rep.plane(z)
    np.testing.assert_allclose(np.cov(points.T), np.diag(variances[:2]), atol=1e-12)
    np.testing.assert_allclose(share, variances[:2] / variances.sum())
    assert ((points**3).sum(0) > 0).all()
    flat = np.linalg.norm(points[:, None] - points, axis=2)
    assert (flat <= np.linalg.norm(unit[:, None] - unit, axis=2) + 1e-12).all()


def test_the_plane_of_what_is_flat_loses_nothing():
    angle = np.random.default_rng(6).uniform(0, 6, 40)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    points, share = rep.plane(circle @ np.random.default_rng(7).normal(size=(2, 2)))
    assert share.sum() == pytest.approx(1)
    assert points.shape == (40, 2)
    collapsed = rep.plane(np.ones((5, 3)))
    assert np.abs(collapsed.points).max() < 1e-12
    assert np.isfinite(collapsed.share).all()


def test_turning_and_scaling_change_nothing(z):
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(7, 7)))[0]
    stretch = np.random.default_rng(9).uniform(0.1, 9, (60, 1))
    pairs = rep.positives(BREASTS)
    for other in (z @ turn, 1e3 * z, stretch * z):
        assert rep.alignment(other, pairs) == pytest.approx(rep.alignment(z, pairs))
        assert rep.uniformity(other) == pytest.approx(rep.uniformity(z))
        np.testing.assert_array_equal(rep.neighbours(other, 9), rep.neighbours(z, 9))
        assert rep.retrieval(other, WOMEN) == rep.retrieval(z, WOMEN)
        np.testing.assert_allclose(rep.plane(other).points, rep.plane(z).points, atol=1e-9)
    for other in (z @ turn, 1e3 * z):
        assert rep.effective_rank(other) == pytest.approx(rep.effective_rank(z))
    # features shifted together are other directions
    assert abs(rep.uniformity(z + 1) - rep.uniformity(z)) > 0.1


CALLS = {
    "alignment": lambda z: rep.alignment(z, [[0, 1]]),
    "uniformity": rep.uniformity,
    "effective_rank": rep.effective_rank,
    "neighbours": lambda z: rep.neighbours(z, 1),
    "retrieval": lambda z: rep.retrieval(z, ["a"] * len(z)),
    "plane": rep.plane,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([[1.0, np.nan], [1, 2], [np.inf, 0]], "2 of 3 rows of z have missing or infinite"),
        ([[1.0, 2.0]], r"two rows or more, not \(1, 2\)"),
        ([1.0, 2.0], r"must be \(N, D\)"),
        (np.ones((3, 0)), r"must be \(N, D\)"),
        (np.zeros((3, 2)), "zero"),
    ],
)
def test_what_is_no_representation_is_refused(call, bad, words):
    with pytest.raises(ValueError, match=words):
        call(bad)


def test_what_does_not_fit_the_rows_is_refused(z):
    with pytest.raises(ValueError, match="labels has 59 entries for 60 rows"):
        rep.retrieval(z, WOMEN[1:])
    with pytest.raises(ValueError, match="groups has 61 entries"):
        rep.neighbours(z, 1, groups=[*WOMEN, 0])
    with pytest.raises(ValueError, match="labels has 1 missing values"):
        rep.retrieval(z, pd.Series(WOMEN, dtype="Int64").mask(WOMEN * 4 + np.arange(60) == 0))
    with pytest.raises(ValueError, match="1 missing"):
        rep.positives(["ann", None, "ann"])
    for k in (0, 57):
        with pytest.raises(ValueError, match=f"k is {k}; it must be 1 to 56"):
            rep.neighbours(z, k, groups=WOMEN)
    assert rep.neighbours(z, 56, groups=WOMEN).shape == (60, 56)
    for pairs in ([], [[0, 1, 2]], [[0.0, 1.0]], np.empty((0, 2), int)):
        with pytest.raises(ValueError, match="one pair or more"):
            rep.alignment(z, pairs)
    for pairs in ([[0, 60]], [[-1, 0]]):
        with pytest.raises(ValueError, match="z has rows 0 to 59"):
            rep.alignment(z, pairs)
    with pytest.raises(ValueError, match="two columns"):
        rep.plane(z[:, :1])


def hsic(one, other):
    """Unbiased: means over all pairs, pairs of pairs and triples of different images."""
    size = range(len(one))
    pairs = np.mean([one[i, j] * other[i, j] for i, j in permutations(size, 2)])
    apart = np.mean([one[i, j] * other[q, r] for i, j, q, r in permutations(size, 4)])
    shared = np.mean([one[i, j] * other[i, q] for i, j, q in permutations(size, 3)])
    return pairs + apart - 2 * shared


@pytest.mark.parametrize("size", [4, 6, 8])
def test_cka_is_the_ratio_of_means_over_different_images(size):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(size, 5)) + 2
    y = x[:, :3] ** 2 + rng.normal(size=(size, 3))
    k, m = x @ x.T, y @ y.T
    assert rep.cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))
    assert rep.cka(y, x) == pytest.approx(rep.cka(x, y))


def test_cka_of_many_images_is_the_plain_one():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 4)) * [3, 2, 1, 1]
    y = np.hstack([x[:, :2], rng.normal(size=(3000, 3))])
    a, b = x - x.mean(0), y - y.mean(0)
    plain = (a.T @ b) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert rep.cka(x, y) == pytest.approx(plain.sum(), abs=2e-3)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_cka_forgives_turning_scaling_and_shifting(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 6)), rng.normal(size=(12, 4))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert rep.cka(x, scale * x @ turn + shift) == pytest.approx(1, abs=1e-6)
    assert rep.cka(scale * x @ turn + shift, y) == pytest.approx(rep.cka(x, y), abs=1e-6)
    assert rep.cka(x, x * [5, 1, 1, 1, 1, 1]) < 0.99  # a stretch of one direction is a change


def test_cka_of_strangers_is_near_zero_however_many_columns():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 5000)), rng.normal(size=(40, 5000))
    assert abs(rep.cka(x, y)) < 0.1
    a, b = x - x.mean(0), y - y.mean(0)
    plain = np.sum((a @ a.T) * (b @ b.T)) / np.linalg.norm(a @ a.T) / np.linalg.norm(b @ b.T)
    assert plain > 0.9  # which is why it is not taken


def test_cka_says_what_it_cannot_compare(z):
    with pytest.raises(ValueError, match="four rows or more of the same images, not 60 and 59"):
        rep.cka(z, z[1:])
    with pytest.raises(ValueError, match="not 3 and 3"):
        rep.cka(z[:3], z[:3])
    with pytest.raises(ValueError, match="all images are alike"):
        rep.cka(z, np.ones((60, 2)))
    with pytest.raises(ValueError, match="1 of 60 rows of y"):
        rep.cka(z, np.where(np.arange(60)[:, None] == 3, np.nan, z))
