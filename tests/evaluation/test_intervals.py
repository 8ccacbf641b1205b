import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mammo_utils.evaluation.intervals import bootstrap, nested_t, paired, paired_t, wilcoxon, wilson


def slow_bootstrap(statistic, values, groups, n, seed):
    """The same interval with Python lists: draw names, look up their rows one by one."""
    names = sorted(set(groups))
    rng = np.random.default_rng(seed)
    results = []
    for _ in range(n):
        drawn = [names[i] for i in rng.choice(len(names), len(names))]
        results.append(
            statistic([v for name in drawn for v, g in zip(values, groups, strict=True) if g == name])
        )
    return np.quantile(results, [0.025, 0.975])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(-5, 5)), min_size=4, max_size=30).filter(
        lambda rows: len({name for name, _ in rows}) > 1
    ),
    st.integers(0, 99),
)
def test_equals_a_slow_bootstrap_made_of_lists(rows, seed):
    groups, values = zip(*rows, strict=True)
    _, low, high = bootstrap(np.mean, values, groups=groups, n=40, seed=seed)
    np.testing.assert_allclose([low, high], slow_bootstrap(np.mean, values, groups, 40, seed), atol=1e-12)


def test_a_resample_is_made_of_whole_groups_and_all_arrays_move_together():
    groups = np.repeat(["w", "x", "y", "z"], [1, 2, 3, 4])
    rows = np.arange(10)
    seen = []

    def statistic(number, name):
        assert (groups[number] == name).all()
        seen.append({g: np.sort(number[name == g]) for g in set(name)})
        return number.mean()

    bootstrap(statistic, rows, groups, groups=groups, n=50)
    assert any(len(resample) < 4 for resample in seen[1:]), "some group should be missing from some resample"
    for resample in seen:
        for name, drawn in resample.items():
            own = rows[groups == name]
            times = len(drawn) // len(own)
            np.testing.assert_array_equal(drawn, np.repeat(own, times))


def test_same_seed_same_interval_whatever_the_order_of_the_rows():
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=60), np.repeat(np.arange(20), 3)
    order = rng.permutation(60)
    first = bootstrap(np.mean, values, groups=groups)
    np.testing.assert_allclose(first, bootstrap(np.mean, values[order], groups=groups[order]))
    assert first != bootstrap(np.mean, values, groups=groups, seed=1)


def test_intervals_by_woman_cover_the_truth_and_intervals_by_image_do_not():
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(40), 4)
    truth, hits = 0.0, {"woman": 0, "image": 0}
    for trial in range(200):
        views = rng.normal(size=40)[women] + 0.3 * rng.normal(size=160)
        for unit, groups in (("woman", women), ("image", np.arange(160))):
            _, low, high = bootstrap(np.mean, views, groups=groups, n=200, seed=trial)
            hits[unit] += low <= truth <= high
    # 95 % wanted; the percentile interval of 40 women is known to fall a little short.
    assert 0.90 <= hits["woman"] / 200 <= 0.99
    assert hits["image"] / 200 < 0.80


def test_paired_interval_cancels_the_difficulty_of_the_cases():
    rng = np.random.default_rng(2)
    difficulty = rng.normal(size=100)
    a, b = difficulty + 0.1 * rng.normal(size=100), difficulty + 0.2 + 0.1 * rng.normal(size=100)
    estimate, low, high = paired(np.mean, a, b, groups=np.arange(100))
    assert estimate == pytest.approx(np.mean(b) - np.mean(a))
    assert 0 < low < 0.2 < high
    alone = [bootstrap(np.mean, x, groups=np.arange(100)) for x in (a, b)]
    assert high - low < 0.3 * min(i.high - i.low for i in alone)


def test_stratified_resamples_keep_the_number_of_women_with_cancer():
    groups = np.repeat(np.arange(50), 2)
    label = np.zeros(100)
    label[[4, 11]] = 1  # one breast each of two women
    counts = []
    bootstrap(lambda y: counts.append(y.sum()) or y.mean(), label, groups=groups, n=100, stratify=label)
    assert set(counts) == {2.0}
    counts.clear()
    bootstrap(lambda y: counts.append(y.sum()) or y.mean(), label, groups=groups, n=100)
    assert len(set(counts)) > 2


