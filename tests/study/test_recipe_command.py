"""``python -m mammo_utils recipe`` on phantom women of its own, and with wrong input."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs
from mammo_utils.data.cache import ImageCache
from mammo_utils.study import recipe, recipe_card, unlabelled
from mammo_utils.synth import exams

QUICK = ["--model", "unet/test_efficientnet", "--size", "64", "--precision", "32-true", "--lr", "0.01"]
FEW = ["--epochs", "6", "--pretrain-images", "40", "--unlabelled", "23", "--labels", "40"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on phantom women that it draws itself."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(folder / "home"))
        assert main(["recipe", *QUICK, *FEW, "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_phantom_women_are_of_the_pool_and_of_train_and_never_of_final(run):
    women = {"unlabelled": exams.cohort("pool")[:5], "labelled": exams.cohort("train")[:10]}
    for name, expected in women.items():
        images = ImageCache.open(run / "cache" / name)
        assert sorted({int(woman.strip("P")) for woman in images.table["patient_id"]}) == list(expected)
        assert not set(images.table["official_split"]) & {"valid", "test", "final"}


def test_phantoms_are_learnt_as_a_reader_draws_them_and_scored_against_the_truth_too(run):
    images, found = (
        ImageCache.open(run / "cache" / "labelled"),
        pd.read_csv(run / "density.csv", index_col="image_id"),
    )
    own = found.loc[images.table["image_id"]]
    area = images.masks["breast"].sum((1, 2))
    for mask, on in (("reader_A", "test"), ("dense", "test, truth")):
        percent = 100 * (images.masks[mask] & images.masks["breast"]).sum((1, 2)) / area
        if on == "test":
            np.testing.assert_allclose(own["label"], percent, atol=1e-4)
        error = np.abs(own["percent_density"] - percent)[(own["split"] == "test").to_numpy()].mean()
        scores = pd.read_csv(run / "scores.csv").set_index(["on", "metric"])
        assert scores.loc[(on, "density_mae"), "estimate"] == pytest.approx(error, abs=1e-3)


def test_both_texts_say_that_it_learnt_from_phantoms(run):
    for name in ("model_card.md", "report.md"):
        text = " ".join((run / name).read_text().split())
        assert "learnt from phantoms, which are simulated breasts: its scores say nothing about" in text


def test_the_report_explains_every_score_and_what_it_was_taken_on(run):
    report, scores = (run / "report.md").read_text(), pd.read_csv(run / "scores.csv")
    every = report.partition("## All scores")[2]
    lines = [line.strip("| ").split(" | ") for line in every.splitlines() if line.startswith("|")]
    assert len(lines) == len(scores) + 2
    for score in scores.itertuples():
        said = recipe_card.METRICS[score.metric]
        (line,) = [line for line in lines if line[:2] == [score.on, said]]
        assert float(line[2].split()[0]) == pytest.approx(score.estimate, abs=0.06)
        assert f"* {score.on}: {recipe_card.ON[score.on]}." in " ".join(report.split())
    card = (run / "model_card.md").read_text()
    assert "starting from random weights" in card
    assert "Not prepared" not in card


def test_files_that_could_not_be_prepared_are_counted_in_the_card(run, tmp_path):
    drawn = {name: next(run.parent.glob(f"home/phantom_*/recipe_{name}_*")) for name in ("pool", "train")}
    shutil.copytree(drawn["pool"], tmp_path / "pool")
    broken = sorted((tmp_path / "pool").rglob("*.dcm"))[0]
    broken.write_bytes(broken.read_bytes()[:400])
    given = ["--data", "phantom", "--root", tmp_path / "pool", "--labelled", "phantom"]
    given += ["--labelled-root", drawn["train"], "--leave-out", "multi-view", "--epochs", "1"]
    assert main(["recipe", *QUICK, *map(str, given), "--out", str(tmp_path / "run")]) == 0
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert "\nNot prepared: 1 more files, see `failures.csv`" in card
    assert "| pool | unlabelled, not learnt from | 19 | 5 |" in card


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three women of the pool, and five of train, as phantoms and as VinDr-Mammo has them."""
    folder = tmp_path_factory.mktemp("data")
    exams.write(folder / "pool", exams.cohort("pool")[:3], layout="phantom", size=64)
    exams.write(folder / "train", exams.cohort("train")[:5], layout="phantom", size=64)
    exams.write(folder / "vindr", exams.cohort("train")[:5], layout="vindr", size=64)
    return folder


