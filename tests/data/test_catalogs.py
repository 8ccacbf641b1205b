"""Folders built by hand in the layouts of the data sets, with the oddities of the real tables."""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammo_utils.data import catalogs
from mammo_utils.data.catalogs import phantom

DESIGN = """
dataset image_id path patient_id exam_id laterality view cancer birads density percent_density breast_mask
dense_mask lesion_mask boxes age site machine official_split magnification diagnosis subtype group
"""


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def rsna(tmp_path):
    (tmp_path / "train.csv").write_text(
        "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,"
        "machine_id,difficult_negative_case\n"
        "1,10006,462822612,L,CC,61.0,0,0,0,0.0,0,C,29,False\n"
        "1,10006.0,1459541791.0,L,MLO,61,0.0,0,0,,0,C,29.0,False\n"
        "2,10011,220375232,R,AT,,1,1,1,2,0,,21,False\n"
        "2,10011,541722628,R,LMO,55.0,1,1,1,,0,,21,False\n"
    )
    for image in ("10006/462822612", "10006/1459541791", "10011/220375232", "10011/541722628"):
        touch(tmp_path / "train_images" / f"{image}.dcm")
    return tmp_path


def vindr_folder(root):
    root.mkdir(exist_ok=True)
    (root / "breast-level_annotations.csv").write_text(
        "study_id,series_id,laterality,image_id,view_position,height,width,breast_birads,breast_density,split\n"
        "s1,x,L,aaa,CC,3518,2800,BI-RADS 4,DENSITY B,training\n"
        "s1,x,L,bbb,MLO,3518,2800,BI-RADS 4,DENSITY B,training\n"
        "s2,y,R,ccc,CC,3518,2800,BI-RADS 1,,test\n"
    )
    (root / "finding_annotations.csv").write_text(
        "image_id,study_id,finding_categories,finding_birads,xmin,ymin,xmax,ymax\n"
        "aaa,s1,\"['Mass', 'Skin Retraction']\",BI-RADS 4,10.5,20,30,40.25\n"
        "aaa,s1,['Suspicious Calcification'],BI-RADS 4,1,2,3,4\n"
        "ccc,s2,['No Finding'],,,,,\n"
    )
    (root / "metadata.csv").write_text(
        "SOP Instance UID,Patient's Age,Manufacturer's Model Name\naaa,053Y,Mammomat\nccc,,Planmed\n"
    )
    for image in ("s1/aaa", "s1/bbb", "s2/ccc"):
        touch(root / "images" / f"{image}.dicom")
    return root


@pytest.fixture
def vindr(tmp_path):
    return vindr_folder(tmp_path / "vindr")


@pytest.fixture
def density(tmp_path, vindr):
    root = tmp_path / "density"
    for folder in ("breast_masks", "dense_masks"):
        touch(root / "train" / folder / "aaa.jpg")
        touch(root / "train" / folder / "ccc.jpg")
    (root / "train.csv").write_text("Filename,Density\naaa.jpg,23.75\nccc.jpg,4\n")
    (root / "test.csv").write_text("Filename\nbbb.jpg\n")
    return root


def test_every_catalogue_has_the_columns_of_the_design_with_the_same_types(rsna, vindr, density):
    design = DESIGN.split()
    tables = [catalogs.load(*pair) for pair in (("rsna", rsna), ("vindr", vindr), ("density", density))]
    for table in tables:
        assert list(table.columns)[: len(design)] == design
        assert list(table.dtypes) == list(tables[0].dtypes)
        assert list(table.index) == list(range(len(table)))
    assert len(pd.concat(tables)) == 4 + 3 + 3


