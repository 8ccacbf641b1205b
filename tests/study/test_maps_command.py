"""The tables of maps: written by one command, read like every other table, and repeated in part."""

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.__main__ import main
from mammo_utils.explain import localisation, sanity
from mammo_utils.models import weights
from mammo_utils.models.classification import build
from mammo_utils.study import grid, maps_command, results, screened, screening

OPTIONS = ["--methods", "hirescam", "--layers", "stage3"]


@pytest.fixture
def classifier(tmp_path, monkeypatch):
    """A file of an untrained classifier that calls every view; a dozen women."""
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path / "cache"))
    for name in ("test", "train"):
        women = screened.WOMEN[name]._replace(positive=3, negative=4)
        monkeypatch.setitem(screened.WOMEN, name, women)
    monkeypatch.setitem(screening.DRAWN, "train", (3, 4))
    monkeypatch.setattr(screening, "PORTION", 16)
    monkeypatch.setattr(screening, "BATCH", 4)
    for name, value in {"VIEWS": 4, "PERTURBED": 2, "STEPS": 2, "CHECKED": 4, "READ": 2}.items():
        monkeypatch.setattr(maps_command, name, value)
    settings = screening.arm(model="test_efficientnet", weights="none", size=64, budget=32)
    torch.manual_seed(0)
    path = tmp_path / "network.safetensors"
    made = {"settings": settings, "threshold": -100.0, "commit": "abc1234"}
    weights.save(build("test_efficientnet", size=64), path, made)
    return path


@pytest.mark.slow
def test_one_command_writes_all_tables(classifier, tmp_path, capsys):
    arguments = ["maps", "--classifier", str(classifier), *OPTIONS]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "permuted labels fitted to an AUC of" in capsys.readouterr().out
    scores, checks, readings = (grid.read(tmp_path / "out" / f"{name}.csv") for name in maps_command.TABLES)
    assert list(scores.columns[:5]) == ["method", "layer", "score", "lesion", "seed"]
    assert list(checks.columns[:5]) == ["method", "layer", "order", "part", "seed"]
    assert list(readings.columns[:2]) == ["reading", "seed"]
    for table in (scores, checks, readings):
        assert tuple(table.columns[-len(results.MEASURED) :]) == results.MEASURED
        assert (table["seconds"] > 0).all()
        assert not table.duplicated(list(table.columns[: list(table).index("seed")])).any()
    assert set(scores["method"]) == {"hirescam", "centre prior", "edges"}
    assert set(scores["score"]) == {*localisation.SCORES, "twin", "insertion", "deletion"}
    every = scores[scores["lesion"] == "all"].set_index("score")["images"]
    assert every["insertion"].eq(2).all()
    assert every["energy"].eq(4).all()
    assert set(checks["order"]) == {*sanity.ORDERS, "labels"}
    assert checks["fitted"].between(0, 1).all()
    assert main([*arguments, "--out", str(tmp_path / "again"), "--tables", "explained"]) == 0
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["explained.csv"]
    again = pd.read_csv(tmp_path / "again" / "explained.csv")
    first = pd.read_csv(tmp_path / "out" / "explained.csv")
    np.testing.assert_allclose(again["estimate"], first["estimate"], rtol=1e-3)


def test_what_is_wrong_is_said(classifier, tmp_path, capsys):
    assert main(["maps", "--classifier", str(tmp_path / "none.safetensors")]) == 1
    assert "none.safetensors" in capsys.readouterr().err
    out = ["--classifier", str(classifier), "--out", str(tmp_path / "out")]
    for option, name in (("--methods", "gradcan"), ("--layers", "stage9")):
        assert main(["maps", *out, option, name]) == 1
        assert f"'{name}'; choose one of" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())  # what was there before would still be there
