"""What is said about film: means, intervals and differences of arms, the control, and the table's rows."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammo_utils.data import cache, catalogs
from mammo_utils.show.figures import film as figures
from mammo_utils.study import film, phantoms, results, segmenter
from mammo_utils.synth import breast

pytestmark = pytest.mark.filterwarnings("ignore:every image counts as a woman")


def made(images=12, seeds=2):
    """A table in which the phantom adds 0.1 to the Dice of every image, and two points to its density."""
    rng, rows = np.random.default_rng(1), []
    for image, hard in enumerate(rng.uniform(0.3, 0.7, images), start=1):
        for seed in range(seeds):
            for arm in film.ARMS:
                added = 0.1 * (arm == "phantom_first")
                row = {"arm": arm, "image": image, "seed": seed, "dice": hard + added + 0.05 * seed}
                rows.append(row | {"density": 30 + 20 * added + 3 * (-1) ** image, "density_label": 30.0})
    return pd.DataFrame(rows)


def test_summary_averages_seeds_and_pairs_films():
    table = made()
    found = film.summary(table)
    first = table[table["arm"] == "scratch"]
    assert found.loc[("scratch", "dice"), "estimate"] == pytest.approx(first["dice"].mean())
    assert found.loc[("scratch", "mae"), "estimate"] == pytest.approx(3)
    assert found.loc[("scratch", "bias"), "estimate"] == pytest.approx(0, abs=1e-12)
    # +3 + 2 and -3 + 2 in turn: the mean size of the error is (5 + 1) / 2
    assert found.loc[("phantom_first", "mae"), "estimate"] == pytest.approx(3)
    # Each film differs by the same amount, so that a paired interval has no width where single ones do.
    assert found.loc[("phantom_first - scratch", "dice")].tolist() == pytest.approx([0.1] * 3)
    assert found.loc[("phantom_first - scratch", "bias")].tolist() == pytest.approx([2.0] * 3)
    low, high = found.loc[("scratch", "dice"), ["low", "high"]]
    assert high - low > 0.05


def test_the_interval_is_that_of_films_and_not_of_repeats():
    one, many = film.summary(made(seeds=1)), film.summary(made(seeds=8))
    width = [
        table.loc[("scratch", "dice"), "high"] - table.loc[("scratch", "dice"), "low"]
        for table in (one, many)
    ]
    assert width[0] == pytest.approx(width[1], rel=1e-6)


def test_a_seed_that_is_not_finished_does_not_count():
    table = made()
    unfinished = table[(table["seed"] == 0) | table["arm"].isin(["threshold", "scratch"])]
    assert len(unfinished) < len(table)
    pd.testing.assert_frame_equal(film.summary(unfinished), film.summary(table[table["seed"] == 0]))
    with pytest.raises(ValueError, match="no seed has all arms yet"):
        film.summary(table[table["arm"] != "scratch"])


def test_the_figure_says_the_numbers_of_the_summary():
    table = made()
    summary = film.summary(table)
    figure = figures.arms(film.per_image(table), summary)
    said = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
    assert "+0.10 [+0.10, +0.10]" in said
    for arm in film.ARMS:
        assert f"{summary.loc[(arm, 'dice'), 'estimate']:.2f}" in said


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eight pictures with label images, prepared."""
    root = tmp_path_factory.mktemp("films")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for woman in range(2):
        for number, view in enumerate(breast.exam(woman, size=96, lesions=())):
            label = np.full(view.image.shape, 64, np.uint8)
            label[view.breast_mask], label[view.dense_mask] = 128, 192
            Image.fromarray(label).save(root / "labels" / f"secret_{woman}{number}_LI.png")
            grey = np.uint8(60 * (label > 64) + 150 * (label == 192))
            Image.fromarray(grey).save(root / "images" / f"secret_{woman}{number}.png")
    table = catalogs.load("folder", root, labels={"dense": [192], "breast": [128, 192]})
    return cache.build(table, root / "cache", size=48)


def test_the_threshold_finds_tissue_that_is_brighter_and_is_given_the_breast(films):
    found = film.by_threshold(films, segmenter.Settings(**film.FILM)).sort_values("row")
    assert found["row"].tolist() == list(range(8))
    assert (found["dice"] > 0.9).all()
    assert sorted(found["fold"].unique()) == list(range(film.FOLDS))
    np.testing.assert_allclose(found["density"], found["density_label"], atol=5)


def test_every_arm_gives_a_row_an_image_without_its_name(films, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path / "cache"))
    small = phantoms.women("develop", size=48, count=4)
    monkeypatch.setattr(phantoms, "women", lambda name, *, size: small)  # the cohort itself takes minutes
    monkeypatch.setattr(film, "WOMEN", 2)
    monkeypatch.setitem(film.FILM, "epochs", 1)
    monkeypatch.setitem(film.PHANTOM, "epochs", 1)
    for settings in (film.FILM, film.PHANTOM):
        monkeypatch.setitem(settings, "model", "unet/test_efficientnet")
    out = tmp_path / "film.csv"
    for arm in film.ARMS:
        for row in film.rows(films, arm, 0, tmp_path / "work"):
            results.append(out, row)
    table = results.read(out)
    assert "secret" not in out.read_text()
    assert table.groupby("arm")["image"].apply(sorted).tolist() == [list(range(1, 9))] * 4
    assert table.loc[table["arm"] == "phantom_only", "fold"].isna().all()
    seconds = table.groupby("arm")["seconds"].mean()
    assert seconds["phantom_first"] > seconds["phantom_only"] > 0
    # The same folds in both arms, so that their difference is one film's at a time.
    folds = table.pivot(index="image", columns="arm", values="fold")
    assert (folds["scratch"] == folds["phantom_first"]).all()


def test_a_folder_without_images_is_an_error_in_words(tmp_path, capsys):
    from mammo_utils.__main__ import main

    assert (
        main(
            ["film", "--root", str(tmp_path), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o.csv")]
        )
        == 1
    )
    assert "the folder images/ is missing" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()
