"""``python -m mammo_utils recipe`` on small folders as VinDr-Mammo and the density data set have them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy import stats

from mammo_utils.__main__ import main
from mammo_utils.data.cache import ImageCache
from mammo_utils.models import weights
from mammo_utils.models.segmentation import build
from mammo_utils.study import segmenter
from mammo_utils.study.segmenter import Settings
from mammo_utils.synth import exams
from mammo_utils.training.pretraining import RECIPES, pretrain

MODEL = "unet/test_efficientnet"
QUICK = ["--model", MODEL, "--size", "64", "--precision", "32-true"]
QUICK += ["--epochs", "6", "--pretrain-images", "72", "--lr", "0.01"]
WOMEN = exams.cohort("train")[:24]  # four of them are VinDr's test women
LABELLED = WOMEN[:13]  # the masks of two of these are withheld


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The women as VinDr-Mammo has them, half of them as in the density data set too."""
    folder = tmp_path_factory.mktemp("data")
    exams.write(folder / "vindr", WOMEN, layout="vindr", size=64)
    exams.write(folder / "density", LABELLED, layout="density", size=64)
    return folder


def recipe(root, out, *options):
    data = ["--data", "vindr", "--root", root / "vindr", "--labelled-root", root / "density"]
    cache = ["--cache", root / "cache"]
    return main(["recipe", *map(str, [*data, *cache, *QUICK, *options]), "--out", str(out)])


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert recipe(root, out) == 0
    return out


@pytest.fixture(scope="module")
def listed(root):
    """What VinDr's own table says of every image, and whether the density data set has it."""
    table = pd.read_csv(root / "vindr" / "breast-level_annotations.csv").set_index("image_id")
    names = [pd.read_csv(root / "density" / f"{part}.csv")["Filename"] for part in ("train", "test")]
    mine = table.index.isin(pd.concat(names).str.removesuffix(".jpg"))
    return table.assign(theirs=table["study_id"].isin(table["study_id"][mine]))


def caches(root):
    return [ImageCache.open(root / "cache" / name) for name in ("labelled", "unlabelled")]


def rows_of(images, found, *splits):
    """Rows of the cache of the images in some splits of ``density.csv``."""
    names = found.index[found["split"].isin(splits)]
    return np.flatnonzero(images.table["image_id"].isin(names))


def density_of(run):
    return pd.read_csv(run / "density.csv", index_col="image_id")


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())


def test_no_labelled_woman_and_none_of_the_test_part_is_learnt_from_without_labels(run, root, listed):
    expected = listed.index[~listed["theirs"] & (listed["split"] == "training")]
    found = density_of(run)
    assert len(expected) == 36
    assert set(found.index[found["split"] == "pool"]) == set(expected)
    assert set(found.index[found["pretrained"]]) == set(expected)
    unseen = listed.index[~listed["theirs"] & (listed["split"] == "test")]
    assert set(found.index[found["split"] == "unseen"]) == set(unseen)
    assert len(unseen) == 8
    # The weights are those of training on these images and on no others.
    images = caches(root)[1]
    rows = np.flatnonzero(images.table["image_id"].isin(expected))
    torch.manual_seed(0)
    model = build(MODEL, size=images.images.shape[1:])
    own = replace(RECIPES["multiview"], batch_size=36)
    pretrain(model, images, "multiview", budget=72, rows=rows, recipe=own, precision="32-true")
    assert same(load_file(run / "encoder.safetensors"), model.encoder.state_dict())


def learnt(root, run, folder, **changes):
    """The weights of a direct training on the women of the split ``train``."""
    known = {"model": MODEL, "weights": str(run / "encoder.safetensors"), "loss": "hybrid_density"}
    known |= {"lam": 1.0, "epochs": 6, "lr": 0.01, "precision": "32-true"}
    found, images = density_of(run), caches(root)[0]
    rows, valid = rows_of(images, found, "train"), rows_of(images, found, "valid")
    segmenter.learn(images, Settings(**known | changes), folder, rows=rows, valid=valid)
    return load_file(folder / "weights.safetensors")


def test_no_test_woman_is_trained_on(run, root, listed, tmp_path):
    found = density_of(run)
    split = found["split"][found["label"].notna()]
    women = listed["study_id"][split.index]
    assert split.groupby(women).nunique().eq(1).all()
    assert women.groupby(split).nunique().to_dict() == {"train": 7, "valid": 2, "test": 2}
    assert same(load_file(run / "weights.safetensors"), learnt(root, run, tmp_path))


