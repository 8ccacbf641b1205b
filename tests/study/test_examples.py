"""What trained arms say of single images: the table, the choice of the worst, and the packed masks."""

import argparse

import numpy as np
import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.data.batches import Arrays
from mammo_utils.study import (
    examples,
    histology_scores,
    histology_studies,
    phantoms,
    screened,
    screening_scores,
    stages,
)
from mammo_utils.synth import exams
from mammo_utils.synth.breast import exam
from mammo_utils.training.tasks import Masks


@pytest.fixture
def images():
    """Three images of 4×6, the left half of each breast, with 1, 2 and 3 dense columns of three."""
    breast = np.zeros((3, 4, 6), bool)
    breast[:, :, :3] = True
    dense = np.zeros_like(breast)
    for row in range(3):
        dense[row, :, : row + 1] = True
    masks = {"breast": breast, "dense": dense, "reader_A": dense[::-1], "reader_B": dense & False}
    table = pd.DataFrame({"image_id": ["one", "two", "three"], "density": ["A", "B", "C"]})
    return Arrays(np.zeros(breast.shape, np.uint16), masks, table)


def masks(images, dense):
    rows = np.arange(3)
    truth, breast = images.masks["dense"], images.masks["breast"]
    return Masks(dense.astype(np.float32), breast.astype(np.float32), truth, breast, rows, rows)


@pytest.fixture
def found(images):
    dense = images.masks["dense"]
    other = dense.copy()
    other[0, :, :3] = True  # two columns too many of the first
    other[2, :, :] = False  # nothing of the last
    return {"perfect": masks(images, dense), "wrong": masks(images, other)}


def test_every_arm_has_a_row_for_every_image(images, found):
    table = examples.listed(images, found)
    assert table["arm"].tolist() == ["perfect"] * 3 + ["wrong"] * 3
    for name, percents in {
        "truth": [100 / 3, 200 / 3, 100] * 2,
        "reader_A": [100, 200 / 3, 100 / 3] * 2,
        "reader_B": [0] * 6,
        "predicted": [100 / 3, 200 / 3, 100, 100, 200 / 3, 0],
        "dice": [1, 1, 1, 0.5, 1, 0],
    }.items():
        np.testing.assert_allclose(table[name], percents, rtol=1e-6, err_msg=name)


def test_the_worst_images_of_an_arm_are_kept_with_the_masks_of_all(images, found, tmp_path):
    table = examples.listed(images, found)
    chosen = examples.worst(table[table["arm"] == "wrong"])
    assert chosen == ["one", "three"]
    path = tmp_path / "masks.npz"
    examples.keep(path, table, found)
    with np.load(path, allow_pickle=False) as kept:
        assert kept["arm"].tolist() == ["perfect", "wrong"]
        place = kept["image_id"].tolist().index("three")
        dense = np.unpackbits(kept["dense"], axis=-1)[..., : kept["shape"][1]].astype(bool)
    assert dense.shape[2:] == (4, 6)
    np.testing.assert_array_equal(dense[0, place], images.masks["dense"][2])
    assert not dense[1, place].any()


def test_arms_that_were_not_trained_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    options = argparse.Namespace(study="losses", out=tmp_path / "out")
    assert examples.main(options) == 1
    said = capsys.readouterr().err
    assert said.startswith("no trained weights of bce_dice, hybrid_density, bce, dice, focal, tversky in ")
    assert not list((tmp_path / "out").iterdir())


def test_logits_of_breasts_are_joined_with_their_arms_and_lesions(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    monkeypatch.setitem(screened.WOMEN, "test", screened.WOMEN["test"]._replace(positive=2, negative=2))
    monkeypatch.setattr(screened, "women", lambda name, size, own=screened.women: own(name, size=64))
    images = screened.women("test", size=128)
    cancer = images.table.groupby("group")["cancer"].max()
    names = pd.factorize(images.table["group"])[1]
    sick = int(np.flatnonzero(cancer[names] == 1)[0])
    assert main(["examples", "screening", "--out", str(tmp_path / "out")]) == 1
    assert "2 arms have left nothing" in capsys.readouterr().err
    arms = [stages.at_rate(one) for one in stages.SHOWN]
    for number, settings in enumerate(arms):
        row = {"woman": sick, "breast": f"{sick}L", "label": 1, "logit": float(number)}
        healthy = {"woman": 1 - sick, "breast": "9R", "label": 0, "logit": 0.0}
        screening_scores.keep({"test": pd.DataFrame([row, healthy])}, settings)
    assert main(["examples", "screening", "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "screening_breasts.csv")
    for number, settings in enumerate(arms):
        own, other = table.iloc[2 * number], table.iloc[2 * number + 1]
        assert own["logit"] == number
        assert pd.isna(other["shape"])
        assert all(own[key] == settings[key] for key in ("stages", "unfreezing", "imbalance", "weights"))
    assert set(table["cohort"]) == {"test"}
    views = exam(int(names[sick][1:]), size=48, prevalence=1.0)
    [lesion] = {view.lesions[0] for view in views if view.cancer}
    assert set(table["shape"].dropna()) == {lesion.shape}


def test_subtypes_are_listed_with_what_they_were_called(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    assert main(["examples", "histology", "--out", str(tmp_path / "out")]) == 1
    assert "1 arms have left nothing" in capsys.readouterr().err
    path = histology_scores.kept(histology_studies.at_rate(histology_studies.SUBTYPES))
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"kind": [0, 0, 0, 0, 5], "called": [0, 0, 0, 1, 7]}).to_csv(path, index=False)
    assert main(["examples", "histology", "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "histology_subtypes.csv")
    shares = table.set_index(["kind", "called"])["share"]
    assert (shares["A", "A"], shares["A", "F"]) == (0.75, 0.25)
    assert (shares["MC", "LC"], shares["MC", "PC"]) == (1, 0)
    assert len(table) == 8 * 8


def test_controls_of_the_recipe_are_of_the_final_women(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    for name, number in {"train": 3, "final": 2}.items():
        monkeypatch.setitem(phantoms.WOMEN, name, number)
    monkeypatch.setattr(phantoms, "DRAW", 2)
    monkeypatch.setattr(phantoms, "women", lambda name, size, own=phantoms.women: own(name, size=64))
    assert main(["examples", "recipe", "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "recipe_controls.csv", index_col="control")
    final = phantoms.women("final", size=64)
    assert set(final.table["patient_id"].map(lambda name: int(name[1:]))) == set(exams.cohort("final")[:2])
    truth, other, breast = (final.masks[name] for name in ("dense", "reader_B", "breast"))
    inside = breast.sum((1, 2))
    error = 100 * np.abs((other & breast).sum((1, 2)) - (truth & breast).sum((1, 2))) / inside
    assert table.loc["reader B", "density MAE"] == pytest.approx(error.mean(), abs=0.02)
    overlap = 2 * (truth & other).sum((1, 2)) / (truth.sum((1, 2)) + other.sum((1, 2)))
    assert table.loc["reader B", "Dice with truth"] == pytest.approx(overlap.mean(), abs=2e-3)
    assert len(table) == 4
