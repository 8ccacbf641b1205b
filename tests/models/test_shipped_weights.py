"""The encoders that come with the package: made as their card and the study say, and they fit."""

import re

import pytest
import torch

from mammo_utils import profile
from mammo_utils.explain import twins
from mammo_utils.models import weights
from mammo_utils.models.segmentation import build
from mammo_utils.study import (
    density_file,
    density_tool,
    encoders,
    grid,
    outlined,
    screening_file,
    stages,
    transfer,
)
from mammo_utils.synth import exams
from mammo_utils.synth.breast import VERSION, lesions


def files():
    return {method: weights.pretrained(method, encoders.SMALL) for method in weights.SHIPPED}


def test_the_card_says_what_the_files_say():
    card = profile.shipped("weights/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \|(.+)\|$", card, re.MULTILINE)
    said = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    expected = {}
    for method, path in files().items():
        made = weights.made(path)
        images, through = f"{made['learnt_from']:,}", f"{made['images_through']:,}"
        minutes = f"{made['seconds'] / 60:.0f}"
        settings = made["settings"]
        expected[path.name] = [
            method,
            images,
            through,
            f"{settings['lr']:g}",
            settings["augment"],
            minutes,
        ]
    assert said == expected
    there = {file.name for file in profile.shipped("weights").iterdir()} - {"README.md"}
    assert there == {*expected, screening_file.NAME, density_tool.NAME}


def test_the_shipped_classifier_is_what_its_card_says():
    card = profile.shipped("weights/README.md").read_text(encoding="utf-8").partition("## A whole")[2]
    found = screening_file.trained()
    scores = {name: f"{value:.3f}" for name, value in found.made["scores"].items()}
    said = dict(re.findall(r"^\| (\w.+?) \| ([-\d].*?) \|$", card, re.MULTILINE))
    assert said == {
        "area under the ROC curve, by breast": scores["roc_auc"],
        "by view": scores["roc_auc_image"],
        "by breast, another vendor and site": scores["roc_auc_external"],
        "area under the precision–recall curve, 2 % of breasts with cancer": scores["pr_auc_2"],
        "sensitivity and specificity by breast, threshold for 90 % specificity": (
            f"{scores['sensitivity_cut']} and {scores['specificity_cut']}"
        ),
        "a view is called from a logit of": f"{found.threshold:.3f}",
    }
    assert found.made["settings"] == stages.at_rate(stages.SHOWN[0])
    assert found.made["phantom"] == VERSION
    assert "dirty" not in found.made["commit"]
    assert profile.shipped(f"weights/{screening_file.NAME}").stat().st_size < 3e6


def test_the_density_tool_is_what_its_card_says():
    text = profile.shipped("weights/README.md").read_text(encoding="utf-8")
    card = text.partition("## The density tool")[2].partition("\n## ")[0]
    made = density_tool.trained().made
    home, away = made["scores"]["test"], made["scores"]["shifted"]

    def row(name, form):
        return [f"{scores[name]:{form}}" for scores in (home, away)]

    def covered(scores):
        return f"{scores['coverage']:.3f} ({scores['coverage_low']:.3f} to {scores['coverage_high']:.3f})"

    said = re.findall(r"^\| (\w.+?) \| ([-\d].*?) \| ([-\d].*?) \|$", card, re.MULTILINE)
    assert {name: values for name, *values in said} == {
        "women": [str(made["settings"]["women"][name]) for name in ("test", "shifted")],
        "Dice of dense tissue": row("dice", ".3f"),
        "Dice of the breast": row("dice_breast", ".3f"),
        "error of percent density, mean of its size (points)": row("mae", ".2f"),
        "the same with its sign": row("bias", ".2f"),
        "rank correlation with the true percent density": row("spearman", ".3f"),
        "rank correlation with a reader's class": row("spearman_class", ".3f"),
        "class as a reader's": row("class_same", ".3f"),
        "weighted kappa of the classes": row("kappa", ".3f"),
        "intervals that hold the truth (95 % interval by woman)": [covered(home), covered(away)],
        "refused by its distance": row("refused", ".3f"),
    }
    assert f"± {made['margin']:.1f} points" in card
    assert f"Up to {made['limit']:.1f}" in card
    assert " / ".join(f"{cut:.1f}" for cut in made["cuts"]) in card
    assert f"probability of {made['threshold']:.2f}" in card
    assert made["settings"] == density_file.SETTINGS
    assert made["phantom"] == VERSION
    assert "dirty" not in made["commit"]
    assert profile.shipped(f"weights/{density_tool.NAME}").stat().st_size < 8e6


def test_the_shipped_classifier_tells_cancers_from_their_healthy_twins():
    """It has learnt something: with her cancer a woman's logits are higher than without."""
    model = screening_file.trained().model
    women = (patient for patient in exams.cohort("test") if "calcif" not in lesions.cancer_shape(patient))
    effects = [twins.effect(model, twins.pairs(next(women), size=128)).max() for _ in range(6)]
    assert sum(effect > 0 for effect in effects) >= 5


@pytest.mark.parametrize("method", weights.METHODS)
def test_a_shipped_encoder_is_the_first_pretraining_of_the_study(method, tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    path = encoders.weights(transfer.pretraining(encoders.SMALL, method), 0)
    assert path == files()[method]
    made = weights.made(path)
    assert "dirty" not in made["commit"]
    table = grid.read("encoders")
    row = table[(table["method"] == method) & (table["model"] == encoders.SMALL) & (table["start"] == "none")]
    assert row.loc[row["seed"] == 0, "loss"].item() == pytest.approx(made["loss"], rel=1e-4)


def test_the_encoder_that_outlined_lesions_serves_the_screening_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    assert outlined.encoder("mobilenetv2_050", outlined.SIZE) == files()["lesions"]
    assert "dirty" not in weights.made(files()["lesions"])["commit"]
    assert not list(tmp_path.iterdir())


def test_shipped_encoders_are_small_load_and_differ():
    stems = []
    for method, path in files().items():
        assert path.stat().st_size < 3e6
        encoder = build(encoders.SMALL, size=128, weights=method).encoder
        stems.append(encoder.get_parameter(weights.stem(encoder)).detach())
        assert all(torch.isfinite(tensor).all() for tensor in encoder.state_dict().values())
    for number, one in enumerate(stems):
        assert not any(torch.equal(one, other) for other in stems[number + 1 :])