def test_undefined_resamples_are_left_out_and_too_many_of_them_give_no_limits():
    def mean_of_positives(y):
        return y[y > 0].mean() if (y > 0).any() else np.nan

    values = np.array([5.0, 7.0] + [0.0] * 8)
    estimate, low, high = bootstrap(mean_of_positives, values, groups=np.arange(10))
    assert (estimate, low, high) == (6, 5, 7)
    lone = np.array([5.0] + [np.nan] * 9)
    assert np.isnan(bootstrap(np.max, lone, groups=np.arange(10))).all()


def test_several_statistics_share_their_resamples():
    values, groups = np.random.default_rng(3).normal(size=30), np.arange(30)
    both = bootstrap(lambda x: [x.mean(), x.std()], values, groups=groups)
    for index, statistic in enumerate((np.mean, np.std)):
        alone = bootstrap(statistic, values, groups=groups)
        np.testing.assert_allclose([part[index] for part in both], alone)


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [
        ([1, 2], ["a", "a"], "at least two groups"),
        ([1, 2, 3], ["a", "b"], "3"),
        ([1, 2], ["a", None], "1 rows have no group"),
        ([1, 2], [1.0, np.nan], "1 rows have no group"),
    ],
)
def test_bad_groups_are_named(values, groups, words):
    with pytest.raises(ValueError, match=words):
        bootstrap(np.mean, values, groups=np.array(groups, dtype=object), n=10)


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, float("nan")])
@pytest.mark.parametrize("kind", [list, pd.Series])
def test_a_missing_woman_among_strings_is_not_a_woman_called_nan(missing, kind):
    with pytest.raises(ValueError, match="1 rows have no group"):
        bootstrap(np.mean, [1, 2, 3], groups=kind(["a", missing, "b"]), n=10)


@pytest.mark.parametrize("level", [0, 1, 95, np.nan])
def test_a_level_in_percent_is_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap(np.mean, [1, 2], groups=[1, 2], level=level)
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_t([1, 2], level=level)


def test_a_t_interval_worked_by_hand():
    # Mean 2, standard deviation √2, standard error 1; t(0.975) with one degree of freedom is 12.706.
    assert paired_t([1, 3]) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062), abs=1e-4)
    assert paired_t([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=12), st.floats(0.5, 0.999))
def test_a_t_interval_equals_that_of_scipy(differences, level):
    if len(set(differences)) > 1:
        expected = stats.ttest_1samp(differences, 0).confidence_interval(level)
        assert paired_t(differences, level=level) == pytest.approx((np.mean(differences), *expected))


def test_a_t_interval_of_ten_seeds_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.02, 0.01, (2000, 10))
    for level in (0.95, 1 - 0.05 / 4):
        covered = np.mean([low <= 0.02 <= high for _, low, high in (paired_t(d, level=level) for d in draws)])
        assert covered == pytest.approx(level, abs=0.015)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([], "two or more"),
        ([1], "two or more"),
        ([[1, 2], [3, 4]], "two or more"),
        ([1, np.nan, 3, np.inf], r"\[1, 3\] are missing"),
    ],
)
def test_a_seed_without_a_result_is_named(differences, words):
    with pytest.raises(ValueError, match=words):
        paired_t(differences)


def signed_rank_p(differences):
    """Two-sided p by trying every choice of signs."""
    ranks = {size: rank for rank, size in enumerate(sorted(map(abs, differences)), 1)}
    observed = sum(ranks[abs(d)] for d in differences if d > 0)
    totals = [
        sum(rank for rank, positive in zip(ranks.values(), signs, strict=True) if positive)
        for signs in itertools.product([False, True], repeat=len(ranks))
    ]
    tails = (sum(t <= observed for t in totals), sum(t >= observed for t in totals))
    return min(1, 2 * min(tails) / len(totals))


@settings(deadline=None)
@given(
    st.lists(st.integers(-40, 40).filter(lambda d: d), min_size=2, max_size=8, unique_by=lambda d: abs(d)),
    st.integers(1, 4),
)
def test_wilcoxon_equals_trying_every_sign_whatever_the_number_of_views(differences, views):
    women = np.repeat(np.arange(len(differences)), views)
    spread = np.resize([0.25, -0.25], views) if views % 2 == 0 else np.zeros(views)
    a = np.random.default_rng(0).integers(0, 9, len(women)).astype(float)
    b = a + np.repeat(differences, views) + np.tile(spread, len(differences))
    found = wilcoxon(a, b, groups=women)
    assert found == pytest.approx((signed_rank_p(differences), len(differences)))
    assert wilcoxon(b, a, groups=women) == pytest.approx(found)