def test_densities_are_the_masks_of_the_kept_weights_counted_pixel_by_pixel(run, root, listed):
    found = density_of(run)
    model = build(MODEL, size=64)
    model.load_state_dict(load_file(run / "weights.safetensors"))
    model.eval()
    seen = []
    for images in caches(root):
        for row, name in enumerate(images.table["image_id"]):
            if name not in found.index:
                continue
            picture = torch.from_numpy(images.images[row].astype(np.float32) / 65535)
            with torch.no_grad():
                dense, breast = (model(picture[None, None])[0] > 0).tolist()
            pairs = [pair for lines in zip(dense, breast, strict=True) for pair in zip(*lines, strict=True)]
            area = sum(b for _, b in pairs)
            percent = 100 * sum(d and b for d, b in pairs) / area if area else 0
            assert found["percent_density"][name] == pytest.approx(percent, abs=0.5)  # pixels on the line
            seen.append(name)
    assert sorted(seen) == sorted(found.index)
    assert (found["percent_density"] > 5).mean() > 0.5  # or most would be nought either way
    assert found["density_class"].to_dict() == listed["breast_density"].str[-1][found.index].to_dict()


def test_labels_are_those_that_the_data_set_publishes(run, root):
    found = density_of(run)["label"].dropna()
    files = sorted((root / "density" / "train" / "dense_masks").iterdir())
    assert sorted(found.index) == [file.stem for file in files]
    table = pd.read_csv(root / "density" / "train.csv").set_index("Filename")["Density"]
    published = table[found.index + ".jpg"].to_numpy()
    assert np.abs(found.to_numpy() - published).max() < 1  # lossy masks, cropped


def test_scores_come_from_the_table_of_densities(run, root, listed):
    found, scores = density_of(run), pd.read_csv(run / "scores.csv").set_index(["on", "metric"])
    test = found[found["split"] == "test"]
    error = test["percent_density"] - test["label"]
    assert scores.loc[("test", "density_mae"), "estimate"] == pytest.approx(error.abs().mean(), abs=1e-3)
    for name in ("test", "unseen", "pool"):
        own = found[found["split"] == name]
        expected = stats.spearmanr(own["percent_density"], own["density_class"].map(ord)).statistic
        row = scores.loc[(name, "spearman")]
        assert row["estimate"] == pytest.approx(expected, abs=1e-3)
        assert row["low"] <= row["estimate"] <= row["high"]
        assert (row["images"], row["women"]) == (len(own), listed["study_id"][own.index].nunique())


def test_the_texts_name_counts_scores_limits_and_licences_and_nobody(run, listed, root):
    card, report = ((run / f"{name}.md").read_text() for name in ("model_card", "report"))
    for line in (
        "| train | labelled, learnt from | 28 | 7 |",
        "| test | labelled, left out | 8 | 2 |",
        "| pool | unlabelled, learnt from without labels | 36 | 9 |",
        "| unseen | unlabelled, left out | 8 | 2 |",
        "| loss | hybrid_density, λ = 1 |",
    ):
        assert line in card
    assert "no medical device" in card
    assert "CC BY-NC 4.0" in card
    assert "PhysioNet" in card
    assert "14.8 → 11.8" in report
    assert "0.42 → 0.51" in report
    assert "protocols differ" in report
    scores = pd.read_csv(run / "scores.csv").set_index(["on", "metric"])
    error = scores.loc[("test", "density_mae")]
    said = f"{error['estimate']:.1f} [{error['low']:.1f}, {error['high']:.1f}]"
    assert said in card
    assert f"| 14.8 → 11.8 | {said} | test: 8 images of 2 women |" in report
    settings = (run / "settings.json").read_text()
    made = json.dumps(weights.made(run / "encoder.safetensors"))
    written = [(run / name).read_text() for name in ("density.csv", "scores.csv")]
    for secret in (*listed["study_id"].unique(), str(root), str(run.parent)):
        assert not any(secret in text for text in (card, report, settings, made, *written))
    with Image.open(run / "predictions.png") as picture:
        assert min(picture.size) > 300


def rank(run, start):
    """Rank of what the training changed in the widest convolution of the encoder."""
    model = build(MODEL, size=64)
    model.load_state_dict(load_file(run / "weights.safetensors"))
    after, before = model.encoder.state_dict(), load_file(start)
    changes = [(after[name] - before[name]).flatten(1) for name in before if before[name].ndim == 4]
    return int(torch.linalg.matrix_rank(max(changes, key=lambda one: min(one.shape)).double(), rtol=1e-4))


