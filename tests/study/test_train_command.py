"""``python -m mammo_utils train``: on folders and catalogues, killed and resumed, and with wrong input."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mammo_utils.__main__ import main
from mammo_utils.data.batches import Batches
from mammo_utils.data.cache import ImageCache
from mammo_utils.evaluation.segmentation import dice
from mammo_utils.models.segmentation import build
from mammo_utils.synth import exams
from mammo_utils.training import tasks

MODEL = "unet/test_efficientnet"
QUICK = ["--model", MODEL, "--size", "48", "--precision", "32-true", "--batch-size", "4"]
LABELS = ["--label", "dense=192", "--label", "breast=128,192"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Ten phantom women as DICOM files with masks."""
    root = tmp_path_factory.mktemp("phantom")
    exams.write(root, range(10), layout="phantom", size=64)
    return root


@pytest.fixture(scope="module")
def films(phantom, tmp_path_factory):
    """Three of these women as pictures with one label image each."""
    root = tmp_path_factory.mktemp("films")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    table = pd.read_csv(phantom / "phantom.csv", dtype=str)
    table = table[table["patient_id"].isin(sorted(table["patient_id"].unique())[:3])]
    for name in table["image_id"]:
        masks = {
            kind: np.array(Image.open(phantom / "masks" / kind / f"{name}.png")) > 127
            for kind in ("breast", "dense", "pectoral")
        }
        label = np.full(masks["dense"].shape, 64, np.uint8)
        label[masks["breast"]], label[masks["dense"]] = 128, 192
        label[masks["pectoral"]] = 255
        Image.fromarray(label).save(root / "labels" / f"{name}_LI.png")
        grey = 40 * masks["pectoral"] + 90 * masks["breast"] + 90 * masks["dense"]
        Image.fromarray(np.uint8(20 * (grey > 0) + grey)).save(root / "images" / f"{name}.png")
    table[["image_id", "patient_id"]].to_csv(root / "images.csv", index=False)
    return root


def train(catalog, root, out, *options):
    options = [*QUICK, "--epochs", "2", *map(str, options)]
    return main(
        ["train", "segmentation", "--catalog", catalog, "--root", str(root), "--out", str(out), *options]
    )


@pytest.fixture(scope="module")
def crossed(films, tmp_path_factory):
    """A finished run of three folds."""
    out = tmp_path_factory.mktemp("runs") / "crossed"
    assert train("folder", films, out, *LABELS, "--folds", 3) == 0
    return out


def test_folds_leave_each_woman_out_once(films, crossed):
    table = pd.read_csv(crossed / "splits.csv", dtype=str)
    assert sorted(table["image_id"]) == sorted(file.stem for file in (films / "images").iterdir())
    assert table.groupby("group")["split"].nunique().eq(1).all()
    assert table["split"].nunique() == 3
    found = pd.read_csv(crossed / "predictions.csv")
    assert sorted(found["row"]) == list(range(12))
    for name in ("fold_0", "fold_1", "fold_2"):
        assert len(pd.read_csv(crossed / name / "history.csv")) == 2


def test_scores_are_those_of_the_weights_on_the_women_left_out(crossed):
    images, found = ImageCache.open(crossed / "cache"), pd.read_csv(crossed / "predictions.csv")
    for fold, part in found.groupby("fold"):
        model = build(MODEL, size=48)
        model.load_state_dict(load_file(crossed / f"fold_{fold}" / "weights.safetensors"))
        masks = tasks.predict(model, Batches(images, part["row"], target="dense"))
        np.testing.assert_allclose(part["dice"], dice(masks.dense >= 0.5, masks.target), atol=1e-6)
    scores = pd.read_csv(crossed / "scores.csv", index_col="metric")
    assert scores.loc["dice", "estimate"] == pytest.approx(found["dice"].mean(), abs=1e-4)
    error = found["density"] - found["density_label"]
    assert scores.loc["density_mae", "estimate"] == pytest.approx(error.abs().mean(), abs=1e-4)
    assert scores.loc["density_bias", "estimate"] == pytest.approx(error.mean(), abs=1e-4)
    assert (scores["low"] <= scores["estimate"]).all()
    assert (scores["estimate"] <= scores["high"]).all()


