"""The file of a whole classifier: what goes in comes out, and a file that is not the run's is refused."""

import pandas as pd
import pytest
import torch

from mammo_utils import profile
from mammo_utils.__main__ import main
from mammo_utils.evaluation import operating
from mammo_utils.models import weights
from mammo_utils.models.classification import build
from mammo_utils.study import results, screened, screening, screening_file, screening_scores, stages
from mammo_utils.study.segmenter import save


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What a run of the study leaves behind: weights and logits in the cache, a row in the table."""
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(screened.WOMEN, "valid", screened.WOMEN["valid"]._replace(positive=3, negative=4))
    settings = screening.arm(model="test_efficientnet", weights="none", size=64)
    monkeypatch.setattr(stages, "at_rate", lambda changes: settings)
    torch.manual_seed(0)
    model = build("test_efficientnet", size=64).eval()
    views = screening_scores.predicted(model, screened.women("valid", size=64))
    screening_scores.keep({"valid": views, "test": views}, settings)
    save(model, screening_scores.kept(settings).with_suffix(".safetensors"))
    measured = {"seconds": 12.5, "memory_mib": 1.0, "cuda_mib": None, "profile": "cpu", "phantom": 1}
    measured |= {"commit": "abc1234", "machine": "a machine", "date": "2025-01-31"}
    table, metrics = tmp_path / "screening.csv", dict.fromkeys(screening_file.SCORES, 0.5) | {"pf1_2": 0.1}
    for seed, score in ((1, 0.2), (0, 0.875)):
        one = {"settings": settings, "seed": seed, "metrics": metrics | {"roc_auc": score}}
        results.append(table, type("Run", (), one | {"measured": measured}))
    return model, views, table


def command(table, folder):
    return main(["screener", "--out", str(folder), "--results", str(table)])


def test_a_classifier_comes_back_as_it_was_with_its_threshold(run, tmp_path, capsys):
    model, views, table = run
    assert command(table, tmp_path / "out") == 0
    assert "roc_auc 0.875" in capsys.readouterr().out
    found = screening_file.trained(tmp_path / "out" / screening_file.NAME)
    images = torch.rand(3, 1, 64, 52)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images), model(images))
    assert not found.model.training
    cut = operating.threshold_at(views["logit"], views["label"], specificity=0.9)
    assert found.threshold == pytest.approx(cut)
    assert found.made["scores"]["roc_auc"] == 0.875
    assert (found.made["commit"], found.made["seed"], found.made["seconds"]) == ("abc1234", 0, 12.5)


def test_weights_that_do_not_belong_to_the_logits_are_refused(run, tmp_path, capsys):
    _, _, table = run
    kept = screening_scores.kept(stages.at_rate({}))
    changed = pd.read_csv(kept)
    changed.assign(logit=changed["logit"] + 1).to_csv(kept, index=False)
    assert command(table, tmp_path / "out") == 1
    assert "does not give the logits" in capsys.readouterr().err
    empty = tmp_path / "empty.csv"
    assert command(empty, tmp_path / "out") == 1
    assert "has no row of the run" in capsys.readouterr().err
    kept.unlink()
    assert command(table, tmp_path / "out") == 1
    assert "with the same MAMMO_CACHE" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_an_encoder_is_no_classifier():
    with pytest.raises(ValueError, match="is no classifier of python -m mammo_utils screener"):
        screening_file.trained(weights.pretrained("lesions", "mobilenetv2_050"))


def test_where_none_comes_with_the_package_it_is_said_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "__file__", str(tmp_path / "package" / "profile.py"))
    with pytest.raises(FileNotFoundError, match="mammo_utils screener --out DIR"):
        screening_file.trained()
