"""The density tool on files: what it says, what it refuses, and what it must never repeat."""

import csv

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammo_utils.__main__ import main
from mammo_utils.data import dicom
from mammo_utils.evaluation.density import percent_density
from mammo_utils.models import weights
from mammo_utils.study import density_tool, phantoms, unlike
from mammo_utils.synth import breast, exams
from mammo_utils.synth.breast.readers import density_call

NAME = "SECRET^PATIENT"


def silhouette(rows=300, columns=240):
    """A half disc at the left edge: found as a breast, but none."""
    row, column = np.mgrid[:rows, :columns]
    return ((row - rows / 2) / (0.42 * rows)) ** 2 + (column / (0.7 * columns)) ** 2 < 1


def board(rows=300, columns=240, field=12):
    """The half disc as a board of squares."""
    squares = np.add.outer(np.arange(rows) // field, np.arange(columns) // field) % 2
    return np.where(silhouette(rows, columns), 0.4 + 0.5 * squares, 0)


def save(path, picture):
    """Values in 0–1 as a grey PNG of 16 bits."""
    Image.fromarray(np.rint(picture * 65535).astype(np.uint16)).save(path)
    return path


@pytest.fixture(scope="module")
def tool():
    return density_tool.trained()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The views of a woman of ``test`` as DICOM files."""
    folder = tmp_path_factory.mktemp("scans")
    exams.write(folder, exams.cohort("test")[300:301], layout="phantom", size=256)
    return sorted(folder.rglob("*.dcm"))


def rows_of(folder):
    with open(folder / "density.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_dicom_file_and_a_png_of_it_have_nearly_one_density(files, tool, tmp_path):
    truth = [view.percent_density for view in breast.exam(exams.cohort("test")[300], size=256)]
    found = [density_tool.measured(file, tool) for file in files]
    for number, (file, one) in enumerate(zip(files, found, strict=True)):
        picture = save(tmp_path / f"{number}.png", dicom.read(file).image)
        other = density_tool.measured(picture, tool)
        assert (one.verdict, other.verdict) == ("accepted", "accepted")
        assert other.percent == pytest.approx(one.percent, abs=0.3)
        assert other.grade == one.grade
    measured = sorted(one.percent for one in found)
    np.testing.assert_allclose(measured, sorted(truth), atol=tool.made["margin"])


def test_what_is_said_fits_together(files, tool):
    one = density_tool.measured(files[0], tool)
    assert one.percent == pytest.approx(percent_density(one.dense, one.breast))
    assert not (one.dense & ~one.breast).any()
    margin = tool.made["margin"]
    assert (one.low, one.high) == pytest.approx(
        (max(one.percent - margin, 0), min(one.percent + margin, 100))
    )
    assert one.distance <= tool.made["limit"]
    assert density_tool.interval(np.array([1.0, 99.0]), 5.0)[0].tolist() == [0.0, 94.0]
    assert density_tool.interval(np.array([1.0, 99.0]), 5.0)[1].tolist() == [6.0, 100.0]


def test_the_cuts_part_what_the_phantoms_readers_call(tool):
    """On either side of a cut another class is the one that readers call most often."""
    assert tuple(tool.made["cuts"]) == density_tool.cuts()
    rng = np.random.default_rng(0)
    for cut, (below, above) in zip(density_tool.cuts(), ("AB", "BC", "CD"), strict=True):
        for percent, expected in ((cut - 4, below), (cut + 4, above)):
            calls = [density_call(percent, breast.CLASSES, rng) for _ in range(2000)]
            assert max("ABCD", key=calls.count) == expected


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (board(90, 72), "too small: 90×72 pixels, at least 128"),
        (0.5 * silhouette(), "nearly constant"),
        (np.where(np.arange(300)[:, None] // 100 == 1, board(300, 240, 20) + 0.3, 0), "the breast is cut"),
        (np.random.default_rng(0).random((300, 240)) * 0.001, "no breast found"),
    ],
)
def test_there_are_plain_objections(picture, reason, tmp_path):
    assert reason in unlike.seen(save(tmp_path / "picture.png", np.clip(picture, 0, 1)), 128).objection


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [("Modality", "US", "no mammogram: its header"), ("BurnedInAnnotation", "YES", "letters are burnt")],
)
def test_a_file_that_speaks_against_itself_is_refused(keyword, value, reason, files, tool, tmp_path):
    scan = pydicom.dcmread(files[0])
    setattr(scan, keyword, value)
    scan.save_as(tmp_path / "scan.dcm")
    one = density_tool.measured(tmp_path / "scan.dcm", tool)
    assert (one.verdict, one.dense) == ("refused", None)
    assert reason in one.reason
    assert value not in one.reason
    assert unlike.seen(files[0], 128).objection == ""


def test_an_image_unlike_the_training_images_is_refused_and_marked_when_computed(tool, tmp_path, capsys):
    path = save(tmp_path / "board.png", board())
    assert unlike.seen(path, 128).objection == ""
    one = density_tool.measured(path, tool)
    assert (one.verdict, one.grade, one.dense) == ("refused", "", None)
    assert "unlike its training images: distance" in one.reason
    assert np.isnan([one.percent, one.low, one.high]).all()
    assert main(["density", str(path), "--out", str(tmp_path / "a")]) == 0
    assert "board.png  -        -         -      refused: unlike" in capsys.readouterr().out
    (row,) = rows_of(tmp_path / "a")
    assert (row["verdict"], row["percent_density"], row["class"], row["picture"]) == ("refused", "", "", "")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["density.csv"]

    assert main(["density", str(path), "--anyway", "--out", str(tmp_path / "b")]) == 0
    (row,) = rows_of(tmp_path / "b")
    assert row["verdict"] == density_tool.ANYWAY
    assert "unlike" in row["reason"]
    assert 0 <= float(row["low"]) <= float(row["percent_density"]) <= float(row["high"]) <= 100
    assert row["picture"] == "board.png"
    with Image.open(tmp_path / "b" / "board.png") as picture:
        assert picture.text["Description"] == density_tool.NOTE


def test_no_density_without_a_breast_whatever_is_asked(tool, tmp_path):
    path = save(tmp_path / "dark.png", np.random.default_rng(0).random((300, 240)) * 0.001)
    one = density_tool.measured(path, tool, anyway=True)
    assert (one.verdict, one.image) == ("refused", None)
    assert "no breast found" in one.reason


def test_a_broken_file_does_not_stop_the_others(files, tmp_path, capsys):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(files[0].read_bytes()[:600])
    named = [files[0], broken, tmp_path / "absent.png", files[1]]
    assert main(["density", *map(str, named), "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert str(broken) in err
    assert "2 of 4 files could not be read" in err
    said = " ".join(out.split())
    assert density_tool.NOTE in said
    assert "further from those learnt from than 5.6, as 1% of phantom views do" in said
    assert "Accepted is no certificate" in said
    rows = rows_of(tmp_path / "out")
    assert [row["file"] for row in rows] == [file.name for file in named]
    assert [row["verdict"] for row in rows] == ["accepted", "unreadable", "unreadable", "accepted"]
    assert all(row["reason"] for row in rows[1:3])
    assert {row["note"] for row in rows} == {density_tool.NOTE}
    pictures = {row["picture"] for row in rows} - {""}
    assert pictures == {file.name for file in (tmp_path / "out").glob("*.png")}
    assert len(pictures) == 2


def test_nothing_of_the_patient_comes_out(files, tmp_path, capsys):
    """Neither among the bytes written nor drawn: the pictures are equal whatever the name."""
    said = {}
    for name in (NAME, "OTHER^WOMAN"):
        folder = tmp_path / name[:5]
        folder.mkdir()
        scan = pydicom.dcmread(files[0])
        scan.PatientName = scan.PatientID = scan.OtherPatientNames = scan.AccessionNumber = name
        scan.save_as(folder / "scan.dcm")
        assert main(["density", str(folder / "scan.dcm"), "--out", str(folder / "out")]) == 0
        written = {file.name: file.read_bytes() for file in (folder / "out").iterdir()}
        assert set(written) == {"density.csv", "scan.png"}
        said[name] = capsys.readouterr().out.partition("\n\n")[0], written
    assert said[NAME] == said["OTHER^WOMAN"]
    table, written = said[NAME]
    assert b"SECRET" not in b"".join(written.values()).upper()
    assert "SECRET" not in table.upper()


def test_files_of_one_name_have_a_picture_each(files, tmp_path):
    twins = [tmp_path / side / "scan.dcm" for side in "LR"]
    for twin, file in zip(twins, files, strict=False):
        twin.parent.mkdir()
        twin.write_bytes(file.read_bytes())
    assert main(["density", *map(str, twins), "--out", str(tmp_path / "out")]) == 0
    assert [row["picture"] for row in rows_of(tmp_path / "out")] == ["scan.png", "scan_2.png"]


def test_a_picture_is_named_after_its_file_whatever_else_was_given(files, tmp_path):
    broken = tmp_path / "scan.txt"
    broken.write_text("no image")
    (tmp_path / "scan.dcm").write_bytes(files[0].read_bytes())
    named = [broken, tmp_path / "scan.dcm"]
    assert main(["density", *map(str, named), "--out", str(tmp_path / "out")]) == 1
    assert [row["picture"] for row in rows_of(tmp_path / "out")] == ["", "scan.png"]


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_measured(files, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert main(["density", str(files[0]), "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert "a file has this name; give that of a folder" in err
    assert not out
    assert (tmp_path / "out").read_text() == "mine"


def test_the_stored_scores_are_those_of_a_small_run(tool, tmp_path, monkeypatch):
    """By the tool itself, from DICOM files; the file was scored from the cache of prepared images."""
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    first = tool.made["first"]
    table = phantoms.women("test", size=128, count=first["women"]).table
    found = [density_tool.measured(path, tool, anyway=True).percent for path in table["path"]]
    truth = table["percent_density"].to_numpy(float)
    assert np.mean(found) == pytest.approx(first["mean"], abs=0.1)
    assert np.abs(found - truth).mean() == pytest.approx(first["mae"], abs=0.3)


def test_another_file_is_no_densitometer(tmp_path, capsys):
    encoder = weights.pretrained("multiview", "mobilenetv2_050")
    assert main(["density", "x.png", "--weights", str(encoder)]) == 1
    assert "is no densitometer" in capsys.readouterr().err
    assert main(["density", "x.png", "--weights", str(tmp_path / "none.safetensors")]) == 1
    assert "no such file" in capsys.readouterr().err
