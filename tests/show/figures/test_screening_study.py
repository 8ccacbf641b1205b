"""Figures of the screening study, on small tables made up for these tests."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from sklearn.metrics import roc_auc_score

from mammo_utils.evaluation.intervals import paired_t
from mammo_utils.show.figures import screening_study as figures
from mammo_utils.study import stages


@pytest.fixture
def every():
    """Six seeds of the 2×2, three of the other arms."""
    rng = np.random.default_rng(0)
    values = ("roc_auc", "pr_auc_2", "pf1_2", "pf1_2_fixed", "ece_2", "ece_2_fixed", "sensitivity_cut")
    values += ("specificity_cut", "images_to_level", "roc_auc_external", "sensitivity_cut_external")
    values += ("specificity_cut_external",)
    rows = []
    for one in stages.ARMS:
        key = dict(zip(("stages", "unfreezing", "imbalance", "weights"), stages.name(one), strict=True))
        key["budget"] = 1000
        for seed in range(6 if one in stages.CROSSED else 3):
            rows.append(key | {"seed": seed} | {value: rng.uniform(0.5, 0.7) for value in values})
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture
def runs(every):
    return figures.usual(every)


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def crossed(runs, stage, unfreezing):
    some = runs[(runs["stages"] == stage) & (runs["unfreezing"] == unfreezing)]
    return some[some["imbalance"] == "pos_weight"].set_index("seed")["roc_auc"].sort_index()


def test_effects_are_paired_differences_of_means(runs):
    found = figures.effects(runs, "roc_auc")
    a, b = (crossed(runs, "single", way) for way in ("all", "progressive"))
    c, d = (crossed(runs, "warm_up", way) for way in ("all", "progressive"))
    assert found["warm-up"] == pytest.approx(paired_t((c + d) / 2 - (a + b) / 2))
    assert found["unfreezing"] == pytest.approx(paired_t((b + d) / 2 - (a + c) / 2))
    assert found["interaction"].estimate == pytest.approx(((d - c) - (b - a)).mean())


def test_effects_need_two_seeds_with_all_four_arms(runs):
    lacking = (runs["stages"] == "warm_up") & (runs["unfreezing"] == "all") & (runs["seed"] > 0)
    with pytest.raises(ValueError, match="1 seeds have all four arms"):
        figures.effects(runs[~lacking], "roc_auc")


def test_lines_join_the_2x2_and_leave_the_warm_up_alone_apart(runs):
    figure = figures.crossed(runs)
    left, right = figure.axes
    lines = [line for line in left.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]
    means = [list(line.get_ydata()) for line in lines]
    for way, found in zip(("all", "progressive"), means, strict=True):
        assert found == pytest.approx([crossed(runs, stage, way).mean() for stage in ("single", "warm_up")])
    points = {line.get_label(): line for line in left.lines if line.get_label()[0] != "_"}
    assert len(points["all layers at once"].get_xdata()) == 3
    assert len(points["layers unfrozen step by step"].get_xdata()) == 2
    diamonds = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "D"]
    assert diamonds == pytest.approx([one.estimate for one in figures.effects(runs, "roc_auc").values()])
    assert "warm-up alone" in words(figure)


def test_ways_are_drawn_as_learnt_and_recalibrated(runs):
    figure = figures.rare(runs)
    hollow = [sum(line.get_markerfacecolor() == "white" for line in ax.lines) for ax in figure.axes]
    assert hollow == [0, 0, 4, 4]
    some = runs[(runs["stages"] == "single") & (runs["unfreezing"] == "all")]
    wanted = some[some["imbalance"] == "focal"]["pr_auc_2"].mean()
    assert any(line.get_xdata()[0] == pytest.approx(wanted) for line in figure.axes[1].lines)


def test_home_and_the_other_site_are_joined_arm_by_arm(runs):
    figure = figures.external(runs)
    assert [len(ax.lines) for ax in figure.axes] == [8, 8, 8]
    own = crossed(runs, "single", "all").mean()
    assert any(line.get_ydata()[0] == pytest.approx(own) for line in figure.axes[0].lines)


def test_the_summary_has_a_row_for_each_arm_and_score(runs):
    table = figures.summary(runs, ["roc_auc", "pr_auc_2"])
    assert len(table) == 2 * sum("weights" not in one for one in stages.ARMS)
    own = table.loc[("one stage, all layers at once", "ROC-AUC"), "estimate"]
    assert own == pytest.approx(crossed(runs, "single", "all").mean())


def test_first_weights_are_compared_in_one_arm_alone(every):
    figure = figures.sources(every)
    points = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    some = every[(every["stages"] == "single") & (every["unfreezing"] == "all")]
    means = some[some["imbalance"] == "pos_weight"].groupby("weights")["roc_auc"].mean()
    assert points == pytest.approx([means["none"], means["simclr"], means["lesions"]])
    assert figures.usual(every)["weights"].unique() == ["lesions"]


def test_equal_seconds_take_the_larger_number_of_images_where_layers_were_frozen(every):
    more = every[(every["unfreezing"] == "progressive")].assign(budget=1300, roc_auc=0.9)
    found = figures.timed(pd.concat([every, more]))
    budgets = found.groupby(["stages", "unfreezing"])["budget"].unique().map(list).to_dict()
    assert budgets == {
        (stage, way): [1000 if way == "all" else 1300]
        for stage in ("single", "warm_up")
        for way in ("all", "progressive")
    }
    assert figures.effects(found, "roc_auc")["unfreezing"].estimate > 0.2
    assert (figures.usual(pd.concat([every, more]))["budget"] == 1000).all()


def test_kinds_of_lesions_are_told_from_all_healthy_breasts():
    rng = np.random.default_rng(3)
    shapes = [*figures.KINDS, None, None, None]
    table = pd.DataFrame({"shape": rng.choice(shapes, 400), "woman": np.arange(400) // 2})
    table = table.assign(label=table["shape"].notna().astype(int))
    table = table.assign(logit=rng.normal(size=400) + table["label"])
    names = [f"{place}_{kind.replace(' ', '_')}" for place in ("known", "unknown") for kind in figures.KINDS]
    visible = pd.DataFrame([{"size": size} | dict.fromkeys(names, 0.6) for size in (256, 128)])
    visible.loc[0, "unknown_spiculated"] = 0.9
    left, right = figures.kinds(visible, table).axes
    [line] = [line for line in left.lines if line.get_label() == "spiculated"]
    assert list(line.get_xdata()) == [128, 256]
    assert list(line.get_ydata()) == [0.6, 0.9]
    points = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    for point, shape in zip(points, figures.KINDS, strict=True):
        own = table[(table["shape"] == shape) | (table["label"] == 0)]
        assert point == pytest.approx(roc_auc_score(own["label"], own["logit"]))
