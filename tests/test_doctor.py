import os
import subprocess
import sys

import pytest
from pydicom import uid

from mammo_utils import doctor
from mammo_utils.data import pixels


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


def findings(setup: str) -> list[str]:
    """What the doctor says of the decoders in a process that ran ``setup`` first."""
    code = f"import sys; {setup}; from mammo_utils import doctor; print(*doctor.decoders(), sep='\\n')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return child.stdout.splitlines()


@pytest.mark.parametrize(
    ("module", "remedy", "count"),
    [
        ("gdcm", "pip install python-gdcm", 4),
        # GDCM and Pillow could decode JPEG 2000 too, but the reader does not ask them
        ("pylibjpeg", "pip install pylibjpeg pylibjpeg-openjpeg", 5),
    ],
)
def test_a_syntax_whose_own_decoder_is_missing_cannot_be_read(module, remedy, count):
    wrong = [line for line in findings(f"sys.modules[{module!r}] = None") if "'wrong'" in line]
    assert len(wrong) == count
    assert all(remedy in line for line in wrong)


def test_without_pydicom_the_report_goes_on():
    (line,) = findings("sys.modules['pydicom'] = None")
    assert "'wrong'" in line
    assert "pydicom" in line


def test_the_doctor_asks_after_every_syntax_of_the_reader():
    found = list(doctor.decoders())
    assert all(finding.state == "ok" for finding in found)
    assert len({finding.what for finding in found}) == len(pixels.DECODERS)
    for syntax in pixels.DECODERS:
        assert uid.UID(syntax).is_compressed
        assert doctor.SYNTAXES[syntax] in {finding.what for finding in found}
    assert doctor.SYNTAXES[uid.JPEGLosslessSV1] == "JPEG lossless, first order"
