import shutil

import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.data import splits
from mammo_utils.data.cache import ImageCache
from mammo_utils.synth import exams


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    exams.write(folder, range(10), layout="phantom", size=64)
    return folder


def prepare(root, out):
    return main(["prepare", "phantom", "--root", str(root), "--out", str(out), "--size", "48"])


def test_prepare_splits_and_caches_and_does_it_again_from_what_is_there(root, tmp_path, capsys):
    assert prepare(root, tmp_path / "cache") == 0
    said = capsys.readouterr().out
    assert "40 images of 10 women" in said
    assert "audit by group, woman, exam and breast: 0 leaks\n" in said
    built = ImageCache.open(tmp_path / "cache")
    assert built.images.shape[:2] == (40, 48)
    table = splits.check(built.table)
    assert table.groupby("split")["group"].nunique().to_dict() == {"train": 6, "valid": 2, "test": 2}
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "cache").glob("*.raw"))]
    assert len(times) > 1
    assert prepare(root, tmp_path / "cache") == 0
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "cache").glob("*.raw"))] == times


def test_prepare_tells_of_women_who_share_an_exam(root, tmp_path, capsys):
    folder = shutil.copytree(root, tmp_path / "data")
    listed = pd.read_csv(folder / "phantom.csv")
    listed.assign(exam_id="the same").to_csv(folder / "phantom.csv", index=False)
    assert prepare(folder, tmp_path / "cache") == 0
    # train and valid, train and test, valid and test
    assert "audit by group, woman, exam and breast: 3 leaks, exam 3\n" in capsys.readouterr().out


def test_prepare_reports_a_folder_that_is_not_the_data_set(tmp_path, capsys):
    assert prepare(tmp_path, tmp_path / "cache") == 1
    assert "is not a complete copy" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_prepare_finds_the_data_set_by_its_variable(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMMO_DATA", str(tmp_path / "sets"))
    assert main(["prepare", "vindr", "--out", str(tmp_path / "cache")]) == 1
    assert str(tmp_path / "sets" / "vindr") in capsys.readouterr().err