def test_only_the_table_of_splits_names_images_and_the_settings_say_how_it_was_made(films, crossed):
    for name in ("predictions.csv", "scores.csv", "settings.json"):
        written = (crossed / name).read_text()
        assert not any(file.stem in written for file in (films / "images").iterdir())
    settings = json.loads((crossed / "settings.json").read_text())
    assert settings["settings"]["labels"] == {"dense": [192], "breast": [128, 192]}
    assert settings["settings"]["model"] == MODEL
    assert set(settings["made"]) == {"commit", "machine", "date"}
    with Image.open(crossed / "predictions.png") as picture:
        assert min(picture.size) > 300


def test_a_finished_run_is_taken_as_it_is_and_another_cannot_have_its_folder(films, crossed, capsys):
    weights = crossed / "fold_1" / "weights.safetensors"
    before, scores = weights.stat().st_mtime_ns, (crossed / "scores.csv").read_text()
    assert train("folder", films, crossed, *LABELS, "--folds", 3) == 0
    assert weights.stat().st_mtime_ns == before
    assert (crossed / "scores.csv").read_text() == scores
    assert train("folder", films, crossed, *LABELS, "--folds", 3, "--lr", "0.5") == 1
    said = capsys.readouterr().err
    assert "holds another run: lr is 0.003 there and 0.5 here" in said
    assert "name another folder" in said


def test_a_catalogue_is_split_by_woman_and_keeps_the_best_weights(phantom, tmp_path, capsys):
    assert train("phantom", phantom, tmp_path / "run", "--target", "reader_A") == 0
    table = pd.read_csv(tmp_path / "run" / "splits.csv")
    assert table.groupby("split")["group"].nunique().to_dict() == {"train": 6, "valid": 2, "test": 2}
    assert table.groupby("group")["split"].nunique().eq(1).all()
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    images = ImageCache.open(tmp_path / "run" / "cache")
    model = build(MODEL, size=48)
    model.load_state_dict(load_file(tmp_path / "run" / "weights.safetensors"))
    valid = table.loc[table["split"] == "valid", "row"]
    best = tasks.dice(model, Batches(images, valid, target="reader_A"))
    assert best == pytest.approx(history["valid"].max(), abs=1e-6)
    assert sorted(pd.read_csv(tmp_path / "run" / "predictions.csv")["row"]) == sorted(
        table.loc[table["split"] == "test", "row"]
    )
    assert "8 images of 2 women that were left out" in capsys.readouterr().out


