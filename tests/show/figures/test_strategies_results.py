"""Figures of the study of fine-tuning, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from mammo_utils.evaluation import seeds
from mammo_utils.show.figures import strategies_results as figures
from mammo_utils.show.figures.strategies import looks

SMALL, LARGE = "unet/mobilenetv2_050", "unet/tf_mobilenetv2_100"
STARTS = ((SMALL, "simclr"), (SMALL, "none"), (LARGE, "imagenet"))
NESTS = {"simclr": 3, "none": None, "imagenet": None}


@pytest.fixture
def runs():
    """Three strategies from three starts with two numbers of labels, six seeds; adapters of two ranks."""
    rng = np.random.default_rng(0)
    arms = (("full", np.nan), ("head", np.nan), ("lora", 4.0), ("lora", 1.0))
    rows = [
        {"model": model, "source": source, "strategy": strategy, "rank": rank, "labels": labels, "seed": seed}
        | {name: rng.uniform(0.5, 0.7) for name in ("dice", "dice_shifted", "trainable_encoder", "epochs_95")}
        | {name: rng.uniform(50, 60) for name in ("train_seconds", "memory_mib")}
        | {f"{name}_{part}": rng.uniform() for name in ("cka", "distance") for part in ("stem", "head")}
        for model, source in STARTS
        for strategy, rank in arms
        for labels in (16, 64)
        for seed in range(6)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture
def one(runs):
    """One start and number of labels."""
    own = figures.usual(runs, 4)
    return own[(own["source"] == "simclr") & (own["labels"] == 16)]


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def drawn(ax) -> dict:
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines if line.get_label()[0] != "_"}


def test_the_sweep_of_ranks_is_left_out_elsewhere(runs):
    own = figures.usual(runs, 4)
    assert len(own) == 3 * 2 * 6 * 3
    assert set(own["rank"].dropna()) == {4.0}


def test_label_efficiency_draws_means_and_pairs_of_one_start(runs):
    own = figures.usual(runs, 4)
    figure = figures.label_efficiency(own, delta=0.02, nests=NESTS)
    axes = dict(zip(own.groupby(["model", "source"], sort=False).groups, range(3), strict=True))
    for (model, source), row in axes.items():
        left, right = figure.axes[2 * row : 2 * row + 2]
        some = own[(own["model"] == model) & (own["source"] == source)]
        means = some.groupby(["strategy", "labels"])["dice"].mean()
        labels = {name: style["label"] for name, style in looks(some["strategy"]).items()}
        assert drawn(left) == {
            label: pytest.approx(list(means[name].sort_index())) for name, label in labels.items()
        }
        pairs = seeds.contrasts(some, "dice", arm="strategy", first="full", second="lora", by="labels")
        assert drawn(right)["LoRA"] == pytest.approx(list(pairs["estimate"]))
        assert "full" not in drawn(right)
    assert f"{LARGE}, from ImageNet" in words(figure)


def test_cost_shows_the_least_seconds_and_the_mean_share(one):
    figure = figures.cost(one, nests=3)
    share, seconds, epochs = figure.axes
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in seconds.lines}
    lora = one[one["strategy"] == "lora"]
    assert points["LoRA"] == pytest.approx((lora["train_seconds"].min(), lora["dice"].mean()))
    at = {line.get_label(): line.get_xdata()[0] for line in share.lines}
    full = one[one["strategy"] == "full"]
    shares = 100 * one.groupby("strategy")["trainable_encoder"].mean()
    for name, value in shares.items():
        equal = (shares.round(3) == round(value, 3)).sum()
        assert at[figures.NAMES[name]] == pytest.approx(value, abs=1e-9 if equal == 1 else 3.5 * equal / 2)
    assert len(set(at.values())) == len(shares)
    assert epochs.lines[0].get_xdata()[0] == pytest.approx(full["epochs_95"].mean())


def test_ranks_stand_beside_full_fine_tuning(runs):
    own = runs[runs["source"].isin(["simclr", "imagenet"])]
    figure = figures.ranks(own, nests=NESTS)
    assert len(figure.axes) == 2
    for ax, (model, some) in zip(figure.axes, own.groupby("model", sort=False), strict=True):
        assert model in ax.get_title()
        lora = some[(some["strategy"] == "lora") & (some["labels"] == 64)]
        found = drawn(ax)["64 labels"]
        assert found == pytest.approx(list(lora.groupby("rank")["dice"].mean()))
        full = some[(some["strategy"] == "full") & (some["labels"] == 64)]["dice"].mean()
        assert any(line.get_ydata() == pytest.approx([full] * 2) for line in ax.lines)


def test_what_is_lost_elsewhere_is_paired(one):
    left, right = figures.domains(one, nests=3).axes
    head = one[one["strategy"] == "head"]
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines}
    assert points["new parts only"] == pytest.approx((head["dice"].mean(), head["dice_shifted"].mean()))
    lost = {line.get_label(): line.get_xdata()[0] for line in right.lines}
    assert lost["new parts only"] == pytest.approx((head["dice"] - head["dice_shifted"]).mean())


def test_moved_is_the_mean_by_part(one):
    found = figures.moved(one)
    assert list(found) == ["full", "lora", "head"]
    full = one[one["strategy"] == "full"]
    assert list(found["full"].index) == ["stem", "head"]
    assert found["full"].loc["head", "cka"] == pytest.approx(full["cka_head"].mean())
    assert found["full"].loc["stem", "distance"] == pytest.approx(full["distance_stem"].mean())


def test_the_best_trial_has_the_ring():
    table = pd.DataFrame(
        {"model": LARGE, "source": "imagenet", "strategy": "lora"}
        | {"lr": [1e-2, 1e-3, 1e-1, 1e-2], "dice_a": [0.5, 0.7, 0.5, 0.7]}
    )
    line, ring = figures.trials(table).axes[0].lines
    assert list(line.get_xdata()) == [1e-3, 1e-2, 1e-1]
    assert list(line.get_ydata()) == pytest.approx([0.7, 0.6, 0.5])  # the mean of two draws
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (1e-3, 0.7)


def test_each_source_is_compared_with_full_fine_tuning_from_itself(runs):
    own = figures.usual(runs, 4)
    figure = figures.by_source(own[own["labels"] == 16], delta=0.02)
    assert [ax.get_title() for ax in figure.axes] == ["random weights", "ImageNet", "SimCLR"]
    some = own[(own["labels"] == 16) & (own["source"] == "imagenet")].set_index("seed")
    head, full = (some.loc[some["strategy"] == name, "dice"] for name in ("head", "full"))
    row = [label.get_text() for label in figure.axes[0].get_yticklabels()].index("new parts only")
    (points,) = (line for line in figure.axes[1].lines if list(line.get_ydata()) == [row] * 6)
    assert sorted(points.get_xdata()) == pytest.approx(sorted(head - full))


def test_film_is_paired_by_split():
    rows = [
        {"source": "simclr", "strategy": name, "films": films, "seed": seed, "dice": 0.1 * seed + gain}
        for name, gain in {"lora": -0.05, "full": 0.0}.items()
        for films in (5, 10)
        for seed in (2, 0, 1)
    ]
    figure = figures.film(pd.DataFrame(rows))
    left, right = figure.axes[:2]
    assert [label.get_text() for label in left.get_yticklabels()] == ["full", "LoRA"]
    pairs = [line for line in right.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in pairs] == [[1, 1, 1]]
    assert pairs[0].get_xdata() == pytest.approx([-0.05] * 3)
    assert "10 films learnt from" in words(figure)


def test_a_ring_marks_the_first_score_near_the_last():
    curve = pd.Series([0.2, 0.57, 0.5, 0.6], index=[2, 4, 6, 8])
    ax = figures.converging({"head": curve}).axes[0]
    line, ring = ax.lines
    assert list(line.get_xdata()) == [2, 4, 6, 8]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (4, 0.57)
    assert figures.converging({"head": curve}, share=0.99).axes[0].lines[1].get_xdata()[0] == 8


def test_statistics_are_after_over_before():
    before = np.array([0.0, 1.0, -2.0])
    left, right = figures.statistics({"moving": (before, before + 1), "held": (before, before)}).axes
    assert list(left.lines[1].get_xdata()) == list(before)
    assert list(left.lines[1].get_ydata()) == list(before + 1)
    assert list(right.lines[1].get_ydata()) == list(before)
