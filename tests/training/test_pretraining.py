"""Pretraining: what each method is given and minimises; that it learns, stops, goes on, and runs in two."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from mammo_utils.data.batches import Arrays, Batches
from mammo_utils.models import weights
from mammo_utils.models.pretext import embed
from mammo_utils.models.segmentation import build
from mammo_utils.synth import breast, fractals
from mammo_utils.training.contrastive import barlow_twins, multi_view, nt_xent
from mammo_utils.training.pretraining import LOSSES, RECIPES, Recipe, batches_of, pretrain

QUIET = {"precision": "32-true", "progress": False}
QUICK = Recipe(lr=3e-3, batch_size=24, augment="light", hidden=32, out=16, patch=16)
CASES = [(name, QUICK) for name in RECIPES] + [("multiview", replace(QUICK, positives="breast"))]
EVERY = pytest.mark.parametrize(("method", "recipe"), CASES)


def phantoms(count):
    """Four views of each of ``count`` women."""
    views = [view for patient in range(count) for view in breast.exam(patient, size=64, lesions=())]
    table = pd.DataFrame({name: [getattr(view, name) for view in views] for name in ("laterality", "view")})
    table["group"] = [f"woman {view.patient_id}" for view in views]
    stored = np.stack([view.image * 65535 for view in views]).astype(np.uint16)
    return Arrays(stored, {"breast": np.stack([view.breast_mask for view in views])}, table)


@pytest.fixture(scope="module")
def women():
    return phantoms(6)


@pytest.fixture(scope="module")
def drawn():
    return fractals.arrays(4, 6, size=64)


@pytest.fixture
def images(request, women, drawn):
    """Twenty-four images for the method of the test."""
    return drawn if request.getfixturevalue("method") == "fractal" else women


def made(seed=0):
    torch.manual_seed(seed)
    return build("unet/test_efficientnet", size=64)


def assert_same(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


@EVERY
def test_every_method_learns_and_leaves_the_decoder_alone(method, recipe, images):
    segmenter, untouched = made(), made()
    history = pretrain(segmenter, images, method, budget=480, recipe=recipe, **QUIET)
    losses = history.table["loss"]
    assert losses.iloc[-3:].mean() < 0.6 * losses.iloc[0]
    assert history.table["images"].sum() == 480
    assert_same(segmenter.net.decoder, untouched.net.decoder)
    assert_same(segmenter.net.segmentation_head, untouched.net.segmentation_head)
    pairs = zip(segmenter.encoder.parameters(), untouched.encoder.parameters(), strict=True)
    assert sum(torch.equal(a, b) for a, b in pairs) == 0


class Breaking(np.ndarray):
    """Images on a disk that is gone after some batches."""

    def take(self, *arguments, **options):
        self.left -= 1
        if self.left < 0:
            raise OSError("the disk is gone")
        return np.asarray(self).take(*arguments, **options)


@pytest.mark.parametrize("method", ["simclr", "masked"])
@pytest.mark.parametrize("reads", [5, 7])
def test_a_run_that_broke_off_ends_with_the_weights_of_one_left_alone(method, reads, women, tmp_path):
    recipe = replace(QUICK, batch_size=8 * (1 + (method == "simclr")))  # three batches an epoch
    options = {"budget": 9 * recipe.batch_size, "recipe": recipe, "seed": 3, **QUIET}
    whole, resumed = made(), made()
    expected = pretrain(whole, women, method, **options)
    stored = women.images.view(Breaking)
    stored.left = reads
    kept = {"resume": tmp_path / "run.ckpt", "save_every": 1}
    with pytest.raises(OSError, match="the disk is gone"):
        pretrain(resumed, women._replace(images=stored), method, **options, **kept)
    state = torch.load(kept["resume"], weights_only=True)
    assert 0 < 3 * state["epoch"] + state["step"] < 9  # it broke in the middle
    other = made(seed=8)  # what the encoder had learnt is in the file
    found = pretrain(other, women, method, **options, **kept)
    assert_same(other.encoder, whole.encoder)
    assert found.table["loss"].tolist() == expected.table["loss"].tolist()


def test_the_seed_decides_and_the_generators_of_the_caller_play_no_part(women):
    def trained(seed, caller):
        segmenter = made()
        torch.manual_seed(caller)
        expected = torch.Generator().manual_seed(caller)
        pretrain(segmenter, women, "masked", budget=48, recipe=QUICK, seed=seed, **QUIET)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
        return segmenter

    first = trained(5, 0)
    assert_same(first, trained(5, 1))
    other = zip(first.encoder.parameters(), trained(6, 0).encoder.parameters(), strict=True)
    assert sum(torch.equal(a, b) for a, b in other) == 0


@pytest.mark.parametrize(
    ("budget", "epochs", "batches"), [(1, 1, 1), (40, 1, 5), (48, 1, 6), (56, 2, 4), (200, 5, 5)]
)
def test_the_budget_is_met_to_a_batch_an_epoch(women, budget, epochs, batches):
    """Batches of 8 out of 24 images twice: six an epoch at most."""
    recipe = replace(QUICK, batch_size=8)
    history = pretrain(made(), women, "simclr", budget=budget, recipe=recipe, **QUIET)
    assert history.table["images"].tolist() == [8 * batches] * epochs


def test_an_encoder_that_was_kept_is_built_again(women, tmp_path):
    segmenter, path = made(), tmp_path / "own.safetensors"
    pretrain(segmenter, women, "multiview", budget=48, recipe=QUICK, **QUIET)
    weights.save(segmenter.encoder, path, {"method": "multiview", "seeds": [0, 1], "cost": 2.5})
    again = build("unet/test_efficientnet", size=64, weights=path)
    assert_same(again.encoder, segmenter.encoder)
    batches = Batches(women, target="breast")
    torch.testing.assert_close(embed(again, batches), embed(segmenter, batches))
    assert weights.made(path) == {"method": "multiview", "seeds": [0, 1], "cost": 2.5}


def sides(images, rows):
    return torch.tensor([images.table["laterality"][int(row)] == "R" for row in rows])


@EVERY
def test_the_loss_is_that_of_the_recipe(method, recipe, images):
    """With a network that gives numbers known beforehand."""
    recipe = replace(recipe, temperature=0.3, off_diagonal=0.7, ratio=0.4)
    batch = next(iter(batches_of(method, images, recipe)))
    assert len(batch.image) == 24
    torch.manual_seed(1)
    z, calls = torch.randn(24, 4), []

    def net(*arguments):
        calls.append(arguments)
        if method != "masked":
            return z
        return batch.image + torch.where(arguments[1] & (batch.breast > 0), 0.25, 5.0)

    loss = LOSSES[method](recipe, net, batch)
    assert torch.equal(calls[0][0], batch.image)
    if method == "fractal":
        category = torch.tensor([images.table["category"][int(row)] for row in batch.row])
        expected = F.cross_entropy(z, category)
    elif method == "simclr":
        expected = nt_xent(z[:12], z[12:], temperature=0.3)
    elif method == "barlow_twins":
        expected = barlow_twins(z[:12], z[12:], off_diagonal=0.7)
    elif method == "masked":
        hidden = calls[0][1][:, 0, ::16, ::16]  # 4 × 4 squares of which 6 are hidden
        assert (hidden.sum((1, 2)) == 6).all()
        expected = torch.tensor(0.25)
    else:
        alike = sides(images, batch.row) if recipe.positives == "breast" else None
        expected = multi_view(z, batch.patient, temperature=0.3, positive=alike)
    torch.testing.assert_close(loss, expected)


def test_pairs_are_two_versions_and_women_come_with_all_their_views(women):
    for method in ("simclr", "barlow_twins"):
        for batch in batches_of(method, women, replace(QUICK, batch_size=12)):
            assert torch.equal(batch.row[:6], batch.row[6:])
            assert not any(torch.equal(*pair) for pair in zip(batch.image[:6], batch.image[6:], strict=True))
    for batch in batches_of("multiview", women, replace(QUICK, batch_size=12)):
        assert batch.patient.bincount(minlength=6).sort().values.tolist() == [0, 0, 0, 4, 4, 4]


def test_only_the_chosen_rows_take_part(women):
    rows = np.flatnonzero(women.table["laterality"] == "L")
    seen = [batch.row for batch in batches_of("simclr", women, replace(QUICK, batch_size=6), rows=rows)]
    assert sorted(torch.cat(seen).tolist()) == sorted([*rows, *rows])


def test_what_was_found_in_the_image_goes_before_what_somebody_outlined(women):
    drawn, found = np.zeros_like(women.masks["breast"]), women.masks["breast"]
    both = Arrays(women.images, {"breast": drawn, "foreground": found}, women.table)
    alone = Arrays(women.images, {"breast": found}, women.table)
    first, second = (next(iter(batches_of("masked", images, QUICK))) for images in (both, alone))
    assert first.breast.any()
    assert torch.equal(first.breast, second.breast)


def without(table, column, rows=slice(None)):
    table = table.copy()
    table.loc[rows, column] = pd.NA
    return table


@pytest.mark.parametrize(
    ("method", "change", "table", "reason"),
    [
        ("moco", {}, None, "choose one of: fractal, simclr, barlow_twins, masked, multiview"),
        ("multiview", {"positives": "side"}, None, "unknown positives 'side'; choose one of: woman, breast"),
        ("simclr", {"batch_size": 9}, None, "batch_size=9 must be a multiple of 2, the versions of an image"),
        ("simclr", {"batch_size": 2}, None, "at least two images"),
        ("multiview", {"batch_size": 32}, None, "24 images do not fill one batch of 32"),
        ("masked", {"ratio": 1.0}, None, "hide some, not all"),
        ("masked", {"augment": "heavy"}, None, "choose one of: none, light"),
        ("fractal", {}, None, "no target 'category'"),
        ("multiview", {}, lambda t: t.assign(group=range(len(t))), "no two women or no two views of one"),
        ("multiview", {}, lambda t: t.assign(group="a"), "no two women or no two views of one"),
        ("multiview", {}, lambda t: without(t, "group", [3]), "1 of 24 rows have no group"),
        (
            "multiview",
            {"positives": "breast"},
            lambda t: without(t, "laterality", [3, 4]),
            "2 of 24 rows have no laterality",
        ),
        (
            "multiview",
            {"positives": "breast"},
            lambda t: t.drop(columns="laterality"),
            "24 of 24 rows have no laterality",
        ),
    ],
)
def test_what_cannot_be_learnt_from(women, method, change, table, reason):
    whole = women if table is None else women._replace(table=table(women.table))
    with pytest.raises(ValueError, match=reason):
        pretrain(made(), whole, method, budget=48, recipe=replace(QUICK, **change), **QUIET)


def test_a_budget_of_nothing_is_refused(women):
    with pytest.raises(ValueError, match="budget=0: give the number of images, 1 or more"):
        pretrain(made(), women, "masked", budget=0, recipe=QUICK, **QUIET)


def test_processes_need_equally_many_rows(women, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(ValueError, match="multiple of 10, the versions of an image times the processes"):
        batches_of("simclr", women, QUICK)
    assert len(batches_of("simclr", women, replace(QUICK, batch_size=20))) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_the_segmenter_stays_in_one_piece(women):
    segmenter = made()
    pretrain(segmenter, women, "masked", budget=48, recipe=QUICK, **QUIET)
    assert {tensor.device.type for tensor in segmenter.state_dict().values()} == {"cuda"}
    assert embed(segmenter, Batches(women, target="breast")).isfinite().all()


TWO = """
import os, sys
sys.path.insert(0, {folder!r})
from test_pretraining import QUICK, made, phantoms, pretrain
from dataclasses import replace
import torch

