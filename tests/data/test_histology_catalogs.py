"""BreakHis, LC25000 and folders of classes, on phantom tiles and on names made by hand."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs, copies, splits, tiles
from mammo_utils.synth import histology
from mammo_utils.synth.histology import sources

HOME = Path("BreaKHis_v1/histology_slides/breast")


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory):
    root = tmp_path_factory.mktemp("breakhis")
    histology.write(root, range(12), layout="breakhis", size=32, fields=2)
    return root


@pytest.fixture(scope="module")
def lc25000(tmp_path_factory):
    root = tmp_path_factory.mktemp("lc25000")
    histology.write(root, range(3), layout="lc25000", size=96)
    return root


def slide(root, name, subtype, label="malignant", magnification=40, count=2):
    """Files of one slide, such as ``SOB_M_DC_14-13412``."""
    folder = root / HOME / label / "SOB" / subtype / name / f"{magnification}X"
    folder.mkdir(parents=True)
    start, _, end = name.rpartition("_")
    for number in range(1, count + 1):
        Image.new("RGB", (70, 46), (200, 150, 180)).save(
            folder / f"{start}-{end}-{magnification}-{number:03d}.png"
        )


def test_breakhis_tells_what_its_names_say(breakhis):
    table = catalogs.load("breakhis", breakhis)
    assert len(table) == 12 * 4 * 2
    truth = pd.read_csv(breakhis / "truth_breakhis.csv").set_index("image_id").loc[table["image_id"]]
    people = [histology.patient(number) for number in truth["patient"]]
    assert table["cancer"].tolist() == [person.label for person in people]
    assert table["subtype"].tolist() == [histology.SUBTYPES[person.subtype][0] for person in people]
    assert set(table["magnification"]) == {40, 100, 200, 400}
    # One group a patient, though every other one has two slides.
    assert (table.groupby("group")["exam_id"].nunique() == [2, 1] * 6).all()
    assert table.groupby("group").ngroups == truth["patient"].nunique() == 12
    pd.testing.assert_frame_equal(catalogs.load("breakhis", breakhis / "BreaKHis_v1"), table)


def test_letters_years_and_two_diagnoses_do_not_make_two_cases(tmp_path):
    for end in ("22549AB", "22549CD", "22549G"):
        slide(tmp_path, f"SOB_B_TA_14-{end}", "tubular_adenoma", "benign")
    slide(tmp_path, "SOB_M_DC_14-13412", "ductal_carcinoma")
    slide(tmp_path, "SOB_M_LC_14-13412", "lobular_carcinoma")
    slide(tmp_path, "SOB_M_LC_15-13412", "lobular_carcinoma")
    table = catalogs.load("breakhis", tmp_path)
    assert set(table["group"]) == {"22549", "13412"}
    assert table.loc[table["group"] == "13412", "subtype"].nunique() == 2
    assert table.loc[table["group"] == "22549", "exam_id"].nunique() == 3
    assert table["exam_id"].nunique() == 6
    leaks = splits.audit(
        table.assign(split=np.where(table["subtype"] == "ductal_carcinoma", "a", "b")), pixels=False
    )
    assert "group" in set(leaks["kind"])


def test_a_file_in_the_wrong_folder_is_an_error(tmp_path):
    slide(tmp_path, "SOB_B_F_14-1", "fibroadenoma", "benign")
    slide(tmp_path, "SOB_M_DC_14-2", "lobular_carcinoma")
    with pytest.raises(catalogs.CatalogError, match=r"SOB_M_DC-14-2-40-001\.png does not follow") as caught:
        catalogs.load("breakhis", tmp_path)
    assert len(caught.value.problems) == 2


def together(table):
    """The sets of files that share a group."""
    return {frozenset(files) for files in table.groupby("group")["image_id"].agg(list)}


def test_lc25000_finds_the_copies_by_itself(lc25000):
    table = catalogs.load("lc25000", lc25000)
    assert len(table) == 5 * 3 * sources.COPIES
    truth = pd.read_csv(lc25000 / "truth_lc25000.csv").rename(columns={"original": "group"})
    assert together(table) == together(truth)
    assert table["cancer"].sum() == 3 * 3 * sources.COPIES
    assert set(table["diagnosis"]) == set(sources.ORGANS)
    assert catalogs.load("lc25000", lc25000, groups="ignore")["group"].nunique() == len(table)


def test_copies_are_searched_for_once(lc25000, tmp_path, monkeypatch):
    """What a search finds is tested above; here it says pairs of files."""
    kept, searched = tmp_path / "new" / "copies.json", []
    monkeypatch.setattr(
        copies,
        "groups",
        lambda images: searched.append(1) or [number // 2 for number, _ in enumerate(images)],
    )
    table = catalogs.load("lc25000", lc25000, kept=kept)
    assert (table.groupby("group").size() == 2).all()
    pd.testing.assert_frame_equal(catalogs.load("lc25000", lc25000, kept=kept), table)
    assert len(searched) == 5  # classes, once
    root = shutil.copytree(lc25000, tmp_path / "data")
    (root / "lung_colon_image_set/lung_image_sets/lung_n/lungn1.jpeg").unlink()
    less = catalogs.load("lc25000", root, kept=kept)
    assert len(searched) == 10  # other files
    assert len(less) == len(table) - 1


def test_lc25000_takes_the_clean_up_table(lc25000, tmp_path):
    root = shutil.copytree(lc25000, tmp_path / "data")
    truth = pd.read_csv(root / "truth_lc25000.csv")
    for kind in sources.ORGANS:
        own = truth[truth["original"].str.startswith(kind)]
        listed = pd.DataFrame({"img_path": "/elsewhere/" + own["image_id"] + ".jpeg"})
        listed["cluster_label"] = own["original"].str.rsplit("_", n=1).str[1].to_numpy()
        file = root / "annotations" / kind / "UNI" / "resize_only" / "final_clusters.csv"
        file.parent.mkdir(parents=True)
        listed.to_csv(file, index=False)
    table = catalogs.load("lc25000", root, groups="table")
    assert together(table) == together(truth.rename(columns={"original": "group"}))
    listed[:-1].to_csv(file, index=False)  # an image less, of the last class
    with pytest.raises(catalogs.CatalogError, match=r"colon_aca.*lacks 1 images, e.g. colonaca"):
        catalogs.load("lc25000", root)


def test_a_missing_class_is_an_error(lc25000, tmp_path):
    root = shutil.copytree(lc25000, tmp_path / "data")
    shutil.rmtree(root / "lung_colon_image_set" / "colon_image_sets" / "colon_n")
    with pytest.raises(catalogs.CatalogError, match="colon_n/ is missing"):
        catalogs.load("lc25000", root)
    with pytest.raises(ValueError, match="unknown source of groups 'guess'"):
        catalogs.load("lc25000", root, groups="guess")


@pytest.mark.filterwarnings("ignore:every image counts as a woman")
def test_a_folder_a_class(tmp_path):
    for name, count in (("benign", 2), ("malignant/case 7", 2), ("malignant/case 8", 1), ("unused", 1)):
        (tmp_path / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40)).save(tmp_path / name / f"{number}.png")
    table = catalogs.load("folder", tmp_path, classes={"benign": 0, "malignant": 1})
    assert table["cancer"].tolist() == [0, 0, 1, 1, 1]
    cases = ["malignant/case 7/0", "malignant/case 7/1", "malignant/case 8/0"]
    assert table["image_id"].tolist() == ["benign/0", "benign/1", *cases]
    assert table["diagnosis"].tolist() == ["benign"] * 2 + ["malignant"] * 3
    assert table["group"].nunique() == 5
    pd.DataFrame({"image_id": table["image_id"], "patient_id": list("aabbb")}).to_csv(tmp_path / "images.csv")
    assert catalogs.load("folder", tmp_path, classes={"benign": 0, "malignant": 1})["group"].nunique() == 2
    with pytest.raises(catalogs.CatalogError, match="the folder missing/ is missing"):
        catalogs.load("folder", tmp_path, classes={"missing": 1})
    with pytest.raises(ValueError, match="give one of the two"):
        catalogs.load("folder", tmp_path, classes={"benign": 0}, labels={})


def test_tiles_are_read_as_their_middle_square(tmp_path):
    rows, columns = np.mgrid[:46, :70]
    image = np.stack([rows * 5, columns * 3, np.full_like(rows, 9)], 2).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert (tiles.read(tmp_path / "a.png", 46) == image[:, 12:58]).all()
    opaque = np.dstack([image, np.full((46, 70), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "b.png")
    assert (tiles.read(tmp_path / "b.png", 46) == image[:, 12:58]).all()
    half = tiles.read(tmp_path / "a.png", 23).astype(float)
    means = image[:, 12:58].reshape(23, 2, 23, 2, 3).mean((1, 3))
    assert np.abs(half - means)[2:-2, 2:-2].max() <= 1.5
    opaque[3, 3, 3] = 0
    Image.fromarray(opaque).save(tmp_path / "c.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "d.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "e.png")
    for name, reason in (
        ("c", "transparent"),
        ("d", "truncated|damaged"),
        ("e", "16 bits"),
        ("f", "no such file"),
    ):
        with pytest.raises(tiles.ImageReadError, match=rf"{name}\.png.*({reason})"):
            tiles.read(tmp_path / f"{name}.png", 8)


def test_the_cache_of_tiles(breakhis, tmp_path):
    table = catalogs.load("breakhis", breakhis)
    made = tiles.build(table, tmp_path / "cache", size=16)
    assert made.images.shape == (96, 16, 16, 3)
    assert all((made.images[row] == tiles.read(table["path"][row], 16)).all() for row in (0, 50, 95))
    written = (tmp_path / "cache" / "tiles.raw").stat().st_mtime_ns
    split = splits.split(table, stratify="cancer")
    again = tiles.build(split, tmp_path / "cache", size=16, workers=2)
    assert (tmp_path / "cache" / "tiles.raw").stat().st_mtime_ns == written
    assert again.table["split"].notna().all()
    root = shutil.copytree(breakhis, tmp_path / "data")
    table = catalogs.load("breakhis", root)
    Path(table["path"][3]).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    less = tiles.build(table, tmp_path / "cache", size=16)
    assert len(less.images) == len(less.table) == 95
    assert table["image_id"][3] not in set(less.table["image_id"])
    assert (less.images[3] == tiles.read(table["path"][4], 16)).all()
    assert pd.read_csv(tmp_path / "cache" / "failures.csv")["image_id"].tolist() == [table["image_id"][3]]


def test_prepare_splits_tiles_by_case(breakhis, tmp_path, capsys):
    out = tmp_path / "cache"
    assert main(["prepare", "breakhis", "--root", str(breakhis), "--out", str(out), "--size", "16"]) == 0
    said = capsys.readouterr().out
    assert "96 tiles of 12 groups" in said
    assert "0 leaks" in said
    splits.check(catalogs.read(out / "table.csv"))
