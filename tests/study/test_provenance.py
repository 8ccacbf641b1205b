import getpass
import socket
import subprocess

import pytest
import torch

from mammo_utils import profile
from mammo_utils.study import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one file in a clone with one commit."""
    folder = tmp_path / "clone" / "mammo_utils"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("a = 1\n")
    clone = folder.parent

    def git(*arguments):
        own = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *own, "-C", str(clone), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    return folder, git("rev-parse", "HEAD")


def test_commit_is_marked_once_the_package_differs_from_it(package):
    folder, full = package
    found = provenance.commit()
    assert len(found) >= 7
    assert full.startswith(found)
    (folder.parent / "results.csv").write_text("written by the study itself")
    assert provenance.commit() == found
    (folder / "new.py").touch()
    assert provenance.commit() == f"{found}-dirty"
    (folder / "new.py").unlink()
    (folder / "a.py").write_text("a = 2\n")
    assert provenance.commit() == f"{found}-dirty"


def test_a_wheel_inside_somebody_elses_repository_has_no_commit(package, monkeypatch):
    folder, _ = package
    inside = folder.parent / "venv" / "site-packages" / "mammo_utils"
    inside.mkdir(parents=True)
    monkeypatch.setattr(provenance, "PACKAGE", inside)
    assert provenance.commit() == "unknown"


def test_without_git_the_commit_is_unknown(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == "unknown"


def test_machine_names_hardware_and_software_but_nobody():
    found = provenance.machine()
    assert f"torch {torch.__version__}" in found
    assert found.endswith(profile.precision())
    assert provenance.machine("16-mixed").endswith(", 16-mixed")
    assert socket.gethostname() not in found
    assert getpass.getuser() not in found
