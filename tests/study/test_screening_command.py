"""``python -m mammo_utils train screening``: from folders to scores here and elsewhere, also resumed."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs
from mammo_utils.data.cache import ImageCache
from mammo_utils.models.classification import build
from mammo_utils.study import screening_recipe
from mammo_utils.synth import exams

QUICK = ["--model", "test_efficientnet", "--weights", "none", "--size", "48", "--precision", "32-true"]
QUICK += ["--batch-size", "8", "--warm-epochs", "1", "--epochs", "3", "--specificity", "0.6"]


@pytest.fixture(scope="module")
def rsna(tmp_path_factory):
    """Sixteen phantom women in RSNA's layout, half of them with cancer."""
    root = tmp_path_factory.mktemp("rsna")
    exams.write(root, range(1216, 1232), layout="rsna", size=64, prevalence=0.5)
    return root


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("inbreast")
    exams.write(root, range(40, 46), layout="inbreast", size=64, prevalence=0.5)
    return root


def train(root, out, *options):
    base = ["train", "screening", "--catalog", "rsna", "--root", str(root), "--out", str(out)]
    return main([*base, *QUICK, *map(str, options)])


@pytest.fixture(scope="module")
def run(rsna, inbreast, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "published"
    assert train(rsna, out, "--external", "inbreast", inbreast) == 0
    return out


def test_stages_learn_from_the_balanced_subset_and_then_from_all(run):
    table = pd.read_csv(run / "splits.csv")
    assert table.groupby("woman")["split"].nunique().eq(1).all()
    assert set(table["split"]) == {"train", "valid", "test"}
    images = ImageCache.open(run / "cache_48")
    assert images.images.shape[1:] == (48, 48)
    warm, full = (pd.read_csv(run / stage / "history.csv") for stage in ("warm_up", "transfer"))
    assert (len(warm), len(full)) == (1, 3)
    learnt = table[table["split"] == "train"]
    cancer = images.table.iloc[learnt["row"]].groupby(["group", "laterality"])["cancer"].max()
    sick = int(cancer.sum())
    assert full["images"].eq(len(learnt)).all()
    assert warm["images"].tolist() == [2 * 2 * sick]  # two views of as many breasts with and without
    settings = json.loads((run / "settings.json").read_text())["settings"]
    assert (settings["stages"], settings["unfreezing"], settings["batch_size"]) == (
        "warm_up",
        "progressive",
        8,
    )


def test_scores_are_those_of_the_best_weights_at_the_threshold_of_validation_women(run):
    images, table = ImageCache.open(run / "cache_48"), pd.read_csv(run / "splits.csv")
    model = build("test_efficientnet", size=48)
    model.load_state_dict(load_file(run / "transfer" / "weights.safetensors"))
    rows = {name: part["row"].to_numpy() for name, part in table.groupby("split")}
    valid, test = (screening_recipe.breasts(model, images, rows[name]) for name in ("valid", "test"))
    found = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(found["logit"], test["logit"], atol=1e-4)
    assert len(found) == len(rows["test"]) / 2
    negatives = valid.loc[valid["label"] == 0, "logit"]
    cut = min(value for value in [*valid["logit"], np.inf] if (negatives >= value).mean() <= 0.4)
    np.testing.assert_array_equal(found["called"], found["logit"] >= cut - 1e-4)
    scores = pd.read_csv(run / "scores.csv", index_col="score")
    auc = roc_auc_score(found["label"], found["logit"])
    assert scores.loc["roc_auc", "estimate"] == pytest.approx(auc, abs=1e-4)
    called = found.loc[found["label"] == 1, "called"].mean()
    assert scores.loc["sensitivity", "estimate"] == pytest.approx(called, abs=1e-4)
    accuracy = scores.loc["accuracy", "without looking"]
    assert accuracy == pytest.approx(1 - found["label"].mean(), abs=1e-4)


def test_the_external_women_are_scored_with_the_same_threshold(run, inbreast):
    table = catalogs.load("inbreast", inbreast)
    found = pd.read_csv(run / "predictions_external.csv")
    units = table.assign(positive=table["birads"] >= 4).groupby(["group", "laterality"])["positive"].max()
    assert len(found) == len(units)
    assert found["label"].sum() == units.sum()
    here = pd.read_csv(run / "predictions.csv")
    called, left = (pd.concat([here, found]).query(f"called == {one}")["logit"] for one in (True, False))
    assert called.min() > left.max()
    for end in ("", "_external"):
        with Image.open(run / f"curves{end}.png") as picture:
            assert min(picture.size) > 300


def test_no_identifier_of_a_woman_is_written(run, rsna, inbreast):
    names = set(catalogs.load("rsna", rsna)["patient_id"].astype(str))
    hashes = set(catalogs.load("inbreast", inbreast)["patient_id"].astype(str))
    assert min(map(len, names)) >= 4
    for name in ("splits.csv", "predictions.csv", "scores.csv", "predictions_external.csv", "settings.json"):
        written = (run / name).read_text()
        assert not names & set(re.split(r"[,\s\"]", written)), name
        assert not any(one in written for one in hashes), name


def test_a_finished_stage_is_taken_as_it_is_and_another_run_cannot_have_the_folder(run, rsna, capsys):
    weights = run / "transfer" / "weights.safetensors"
    before, scores = weights.stat().st_mtime_ns, (run / "scores.csv").read_text()
    assert train(rsna, run) == 0
    assert weights.stat().st_mtime_ns == before
    assert (run / "scores.csv").read_text() == scores
    assert train(rsna, run, "--lr", "0.5") == 1
    assert "holds another run: lr is 0.0003 there and 0.5 here" in capsys.readouterr().err


def test_a_run_stopped_in_its_second_stage_ends_as_one_left_alone(run, rsna, tmp_path, monkeypatch):
    class Stopped(BaseException):
        pass

    def stop(history):
        if len(history.rows) == 2:
            raise Stopped

    own = screening_recipe.fit
    monkeypatch.setattr(
        screening_recipe, "fit", lambda *a, **k: own(*a, **k, **({"watch": stop} if k["epochs"] == 3 else {}))
    )
    with pytest.raises(Stopped):
        train(rsna, tmp_path / "run")
    monkeypatch.setattr(screening_recipe, "fit", own)
    assert (tmp_path / "run" / "transfer" / "checkpoint.pt").is_file()
    assert train(rsna, tmp_path / "run") == 0
    found, wanted = (load_file(one / "transfer" / "weights.safetensors") for one in (tmp_path / "run", run))
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--external", "inbreast", "nowhere"], "nowhere"),
        (["--external", "rsna", "{rsna}"], "is the folder that is learnt from"),
        (["--external", "breast", "nowhere"], "choose one of"),
        (["--size", "16"], "give 32 pixels or more"),
        (["--weights", "resnet"], "unknown weights"),
        (["--specificity", "90"], "from 0 to 1"),
    ],
)
def test_wrong_input_gets_the_reason(options, message, rsna, run, tmp_path, capsys):
    cache = [] if "--size" in options else ["--cache", run / "cache_48"]
    options = [str(one).format(rsna=rsna) for one in options]
    assert train(rsna, tmp_path / "run", *cache, *options) == 1
    assert message in capsys.readouterr().err


def test_labels_where_nobody_knows_who_had_cancer():
    table = pd.DataFrame(
        {"cancer": [pd.NA] * 5, "birads": [2, 4, 5, None, 3], "laterality": ["L", "R", "L", "L", None]}
    )
    known, said = screening_recipe.labelled(table)
    assert known["cancer"].tolist() == [0, 1, 1]
    assert "BI-RADS 4" in said
    known, said = screening_recipe.labelled(table.assign(cancer=[0, 1, None, 0, 1]))
    assert (known["cancer"].tolist(), said) == ([0, 1, 0], "cancer")
    with pytest.raises(ValueError, match="no image has a side and a label"):
        screening_recipe.labelled(table.assign(birads=None))


def test_a_split_without_positives_asks_for_more_women():
    table = pd.DataFrame({"group": list("abcdef"), "cancer": [1, 0, 0, 0, 0, 0]})
    with pytest.raises(ValueError, match="one class alone; more women"):
        screening_recipe.parts(table, seed=0)
