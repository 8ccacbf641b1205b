import os
import subprocess
import sys

import pytest
from pydicom import uid

from mammo_utils import doctor


def report(*arguments, **environment):
    command = [sys.executable, "-m", "mammo_utils", "doctor", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    return result.returncode, result.stdout


def test_everything_of_the_list_is_here_and_each_absent_thing_has_its_remedy(tmp_path):
    (tmp_path / "rsna").mkdir()
    status, text = report(MAMMO_DATA=str(tmp_path), HF_HUB_CACHE=str(tmp_path / "none"))
    assert status == 0, text
    lines = [line.strip() for line in text.splitlines()]
    assert f"ok      rsna: found in {tmp_path / 'rsna'}" in lines
    assert f"absent  vindr: no folder {tmp_path / 'vindr'}" in lines
    assert any(line.startswith("ok      torch: ") for line in lines)
    for number, line in enumerate(lines):
        if line.startswith(("absent", "wrong")):
            assert lines[number + 1].startswith("-> "), line


@pytest.mark.parametrize(
    "complaint", ["operator torchvision::nms does not exist", "undefined symbol: _ZN3c10"]
)
def test_torch_and_torchvision_from_two_sources_are_explained(tmp_path, complaint):
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text(f"raise RuntimeError({complaint!r})")
    status, text = report(PYTHONPATH=str(tmp_path))
    assert status == 1
    assert f"torch with torchvision: they do not fit together ({complaint})" in text
    assert "to repair: torch with torchvision" in text


def test_a_package_that_is_missing_or_too_old_is_wrong(monkeypatch):
    wanted = ["numpy>=999", "no-such-package>=1", "ruff; extra == 'test'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: wanted)
    found = {finding.what: finding for finding in doctor.packages()}
    assert found["numpy"].state == found["no-such-package"].state == "wrong"
    assert "pip install 'no-such-package>=1'" in found["no-such-package"].remedy
    assert "ruff" not in found


def test_a_syntax_without_decoder_names_the_package_that_reads_it():
    code = (
        "import sys; sys.modules['gdcm'] = None; from mammo_utils import doctor;"
        "print(*doctor.decoders(), sep='\\n')"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    wrong = [line for line in text.splitlines() if "'wrong'" in line]
    assert len(wrong) == 4
    assert all("pip install python-gdcm" in line for line in wrong)


def test_the_syntaxes_are_those_of_the_standard():
    assert {name: uid for uid, (name, _) in doctor.SYNTAXES.items()} == {
        "uncompressed": uid.ExplicitVRLittleEndian,
        "RLE": uid.RLELossless,
        "JPEG 2000 lossless": uid.JPEG2000Lossless,
        "JPEG 2000": uid.JPEG2000,
        "HTJ2K lossless": uid.HTJ2KLossless,
        "HTJ2K": uid.HTJ2K,
        "JPEG lossless": uid.JPEGLossless,
        "JPEG lossless, first order": uid.JPEGLosslessSV1,
        "JPEG-LS lossless": uid.JPEGLSLossless,
        "JPEG-LS": uid.JPEGLSNearLossless,
    }
