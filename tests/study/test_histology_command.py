"""``python -m mammo_utils train histology``: from folders to scores, level by level, also resumed."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, roc_auc_score

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs, copies, stain, tiles
from mammo_utils.models.classification import build
from mammo_utils.study import histology_data, histology_recipe
from mammo_utils.synth import histology

pytestmark = pytest.mark.filterwarnings("ignore:every image counts as a woman")
QUICK = ["--size", "32", "--epochs", "2", "--precision", "32-true"]


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory):
    root = tmp_path_factory.mktemp("breakhis")
    histology.write(root, range(24), layout="breakhis", size=32, fields=1, malignant=0.5)
    return root


@pytest.fixture(scope="module")
def lc25000(tmp_path_factory):
    root = tmp_path_factory.mktemp("lc25000")
    histology.write(root, range(2), layout="lc25000", size=32)
    return root


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Tiles of other patients in a folder a class."""
    root = tmp_path_factory.mktemp("own")
    for number in range(100, 112):
        person = histology.patient(number, malignant=0.5)
        folder = root / ("benign", "malignant")[person.label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(histology.tile(person, size=40).image).save(folder / f"{number}.png")
    return root


def train(root, out, *options):
    base = ["train", "histology", "--catalog", "breakhis", "--root", str(root), "--out", str(out)]
    first = ["--first-epochs", "1"] if "--first" in options else []
    return main([*base, *QUICK, *first, *map(str, options)])


@pytest.fixture(scope="module")
def run(breakhis, lc25000, own, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "both"
    classes = ("--classes", "benign=0", "malignant=1")
    assert train(breakhis, out, "--first", "lc25000", lc25000, "--external", own, *classes) == 0
    return out


def test_both_levels_learn_and_no_case_crosses(run):
    table = pd.read_csv(run / "splits.csv")
    assert table.groupby("case")["split"].nunique().eq(1).all()
    assert set(table["split"]) == {"train", "valid", "test"}
    first, target = (pd.read_csv(run / stage / "history.csv") for stage in ("first", "target"))
    assert (len(first), len(target)) == (1, 2)
    assert first["images"].eq(5 * 2 * 20 * 0.9).all()  # nine originals of ten
    assert target["images"].eq((table["split"] == "train").sum()).all()
    settings = json.loads((run / "settings.json").read_text())["settings"]
    assert (settings["model"], settings["normalise"], settings["catalog"]) == (
        "se_densenet_small",
        "macenko",
        "breakhis",
    )


def test_predictions_are_those_of_the_kept_weights_in_the_colours_of_the_training_tiles(run, breakhis):
    table = pd.read_csv(run / "splits.csv")
    cached = tiles.build(catalogs.load("breakhis", breakhis), run / "cache_32", size=32)
    rows = {name: part["row"].to_numpy() for name, part in table.groupby("split")}
    model = build("se_densenet_small", size=(32, 32), channels=3, classes=2)
    model.load_state_dict(load_file(run / "target" / "weights.safetensors"))
    normalise = histology_data.colours("macenko", cached, rows["train"])
    known = tiles.Tiles(normalise(cached.images), cached.table)
    again = histology_recipe.predictions(model, known, histology_recipe.Recipe(), rows["test"])
    found = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(found["probability"], again["probability"], atol=1e-4)
    np.testing.assert_array_equal(found["label"], cached.table["cancer"].iloc[rows["test"]])
    np.testing.assert_array_equal(found["magnification"], cached.table["magnification"].iloc[rows["test"]])
    scores = pd.read_csv(run / "scores.csv", index_col="score")
    assert scores.loc["roc_auc", "estimate"] == pytest.approx(
        roc_auc_score(found["label"], found["probability"]), abs=1e-4
    )
    right = accuracy_score(found["label"], found["probability"] >= 0.5)
    assert scores.loc["accuracy", "estimate"] == pytest.approx(right, abs=1e-4)
    assert scores.loc["accuracy", "all malignant"] == pytest.approx(found["label"].mean(), abs=1e-4)
    assert scores.loc["sensitivity", "all malignant"] == 1
    shares = ((found["probability"] >= 0.5) == found["label"]).groupby(found["patient"]).mean()
    assert scores.loc["accuracy by patient", "estimate"] == pytest.approx(shares.mean(), abs=1e-4)


def test_the_second_level_starts_from_the_first(run, monkeypatch, breakhis, lc25000, tmp_path):
    begun = []
    own = histology_recipe.build

    def noted(name, *, weights, **options):
        begun.append(str(weights))
        return own(name, weights=weights, **options)

    monkeypatch.setattr(histology_recipe, "build", noted)
    assert train(breakhis, tmp_path / "run", "--first", "lc25000", lc25000) == 0
    assert begun == ["none", str(tmp_path / "run" / "first" / "encoder.safetensors")]


def test_external_tiles_are_scored(run):
    assert len(pd.read_csv(run / "predictions_external.csv")) == 12
    assert (run / "magnifications.png").stat().st_size > 5000


def test_every_magnification_is_scored_apart(run):
    found = pd.read_csv(run / "predictions.csv")
    table = pd.read_csv(run / "scores_magnifications.csv").set_index(["magnification", "score"])
    assert set(table.index.get_level_values(0)) == {40, 100, 200, 400}
    for power, own in found.groupby("magnification"):
        area = roc_auc_score(own["label"], own["probability"])
        assert table.loc[(power, "roc_auc"), "estimate"] == pytest.approx(area, abs=1e-4)
        assert table.loc[(power, "accuracy"), "all malignant"] == pytest.approx(own["label"].mean(), abs=1e-4)
    assert histology_recipe.scores_by(found.assign(magnification=np.nan), "magnification").empty


def test_classes_of_the_first_level_are_its_own_even_if_they_are_two(tmp_path):
    """Their number must not make them benign and malignant."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 200, (60, 32, 32, 3), dtype=np.uint8)
    known = {"group": [f"c{n // 2}" for n in range(60)], "cancer": [n // 2 % 2 for n in range(60)]}
    target = tiles.Tiles(images, pd.DataFrame(known | {"magnification": 200}))
    source = tiles.Tiles(images[:40], pd.DataFrame({"diagnosis": list("ab") * 20, "group": range(40)}))
    recipe = histology_recipe.Recipe(
        model="se_densenet_small",
        position="layer",
        weights="none",
        normalise="none",
        first_epochs=1,
        epochs=1,
        precision="32-true",
    )
    rows = histology_data.parts(target.table, seed=0)
    out = tmp_path / "run"
    histology_recipe.train(target, rows, recipe, out, first=source, say=lambda text: None)
    assert len(load_file(out / "first" / "weights.safetensors")["head.weight"]) == 2
    names = load_file(out / "target" / "weights.safetensors")
    assert len({name.split(".")[2] for name in names if name.startswith("encoder.gates")}) == 3 + 4 + 4 + 3
    assert not list(out.rglob("tiles.npy"))  # colours were left as they are


def test_a_finished_run_is_not_trained_again_and_another_one_is_refused(
    run, breakhis, lc25000, monkeypatch, capsys
):
    before = (run / "target" / "weights.safetensors").stat().st_mtime_ns
    for place, name in ((copies, "groups"), (stain.Normaliser, "__call__")):  # nor searched and coloured
        monkeypatch.setattr(place, name, None)
    assert not (run / "first" / "tiles.npy").exists()
    assert train(breakhis, run, "--first", "lc25000", lc25000) == 0
    assert (run / "target" / "weights.safetensors").stat().st_mtime_ns == before
    assert train(breakhis, run, "--first", "lc25000", lc25000, "--lr", "0.5") == 1
    assert "lr is 0.003 there and 0.5 here" in capsys.readouterr().err


def test_every_part_has_every_subtype():
    kind = np.repeat(np.arange(8), 5)
    table = pd.DataFrame({"cancer": kind // 4, "kind": kind, "group": [f"c{n}" for n in range(40)]})
    assert all(set(kind[rows]) == set(kind) for rows in histology_data.parts(table, seed=0).values())


def test_folds_leave_out_every_case_once():
    rng = np.random.default_rng(3)
    case = rng.integers(0, 40, 300)
    table = pd.DataFrame({"cancer": case % 2, "group": [f"c{n}" for n in case]})
    tested = []
    for fold in range(4):
        rows = histology_data.parts(table, seed=1, folds=4, fold=fold)
        assert sorted(np.concatenate(list(rows.values()))) == list(range(300))
        cases = {name: set(case[own]) for name, own in rows.items()}
        assert sum(map(len, cases.values())) == len(set(case))
        assert len(cases["test"]) == pytest.approx(10, abs=1)
        assert len(cases["train"]) == pytest.approx(3 * len(cases["valid"]), abs=3)
        tested += rows["test"].tolist()
    assert sorted(tested) == list(range(300))
    with pytest.raises(ValueError, match="1 folds leave nothing"):
        histology_data.parts(table, seed=1, folds=1)
    with pytest.raises(ValueError, match="more cases are needed"):
        histology_data.parts(table[:20], seed=1, folds=20)


def test_folds_by_command(breakhis, tmp_path, capsys):
    quick = ("--normalise", "none", "--epochs", "1", "--folds", "2")
    assert train(breakhis, tmp_path / "run", *quick) == 0
    found = pd.read_csv(tmp_path / "run" / "predictions.csv")
    table = catalogs.load("breakhis", breakhis)
    assert sorted(found["row"]) == list(range(len(table)))
    np.testing.assert_array_equal(found["label"], table["cancer"].iloc[found["row"]])
    assert found.groupby("patient")["fold"].nunique().eq(1).all()
    assert found["patient"].nunique() == 24
    for fold, own in found.groupby("fold"):
        split = pd.read_csv(tmp_path / "run" / f"fold_{fold}" / "splits.csv")
        assert set(split.loc[split["split"] == "test", "row"]) == set(own["row"])
    each = pd.read_csv(tmp_path / "run" / "scores_folds.csv").set_index(["fold", "score"])
    own = found[found["fold"] == 2]
    right = accuracy_score(own["label"], own["probability"] >= 0.5)
    assert each.loc[(2, "accuracy"), "estimate"] == pytest.approx(right, abs=1e-4)
    assert "96 tiles of 24 cases left out" in capsys.readouterr().out
    assert train(breakhis, tmp_path / "run", *quick[:-1], "3") == 1
    assert "fold is '1 of 2' there and '1 of 3' here" in capsys.readouterr().err


def test_tiles_are_coloured_once_and_those_without_tissue_are_counted(tmp_path):
    images = np.stack([histology.tile(histology.patient(0), n, size=48).image for n in range(3)])
    empty = np.full((2, 48, 48, 3), 235, np.uint8)
    mixed = tiles.Tiles(np.concatenate([images, empty]), pd.DataFrame({"group": range(5)}))
    normalise, said, path = stain.fit(images[:1], "macenko"), [], tmp_path / "a" / "tiles.npy"
    found = histology_data.coloured(mixed, normalise, say=said.append, path=path)
    np.testing.assert_array_equal(found.images, normalise(mixed.images))
    np.testing.assert_array_equal(found.images[3:], empty)
    histology_data.coloured(mixed, None, say=said.append)
    histology_data.coloured(mixed, normalise, say=said.append, path=path)
    assert [text[:24] for text in said] == ["2 of 5 tiles have too li"]
    inside = histology_data.coloured(mixed, normalise, say=said.append)
    np.testing.assert_array_equal(inside.images, found.images)
    assert len(said) == 2


def test_tiles_that_are_there_twice_count_once_and_not_where_subtypes_are_told():
    names = ["SOB_M_DC_14-13412", "SOB_M_LC_14-13412", "SOB_M_DC_14-2523", pd.NA]
    table = pd.DataFrame({"exam_id": pd.array(names, "string"), "cancer": [1, 1, 1, 0]})
    table["subtype"] = ["ductal_carcinoma", "lobular_carcinoma", "ductal_carcinoma", "adenosis"]
    assert histology_data.labelled(table, "binary")["exam_id"].fillna("").tolist() == [*names[1:3], ""]
    assert histology_data.labelled(table, "subtypes")["exam_id"].fillna("").tolist() == [names[2], ""]
    without = histology_data.labelled(table.drop(index=1), "binary")  # the only one that somebody left
    assert without["exam_id"].fillna("").tolist() == [names[0], names[2], ""]


def test_any_folder_of_classes_can_be_learnt_from_first(breakhis, own, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number, file in enumerate(sorted((own / "malignant").iterdir())[:4]):
            Image.open(file).rotate(90 * "abc".index(name)).save(tmp_path / "own" / name / f"{number}.png")
    assert train(breakhis, tmp_path / "run", "--first", tmp_path / "own", "--epochs", "1") == 0
    assert len(load_file(tmp_path / "run" / "first" / "weights.safetensors")["head.weight"]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "benign=0"], "breakhis has its own"),
        (["--first-epochs", "5"], "--first, which is not given"),
        (["--model", "densenet_small", "--gates", "sigmoid"], "densenet_small has no gates"),
        (["--model", "densenet_small", "--position", "layer"], "densenet_small has no gates"),
        (["--folds", "2", "--external", ".", "--classes", "benign=0"], "not with those of 2 folds"),
        (["--first", "a", "b", "c"], "not 3 words"),
        (["--first", "nowhere"], "--first nowhere: no folder with two or more folders"),
    ],
)
def test_options_that_change_nothing_are_refused(options, message, breakhis, tmp_path, capsys):
    base = ["train", "histology", "--catalog", "breakhis", "--root", str(breakhis), "--size", "32"]
    assert main([*base, "--out", str(tmp_path / "run"), *options]) == 1
    assert message in capsys.readouterr().err


def test_eight_subtypes(breakhis, tmp_path):
    assert (
        train(breakhis, tmp_path / "run", "--task", "subtypes", "--normalise", "reinhard", "--epochs", "1")
        == 0
    )
    found = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert set(found["kind"]) <= set(range(8))
    assert ((found["kind"] >= 4) == found["label"]).all()
    assert (tmp_path / "run" / "confusion.png").is_file()


def test_wrong_options_are_named(breakhis, tmp_path, capsys):
    (tmp_path / "elsewhere" / "benign").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "elsewhere" / "benign" / "1.png")
    alone = ("--external", tmp_path / "elsewhere", "--classes", "benign=0")
    assert train(breakhis, tmp_path, *alone) == 1
    assert "elsewhere has tiles of one class alone" in capsys.readouterr().err
    assert train(breakhis, tmp_path, "--external", tmp_path) == 1
    assert "say which folders are classes" in capsys.readouterr().err
    assert train(breakhis, tmp_path, "--first", "imagenet", tmp_path) == 1
    assert "unknown first data set 'imagenet'; choose one of: lc25000" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(breakhis, tmp_path, "--classes", "malignant=2")
    assert "write a folder and 0 or 1" in capsys.readouterr().err


def test_the_published_recipe_is_the_default_with_a_gpu(monkeypatch, capsys):
    recipe = histology_recipe.Recipe()
    assert (recipe.batch_size, recipe.lr, recipe.epochs, recipe.weights) == (32, 0.01, 200, "imagenet")
    assert (recipe.optimizer, recipe.weight_decay) == ("sgd", 1e-4)  # a hundredth of what AdamW has here
    monkeypatch.setenv("MAMMO_PROFILE", "gpu")
    with pytest.raises(SystemExit):
        main(["train", "histology", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "highest learning rate (0.01)" in said
    assert "(se_densenet121)" in said