def test_rsna_reads_whole_numbers_in_both_spellings_and_keeps_what_is_blank(rsna):
    table = catalogs.load("rsna", rsna)
    assert list(table["image_id"]) == ["462822612", "1459541791", "220375232", "541722628"]
    assert list(table["group"]) == ["10006", "10006", "10011", "10011"]
    assert list(table["view"]) == ["CC", "MLO", "other", "other"]
    assert list(table["age"]) == [61, 61, pd.NA, 55]
    assert list(table["cancer"]) == [0, 0, 1, 1]
    assert list(table["birads"]) == [0, pd.NA, 2, pd.NA]
    assert list(table["density"]) == ["C", "C", pd.NA, pd.NA]
    assert list(table["machine"]) == ["29", "29", "21", "21"]
    assert table["exam_id"].isna().all()
    assert table["path"][1] == str(rsna / "train_images" / "10006" / "1459541791.dcm")


def test_vindr_parses_its_phrases_and_boxes_and_claims_no_pathology(vindr):
    table = catalogs.load("vindr", vindr)
    assert list(table["density"]) == ["B", "B", pd.NA]
    assert list(table["birads"]) == [4, 4, 1]
    assert list(table["official_split"]) == ["training", "training", "test"]
    # rows first: (ymin, xmin, ymax, xmax)
    assert list(table["boxes"]) == [((20, 10.5, 40.25, 30), (2, 1, 4, 3)), (), ()]
    assert list(table["age"]) == [53, pd.NA, pd.NA]
    assert table["machine"][0] == "Mammomat"
    assert table["cancer"].isna().all()
    assert list(table["group"]) == ["s1", "s1", "s2"]


def test_vindr_needs_no_metadata_table(vindr):
    (vindr / "metadata.csv").unlink()
    assert catalogs.load("vindr", vindr)["age"].isna().all()


def test_density_joins_the_woman_and_the_dicom_of_vindr(density, vindr):
    table = catalogs.load("density", density)
    assert list(table["percent_density"][:2]) == [23.75, 4.0]
    assert list(table["group"]) == ["s1", "s2", "s1"]
    assert list(table["laterality"]) == ["L", "R", "L"]
    assert table["path"][0] == str(vindr / "images" / "s1" / "aaa.dicom")
    assert table["dense_mask"][1] == str(density / "train" / "dense_masks" / "ccc.jpg")
    assert table["lesion_mask"].isna().all()


def test_density_names_the_images_whose_masks_are_withheld(density, vindr):
    table = catalogs.load("density", density)
    assert list(table["image_id"]) == ["aaa", "ccc", "bbb"]
    assert list(table["official_split"]) == [
        "train",
        "train",
        "test",
    ]  # its own: in VinDr ccc is a test image
    for column in ("breast_mask", "dense_mask", "percent_density"):
        assert list(table[column].isna()) == [False, False, True]
    assert table["path"][2] == str(vindr / "images" / "s1" / "bbb.dicom")


def test_density_without_its_list_of_test_images_warns_that_their_women_are_unknown(density):
    (density / "test.csv").unlink()
    with pytest.warns(UserWarning, match=r"test\.csv is absent.* cannot be left out of a pool"):
        table = catalogs.load("density", density)
    assert list(table["image_id"]) == ["aaa", "ccc"]


def test_density_may_withhold_no_mask_but_its_list_must_be_one(density):
    (density / "test.csv").write_text("Filename\n")
    assert list(catalogs.load("density", density)["official_split"]) == ["train", "train"]
    (density / "test.csv").write_text("Name\nbbb.jpg\n")
    with pytest.raises(catalogs.CatalogError, match=r"test\.csv has no column Filename"):
        catalogs.load("density", density)
    (density / "test.csv").write_text("Filename\nzzz.jpg\n")
    with pytest.raises(catalogs.CatalogError, match="1 images are not in VinDr-Mammo's"):
        catalogs.load("density", density)


