"""The file of the density tool: made small, it comes back as it was, with the numbers of its parts."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mammo_utils import profile
from mammo_utils.__main__ import main
from mammo_utils.evaluation import conformal
from mammo_utils.evaluation import density as evaluation
from mammo_utils.study import density_file, density_tool, refusals, unlike

SMALL = {"model": "unet/test_efficientnet", "weights": "none", "size": 64, "budget": 48, "tuning": 2}
SMALL |= {"women": {"train": 6, "valid": 13, "test": 9, "shifted": 2}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        settings = density_file.SETTINGS | SMALL
        path = tmp_path_factory.mktemp("out") / "tool.safetensors"
        density_file.write(path, settings)
        yield settings, path


def test_the_file_holds_the_network_its_reference_and_its_settings(made):
    settings, path = made
    model, training = density_file.segmenter(settings)  # not trained again
    found = density_tool.trained(path)
    assert found.made["settings"] == settings
    assert not found.model.training
    assert found.made["commit"] == training["commit"]
    images = torch.rand(2, 1, 64, 52)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images.to(profile.device())), model(images).sigmoid())
    tool, limit = density_file.fitted(model, settings, settings["rule"])
    assert found.made["limit"] == pytest.approx(limit)
    valid = density_file.women("valid", settings)
    far = found.model.distances(density_file.pictures(valid), valid.masks["foreground"])
    assert (far <= limit).mean() == pytest.approx(0.99, abs=1 / len(far))
    alone = found.model.distances(density_file.pictures(valid)[3:4], valid.masks["foreground"][3:4])
    assert alone[0] == pytest.approx(far[3], rel=1e-3)


def test_margin_and_scores_are_those_of_the_masks(made):
    """Anew from the masks of the tool: the margin is the largest of eleven errors, one a woman."""
    settings, path = made
    found = density_tool.trained(path)

    def errors(name):
        images = density_file.women(name, settings)
        pictures = density_file.pictures(images)
        dense, whole = density_tool.masks(found.model, pictures, found.made["threshold"])
        percent = np.nan_to_num(evaluation.percent_density(dense, whole))
        truth = evaluation.percent_density(images.masks["dense"], images.masks["breast"])
        return images.table["group"].to_numpy(str), percent - truth

    groups, error = errors("valid")
    later = np.isin(groups, np.unique(groups)[settings["tuning"] :])
    each = conformal.one_each(groups[later], seed=settings["seed"])
    assert len(each) == 11  # of which nine tenths of twelve is the largest
    margin = found.made["margin"]
    assert margin == pytest.approx(np.abs(error[later][each]).max(), abs=0.05)
    _, error = errors("test")
    scores = found.made["scores"]["test"]
    assert scores["mae"] == pytest.approx(np.abs(error).mean(), abs=0.05)
    assert scores["bias"] == pytest.approx(error.mean(), abs=0.05)
    assert scores["coverage"] == pytest.approx((np.abs(error) <= margin + 1e-3).mean(), abs=0.03)
    assert scores["coverage_low"] <= scores["coverage"] <= scores["coverage_high"]


def test_the_rules_are_compared_on_own_and_other_images(made, tmp_path):
    settings, _ = made
    rng, other = np.random.default_rng(0), tmp_path / "other"
    other.mkdir()
    for number in range(3):
        noise = np.zeros((200, 160))
        noise[40:160, :90] = rng.random((120, 90))
        Image.fromarray(np.rint(noise * 255).astype(np.uint8)).save(other / f"{number}.png")
    (other / "notes.txt").write_text("no image")
    table = refusals.compared(settings, {"noise": sorted(other.iterdir())})
    assert list(table["set"].unique()) == ["test", "shifted", "noise"]
    assert set(table["rule"]) == set(unlike.RULES)
    noise = table[table["set"] == "noise"]
    assert (noise["images"] == 3).all()
    assert (noise["unreadable"] == 1).all()
    assert noise.set_index("rule").loc["statistics", "refused"] == 1
    own = table[table["set"] == "test"]
    assert (own["images"] == 36).all()
    assert (own["refused"] >= own["objected"]).all()


def test_the_best_rule_refuses_most_of_the_others_and_of_equals_is_the_simplest():
    rows = [("statistics", 0.5, 0.9), ("deepest", 0.9, 0.5), ("stages", 0.7, 0.6)]
    table = pd.DataFrame(
        [
            row
            for rule, films, pages in rows
            for row in (
                {"rule": rule, "set": "test", "refused": 1.0 * (rule == "stages")},
                {"rule": rule, "set": "films", "refused": films},
                {"rule": rule, "set": "pages", "refused": pages},
            )
        ]
    )
    assert refusals.best(table) == "statistics"
    assert refusals.best(table[::-1]) == "statistics"
    with pytest.raises(ValueError, match="no images of another kind"):
        refusals.best(table[table["set"] == "test"])


def test_the_rule_of_the_tool_is_the_best_of_the_table():
    assert density_file.SETTINGS["rule"] == refusals.best(
        pd.read_csv(profile.shipped("results/density_refusals.csv"))
    )


def test_a_set_needs_a_name_of_its_own_and_images(tmp_path, capsys):
    for given in ("films", f"films={tmp_path}", f"test={tmp_path}", "=x"):
        assert main(["gauge", "--unlike", given, "--out", str(tmp_path / "table.csv")]) == 1
        assert "give NAME=DIR" in capsys.readouterr().err


def test_a_wrong_place_is_told_first(tmp_path, capsys):
    (tmp_path / "film.png").write_bytes(b"")
    assert main(["gauge", "--unlike", f"films={tmp_path}", "--out", str(tmp_path)]) == 1
    assert "name the table's file, such as table.csv" in capsys.readouterr().err
    assert main(["gauge", "--out", str(tmp_path / "film.png")]) == 1
    assert "a file has this name; give that of a folder" in capsys.readouterr().err