BOTH = "--data phantom --root {root}/pool --labelled phantom --labelled-root {root}/train "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--labelled phantom", "--labelled is of no use without --data: name a data set"),
        ("--unlabelled 7", "--unlabelled 7: a phantom woman has four images; give 8 or more"),
        ("--labels -4", "--labels -4: a phantom woman has four images"),
        ("--data phantom --root {root}/pool", "--labelled: name a data set with masks of dense tissue"),
        ("--data phantom --root nowhere --labelled phantom --labelled-root {root}/train", "does not exist"),
        (
            BOTH,
            "5 labelled women are too few for a split; label 10 or more",
        ),
        (
            "--data phantom --root {root}/train --labelled phantom --labelled-root {root}/train",
            "every image belongs to a labelled woman",
        ),
        (
            "--data phantom --root {root}/pool --labelled vindr --labelled-root {root}/vindr",
            "vindr has no mask of dense tissue, .* name a data set that has them, such as density",
        ),
        (
            BOTH + "--labels 3",
            "--labels 3: the first woman has 4 images; give more",
        ),
        (
            BOTH + "--unlabelled 4",
            "multiview learns from several women and the pool has one: give more images",
        ),
        (BOTH + "--epochs 0", "epochs=0: give a number above 0"),
        (BOTH + "--lr -1", "lr=-1.0: give a number above 0"),
        (BOTH + "--weights nowhere", "unknown weights .* 'nowhere'; choose one of: none"),
        (BOTH + "--precision 8bit", "'8bit' is invalid"),
    ],
)
def test_wrong_input_gets_the_reason_and_the_remedy(options, message, root, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path / "home"))
    given = options.format(root=root).split()
    assert main(["recipe", *QUICK, *given, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not list(tmp_path.rglob("*.safetensors"))
    if "too few" not in message:
        assert not list(tmp_path.rglob("images.raw")), "told after images were prepared"


def test_women_in_two_tables_are_refused(root, tmp_path):
    """Also where the function is called with tables of one's own; nothing is written."""
    known, pool = (catalogs.load("phantom", root / name) for name in ("train", "pool"))
    given = recipe.Recipe(model="unet/test_efficientnet", weights="none", size=64, precision="32-true")
    for tables in ((known[:4], pool, known), (pool[:2], pool[2:], known)):
        with pytest.raises(ValueError, match="are in two of the tables pool, unseen, labelled"):
            recipe.recipe(*tables, given, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["recipe", "--out", str(tmp_path / "run")]) == 1
    assert "recipe is one process: let pretrain run in several" in capsys.readouterr().err


def test_at_most_so_many_images_are_those_of_whole_women_and_the_seed_redraws_them():
    names = [f"w{number}" for number in range(20)]
    table = pd.DataFrame({"group": names * 3, "image_id": range(60)})
    chosen = {seed: unlabelled.at_most(table, 31, option="--labels", seed=seed) for seed in (0, 0, 1)}
    for part in chosen.values():
        assert part["group"].value_counts().eq(3).all()
        assert len(part) == 30
    assert set(chosen[0]["group"]) != set(chosen[1]["group"])
    mixed = unlabelled.at_most(table.sample(frac=1, random_state=0), 31, option="--labels")
    assert set(mixed["group"]) == set(chosen[0]["group"])
    assert len(unlabelled.at_most(table, None, option="--labels")) == 60
