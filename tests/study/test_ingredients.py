"""The recipe taken apart: which arms are crossed, on whom they are scored, and what a run says."""

import itertools

import numpy as np
import pytest

from mammo_utils.study import density, grid, ingredients, losses, phantoms, strategies
from mammo_utils.synth import exams

TINY = {"model": "unet/test_efficientnet", "size": 64, "budget": 48, "labels": 8, "source": "none"}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, number in {"train": 2, "valid": 2, "final": 4}.items():
            patch.setitem(phantoms.WOMEN, name, number)
        patch.setattr(ingredients, "AWAY", 4)
        yield


def test_every_ingredient_is_crossed_with_every_other():
    crossed = ingredients.CROSSED.settings
    found = {tuple(one[name] for name in ingredients.INGREDIENTS) for one in crossed}
    assert found == set(itertools.product(*ingredients.INGREDIENTS.values()))
    assert len(crossed) == len(found) == 8
    assert list(ingredients.CROSSED.seeds) == list(range(10))
    fixed = {
        name: {one[name] for one in crossed} for name in ("labels", "budget", "target", "cohort", "model")
    }
    assert all(len(values) == 1 for values in fixed.values())
    assert fixed["cohort"] == {"final"}
    for one in crossed:
        assert one["lr"] == strategies.RATES[one["source"], one["strategy"]]
        assert one["lam"] == (losses.LAM if one["loss"] == "hybrid_density" else None)
        assert one["rank"] == (strategies.RANK if one["strategy"] == "lora" else None)


def test_what_is_left_out_differs_from_the_recipe_in_one_thing():
    recipe = ingredients.arm(**ingredients.RECIPE)
    assert recipe in ingredients.CROSSED.settings
    for name, (instead, _) in ingredients.INGREDIENTS.items():
        other = ingredients.arm(**(ingredients.RECIPE | {name: instead}))
        assert other in ingredients.CROSSED.settings
        differs = {key for key in recipe if recipe[key] != other[key]}
        assert name in differs
        assert differs <= {name, "lr", "rank" if name == "strategy" else "lam"}


def test_no_other_study_opens_the_final_women():
    others = set(grid.STUDIES) - {"recipe", "recipe_network"}
    assert all("final" not in map(str, one.values()) for name in others for one in grid.find(name).settings)
    assert not set(exams.cohort("final")) & set(exams.cohort("test"))


@pytest.mark.parametrize("loss", ["bce_dice", "hybrid_density"])
def test_a_run_learns_from_train_and_is_scored_on_final_women(few, loss):
    settings = ingredients.arm("imagenet", "full", loss) | TINY
    drawn = density.women_of(settings, 0)
    patients = set(drawn.held.table["patient_id"].map(lambda name: int(name[1:])))
    assert patients <= set(exams.cohort("final"))
    learnt = set(drawn.images.table["patient_id"].map(lambda name: int(name[1:])))
    assert learnt <= set(exams.cohort("train"))
    assert len(drawn.unseen) == 16
    found = ingredients.fine_tune(settings, 0)
    assert set(found) <= set(ingredients.TOLERANCE)
    assert {"dice", "mae", "spearman", "mae_shifted", "train_seconds"} <= set(found)
    again = ingredients.fine_tune(settings, 0)
    for name in ("dice", "mae", "dice_shifted"):
        np.testing.assert_allclose(again[name], found[name], atol=1e-4)


def test_another_network_begins_without_weights():
    (other,) = ingredients.NETWORK.settings
    assert other["model"] == ingredients.OTHER
    assert other["source"] == "none"
    assert {other[name] for name in ("strategy", "loss")} == {"full", "hybrid_density"}
    recipe = ingredients.arm(**ingredients.RECIPE)
    assert set(other) == set(recipe)
    assert other["budget"] == recipe["budget"]
