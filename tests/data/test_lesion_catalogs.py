"""INbreast and CBIS-DDSM: phantom folders with the traps of the real ones, and the real tables if there."""

import os
import plistlib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from mammo_utils.data import cache, catalogs, dicom, preprocess
from mammo_utils.data.catalogs import cbis_ddsm
from mammo_utils.synth import breast, exams

SIZE = 96
INBREAST = "INbreast Release 1.0"
# By mass and calcification: (right, both; test set of calcifications), (both; test set of masses; crop and
# mask swapped), two masses in one breast, a mass left and calcifications right.
LESIONS = [8, 39, 40, 58]
PREVALENCE = {"prevalence": 1.0, "size": SIZE}


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("inbreast")
    exams.write(root, range(4), layout="inbreast", **PREVALENCE)
    return root


@pytest.fixture(scope="module")
def cbis(tmp_path_factory):
    root = tmp_path_factory.mktemp("cbis")
    exams.write(root, LESIONS, layout="cbis_ddsm", **PREVALENCE)
    return root


def views_of(patient):
    return {v.laterality + v.view: v for v in breast.exam(patient, **PREVALENCE)}


def edited(inbreast, tmp_path, change):
    """A copy of INbreast by links whose table was changed."""
    home = tmp_path / INBREAST
    home.mkdir()
    for folder in ("AllDICOMs", "AllXML"):
        os.symlink(inbreast / INBREAST / folder, home / folder)
    text = (inbreast / INBREAST / "INbreast.csv").read_bytes().decode()
    (home / "INbreast.csv").write_bytes(change(text).encode())
    return tmp_path


def test_inbreast_finds_the_woman_in_the_name_of_the_file(inbreast):
    table = catalogs.load("inbreast", inbreast)
    assert len(table) == 16
    assert table["group"].nunique() == 4
    assert table["group"].str.fullmatch("[0-9a-f]{16}").all()
    assert (table["group"] == table["patient_id"]).all()
    assert table.groupby("group")["exam_id"].nunique().eq(1).all()
    assert table["cancer"].isna().all()
    for patient, (_, rows) in zip(range(4), table.groupby("group", sort=False), strict=True):
        for (_, row), view in zip(rows.iterrows(), views_of(patient).values(), strict=True):
            expected = (view.laterality, view.view, view.birads, view.density)
            assert (row["laterality"], row["view"], row["birads"], row["density"]) == expected
    pd.testing.assert_frame_equal(catalogs.load("inbreast", inbreast / INBREAST), table)


def test_inbreast_outlines_become_masks_and_boxes(inbreast, tmp_path):
    table = catalogs.load("inbreast", inbreast)
    built = cache.build(table, tmp_path, size=SIZE)
    other = tmp_path / "other"
    exams.write(other, range(4), layout="phantom", **PREVALENCE)
    truth = cache.build(catalogs.load("phantom", other), tmp_path / "truth", size=SIZE).masks["lesion"]
    drawn = built.masks["lesion"]
    assert table["lesion_mask"].notna().equals(table["boxes"].map(bool))
    assert 0 < table["lesion_mask"].notna().sum() < len(table)
    both = (drawn & truth).sum() / (drawn | truth).sum()
    assert both > 0.8
    for boxes, mask in zip(table["boxes"], table["lesion_mask"], strict=True):
        for top, left, bottom, right in boxes:
            assert 0 <= top < bottom <= SIZE
            assert 0 <= left < right <= SIZE * 13 // 16
        assert (len(boxes) > 0) == isinstance(mask, str)


def test_inbreast_reads_the_oddities_of_its_table(inbreast, tmp_path):
    def odd(text):
        head, first, second, third, fourth, *others = text.split("\r\n")
        first = first.replace(";CC;", ";FB;")
        second = ";".join([*second.split(";")[:6], " " * 190, "4a"])  # as the one blank of the release
        third = ";".join([*third.split(";")[:6], " 4 ", "4b "])
        fourth = ";".join([*fourth.split(";")[:6], "1", "4c"])
        return "\r\n".join([head, first, second, third, fourth, *others])

    table = catalogs.load("inbreast", edited(inbreast, tmp_path, odd))
    assert table["view"][0] == "other"
    assert list(table["density"][1:4]) == [pd.NA, "D", "A"]
    assert list(table["birads"][1:4]) == [4, 4, 4]


@pytest.mark.parametrize(("column", "value", "said"), [(6, "5", "density '5'"), (7, "4d", "birads '4d'")])
def test_inbreast_names_a_value_that_it_does_not_know(inbreast, tmp_path, column, value, said):
    def odd(text):
        head, first, *others = text.split("\r\n")
        cells = first.split(";")
        cells[column] = value
        return "\r\n".join([head, ";".join(cells), *others])

    with pytest.raises(catalogs.CatalogError, match=said):
        catalogs.load("inbreast", edited(inbreast, tmp_path, odd))


