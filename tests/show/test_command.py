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


def test_two_files_of_one_name_get_two_panels(scans, tmp_path):
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "scan.dcm").write_bytes(scans[0].read_bytes())
    files = [str(tmp_path / side / "scan.dcm") for side in ("left", "right")]
    assert main(["show", *files, "--out", str(tmp_path / "panels")]) == 0
    assert sorted(p.name for p in (tmp_path / "panels").iterdir()) == ["scan.png", "scan_2.png"]