def test_women_without_a_difference_are_left_out():
    women = ["ann", "ann", "bea", "cleo", "dora"]
    a, b = np.zeros(5), np.array([0.1, -0.1, 0.3, 0.2, 0.1])  # ann's views cancel
    assert wilcoxon(a, b, groups=women) == pytest.approx((2 / 8, 3))
    assert wilcoxon(b, b, groups=women) == (1, 0)


def test_means_that_are_equal_on_paper_are_ties():
    # 0.3 - 0.2 and 0.1 - 0 differ in the last bit, and so do 0.1 + 0.2 and 0.3.
    a, b = np.array([0.2, 0.0, 0.3, 0.0]), np.array([0.3, 0.1, 0.1 + 0.2, 0.5])
    assert wilcoxon(a, b, groups=[1, 2, 3, 4]).n == 3


def test_by_woman_a_true_null_is_rejected_at_its_level_and_by_image_far_too_often():
    rng = np.random.default_rng(0)
    women = np.repeat(np.arange(30), 4)
    rejected = {"woman": 0, "image": 0}
    for _ in range(400):
        views = rng.normal(size=30)[women] + 0.3 * rng.normal(size=120)
        for unit, groups in (("woman", women), ("image", np.arange(120))):
            rejected[unit] += wilcoxon(np.zeros(120), views, groups=groups).p < 0.05
    assert rejected["woman"] / 400 < 0.09
    assert rejected["image"] / 400 > 0.2


@pytest.mark.parametrize(
    ("a", "b", "groups", "words"),
    [
        ([1, 2], [1, np.nan], [1, 2], "missing or infinite"),
        ([1, 2], [1, 2, 3], [1, 2], "rows but groups has 2"),
        ([1, 2], [2, 3], [1, 1], "at least two groups"),
        ([1, 2], [2, 3], ["a", None], "1 rows have no group"),
    ],
)
def test_wilcoxon_names_what_is_wrong(a, b, groups, words):
    with pytest.raises(ValueError, match=words):
        wilcoxon(a, b, groups=groups)


def test_nests_that_do_not_differ_count_as_independent_draws():
    differences, nests = [0.00, 0.04, 0.01, 0.03, 0.02, 0.02], [0, 0, 1, 1, 2, 2]  # each nest's mean is 0.02
    assert nested_t(differences, nests) == paired_t(differences)


def test_nests_that_differ_are_the_draws():
    differences, nests = [0.00, 0.01, 0.05, 0.06, 0.02, 0.03], [2, 2, 0, 0, 1, 1]
    found = nested_t(differences, nests, level=0.9)
    own = stats.ttest_1samp([0.055, 0.025, 0.005], 0).confidence_interval(0.9)
    assert found.estimate == pytest.approx(np.mean(differences))
    assert (found.low, found.high) == pytest.approx((own.low, own.high))
    # Between wins by the F ratio of the one-way analysis of variance.
    assert stats.f_oneway([0.00, 0.01], [0.05, 0.06], [0.02, 0.03]).statistic > 1


def test_nests_of_one_are_draws():
    assert nested_t([0.1, 0.2, 0.4], [2, 0, 1]) == paired_t([0.1, 0.2, 0.4])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_nested_intervals_cover_what_they_say_whatever_the_nests_share(share):
    rng, nests, inside = np.random.default_rng(5), np.arange(10) % 3, []
    for _ in range(2000):
        common, own = rng.normal(0, share**0.5, 3), rng.normal(0, (1 - share) ** 0.5, 10)
        found = nested_t(common[nests] + own, nests)
        inside.append(found.low < 0 < found.high)
    assert 0.92 <= np.mean(inside) <= 0.985


@pytest.mark.parametrize("nests", [[0, 0, 0, 0], [0, 0, 1], [[0, 0, 1, 1]]])
def test_nests_that_do_not_do_are_refused(nests):
    with pytest.raises(ValueError, match="of 4 differences: name the nest of each"):
        nested_t([0.1, 0.2, 0.3, 0.5], nests)


def test_limits_of_a_share_solve_the_equation_of_the_score_test():
    for share, n in ((0.0, 12), (0.25, 40), (1.0, 7)):
        for limit in wilson(share, n, level=0.9):
            if 1e-9 < limit < 1 - 1e-9:
                assert abs(share - limit) == pytest.approx(1.6448536 * np.sqrt(limit * (1 - limit) / n))
    assert wilson(0.0, 12)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(1.0, 7)[1] == pytest.approx(1)
    with pytest.raises(ValueError, match="one case or more"):
        wilson(0.5, 0)