def test_inbreast_leaves_out_what_is_listed_without_a_file(inbreast, tmp_path):
    line = "removed;removed;Right;CC;200801;99;1;1\r\n"
    with pytest.warns(UserWarning, match=r"1 listed files are not on disk.*99_\*\.dcm"):
        table = catalogs.load(
            "inbreast", edited(inbreast, tmp_path, lambda text: text + line.replace("Right", "R"))
        )
    assert len(table) == 16


def test_inbreast_with_a_damaged_outline_says_which(inbreast, tmp_path):
    edited(inbreast, tmp_path, str)
    (tmp_path / INBREAST / "AllXML").unlink()
    (tmp_path / INBREAST / "AllXML").mkdir()
    (tmp_path / INBREAST / "AllXML" / "20000000.xml").write_bytes(plistlib.dumps([1]))
    with pytest.raises(catalogs.CatalogError, match=r"AllXML/20000000\.xml: no property list"):
        catalogs.load("inbreast", tmp_path)


def test_cbis_has_one_row_an_image_and_finds_mask_and_crop_whichever_is_which(cbis, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = catalogs.load("cbis_ddsm", cbis)
    assert table["image_id"].is_unique
    assert not (table["image_id"] + table["path"]).str.contains("\n").any()
    built = cache.build(table, tmp_path, size=SIZE)
    assert not len(built.failures)
    views = {patient: views_of(patient) for patient in LESIONS}
    seen = {"both": 0, "swapped": 0}
    for index, row in table.iterrows():
        patient = int(row["patient_id"][2:])
        view = views[patient][row["laterality"] + row["view"]]
        kinds = {lesion.is_mass for lesion in view.lesions}
        assert row["cancer"] == view.cancer
        assert row["density"] == view.density
        assert row["subtype"] == ("mass" if row["image_id"].startswith("Mass") else "calcification")
        assert (row["subtype"] == "mass") in kinds
        files = row["lesion_mask"].split("|")
        drawn = np.any([pydicom.dcmread(file).pixel_array > 127 for file in files], axis=0)
        assert drawn.shape == view.lesion_mask.shape
        assert drawn.any()
        assert not (drawn & ~view.lesion_mask).any()
        if len(kinds) == 1:  # the files of all lesions of the view together are its mask
            assert (drawn == view.lesion_mask).mean() > 0.99
            seen["both"] += len(files) - 1
        image = dicom.read(row["path"]).image
        prepared = preprocess.prepare(image, (SIZE, SIZE * 13 // 16), laterality=row["laterality"])
        np.testing.assert_array_equal(built.masks["lesion"][index], prepared.to_prepared(drawn))
        seen["swapped"] += patient % 4 == 3
    assert min(seen.values()) > 0


def test_cbis_says_cancer_of_the_breast_and_diagnosis_of_the_image(cbis):
    table = catalogs.load("cbis_ddsm", cbis).set_index("image_id")
    right = table[table["patient_id"] == "P_00008"]
    assert set(right["subtype"]) == {"mass", "calcification"}
    assert set(right["laterality"]) == {"R"}
    assert (right["cancer"] == 1).all()
    assert dict(zip(right["subtype"], right["diagnosis"], strict=True)) == {
        "mass": "malignant",
        "calcification": "benign",
    }


def test_cbis_keeps_the_published_test_set_and_takes_its_women_out_of_the_training_set(cbis):
    table = catalogs.load("cbis_ddsm", cbis)
    names = table["image_id"].str.split("-").str[1].str.split("_").str[0]
    published = names.map({"Training": "train", "Test": "test"})
    assert (published.groupby(table["patient_id"]).nunique() > 1).any()
    assert (table["official_split"].eq("test") == published.eq("test")).all()
    assert table.dropna(subset="official_split").groupby("group")["official_split"].nunique().max() == 1
    assert table["official_split"].isna().any()
    assert published[table["official_split"].isna()].eq("train").all()
    assert (table["official_split"].isna() | (table["official_split"] == published)).all()


def linked(cbis, tmp_path):
    """A copy whose files can be taken away."""
    for file in cbis.rglob("*"):
        to = tmp_path / file.relative_to(cbis)
        if file.is_file():
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(file)
    return tmp_path


def test_cbis_finds_files_by_the_folder_of_the_case_whatever_the_downloader_calls_them(cbis, tmp_path):
    expected = catalogs.load("cbis_ddsm", cbis)
    root = linked(cbis, tmp_path)
    for case in (root / "CBIS-DDSM").iterdir():
        for number, file in enumerate(sorted(case.rglob("*.dcm")), start=1):
            to = case / f"07-07-2016-{number}" / f"1.000-{number}"
            to.mkdir(parents=True)
            file.rename(to / "1-1.dcm")
    table = catalogs.load("cbis_ddsm", root)
    assert table["path"].str.endswith("1-1.dcm").all()
    columns = [name for name in catalogs.COLUMNS if name not in ("path", "lesion_mask")]
    pd.testing.assert_frame_equal(table[columns], expected[columns])
    files = [[Path(f).resolve() for f in mask.split("|")] for mask in table["lesion_mask"]]
    assert files == [[Path(f).resolve() for f in mask.split("|")] for mask in expected["lesion_mask"]]


def test_cbis_with_a_mask_of_another_size_or_none_keeps_the_image(cbis, tmp_path):
    root = linked(cbis, tmp_path)
    table = catalogs.load("cbis_ddsm", root)
    two = table.index[table["lesion_mask"].str.contains("|", regex=False)][0]
    Path(table["lesion_mask"][two].split("|")[1]).unlink()
    with pytest.warns(UserWarning, match="1 images have a lesion without a mask of the image's size"):
        again = catalogs.load("cbis_ddsm", root)
    assert list(again.index[again["lesion_mask"].isna()]) == [two]
    assert list(again["image_id"]) == list(table["image_id"])
    Path(table["path"][two]).unlink()
    with pytest.warns(UserWarning, match="1 listed files are not on disk") as caught:
        rest = catalogs.load("cbis_ddsm", root)
    assert len(caught) == 1
    assert len(rest) == len(table) - 1


def test_cbis_names_what_it_does_not_know(cbis, tmp_path):
    root = linked(cbis, tmp_path)
    file = root / "mass_case_description_train_set.csv"
    text = file.read_text()
    file.unlink()
    file.write_text(text.replace("MALIGNANT", "UNPROVEN", 1))
    with pytest.raises(catalogs.CatalogError, match="pathology 'UNPROVEN'; it can be BENIGN_WITHOUT"):
        catalogs.load("cbis_ddsm", root)
    file.write_text(text.replace("breast_density", "breast density"))
    with pytest.raises(catalogs.CatalogError, match="has no column breast_density"):
        catalogs.load("cbis_ddsm", root)


def test_cbis_by_hand():
    """Two masses in one view, a malignant one in the other view only, density 0, a woman in both parts."""

    def rows(kind, *cases):
        names = ["patient_id", cbis_ddsm.DENSITY[kind], "left or right breast", "image view"]
        names += ["abnormality id", "abnormality type", "assessment", "pathology", cbis_ddsm.FULL]
        return pd.DataFrame(cases, columns=names, dtype="string")

    train, test = "P_1-x/1/0.dcm", "P_1-y/1/0.dcm\n"
    tables = dict.fromkeys(cbis_ddsm.TABLES, rows("mass"))
    tables["mass_case_description_train_set.csv"] = rows(
        "mass",
        ("P_1", "0", "LEFT", "CC", "1", "mass", "0", "BENIGN_WITHOUT_CALLBACK", train),
        ("P_1", "0", "LEFT", "CC", "3", "mass", "3", "BENIGN", train),
        ("P_2", "2", "RIGHT", "CC", "1", "mass", "4", "BENIGN", "P_2/1/0.dcm"),
    )
    tables["calc_case_description_test_set.csv"] = rows(
        "calc", ("P_1", "0", "LEFT", "MLO", "1", "calcification", "5", "MALIGNANT", test)
    )
    table = cbis_ddsm.images(tables).set_index("image_id")
    assert list(table.index) == ["P_1-x", "P_2", "P_1-y"]
    assert list(table["lesions"]) == [["1", "3"], ["1"], ["1"]]
    assert list(table["cancer"]) == [1, 0, 1]
    assert list(table["diagnosis"]) == ["benign", "benign", "malignant"]
    assert list(table["birads"]) == ["3", "4", "5"]
    assert list(table["density"].isna()) == [True, False, True]
    assert list(table["official_split"].fillna("-")) == ["-", "train", "test"]
    assert table["path"]["P_1-y"] == "P_1-y/1/0.dcm"


def test_the_counts_of_the_real_tables_of_cbis():
    samples = os.environ.get("MAMMO_SAMPLES")
    if not samples:
        pytest.skip("MAMMO_SAMPLES is not set: no real tables here")
    real = Path(samples) / "cbis_ddsm"
    tables = {file: pd.read_csv(real / file, dtype="string") for file in cbis_ddsm.TABLES}
    table = cbis_ddsm.images(tables)
    assert len(table) == 3103
    assert table["path"].is_unique
    assert table["lesions"].map(len).sum() == 3568
    assert (table["lesions"].map(len) > 1).sum() == 293
    assert table["patient_id"].nunique() == 1566
    breasts = table.groupby(["patient_id", "laterality"])["cancer"]
    assert (breasts.ngroups, breasts.max().sum(), breasts.nunique().max()) == (1708, 761, 1)
    assert table["density"].isna().sum() == 2
    assert table["subtype"].value_counts().to_dict() == {"mass": 1592, "calcification": 1511}
    assert table["cancer"].sum() == 1392
    assert (table["diagnosis"] == "malignant").sum() == 1375
    # 2,458 and 645 were published; 64 training images are of the 31 women who are in a test set as well
    parts = table["official_split"].value_counts(dropna=False)
    assert (parts["train"], parts["test"], table["official_split"].isna().sum()) == (2394, 645, 64)
    assert table.loc[table["official_split"].isna(), "patient_id"].nunique() == 31
