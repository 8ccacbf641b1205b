import pytest
from PIL import Image

from mammo_utils.__main__ import main
from mammo_utils.synth import exams


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    exams.write(folder, range(1), layout="phantom", size=128)
    return sorted(folder.rglob("*.dcm"))


def test_each_file_gets_a_panel_and_a_damaged_one_does_not_stop_the_others(scans, tmp_path, capsys):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(scans[0].read_bytes()[:600])
    files = [str(scans[0]), str(bad), str(scans[1])]
    assert main(["show", *files, "--out", str(tmp_path / "panels"), "--size", "96"]) == 1
    out, err = capsys.readouterr()
    panels = sorted((tmp_path / "panels").iterdir())
    assert [panel.stem for panel in panels] == sorted(scan.stem for scan in scans[:2])
    assert all(str(panel) in out for panel in panels)
    assert str(bad) in err
    assert "1 of 3 files could not be read" in err
    for panel in panels:
        with Image.open(panel) as picture:
            assert min(picture.size) > 200


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["l/a", "r/a"], ["a", "a_2"]),
        (["l/a", "r/a", "l/a_2"], ["a", "a_2", "a_2_2"]),
        (["l/a_2", "l/a", "r/a", "r/A"], ["A_4", "a", "a_2", "a_3"]),
    ],
)
def test_no_panel_overwrites_another(names, expected, scans, tmp_path):
    files = [tmp_path / f"{name}.dcm" for name in names]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(scans[0].read_bytes())
    assert main(["show", *map(str, files), "--out", str(tmp_path / "panels"), "--size", "96"]) == 0
    assert sorted(panel.stem for panel in (tmp_path / "panels").iterdir()) == expected
