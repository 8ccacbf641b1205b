"""``python -m mammo_utils train histology``: from folders to scores, level by level, also resumed."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, roc_auc_score

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs, tiles
from mammo_utils.models.classification import build
from mammo_utils.study import histology_recipe
from mammo_utils.synth import histology

pytestmark = pytest.mark.filterwarnings("ignore:every image counts as a woman")
QUICK = ["--size", "32", "--first-epochs", "1", "--epochs", "2", "--precision", "32-true"]


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
    return main([*base, *QUICK, *map(str, options)])


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
    ready = histology_recipe.colours("macenko", cached, rows["train"])
    again = histology_recipe.predictions(model, ready(cached), histology_recipe.Recipe(), rows["test"])
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
    assert histology_recipe.by_magnification(found.assign(magnification=np.nan)).empty


def test_classes_of_the_first_level_are_its_own_even_if_they_are_two(tmp_path):
    """Their number must not make them benign and malignant."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 200, (60, 32, 32, 3), dtype=np.uint8)
    known = {"group": [f"c{n // 2}" for n in range(60)], "cancer": [n // 2 % 2 for n in range(60)]}
    target = tiles.Tiles(images, pd.DataFrame(known | {"magnification": 200}))
    source = tiles.Tiles(images[:40], pd.DataFrame({"diagnosis": list("ab") * 20, "group": range(40)}))
    recipe = histology_recipe.Recipe(
        model="densenet_small",
        weights="none",
        normalise="none",
        first_epochs=1,
        epochs=1,
        precision="32-true",
    )
    histology_recipe.train(target, recipe, tmp_path / "run", first=source, say=lambda text: None)
    head = load_file(tmp_path / "run" / "first" / "weights.safetensors")["head.weight"]
    assert len(head) == 2


def test_a_finished_run_is_not_trained_again_and_another_one_is_refused(run, breakhis, lc25000, capsys):
    before = (run / "target" / "weights.safetensors").stat().st_mtime_ns
    assert train(breakhis, run, "--first", "lc25000", lc25000) == 0
    assert (run / "target" / "weights.safetensors").stat().st_mtime_ns == before
    assert train(breakhis, run, "--first", "lc25000", lc25000, "--lr", "0.5") == 1
    assert "lr is 0.003 there and 0.5 here" in capsys.readouterr().err


def test_every_part_has_every_subtype():
    kind = np.repeat(np.arange(8), 5)
    table = pd.DataFrame({"cancer": kind // 4, "kind": kind, "group": [f"c{n}" for n in range(40)]})
    assert all(set(kind[rows]) == set(kind) for rows in histology_recipe.parts(table, seed=0).values())


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