found, women = {{}}, phantoms(6)
for method in ("simclr", "barlow_twins", "masked", "multiview"):
    recipe, segmenter = replace(QUICK, positives="breast"), made(int(os.environ["RANK"]))
    history = pretrain(segmenter, women, method, budget=480, recipe=recipe, progress=False)
    weights = [parameter.detach() for parameter in segmenter.encoder.parameters()]
    found[method] = [weights, history.table["loss"].tolist(), int(history.table["images"].sum())]
torch.save(found, {path!r} + os.environ["RANK"])
"""


@pytest.mark.slow
def test_two_processes_learn_and_agree(tmp_path):
    script, path = tmp_path / "two.py", tmp_path / "found"
    script.write_text(TWO.format(folder=os.path.dirname(__file__), path=str(path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu", "MAMMO_PRECISION": "32-true"}
    subprocess.run([*command, str(script)], check=True, env=environment, capture_output=True)
    first, second = (torch.load(f"{path}{rank}", weights_only=True) for rank in (0, 1))
    for method, (learnt, losses, seen) in first.items():
        assert seen == 480
        assert np.mean(losses[-3:]) < 0.7 * losses[0], method
        assert losses == second[method][1]
        for a, b in zip(learnt, second[method][0], strict=True):
            assert a.isfinite().all()
            assert torch.equal(a, b)
