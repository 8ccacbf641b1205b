"""``python -m mammo_utils pretrain``: every method on small phantoms, killed and resumed, in two processes,
and with wrong input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import mammo_utils
from mammo_utils.__main__ import main
from mammo_utils.data import cache
from mammo_utils.data.cache import ImageCache
from mammo_utils.models import weights
from mammo_utils.models.segmentation import build
from mammo_utils.study import encoder_file, pretrain_command, unlabelled
from mammo_utils.synth import exams, fractals
from mammo_utils.training.pretraining import RECIPES, Recipe, fields_of, pretrain

MODEL = "unet/test_efficientnet"
QUICK = ["--model", MODEL, "--size", "64", "--precision", "32-true", "--batch-size", "8", "--images", "32"]
FEW = {"fractal": ["--classes", "8"], "masked": ["--patch", "16"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six women of the pool, one of the test and two of the training as DICOM files, and the last two again
    as a data set of their own."""
    folder = tmp_path_factory.mktemp("data")
    train = exams.cohort("train")[:2]
    women = [*exams.cohort("pool")[:6], *exams.cohort("test")[:1], *train]
    exams.write(folder / "phantom", women, layout="phantom", size=64)
    exams.write(folder / "labelled", train, layout="phantom", size=64)
    return folder


@pytest.fixture(scope="module")
def images(root):
    """The cache that the command makes of them, too."""
    return cache.build(unlabelled.table_of("phantom", root / "phantom"), root / "cache", size=64)


def command(method, root, out, *options):
    data = ["--data", "phantom", "--root", root / "phantom", "--cache", root / "cache"]
    data += ["--labelled", "phantom", "--labelled-root", root / "labelled"]
    parts = [method, *([] if method == "fractal" else data), *QUICK, *FEW.get(method, []), *options]
    return ["pretrain", *map(str, parts), "--out", str(out)]


@pytest.fixture(scope="module", params=RECIPES)
def made(request, root, tmp_path_factory):
    """A finished file of every method: its name and path."""
    out = tmp_path_factory.mktemp(request.param) / "new" / "encoder.safetensors"
    assert main(command(request.param, root, out)) == 0
    return request.param, out


def test_the_encoder_is_that_of_training_on_the_women_of_the_pool_alone(made, images):
    method, out = made
    torch.manual_seed(0)
    expected = build(MODEL, size=64)
    before = {name: value.clone() for name, value in expected.encoder.state_dict().items()}
    if method == "fractal":
        images, rows = fractals.arrays(8, 1, size=64), None
    else:
        rows = np.flatnonzero(images.table["official_split"] == "pool")
        assert (len(rows), len(images)) == (24, 36)
    recipe = replace(RECIPES[method], batch_size=8, patch=16)
    pretrain(expected, images, method, budget=32, rows=rows, recipe=recipe, precision="32-true")
    found = build(MODEL, size=64, weights=out).encoder.state_dict()
    for name, value in expected.encoder.state_dict().items():
        assert torch.equal(found[name], value), name
    assert any(not torch.equal(found[name], value) for name, value in before.items())


def test_the_file_says_how_it_was_made_and_names_no_folder_and_no_woman(made, root):
    method, out = made
    found = weights.made(out)
    assert {
        "method": method,
        "model": MODEL,
        "start": "none",
        "seed": 0,
        "size": 64,
        "budget": 32,
    }.items() <= (found["settings"].items())
    recipe = {field: vars(RECIPES[method])[field] for field in ("lr", "weight_decay", "augment")}
    assert recipe.items() <= found["settings"].items()
    if method == "fractal":
        assert (found["settings"]["classes"], found["learnt_from"]) == (8, 8)
    else:
        data = {"data": "phantom", "labelled": ["phantom"], "images": 24, "women": 6, "transductive": False}
        assert data.items() <= found["settings"].items()
        assert found["learnt_from"] == 24
    assert found["images_through"] == 32
    assert found.keys() >= {"seconds", "commit", "date", "machine"}
    with safe_open(out, framework="pt") as file:
        text = file.metadata()["made"]
    table = pd.read_csv(root / "phantom" / "phantom.csv", dtype=str)
    for secret in (str(root), str(out.parent), *table["patient_id"].unique()):
        assert secret not in text


def test_the_history_lies_beside_it_and_nothing_else_is_left(made):
    _, out = made
    assert {file.name for file in out.parent.iterdir()} == {"encoder.safetensors", "encoder.csv"}
    history = pd.read_csv(out.with_suffix(".csv"))
    assert history["images"].sum() == 32
    assert history["loss"].iloc[-1] == weights.made(out)["loss"]


