"""The files by which the course is installed: one list of dependencies, a wheel that carries its data."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import mammo_utils
from mammo_utils import profile
from mammo_utils.course import rules

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_holds_no_second_list():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert dependencies == [f"python{PROJECT['requires-python']}", "pip", {"pip": ["-e .[test]"]}]


def test_dependencies_have_lower_bounds_only_and_torch_none():
    for line in [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]:
        assert re.fullmatch(r"(torch|torchvision)|[a-z][a-z0-9-]*>=[\d.]+", line), line


def test_version_is_the_same_wherever_it_stands():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert mammo_utils.__version__ == PROJECT["version"] == citation["version"]
    (cited,) = re.findall(r"@software.*?version = \{([^}]*)\}", (ROOT / "README.md").read_text(), re.DOTALL)
    assert cited == citation["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the package with one results table and one file of weights."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "mammo_utils", clone / "mammo_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("results/study/table.csv", "weights/encoder.safetensors", "rsna/private.csv"):
        (clone / "data" / name).parent.mkdir(parents=True)
        (clone / "data" / name).write_text(name)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    return next(clone.glob("*.whl"))


def test_wheel_carries_every_module_with_weights_and_results_but_no_other_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mammo_utils").rglob("*.py")}
    assert modules <= names
    data = {name for name in names if name.startswith("mammo_utils/") and not name.endswith(".py")}
    assert data == {
        "mammo_utils/shipped/results/study/table.csv",
        "mammo_utils/shipped/weights/encoder.safetensors",
    }


def test_an_installed_wheel_finds_what_it_carries(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from mammo_utils.profile import shipped; print(shipped('results/study/table.csv').read_text())"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout == "results/study/table.csv\n", result.stderr


def test_a_clone_finds_the_same_names_below_data(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "__file__", str(tmp_path / "mammo_utils" / "profile.py"))
    table = tmp_path / "data" / "results" / "table.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    assert profile.shipped("results/table.csv") == table
    with pytest.raises(FileNotFoundError, match=r"'results/other.csv' .* it has: results/table.csv"):
        profile.shipped("results/other.csv")


def test_bash_can_read_the_ci_script():
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def make(*arguments, **options):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, **options)


def test_make_says_what_to_do_about_an_old_python(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, clone)
    result = make("-C", str(clone), "lab", f"PYTHON={old}")
    assert result.returncode != 0
    assert "needs Python 3.11 or later" in result.stdout
    assert not (clone / ".venv").exists()


def test_links_of_the_readme_lead_somewhere():
    readme = {"cell_type": "markdown", "source": (ROOT / "README.md").read_text()}
    assert rules.dead_links({"cells": [readme]}, ROOT) == []