def test_without_full_fine_tuning_the_encoder_changes_by_few_ranks(run, root, tmp_path):
    out = tmp_path / "out"
    assert recipe(root, out, "--leave-out", "full") == 0
    assert same(load_file(out / "encoder.safetensors"), load_file(run / "encoder.safetensors"))
    assert rank(out, run / "encoder.safetensors") <= 4 < rank(run, run / "encoder.safetensors")
    assert "Left out: full." in (out / "report.md").read_text()


def test_without_the_hybrid_loss_bce_and_dice_are_minimised(run, root, tmp_path):
    out = tmp_path / "out"
    assert recipe(root, out, "--leave-out", "hybrid") == 0
    direct = learnt(root, run, tmp_path / "direct", loss="bce_dice", lam=None)
    found = load_file(out / "weights.safetensors")
    assert same(found, direct)
    assert not same(found, load_file(run / "weights.safetensors"))


def test_without_multi_view_nothing_is_learnt_without_labels(run, root, tmp_path):
    out = tmp_path / "out"
    assert recipe(root, out, "--leave-out", "multi-view") == 0
    assert not (out / "encoder.safetensors").exists()
    direct = learnt(root, run, tmp_path / "direct", weights="none")
    assert same(load_file(out / "weights.safetensors"), direct)
    found = density_of(out)
    assert not found["pretrained"].any()
    assert found["split"].to_dict() == density_of(run)["split"].to_dict()
    assert "| pool | unlabelled, not learnt from | 36 | 9 |" in (out / "model_card.md").read_text()


def test_a_finished_run_is_taken_as_it_is_and_another_cannot_have_its_folder(run, root, capsys):
    kept = {name: (run / name).stat().st_mtime_ns for name in ("encoder.safetensors", "weights.safetensors")}
    scores = (run / "scores.csv").read_text()
    assert recipe(root, run) == 0
    assert (run / "scores.csv").read_text() == scores
    capsys.readouterr()
    for options, said in (
        (["--seed", "1"], "seed is 0 there and 1 here"),
        (["--leave-out", "hybrid"], "leave_out is [] there and ['hybrid'] here"),
        (["--unlabelled", "20"], "pool is '36 images"),
        (["--labels", "40"], "labels is '44 images"),
    ):
        assert recipe(root, run, *options) == 1
        error = capsys.readouterr().err
        assert "holds another run" in error
        assert said in error
    assert kept == {name: (run / name).stat().st_mtime_ns for name in kept}


def test_fewer_images_are_whole_women(root, tmp_path, listed, capsys):
    options = ["--unlabelled", "10", "--labels", "43", "--leave-out", "multi-view", "--epochs", "1"]
    assert recipe(root, tmp_path / "run", *options, "--cache", tmp_path / "cache") == 0
    found = density_of(tmp_path / "run")
    sizes = listed["study_id"][found.index].groupby(found["split"].to_numpy()).value_counts()
    assert sizes.eq(4).all()
    assert found["split"].value_counts().to_dict() == {
        "train": 24,
        "valid": 8,
        "test": 8,
        "pool": 8,
        "unseen": 8,
    }
    assert recipe(root, tmp_path / "other", *options, "--keep-test", "--cache", tmp_path / "cache") == 0
    assert "keeps the women of the official split test" in capsys.readouterr().out
    assert "unseen" not in set(density_of(tmp_path / "other")["split"])


@pytest.mark.slow
def test_a_run_killed_in_either_stage_ends_with_the_weights_of_one_left_alone(root, tmp_path):
    options = ["--epochs", "8", "--pretrain-images", "360"]
    data = ["--data", "vindr", "--root", root / "vindr", "--labelled-root", root / "density"]
    given = [*data, "--cache", root / "cache", *QUICK, *options, "--out", tmp_path / "killed"]
    for waited_for, not_yet in (
        ("encoder.pt", "encoder.safetensors"),
        ("checkpoint.pt", "weights.safetensors"),
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "mammo_utils", "recipe", *map(str, given)],
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            stdout=subprocess.DEVNULL,
        )
        begun = time.monotonic()
        while not (tmp_path / "killed" / waited_for).exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() - begun < 120
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed" / not_yet).exists()
    for name in ("killed", "alone"):
        assert recipe(root, tmp_path / name, *options) == 0
    for name in ("encoder.safetensors", "weights.safetensors"):
        assert same(*(load_file(tmp_path / run / name) for run in ("killed", "alone"))), name
    for name in ("density.csv", "scores.csv"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "alone" / name).read_text()
