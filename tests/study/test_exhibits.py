"""Exhibits from the tables that come with the package, and from tables made up for those that are absent."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from mammo_utils.__main__ import main
from mammo_utils.study import claims, exhibits, grid, histology_studies, ingredients, results
from mammo_utils.study.claims.measured import level_of
from mammo_utils.study.exhibits import files, registry
from mammo_utils.study.histology_scores import CLASSES

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "data" / "results"
ABSENT = {
    name
    for name, one in exhibits.EXHIBITS.items()
    if any(not (SHIPPED / f"{table}.csv").is_file() for table in one.tables)
}
READY = [name for name in exhibits.EXHIBITS if name not in ABSENT]


@pytest.fixture(scope="module")
def made():
    return {name: exhibits.EXHIBITS[name].make() for name in READY}


@pytest.fixture(scope="module")
def numbers(made):
    return {name: one.numbers for name, one in made.items()}


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def runs_of(path, studies, values):
    """A table of made-up scores for the runs of ``studies``."""
    rng = np.random.default_rng(0)
    rows = [
        settings | {"seed": seed} | {value: round(rng.uniform(0.5, 0.9), 4) for value in values}
        for study in studies
        for settings, seed in study.runs()
    ]
    table = pd.DataFrame(rows)
    made = dict.fromkeys(results.MEASURED, "") | {"profile": "cpu", "phantom": results.phantom_version()}
    table.assign(**made).to_csv(path, index=False)
    return table


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A folder with the tables that are not there yet, and what `figures --results` makes of it."""
    folder = tmp_path_factory.mktemp("tables")
    values = ["roc_auc", "accuracy_patient", *(f"roc_auc_{power}" for power in (40, 100, 200, 400))]
    studies = (histology_studies.DECISIVE, histology_studies.STUDY)
    tiles = runs_of(folder / "histology.csv", studies, values)
    recipe = runs_of(
        folder / "recipe.csv",
        (ingredients.CROSSED, ingredients.NETWORK),
        ["mae", "spearman", "dice", "train_seconds"],
    )
    controls = {"control": ["mean shape", "reader A", "reader B"]}
    controls |= {"Dice with truth": [0.5, 0.8, 0.7], "density MAE": [20, 3, 4]}
    made = {"phantom": results.phantom_version(), "commit": "0"}
    pd.DataFrame(controls).assign(**made).to_csv(folder / "recipe_controls.csv", index=False)
    pairs = pd.MultiIndex.from_product([CLASSES, CLASSES], names=["kind", "called"]).to_frame(index=False)
    shares = pairs.assign(share=np.eye(8).ravel(), tissue=results.tissue_version())
    shares.sample(frac=1, random_state=0).to_csv(folder / "histology_subtypes.csv", index=False)
    assert main(["figures", "--results", str(folder), "--out", str(folder / "out")]) == 0
    return {"out": folder / "out", "histology": tiles, "recipe": recipe}


def test_every_exhibit_states_what_it_rests_on(made):
    for name, (_, figure) in made.items():
        one = exhibits.EXHIBITS[name]
        said = words(figure)
        assert one.title in said
        assert one.limits in said
        if one.tables:
            assert "simulated: no clinical result" in said
            assert re.search(r"\d women|\d patients", said) or name == "claims", name
            assert f"version {results.phantom_version()} " in said
            assert "profile cpu" in said
            assert re.search(r"\d+ seeds?\b|seed 0", said), name
        else:
            assert "no run of this course" in said


def test_committed_numbers_are_those_of_the_tables(numbers, tmp_path):
    for name, own in numbers.items():
        again = tmp_path / f"{name}.csv"
        own.to_csv(again, index=False, float_format="%.6g")
        kept = pd.read_csv(ROOT / "figures" / f"{name}.csv")
        pd.testing.assert_frame_equal(kept, pd.read_csv(again), rtol=1e-3, atol=1e-6, obj=name)