def test_a_finished_file_is_taken_as_it_is_and_another_cannot_have_its_name(made, root, capsys):
    method, out = made
    before = out.stat().st_mtime_ns
    assert main(command(method, root, out)) == 0
    assert out.stat().st_mtime_ns == before
    assert "is there already" in capsys.readouterr().out
    assert main(command(method, root, out, "--lr", "0.5")) == 1
    said = capsys.readouterr().err
    lr = RECIPES[method].lr
    assert f"is of another run: lr is {lr} there and 0.5 here; repeat its settings, or name another" in said
    assert out.stat().st_mtime_ns == before


def test_as_many_other_women_are_another_run(root, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    exams.write(tmp_path / "others", exams.cohort("pool")[6:12], layout="phantom", size=64)
    assert main(command("masked", root, out)) == 0
    capsys.readouterr()
    assert main(command("masked", root, out, "--root", tmp_path / "others")) == 1
    assert "is of another run: digest is" in capsys.readouterr().err


class Seen:
    """A recipe that remembers which of its settings were looked at."""

    def __init__(self, recipe):
        self.recipe, self.names = recipe, set()

    def __getattr__(self, name):
        self.names.add(name)
        return getattr(self.recipe, name)


@pytest.mark.parametrize("method", RECIPES)
def test_a_method_has_the_options_that_it_uses_and_no_others(method, images):
    assert set(pretrain_command.OPTIONS) == set(vars(Recipe()))
    images = fractals.arrays(8, 1, size=64) if method == "fractal" else images
    seen = Seen(Recipe(batch_size=8, patch=16))
    pretrain(build(MODEL, size=64), images, method, budget=8, recipe=seen, precision="32-true")
    assert seen.names == set(fields_of(method))


def test_options_reach_the_recipe(root, tmp_path, capsys):
    options = ["--temperature", "0.3", "--positives", "breast", "--projector-out", "16", "--seed", "4"]
    assert main(command("multiview", root, tmp_path / "a.safetensors", *options)) == 0
    found = weights.made(tmp_path / "a.safetensors")["settings"]
    assert (found["temperature"], found["positives"], found["out"], found["seed"]) == (0.3, "breast", 16, 4)
    said = capsys.readouterr().out
    assert "left out: 1 women (4 images) of the official split test" in said
    assert "left out: 2 women (8 images) who are in phantom" in said
    assert "pool: 24 images of 6 women of phantom" in said
    for wrong in (["--ratio", "0.5"], ["--positives", "vendor"]):
        with pytest.raises(SystemExit):
            main(command("multiview", root, tmp_path / "b.safetensors", *wrong))
        assert wrong[0] in capsys.readouterr().err


def test_it_goes_on_from_other_weights_and_says_from_which(root, tmp_path):
    first, second = tmp_path / "fractal.safetensors", tmp_path / "both.safetensors"
    assert main(command("fractal", root, first)) == 0
    assert main(command("multiview", root, second, "--weights", first, "--lr", "1e-12")) == 0
    before, after = load_file(first), load_file(second)
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:  # statistics move without a rate
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-8)
    start = weights.made(second)["settings"]["start"]
    assert re.fullmatch(r"fractal\.safetensors [0-9a-f]{12}", start)
    assert encoder_file.start_of(str(second)) != start
    assert encoder_file.start_of("imagenet") == "imagenet"


def test_pictures_without_masks_serve(tmp_path, capsys):
    (tmp_path / "films" / "images").mkdir(parents=True)
    draws = np.random.default_rng(0)
    for number in range(8):
        picture = np.zeros((96, 80), np.uint8)
        picture[8:88, :60] = draws.integers(60, 250, (80, 60))
        Image.fromarray(picture).save(tmp_path / "films" / "images" / f"{number}.png")

    def run(method):
        options = ["--data", "folder", "--root", str(tmp_path / "films"), *QUICK, *FEW.get(method, [])]
        with pytest.warns(UserWarning, match="every image counts as a woman of her own"):
            return main(["pretrain", method, *options, "--out", str(tmp_path / f"{method}.safetensors")])

    assert run("masked") == 0
    assert set(ImageCache.open(tmp_path / "cache").masks) == {"foreground"}
    assert run("multiview") == 1
    assert "every woman here has one image: say in the column patient_id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("simclr", ["--labelled", "phantom"], "2 --labelled and 1 --labelled-root: give one folder for each"),
        ("simclr", ["--keep-test"], "women of the cohorts test are in no pool"),
        ("simclr", ["--batch-size", "7"], "batch_size=7 must be a multiple of 2"),
        ("masked", ["--batch-size", "64"], "24 images do not fill one batch of 64"),
        ("masked", ["--patch", "64"], "hides 1 of 1 squares"),
        ("masked", ["--root", "nowhere"], "nowhere does not exist"),
        ("masked", ["--labelled-root", "nowhere"], "1 --labelled and 2 --labelled-root"),
        ("fractal", ["--classes", "0"], "classes=0 must be 1 or more"),
        ("fractal", ["--weights", "nowhere.safetensors"], r"nowhere\.safetensors: no such file"),
        ("fractal", ["--weights", "multiview"], "no weights 'multiview' of unet/test_efficientnet"),
        ("fractal", ["--precision", "half"], "half"),
    ],
)
def test_wrong_input_gets_the_reason_and_the_remedy(method, options, message, root, tmp_path, capsys):
    assert main(command(method, root, tmp_path / "a.safetensors", *options)) == 1
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_name_of_the_file_and_a_transductive_pool_need_what_they_rest_on(root, tmp_path, capsys):
    assert main(command("fractal", root, tmp_path / "a.pth")) == 1
    assert "name a file that ends in .safetensors" in capsys.readouterr().err
    data = ["--data", "phantom", "--root", str(root / "phantom"), "--transductive"]
    assert main(["pretrain", "simclr", *data, *QUICK, "--out", str(tmp_path / "a.safetensors")]) == 1
    assert "keeps the women of --labelled: name that data set" in capsys.readouterr().err