def test_density_version_4_uses_its_own_images_and_needs_no_dicom(density, vindr):
    for name in ("aaa", "ccc"):
        touch(density / "train" / "images" / f"{name}.jpg")
    assert catalogs.load("density", density)["path"][2] == str(vindr / "images" / "s1" / "bbb.dicom")
    shutil.rmtree(vindr / "images")
    touch(density / "test" / "images" / "bbb.jpg")
    table = catalogs.load("density", density)
    assert table["path"][0] == str(density / "train" / "images" / "aaa.jpg")
    assert table["path"][2] == str(density / "test" / "images" / "bbb.jpg")
    assert list(table["group"]) == ["s1", "s2", "s1"]


def test_density_without_vindr_says_so_in_one_error(density, vindr):
    vindr.rename(vindr.with_name("elsewhere"))
    with pytest.raises(
        catalogs.CatalogError, match=r"(?s)VinDr-Mammo: the folder .* does not exist.*physionet"
    ):
        catalogs.load("density", density)


def test_density_refuses_an_image_without_a_woman(density):
    (density / "train.csv").write_text("Filename,Density\naaa.jpg,23.75\nzzz.jpg,4\n")
    with pytest.raises(catalogs.CatalogError, match="1 images are not in VinDr-Mammo's"):
        catalogs.load("density", density)


def test_one_error_lists_everything_that_is_missing_with_source_and_licence(vindr):
    (vindr / "finding_annotations.csv").unlink()
    table = pd.read_csv(vindr / "breast-level_annotations.csv")
    table.drop(columns=["split", "study_id"]).to_csv(vindr / "breast-level_annotations.csv", index=False)
    for file in vindr.glob("images/*/*"):
        file.unlink()
    with pytest.raises(catalogs.CatalogError) as caught:
        catalogs.load("vindr", vindr)
    assert len(caught.value.problems) == 3
    message = str(caught.value)
    for part in ("finding_annotations.csv is missing", "no column study_id, split", "images/ holds no file"):
        assert part in message
    for part in ("VinDr-Mammo", "physionet.org", "data use agreement", "data/README.md"):
        assert part in message


@pytest.mark.parametrize("name", catalogs.NAMES)
def test_an_absent_folder_is_an_error_with_its_name(name, tmp_path):
    with pytest.raises(catalogs.CatalogError, match="nowhere"):
        catalogs.load(name, tmp_path / "nowhere")


def test_an_empty_or_unreadable_table_is_reported(rsna):
    (rsna / "train.csv").write_bytes(b"")
    with pytest.raises(catalogs.CatalogError, match="train.csv cannot be read"):
        catalogs.load("rsna", rsna)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="phantom, rsna, vindr, density"):
        catalogs.load("mias", tmp_path)


def test_a_listed_image_that_is_absent_is_reported_once_and_left_out(rsna):
    for name in ("462822612", "220375232"):
        next(rsna.glob(f"train_images/*/{name}.dcm")).unlink()
    with pytest.warns(
        UserWarning, match=r"2 listed files are not on disk.*462822612\.dcm, 220375232"
    ) as caught:
        table = catalogs.load("rsna", rsna)
    assert len(caught) == 1
    assert "10006" not in str(caught[0].message)  # the folder is named after the patient
    assert list(table["image_id"]) == ["1459541791", "541722628"]
    assert list(table.index) == [0, 1]


def test_an_absent_mask_is_reported_and_the_image_stays(density):
    (density / "train" / "dense_masks" / "aaa.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 listed files are not on disk"):
        table = catalogs.load("density", density)
    assert list(table["dense_mask"].isna()) == [True, False, True]
    assert list(table["breast_mask"].isna()) == [False, False, True]


def test_a_complete_folder_gives_no_warning(rsna):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        catalogs.load("rsna", rsna)


def test_an_image_that_is_listed_twice_is_an_error(rsna):
    text = (rsna / "train.csv").read_text()
    (rsna / "train.csv").write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(catalogs.CatalogError, match="1 images are listed more than once"):
        catalogs.load("rsna", rsna)


