"""Figures of the histology study, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest

from mammo_utils.evaluation.intervals import paired_t
from mammo_utils.show.figures import histology_study as figures


def table(seeds=6, **settings):
    rng = np.random.default_rng(len(settings))
    made = pd.DataFrame({"seed": range(seeds), "roc_auc": rng.uniform(0.6, 0.9, seeds)})
    return made.assign(roc_auc_same=made["roc_auc"] + 0.05, roc_auc_home=np.nan, **settings)


def segments(ax):
    return [one.get_segments()[0] for one in ax.collections if hasattr(one, "get_segments")]


def heights(ax):
    """The dots of the means."""
    return [line for line in ax.lines if line.get_marker() == "o"]


def test_contrasts_leave_out_the_seeds_without_a_partner():
    many = pd.Series([0.01, 0.03, 0.02, 0.05, 0.04, np.nan], index=range(6))
    few = pd.Series([0.02, -0.01, 0.05], index=range(3))
    found = figures.paired({"many": many, "few": few})
    interval = paired_t(many.dropna())
    np.testing.assert_allclose(found.loc["many", ["estimate", "low", "high"]].astype(float), interval)
    assert found["seeds"].tolist() == [5, 3]
    assert found.loc["few", ["low", "high"]].tolist() == [-0.01, 0.05]  # the span of the runs
    figure = figures.contrasts({"many": many, "few": few}, delta=0.02, label="with minus without")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["many", "few"]
    assert [line.get_xdata()[0] for line in heights(ax)] == pytest.approx([0.03, 0.02])
    np.testing.assert_allclose(segments(ax)[0][:, 0], [interval.low, interval.high])


def test_stains_stand_in_the_panel_of_their_regime_and_the_home_scores_where_colour_misleads():
    scanned = table(regime="irrelevant", stains="none")
    misled = table(regime="confounded", stains="normalise").assign(roc_auc_home=0.95)
    figure = figures.stains(pd.concat([scanned, misled]))
    plain, confounded, diagnostic = figure.axes
    (dot,) = heights(plain)
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0, pytest.approx(scanned["roc_auc"].mean()))
    here, home = heights(confounded)
    assert (here.get_xdata()[0], here.get_ydata()[0]) == (1, pytest.approx(misled["roc_auc"].mean()))
    assert (home.get_xdata()[0], home.get_ydata()[0]) == (1, pytest.approx(0.95))
    assert home.get_markerfacecolor() == "none"
    assert here.get_markerfacecolor() != "none"
    assert not heights(diagnostic)


def test_splits_have_other_patients_across_and_the_same_ones_upwards():
    runs = table(arm="x")
    (ax,) = figures.splits(runs, {"published": runs[:2]}).axes
    every, chosen = (one.get_offsets() for one in ax.collections)
    np.testing.assert_allclose(every, runs[["roc_auc", "roc_auc_same"]])
    np.testing.assert_allclose(chosen, every[:2])


def test_sizes_are_told_in_millions_of_parameters():
    arms = {
        "small": table(parameters=250_000.0, accuracy=0.7),
        "large": table(parameters=2_000_000.0, accuracy=0.8, kind=1),
    }
    left, right = figures.sizes(arms).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["small (0.25 M)", "large (2.00 M)"]
    means = [own["roc_auc"].mean() for own in arms.values()]
    assert [line.get_xdata()[0] for line in heights(left)] == pytest.approx(means)
    assert [line.get_xdata()[0] for line in heights(right)] == pytest.approx([0.7, 0.8])


def test_the_ladder_shows_means_and_paired_differences():
    rng = np.random.default_rng(1)
    runs = pd.DataFrame(
        [
            {"source": s, "seed": k, "roc_auc": rng.uniform(0.6, 0.9)}
            for s in ("organs", "none")
            for k in range(6)
        ]
    )
    figure = figures.ladder(runs, pretrainings=6)  # one for each run
    left, right = figure.axes
    means = runs.groupby("source")["roc_auc"].mean()
    found = [line.get_xdata()[0] for line in left.lines]
    assert found == pytest.approx([means["none"], means["organs"]])
    wide = runs.pivot(index="seed", columns="source", values="roc_auc")
    interval = paired_t(wide["organs"] - wide["none"])
    (drawn,) = [c.get_segments()[0][:, 0] for c in right.collections if len(c.get_segments())]
    np.testing.assert_allclose(drawn, [interval.low, interval.high])
    assert [label.get_text() for label in left.get_yticklabels()] == ["no transfer", "other organs"]


def test_bars_of_the_ladder_know_that_runs_share_a_pretraining_and_that_few_runs_say_little():
    """Runs that differ by their pretraining alone: two of them, not eight, are what the interval is of."""
    runs = pd.DataFrame(
        [
            {"source": s, "seed": k, "roc_auc": 0.7 + (s == "organs") * (0.1 + 0.05 * (k % 2)) + 0.001 * k}
            for s in ("organs", "none")
            for k in range(8)
        ]
    )

    def drawn(figure):
        (lines,) = [c for c in figure.axes[1].collections if len(c.get_segments())]
        return lines.get_segments()[0][:, 0], lines.get_linewidth()[0]

    interval = paired_t([0.1, 0.15])
    limits, width = drawn(figures.ladder(runs, pretrainings=2))
    np.testing.assert_allclose(limits, [interval.low, interval.high])
    assert width > 1
    limits, width = drawn(figures.ladder(runs[runs["seed"] < 3], pretrainings=3))
    np.testing.assert_allclose(limits, [0.1, 0.15])  # the span of the runs
    assert width < 1