def test_a_run_that_was_begun_keeps_its_name_and_one_that_was_not_does_not(tmp_path):
    out, settings = tmp_path / "a.safetensors", {"method": "masked", "seed": 0}
    out.with_suffix(".json").write_text(json.dumps(settings))
    assert not encoder_file.finished(out, settings | {"seed": 1})
    out.with_suffix(".pt").touch()
    assert not encoder_file.finished(out, settings)
    with pytest.raises(ValueError, match="seed is 0 there and 1 here"):
        encoder_file.finished(out, settings | {"seed": 1})


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_one_left_alone(root, tmp_path, capsys):
    options = ["--images", "320"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mammo_utils", *command("simclr", root, tmp_path / "a.safetensors", *options)],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
    )
    waited = time.monotonic()
    while not (tmp_path / "a.pt").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() - waited < 120
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a.safetensors").exists()
    assert main(command("simclr", root, tmp_path / "a.safetensors", *options, "--temperature", "0.5")) == 1
    assert "a.json is of another run: temperature is 0.1 there and 0.5 here" in capsys.readouterr().err
    for name in ("a", "b"):
        assert main(command("simclr", root, tmp_path / f"{name}.safetensors", *options)) == 0
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], value) for name, value in other.items())
    assert len(pd.read_csv(tmp_path / "a.csv")) == len(pd.read_csv(tmp_path / "b.csv"))


MEASURE = """
import re, sys
from pathlib import Path
import numpy as np, pandas as pd
from mammo_utils.data.batches import Arrays
from mammo_utils.models.segmentation import build
from mammo_utils.training.pretraining import RECIPES, pretrain
from dataclasses import replace

count, folder, method = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
shape = (count, 64, 52)
images = np.memmap(folder / "images.raw", np.uint16, "w+", shape=shape)
mask = np.memmap(folder / "mask.raw", np.bool_, "w+", shape=shape)
table = pd.DataFrame({"group": np.arange(count) // 4})
recipe, seen = replace(RECIPES[method], batch_size=16), []
def look(history):
    seen.append(int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
for epochs in range(3):  # every one shuffles all images
    pretrain(build("unet/test_efficientnet", size=64), Arrays(images, {"foreground": mask}, table), method,
             budget=64, recipe=recipe, precision="32-true", watch=look)
print(max(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told apart in /proc, on Linux")
@pytest.mark.parametrize("method", ["simclr", "multiview"])
def test_memory_does_not_grow_with_the_number_of_images(method, tmp_path):
    used = []
    for count in (500, 20_000):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(count), str(tmp_path), method],
            env=os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        used.append(float(done.stdout))
    whole = (tmp_path / "images.raw").stat().st_size / 2**20
    assert whole > 120
    assert used[1] - used[0] < whole / 4


SCRIPT = str(Path(mammo_utils.__file__).with_name("__main__.py"))
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "-m", "mammo_utils"],
    "fabric": ["lightning_fabric.cli", "--devices", "2", "--accelerator", "cpu", SCRIPT],
}


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "method"), [("torchrun", "multiview"), ("fabric", "fractal")])
def test_two_processes_make_one_file_and_one_of_them_speaks(launcher, method, root, tmp_path):
    out = tmp_path / "a.safetensors"
    options = command(method, root, out, *([] if method == "fractal" else ["--cache", tmp_path / "cache"]))
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == (1 if method == "fractal" else 5)
    assert lines[-1].startswith("32 images in ")
    assert weights.made(out)["processes"] == 2
    assert weights.made(out)["images_through"] == 32
    assert build(MODEL, size=64, weights=out)
    assert not out.with_suffix(".pt").exists()
