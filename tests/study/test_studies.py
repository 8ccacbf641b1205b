"""The result tables that come with the package: rates chosen by rule, rows that can be repeated."""

import pandas as pd
import pytest

from mammo_utils import profile
from mammo_utils.study import (
    architectures,
    grid,
    histology_studies,
    losses,
    screening,
    stages,
    strategies,
    transfer,
)
from mammo_utils.training.pretraining import RECIPES

# Tables that do not come yet; a test fails as soon as one does, so that it leaves this set and is tested.
AWAITED = {"recipe"}
TABLES = sorted({grid.find(name).result or name for name in grid.STUDIES} - AWAITED)
# Rows that are not repeated: they need films, ImageNet weights, minutes of pretraining or a thousand women.
NOT_ALONE = {"sources_film", "strategies_tuning", "strategies_abroad", "strategies_film", "encoders_likeness"}
NOT_ALONE |= {"screening_tuning", "screening"}


def table(name):
    return grid.read(profile.shipped(f"results/{name}.csv"))


@pytest.mark.parametrize(
    ("name", "arm", "rates"),
    [
        ("losses_tuning", "loss", losses.RATES),
        ("architectures_tuning", "model", architectures.RATES),
    ],
)
def test_every_arm_has_the_rate_with_the_best_overlap_of_as_many_trials(name, arm, rates):
    trials = table(name)
    assert trials.groupby(arm)["lr"].nunique().eq(4).all()
    best = trials.loc[trials.groupby(arm)["dice_a"].idxmax()].set_index(arm)["lr"]
    assert best.to_dict() == rates
    assert set(trials["cohort"]) == {"develop"}


def test_every_pretraining_has_the_recipe_with_the_best_overlap_of_as_many_trials():
    trials = table("sources_tuning").dropna(subset=["lr"])
    efforts = trials.groupby(["start", "method"]).size()
    assert efforts["none"].to_dict() == dict.fromkeys(RECIPES, 6)
    assert efforts["imagenet"].to_dict() == dict.fromkeys(transfer.AGAIN, 3)
    best = trials.loc[trials.groupby(["start", "method"])["dice_a"].idxmax()]
    for _, trial in best.iterrows():
        source = trial["method"] if trial["start"] == "none" else f"imagenet+{trial['method']}"
        used = transfer.pretraining(trial["model"], source) | {"budget": transfer.SHORT}
        assert {name: None if pd.isna(trial[name]) else trial[name] for name in used} == used, source


def test_sources_are_fine_tuned_at_the_rate_with_the_best_mean_overlap_of_as_many_trials():
    trials = table("sources_rates")
    assert set(trials["cohort"]) == {"develop"}
    for model, names in transfer.DECISIVE_SOURCES.items():
        own = trials[trials["model"] == model]
        assert own.groupby(["source", "lr"])["seed"].nunique().eq(2).all()
        means = own.pivot_table(index="source", columns="lr", values="dice_a")
        assert set(means.index) == set(names)
        assert list(means.columns) == sorted(transfer.RATE_TRIALS[model])
        assert means.idxmax(axis=1).to_dict() == {name: transfer.RATES[model, name] for name in names}


def test_strategies_have_the_rate_with_the_best_mean_overlap_which_is_no_end_of_what_was_tried():
    trials = table("strategies_tuning")
    assert set(trials["cohort"]) == {"develop"}
    assert trials.groupby(["source", "strategy", "lr"])["seed"].nunique().eq(2).all()
    means = trials.pivot_table(index=["source", "strategy"], columns="lr", values="dice_a")
    common = means[sorted(strategies.TRIALS)]
    assert common.notna().all(axis=None)
    at_end = common.idxmax(axis=1).isin([common.columns[0], common.columns[-1]])
    assert set(means.index[at_end]) == set(strategies.BEYOND)
    for arm, tried in means.iterrows():
        assert tried.dropna().index[[0, -1]].isin([tried.idxmax()]).sum() == 0, arm
    assert means.idxmax(axis=1).to_dict() == strategies.RATES


def test_screening_arms_have_the_rate_with_the_best_mean_area_of_as_many_trials():
    trials = table("screening_tuning")
    assert set(trials["cohort"]) == {"develop"}
    arms = ["stages", "unfreezing", "imbalance", "weights"]
    assert trials.groupby([*arms, "lr"])["seed"].nunique().eq(2).all()
    means = trials.pivot_table(index=arms, columns="lr", values="roc_auc")
    common = means[sorted(stages.TRIALS)]
    assert common.notna().all(axis=None)
    learnt = means.index.get_level_values("weights") == "lesions"  # from the others nothing was learnt
    at_end = common.idxmax(axis=1).isin([common.columns[0], common.columns[-1]])
    assert set(means.index[at_end & learnt]) == set(stages.BEYOND)
    for arm, tried in means[learnt].iterrows():
        assert tried.dropna().index[[0, -1]].isin([tried.idxmax()]).sum() == 0, arm
    assert means.idxmax(axis=1).to_dict() == stages.RATES