def test_values_that_a_column_cannot_have_are_listed_in_one_error(rsna):
    text = (rsna / "train.csv").read_text()
    text = text.replace("1,10006,462822612,L,CC,61.0,0,", "1,10006,462822612,LEFT,CC,61.0,7,")
    text = text.replace("AT,,1,1,1,2,0,,", "AT,,ill,1,1,9,0,Z,")
    (rsna / "train.csv").write_text(text)
    with pytest.raises(catalogs.CatalogError) as caught:
        catalogs.load("rsna", rsna)
    said = sorted(caught.value.problems)
    assert said[0].startswith("1 images have birads '9'; it can be 0, 1,")
    assert said[1:] == [
        "1 images have density 'Z'; it can be A, B, C, D",
        "1 images have laterality 'LEFT'; it can be L, R",
        "2 images have cancer '7', 'ill'; it can be 0, 1",
    ]


@pytest.mark.parametrize("value", ["abc", "104", "-1"])
def test_a_percent_density_that_is_none_is_named(density, value):
    (density / "train.csv").write_text(f"Filename,Density\naaa.jpg,23.75\nccc.jpg,{value}\n")
    with pytest.raises(catalogs.CatalogError, match=rf"1 images have percent_density '{value}'.*0 to 100"):
        catalogs.load("density", density)


def test_a_corner_that_is_no_number_and_unknown_phrases_are_named(vindr):
    findings, breasts = vindr / "finding_annotations.csv", vindr / "breast-level_annotations.csv"
    findings.write_text(findings.read_text().replace("BI-RADS 4,1,2,3,4", "BI-RADS 4,1,a,3,4"))
    breasts.write_text(breasts.read_text().replace("BI-RADS 1,,", "BI-RADS 8,DENSITY E,"))
    with pytest.raises(catalogs.CatalogError) as caught:
        catalogs.load("vindr", vindr)
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    for part in ("1 images have boxes", "four numbers", "birads '8'", "density 'E'"):
        assert part in said


@pytest.mark.parametrize("boxes", ["a", "[[1, 2, 3]]", "[1, 2, 3, 4]", '[[1, 2, 3, "x"]]', "3"])
def test_phantom_boxes_that_are_none_are_named(tmp_path, boxes):
    columns = [*phantom.REQUIRED]
    values = dict.fromkeys(columns, "x") | {"path": "images/a.dcm", "laterality": "L", "view": "CC"}
    values |= {"cancer": 0, "birads": 1, "density": "A", "percent_density": 3, "age": 50, "boxes": boxes}
    pd.DataFrame([values]).to_csv(tmp_path / "phantom.csv", index=False)
    touch(tmp_path / "images" / "a.dcm")
    with pytest.raises(catalogs.CatalogError, match="1 images have boxes"):
        catalogs.load("phantom", tmp_path)


def test_a_table_survives_writing_and_reading(vindr, tmp_path):
    table = catalogs.load("vindr", vindr).assign(percent_density=[1 / 3, np.nan, 100])
    again = catalogs.read(catalogs.write(table, tmp_path / "table.csv"))
    pd.testing.assert_frame_equal(again, table)
    assert again["boxes"][0] == table["boxes"][0]


def test_importing_the_package_loads_no_pandas():
    code = "import sys, mammo_utils, mammo_utils.data; assert not {'pandas', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", catalogs.NAMES)
def test_the_page_of_the_data_sets_has_the_section_that_the_error_names(name, tmp_path):
    page = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in page
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for part in ("**Where**", "**Licence**", "**Layout**", f"python -m mammo_utils prepare {name} "):
        assert part in section
    with pytest.raises(catalogs.CatalogError, match=f"section '{name}'"):
        catalogs.load(name, tmp_path)


def test_the_licence_of_every_data_set_is_said():
    known = catalogs.sources()
    assert tuple(known.index) == catalogs.NAMES
    assert (known.apply(lambda column: column.str.len()) > 5).all(axis=None)
    with pytest.raises(catalogs.CatalogError) as raised:
        catalogs.load("rsna", "nowhere")
    assert known.loc["rsna", "licence"] in str(raised.value)
