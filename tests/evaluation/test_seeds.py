"""Means and paired differences over seeds, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mammo_utils.evaluation import seeds


@pytest.fixture
def runs():
    """Two networks whose scores share the luck of a seed; the transformer lacks seed 4."""
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.05, 5)
    rows = [
        {"model": model, "labels": labels, "seed": seed, "dice": base + gain * step + luck[seed] + noise}
        for model, base, gain in (("cnn", 0.6, 0.02), ("transformer", 0.5, 0.03))
        for step, labels in ((0, 8), (3, 64), (5, 256))
        for seed, noise in enumerate(rng.normal(0, 0.001, 5))
        if (model, seed) != ("transformer", 4)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_means_are_scipy_s_intervals(runs):
    found = seeds.means(runs, "dice", ["model", "labels"])
    own = runs[(runs["model"] == "transformer") & (runs["labels"] == 64)]["dice"]
    low, high = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    assert found.loc[("transformer", 64)].tolist() == pytest.approx([own.mean(), low, high, 4])
    wide = seeds.means(runs, "dice", ["model", "labels"], level=0.99)
    assert (wide["high"] > found["high"]).all()


def test_one_seed_has_no_limits(runs):
    found = seeds.means(runs[runs["seed"] == 0], "dice", ["model", "labels"])
    assert found[["low", "high"]].isna().to_numpy().all()
    assert (found["seeds"] == 1).all()


def test_a_contrast_pairs_by_seed_whatever_the_order(runs):
    found = seeds.contrasts(runs, "dice", arm="model", first="cnn", second="transformer", by="labels")
    wide = runs.set_index(["model", "labels", "seed"])["dice"]
    for labels in (8, 64, 256):
        pairs = [wide["transformer", labels, seed] - wide["cnn", labels, seed] for seed in range(4)]
        low, high = stats.ttest_1samp(pairs, 0).confidence_interval(0.95)
        assert found.loc[labels].tolist() == pytest.approx([np.mean(pairs), low, high, 4])
    # the luck of the seeds cancels: the interval is far narrower than that of either network
    alone = seeds.means(runs, "dice", ["model", "labels"])
    assert (found["high"] - found["low"]).max() < 0.2 * (alone["high"] - alone["low"]).min()
    back = seeds.contrasts(runs, "dice", arm="model", first="transformer", second="cnn", by="labels")
    assert back["low"].tolist() == pytest.approx((-found["high"]).tolist())


def test_seeds_that_share_a_pretraining_are_nested_in_it():
    drawn = [4, 0, 2, 5, 3, 1]
    pretraining = {0: 0.10, 1: 0.02, 2: 0.03}  # what each is worth
    luck = {0: 0.001, 1: -0.001, 2: 0.0, 3: -0.001, 4: 0.001, 5: 0.0}
    dice = {"none": [0.5] * 6, "ours": [0.5 + pretraining[s % 3] + luck[s] for s in drawn]}
    rows = [
        {"source": name, "seed": s, "dice": d}
        for name in dice
        for s, d in zip(drawn, dice[name], strict=True)
    ]
    arms = {"arm": "source", "first": "none", "second": "ours"}
    found = seeds.contrasts(pd.DataFrame(rows), "dice", nests=3, **arms).loc["all"]
    low, high = stats.ttest_1samp(list(pretraining.values()), 0).confidence_interval(0.95)
    assert found.tolist() == pytest.approx([0.05, low, high, 6])


def test_slopes_are_gains_per_doubling(runs):
    found = seeds.slopes(runs, "dice", arm="model")
    assert found.groupby("model")["slope"].mean().tolist() == pytest.approx([0.02, 0.03], abs=0.001)
    assert found.groupby("model").size().tolist() == [5, 4]
    contrast = seeds.contrasts(found, "slope", arm="model", first="cnn", second="transformer")
    assert contrast.loc["all", "low"] < 0.01 < contrast.loc["all", "high"]


def test_a_seed_without_both_ends_has_no_slope(runs):
    part = runs[~((runs["seed"] == 2) & (runs["labels"] == 256))]
    assert 2 not in set(seeds.slopes(part, "dice", arm="model")["seed"])


def test_a_blank_setting_is_a_setting(runs):
    runs = runs[runs["labels"] == 8].assign(
        lam=lambda rows: rows["model"].map({"cnn": np.nan, "transformer": 1})
    )
    found = seeds.means(runs, "dice", ["model", "lam"])
    assert found["seeds"].tolist() == seeds.means(runs, "dice", ["model"])["seeds"].tolist()
    assert len(seeds.means(runs, "dice", ["lam"])) == 2
    both = pd.concat([runs.assign(lam=lam) for lam in (np.nan, 1.0)])
    pairs = seeds.contrasts(both, "dice", arm="model", first="cnn", second="transformer", by="lam")
    assert pairs["seeds"].tolist() == [4, 4]


def test_what_cannot_be_paired_is_said(runs):
    with pytest.raises(ValueError, match="several runs of .*seed"):
        seeds.means(runs, "dice", ["model"])
    with pytest.raises(ValueError, match="several runs"):
        seeds.contrasts(runs, "dice", arm="model", first="cnn", second="transformer")
    one = runs[runs["labels"] == 8]
    with pytest.raises(ValueError, match="share no seed"):
        seeds.contrasts(one, "dice", arm="model", first="cnn", second="sam")
    with pytest.raises(ValueError, match="two amounts"):
        seeds.slopes(one, "dice", arm="model")
