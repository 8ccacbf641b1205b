"""Counts of a data set on disk, written as phantom women in its layout."""

import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.data import catalogs
from mammo_utils.study.exhibits import catalogue, files
from mammo_utils.synth import exams


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rsna")
    exams.write(folder, range(6), layout="rsna", size=48, prevalence=0.5)
    return folder


def test_counts_and_prevalence_are_those_of_the_catalogue(root, tmp_path, capsys):
    assert main(["figures", "--data", "rsna", "--root", str(root), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        f"data_{name}.{kind}" for name in ("counts", "prevalence") for kind in ("png", "svg", "csv")
    }
    for command in ("recipe --data vindr", "train screening", "train histology", "study NAME"):
        assert command in said
    table = catalogs.load("rsna", root)
    counted = pd.read_csv(tmp_path / "data_counts.csv").set_index(["column", "value"])["images"]
    assert counted["view"].to_dict() == table["view"].value_counts().to_dict()
    assert counted["side"].sum() == len(table) == 24
    found = pd.read_csv(tmp_path / "data_prevalence.csv").set_index("unit")
    breasts = table.drop_duplicates(["patient_id", "laterality"])
    assert found.loc["breast", ["cases", "positive"]].tolist() == [12, breasts["cancer"].sum()]
    assert found.loc["woman", "positive"] == table.loc[table["cancer"] == 1, "patient_id"].nunique()
    row = found.loc["image"]
    assert row["pos_weight"] == pytest.approx((24 - row["positive"]) / row["positive"], rel=1e-5)
    assert row["accuracy_all_negative"] == pytest.approx((table["cancer"] == 0).mean(), rel=1e-5)


def test_a_panel_says_how_many_images_have_a_value(root):
    table = catalogs.load("rsna", root)
    table.loc[:4, "view"] = pd.NA
    figure = catalogue.counts("rsna", table).figure
    assert {"view, known of 19", "side"} <= {ax.get_title() for ax in figure.axes}


def test_nobody_is_named(root, tmp_path):
    table = catalogs.load("rsna", root)
    for column in ("patient_id", "group", "image_id", "exam_id"):
        table[column] = "secret-" + table[column]
    for name, make in catalogue.OF_DATA.items():
        for path in files.save(make("rsna", table), tmp_path, name):
            written = path.read_bytes()
            assert b"secret" not in written
            assert str(root).encode() not in written


def test_a_folder_without_labels_gives_counts_alone(root):
    table = catalogs.load("rsna", root).assign(cancer=pd.NA)
    assert "cancer" not in set(catalogue.counts("rsna", table).numbers["column"])
    with pytest.raises(ValueError, match="no prevalence"):
        catalogue.prevalence("rsna", table)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "mias"], "choose one of: phantom, rsna"),
        (["--data", "rsna", "--only", "claims"], "choose one of: data_counts, data_prevalence"),
        (["--root", "somewhere"], "name it with --data"),
    ],
)
def test_wrong_names_are_told(options, said, tmp_path, capsys):
    assert main(["figures", *options, "--out", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