def test_it_goes_on_from_the_weights_of_another_run(films, crossed, tmp_path):
    start = crossed / "fold_0" / "weights.safetensors"
    options = [*LABELS, "--folds", 3, "--from", start, "--lr", "1e-12"]
    assert train("folder", films, tmp_path / "run", *options) == 0
    before, after = load_file(start), load_file(tmp_path / "run" / "fold_0" / "weights.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        if "running" not in name and "num_batches" not in name:  # statistics move without a rate
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_one_left_alone(films, tmp_path):
    options = [*LABELS, "--folds", "2", "--epochs", "40"]
    command = [
        "train",
        "segmentation",
        "--catalog",
        "folder",
        "--root",
        str(films),
        *QUICK,
        *options,
        "--out",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mammo_utils", *command, str(tmp_path / "killed")],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
    )
    checkpoint, waited = tmp_path / "killed" / "fold_0" / "checkpoint.pt", time.monotonic()
    while not checkpoint.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() - waited < 120
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (tmp_path / "killed" / "fold_0" / "weights.safetensors").exists()
    for name in ("killed", "alone"):
        assert main([*command, str(tmp_path / name)]) == 0
    for fold in ("fold_0", "fold_1"):
        found, wanted = (load_file(tmp_path / n / fold / "weights.safetensors") for n in ("killed", "alone"))
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    for name in ("scores.csv", "predictions.csv", "splits.csv"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "alone" / name).read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "dense=7", "--label", "breast=128,192"], "'dense' is empty in all 12 images"),
        (["--label", "dense=192", "--label", "breast=7"], "'breast' is empty in all 12 images"),
        (["--label", "gland=192"], "unknown mask 'gland'; choose one of: breast, dense"),
        ([*LABELS, "--target", "lesion"], "unknown mask 'lesion'; choose one of: breast, dense, foreground"),
        ([*LABELS, "--folds", "4"], "3 labelled women are too few for 4 folds; give 3 at most"),
        ([*LABELS, "--folds", "1"], "1 folds leave nothing to train on"),
        (LABELS, "3 labelled women are too few for a split; .* with --folds 3"),
        ([*LABELS, "--folds", "3", "--from", "nowhere.safetensors"], r"nowhere\.safetensors: no such file"),
        ([*LABELS, "--folds", "3", "--lam", "2"], "--loss bce_dice has none"),
        ([*LABELS, "--folds", "3", "--epochs", "0"], "nothing to train on: .* 0 epochs"),
        ([], "folder masks/ is missing"),
    ],
)
def test_wrong_input_gets_the_reason_and_the_remedy(options, message, films, tmp_path, capsys):
    assert train("folder", films, tmp_path / "run", *options) == 1
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_mistake_that_is_put_right_does_not_hold_the_folder(films, tmp_path, capsys):
    assert train("folder", films, tmp_path / "run", *LABELS, "--folds", 3, "--precision", "half") == 1
    assert "half" in capsys.readouterr().err
    assert train("folder", films, tmp_path / "run", *LABELS, "--folds", 3) == 0


def test_weights_of_another_network_are_refused_in_a_few_lines(films, tmp_path, capsys):
    from mammo_utils.study.segmenter import save

    save(build("unet/mobilenetv2_050", size=48), tmp_path / "other.safetensors")
    options = [*LABELS, "--folds", 3, "--from", tmp_path / "other.safetensors"]
    assert train("folder", films, tmp_path / "run", *options) == 1
    said = capsys.readouterr().err
    assert f"it must come from a training of {MODEL}" in said
    assert len(said.splitlines()) < 10


def test_one_woman_is_too_few_for_anything(films, tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for file in sorted((films / folder).iterdir())[:4]:
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "images.csv").write_bytes((films / "images.csv").read_bytes())
    for options in (LABELS, [*LABELS, "--folds", "2"]):
        assert train("folder", tmp_path, tmp_path / "run", *options) == 1
        assert "1 labelled women: one must be left out" in capsys.readouterr().err


def test_labels_are_refused_where_the_data_set_has_masks(phantom, tmp_path, capsys):
    assert train("phantom", phantom, tmp_path / "run", *LABELS) == 1
    assert "--label is for the catalogue folder; phantom has its own masks" in capsys.readouterr().err


def test_a_label_that_is_not_understood_shows_how_to_write_it(films, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train("folder", films, tmp_path / "run", "--label", "dense:192")
    assert "as in breast=128,192" in capsys.readouterr().err


def test_a_damaged_image_is_left_out_and_named_in_a_list(films, tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / "films" / folder).mkdir(parents=True)
        for file in (films / folder).iterdir():
            (tmp_path / "films" / folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "films" / "images.csv").write_bytes((films / "images.csv").read_bytes())
    broken = sorted((tmp_path / "films" / "images").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    assert train("folder", tmp_path / "films", tmp_path / "run", *LABELS, "--folds", 3) == 0
    assert "1 files left out, see" in capsys.readouterr().err
    assert broken.name in (tmp_path / "run" / "cache" / "failures.csv").read_text()
    assert len(pd.read_csv(tmp_path / "run" / "predictions.csv")) == 11