def test_histology_arms_have_the_rate_with_the_best_mean_area_of_as_many_trials():
    trials = table("histology_tuning")
    assert set(trials["cohort"]) == {"develop"}
    arms = ["model", "source", "stains", "regime"]
    assert trials.groupby([*arms, "lr"])["seed"].nunique().eq(2).all()
    means = trials.pivot_table(index=arms, columns="lr", values="roc_auc")
    common = means[sorted(histology_studies.TRIALS)]
    assert common.notna().all(axis=None)
    at_end = common.idxmax(axis=1).isin([common.columns[0], common.columns[-1]])
    assert set(means.index[at_end]) == set(histology_studies.BEYOND)
    for arm, tried in means.iterrows():
        assert tried.dropna().index[[0, -1]].isin([tried.idxmax()]).sum() == 0, arm
    assert means.idxmax(axis=1).to_dict() == histology_studies.RATES


def test_tables_that_are_awaited_have_not_come():
    names = {grid.find(name).result or name for name in grid.STUDIES}
    assert names >= AWAITED
    there = {name for name in AWAITED if profile.shipped("results").joinpath(f"{name}.csv").exists()}
    assert not there, f"take {', '.join(sorted(there))} out of AWAITED"


def test_equal_seconds_are_counted_by_the_pace_that_was_measured():
    runs = table("screening")
    own = runs[runs["weights"].eq("lesions") & runs["imbalance"].eq("pos_weight")]
    own = own[own["budget"].eq(screening.BUDGET)]
    speeds = own.pivot(index=["stages", "seed"], columns="unfreezing", values="images_per_second").dropna()
    pace = (speeds["progressive"] / speeds["all"]).groupby(level="stages").median()
    assert pace.round(2).to_dict() == stages.PACE
    budgets = {one["stages"]: one["budget"] for one in stages.SECONDS.settings}
    assert budgets == {name: round(screening.BUDGET * times) for name, times in stages.PACE.items()}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_of_this_phantom_and_of_committed_code(name):
    rows = table(name)
    assert not rows["commit"].str.contains("dirty|unknown").any()
    assert rows["seconds"].gt(0).all()


def test_both_arms_of_a_decisive_contrast_have_the_same_ten_seeds():
    rooms = (losses, architectures, transfer, strategies, stages, histology_studies)
    studies = [room.DECISIVE for room in rooms]
    for study in [one for one in studies if one.result not in AWAITED]:
        rows = table(study.result)
        for settings in study.settings:
            own = rows.copy()
            for key, value in settings.items():
                own = own[own[key].isna() if value is None else own[key] == value]
            assert sorted(own["seed"])[:10] == list(range(10)), settings


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TABLES) - NOT_ALONE))
def test_the_cheapest_row_of_a_table_can_be_repeated(name):
    # The phantom women are prepared in the cache folder once, which takes minutes.
    rows = table(name)
    if "pool" in rows:  # thousands of women would have to be made
        rows = rows[rows["pool"].isna() & (rows["model"] == transfer.SMALL)]
    if "source" in rows:  # other sources may need a pretraining
        rows = rows[rows["source"] == "none"]
    studies = [study for study in map(grid.find, grid.STUDIES) if (study.result or study.name) == name]
    tried = []
    for number in rows["seconds"].sort_values().index:
        for study in studies:
            try:
                both = grid.again(study, int(number))
            except ValueError as error:  # a row of another study with the same table
                tried.append(str(error))
                continue
            assert both["agrees"].all(), f"row {number}\n{both}"
            return
    pytest.fail("\n".join(tried))


@pytest.mark.slow
def test_a_shipped_encoder_gives_the_row_of_its_source():
    rows = table("sources")
    own = rows[(rows["source"] == "multiview") & (rows["model"] == transfer.SMALL) & (rows["seed"] == 0)]
    (row,) = own.index[own["labels"] == transfer.DECISIVE_LABELS]
    both = grid.again(transfer.STUDY, int(row))
    assert both["agrees"].all(), str(both)


def test_metrics_that_decide_have_a_tolerance():
    decide = [{"dice", "mae"}, {"density_r2", "vendor", "identity"}, {"loss", "images_per_second"}]
    decide += [{"known_spiculated", "unknown_spiculated"}, {"roc_auc", "pr_auc_2"}]
    decide += [{"roc_auc", "accuracy", "log_tiles"}]
    for study in map(grid.find, grid.STUDIES):
        assert pd.Series(study.tolerance).gt(0).all()
        assert any(some <= set(study.tolerance) for some in decide), study.name