def test_committed_folder_holds_what_is_registered_and_is_small():
    folder = ROOT / "figures"
    wanted = {f"{name}.{kind}" for name in READY for kind in files.KINDS} | {"README.md"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    page = files.page(exhibits.EXHIBITS, READY, exhibits.waiting())
    assert (folder / "README.md").read_text(encoding="utf-8") == page


def test_what_waits_is_what_has_no_table():
    waits = exhibits.waiting()
    assert {name for own in waits.values() for name in own} == ABSENT
    assert all(not (SHIPPED / f"{table}.csv").exists() for table in waits)
    assert set(claims.tables()) <= {path.stem for path in SHIPPED.glob("*.csv")}


def test_dice_over_labels_and_its_difference(numbers):
    runs = grid.read("architectures")
    own = numbers["density_architectures"]
    found = own[own["shows"] == "Dice"].set_index(["model", "labels"])["estimate"].sort_index()
    assert found.to_dict() == pytest.approx(runs.groupby(["model", "labels"])["dice"].mean().to_dict())
    pair = runs[runs["labels"] == 256].pivot(index="seed", columns="model", values="dice")
    change = (pair["segformer/small"] - pair["unet/mobilenetv2_050"]).dropna()
    row = own[(own["shows"] == "Dice, transformer minus CNN") & (own["labels"] == 256)].iloc[0]
    assert row["estimate"] == pytest.approx(change.mean())
    assert row["seeds"] == len(change) == 10


def test_gains_of_sources_are_paired(numbers):
    runs = grid.read("sources")
    big = runs[runs["model"] == "unet/tf_mobilenetv2_100"].pivot(
        index="seed", columns="source", values="dice"
    )
    own = numbers["density_sources"]
    own = own[own["shows"] == "Dice minus that of ImageNet, unet/tf_mobilenetv2_100"].set_index("source")
    for source in ("imagenet+simclr", "none"):
        wanted = (big[source] - big["imagenet"]).dropna()
        assert own.loc[source, "estimate"] == pytest.approx(wanted.mean())
        assert own.loc[source, "seeds"] == len(wanted)


def test_strategies_leave_the_sweep_of_ranks_out(numbers):
    runs = grid.read("strategies").query("source == 'imagenet' and labels == 64")
    wanted = runs[runs["rank"].isna() | (runs["rank"] == 4)].groupby("strategy")["dice"].mean()
    own = numbers["density_strategies"]
    own = own[(own["shows"] == "Dice, from ImageNet") & (own["labels"] == 64)].set_index("strategy")
    assert len(own) == 8
    pd.testing.assert_series_equal(own["estimate"].sort_index(), wanted, check_names=False)


def test_weights_of_the_density_term_are_means_of_equal_seeds(numbers):
    runs = grid.read("losses").query("target == 'reader_A' and seed < 3")
    hybrid = runs[runs["loss"] == "hybrid_density"].groupby("lam")["mae"].mean()
    own = numbers["density_losses_weight"].query("shows == 'mae' and loss == 'hybrid_density'")
    assert own.set_index("lam")["estimate"].to_dict() == pytest.approx(hybrid.to_dict())
    assert set(own["seeds"]) == {3}


def test_effects_of_the_2x2_are_those_that_decide_the_claims(numbers, made):
    asked = claims.intervals()
    own = numbers["screening_stages"].set_index(["shows", "effect"])
    for effect in ("warm-up", "unfreezing"):
        wanted = asked[asked["claim"] == effect]
        for metric in ("ROC-AUC", "PR-AUC at 2 %"):
            one = wanted[wanted["asks"].str.startswith(metric + ":")].iloc[0]
            row = own.loc[(f"change of {metric}", effect)]
            assert row[["estimate", "low", "high"]].tolist() == pytest.approx(
                one[["estimate", "low", "high"]].tolist()
            )
    assert "98.75 %" in words(made["screening_stages"].figure)


def test_prevalence_changes_precision_alone(numbers):
    breasts = pd.read_csv(SHIPPED / "screening_breasts.csv").query("imbalance == 'pos_weight'")
    test, valid = (breasts[breasts["cohort"] == name] for name in ("test", "valid"))
    own = numbers["screening_prevalence"].set_index(["score", "prevalence"])["estimate"]
    pairs = test.loc[test["label"] == 1, "logit"].to_numpy()[:, None], test.loc[test["label"] == 0, "logit"]
    area = (pairs[0] > pairs[1].to_numpy()).mean() + (pairs[0] == pairs[1].to_numpy()).mean() / 2
    assert own["ROC-AUC"].tolist() == pytest.approx([area] * 7)
    cut = np.sort(valid.loc[valid["label"] == 0, "logit"])[int(np.ceil(0.9 * (valid["label"] == 0).sum()))]
    called = (test["logit"] >= cut).groupby(test["label"]).mean()
    hits, alarms = called[1] * 0.02, called[0] * 0.98
    assert own["PPV at a specificity of 90 %", 0.02] == pytest.approx(hits / (hits + alarms), abs=0.005)
    assert (own["PR-AUC"].diff().dropna() > 0).all()


def test_maps_and_lesion_sizes_are_rows_of_their_tables(numbers):
    table = grid.read("explained").query("lesion == 'masses' and score == 'pointing'")
    own = numbers["screening_maps"].query("score == 'pointing'").set_index(["method", "layer"])
    wanted = table.set_index(["method", "layer"])["estimate"]
    pd.testing.assert_series_equal(own["estimate"].sort_index(), wanted.sort_index())
    sizes = grid.read("lesion_sizes").set_index("size")
    found = numbers["screening_lesion_sizes"].query("place == 'unknown' and kind == 'round_calcifications'")
    assert found.set_index("size")["estimate"].to_dict() == sizes["unknown_round_calcifications"].to_dict()


def test_claims_stand_with_the_verdicts_of_their_rule(numbers, made):
    own = numbers["claims"]
    judged = claims.verdicts()
    assert own.groupby("claim")["claim_verdict"].first().to_dict() == judged["verdict"].to_dict()
    said = words(made["claims"].figure)
    for row in own.itertuples():
        assert (row.asks if isinstance(row.asks, str) else "no question can be asked here") in said


def test_the_same_numbers_make_the_same_bytes(tmp_path):
    names = ["screening_subsets", "density_losses"]
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, order in zip(folders, (names, names[::-1]), strict=True):
        assert main(["figures", "--only", *order, "--out", str(folder)]) == 0
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name
    assert len(list(folders[0].iterdir())) == 3 * len(names) + 1
    drawn = (folders[0] / "density_losses.svg").read_text(encoding="utf-8")
    assert "dc:date" not in drawn
    assert "Matplotlib v" not in drawn
    picture = Image.open(folders[0] / "density_losses.png")
    assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_tables_of_women_and_of_tiles_are_both_named(made):
    said = words(made["claims"].figure)
    assert (
        f"women, version {results.phantom_version()} and tiles, version {results.tissue_version()} (" in said
    )


def test_own_tables_do_not_go_among_the_figures_that_come_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert main(["figures", "--only", "screening_subsets", "--results", "mine"]) == 0
    assert (tmp_path / "build" / "figures" / "screening_subsets.png").is_file()
    assert not (tmp_path / "figures").exists()


def test_unknown_and_waiting_names_are_refused(tmp_path, capsys):
    assert main(["figures", "--only", "density_magic", "--out", str(tmp_path / "out")]) == 1
    assert f"choose one of: {', '.join(exhibits.EXHIBITS)}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["figures", "--results", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    one = ["figures", "--only", "screening_imbalance", "--results", str(tmp_path / "empty")]
    assert main([*one, "--out", str(tmp_path / "out")]) == 1
    waits = [line for line in capsys.readouterr().out.splitlines() if "screening_imbalance" in line]
    assert len(waits) == 1
    assert waits[0].startswith("waiting for the table screening: ")


def test_rows_of_another_phantom_are_refused(tmp_path, capsys):
    for name in ("screening", "screening_breasts"):
        table = pd.read_csv(SHIPPED / f"{name}.csv", dtype=str)
        table.loc[0, "phantom"] = "99" if name == "screening_breasts" else table.loc[0, "phantom"]
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    one = ["figures", "--only", "screening_prevalence", "--results", str(tmp_path)]
    assert main([*one, "--out", str(tmp_path / "out")]) == 1
    assert "another version of the phantom" in capsys.readouterr().err


def test_exhibits_of_absent_tables_are_made_once_these_are_there(others):
    tables = {"histology", "histology_subtypes", "recipe", "recipe_controls"}
    wanted = {name for name, one in exhibits.EXHIBITS.items() if set(one.tables) <= tables}
    assert {path.stem for path in others["out"].glob("*.png")} == wanted
    assert wanted >= {"recipe", "recipe_ablation", "histology_levels", "histology_stains"}
    listed = (others["out"] / "README.md").read_text(encoding="utf-8")
    assert "- waiting for the table screening: screening_stages" in listed


def test_levels_hold_one_run_a_source_and_seed(others):
    own = pd.read_csv(others["out"] / "histology_levels.csv").query("shows == 'ROC-AUC'").set_index("source")
    runs = others["histology"].query(
        "model == 'se_densenet_small' and regime == 'irrelevant' and stains == 'normalise' and depth == 5 "
        "and turns and tested == 'own' and task == 'binary' and gates == 'identity' and position == 'block'"
    )
    runs = runs[runs["budget"] == runs["budget"].min()]
    assert own["seeds"].to_dict() == runs.groupby("source")["seed"].nunique().to_dict()
    assert own["estimate"].to_dict() == pytest.approx(
        runs.groupby("source")["roc_auc"].mean().to_dict(), abs=1e-5
    )


def test_stains_are_compared_within_a_regime(others):
    own = pd.read_csv(others["out"] / "histology_stains.csv").set_index(["shows", "arm"])
    runs = others["histology"].query("regime == 'diagnostic'")
    wide = runs.pivot(index="seed", columns="stains", values="roc_auc")
    row = own.loc[("minus as scanned, same seeds", "diagnostic/normalise")]
    assert row["estimate"] == pytest.approx((wide["normalise"] - wide["none"]).mean(), abs=1e-5)
    assert row["seeds"] == 10


def test_ingredients_are_added_alone_and_beside_the_others(others):
    own = pd.read_csv(others["out"] / "recipe_ablation.csv").set_index(["shows", "ingredient"])
    runs = others["recipe"].query("model == 'unet/tf_mobilenetv2_100'")
    wide = runs.pivot(index="seed", columns=["source", "strategy", "loss"], values="mae")
    whole, none = wide["imagenet+multiview", "full", "hybrid_density"], wide["imagenet", "lora", "bce_dice"]
    steps = {
        "full fine-tuning, to the others": whole - wide["imagenet+multiview", "lora", "hybrid_density"],
        "full fine-tuning, alone": wide["imagenet", "full", "bce_dice"] - none,
        "hybrid loss, alone": wide["imagenet", "lora", "hybrid_density"] - none,
        "multi-view and hybrid loss": whole - wide["imagenet", "full", "bce_dice"],
    }
    for name, pairs in steps.items():
        row = own.loc[("change of MAE of density (points)", name)]
        nests = pairs.groupby(pairs.index % 3).mean()  # what counts where pretrainings differ
        wanted = [pytest.approx(mean, abs=1e-5) for mean in (pairs.mean(), nests.mean())]
        assert row["estimate"] in wanted, name
        assert row["low"] < row["estimate"] < row["high"]
    assert own.loc["change of Dice"].shape[0] == 7


def test_arms_of_the_recipe_stand_with_the_controls(others):
    every = pd.read_csv(others["out"] / "recipe.csv")
    networks = every[every["shows"] == "seconds to train"]
    assert networks["arm"].nunique() == 9
    assert "multi-view, full, hybrid" in set(networks["arm"])
    error = every[every["shows"] == "MAE of density (points)"].set_index("arm")["estimate"]
    assert error["reader B"] == 4
    assert set(every["arm"]) - set(networks["arm"]) == {"reader A", "reader B"}


def test_level_is_that_of_the_questions_which_decide():
    for work, table in (("screening", "screening"), ("density", "losses"), ("histology", "histology")):
        own = claims.DECLARED[work]
        decided = [
            one
            for claim in own
            for one in claim.questions
            if getattr(one, "table", "") == table and one.kind != "explored"
        ]
        assert registry.level(work, table) == pytest.approx(1 - 0.05 / len(decided))
        assert registry.level(work, table) == level_of(decided[0], work, own)
