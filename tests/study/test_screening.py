"""The screening runs: what learns from what and for how long, and scores computed another way."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from mammo_utils.data import balance
from mammo_utils.models import weights as sources
from mammo_utils.models.classification import build
from mammo_utils.study import grid, outlined, screened, screening, screening_scores, stages

TINY = {"model": "test_efficientnet", "weights": "none", "size": 64, "budget": 64}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Some twenty women are enough to see that a run is counted and scored as it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in screened.WOMEN:
            women = screened.WOMEN[name]._replace(positive=3, negative=5)
            patch.setitem(screened.WOMEN, name, women)
        for name in screening.DRAWN:
            patch.setitem(screening.DRAWN, name, (1, 2))
        patch.setattr(screening, "PORTION", 16)
        patch.setattr(screening, "BATCH", 4)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "warm_up", "warm_up_only"])
def test_a_run_gives_every_score_once_and_a_second_one_the_same(few, kind):
    settings = screening.arm(stages=kind, unfreezing="progressive") | TINY
    found = screening.classify(settings, 0)
    assert set(found) == set(screening.TOLERANCE)
    assert all(isinstance(value, float) for value in found.values())
    shares = [value for name, value in found.items() if not name.startswith(("images", "train"))]
    assert all(0 <= value <= 1 for value in shares)
    assert found["images_to_level"] <= 72
    again = screening.classify(settings, 0)
    for name in set(found) - {"images_per_second", "train_seconds"}:
        assert again[name] == pytest.approx(found[name], nan_ok=True), name
    kept = screening_scores.kept(settings)
    model = build("test_efficientnet", size=64)
    model.load_state_dict(load_file(kept.with_suffix(".safetensors")))
    views = screening_scores.by(screening_scores.predicted(model, screened.women("test", size=64)))
    table = pd.read_csv(kept)
    np.testing.assert_allclose(table.loc[table["cohort"] == "test", "logit"], views["logit"], rtol=1e-4)
    assert set(table["cohort"]) == {"valid", "test", "external"}
    assert len(table) == 3 * 8 * 2  # three cohorts of eight women
    test = table[table["cohort"] == "test"]
    assert found["roc_auc"] == pytest.approx(roc_auc_score(test["label"], test["logit"]))


@pytest.mark.slow
def test_trials_score_the_women_of_develop_that_were_not_learnt_from(few, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        screening, "ranks", lambda views, own=screening.ranks: seen.update(views=views) or own(views)
    )
    learnt = {}
    monkeypatch.setattr(
        screening,
        "learn",
        lambda model, images, rows, *a, own=screening.learn, **k: (
            learnt.update(rows=rows) or own(model, images, rows, *a, **k)
        ),
    )
    found = screening.classify(screening.arm(cohort="develop") | TINY, 1)
    images = screened.women("develop", size=64)
    codes = pd.factorize(images.table["group"])[0]
    assert set(codes[learnt["rows"]]).isdisjoint(seen["views"]["woman"])
    assert len(learnt["rows"]) == 3 * 4
    assert set(seen["views"]["woman"]) | set(codes[learnt["rows"]]) == set(range(8))
    assert set(found) < set(screening.TOLERANCE)


def test_every_stage_has_its_own_images_rates_and_pos_weight(few, monkeypatch):
    calls = []

    def fit(model, batches, objective, *, epochs, lr, strategy, watch, **options):
        rates = ["full"] if strategy == "full" else [strategy.groups(k) for k in range(epochs)]
        calls.append((batches, objective, epochs, rates))
        return type("History", (), {"seconds": 1.0})

    monkeypatch.setattr(screening, "fit", fit)
    images = screened.women("train", size=64)
    rows = screened.draw(images, positive=1, negative=4, seed=0)
    model = build("test_efficientnet", size=64)
    settings = screening.arm(stages="warm_up", unfreezing="progressive") | TINY | {"budget": 320}
    screening.learn(model, images, rows, settings, seed=3, watch=(images, rows))
    (warm, _, first, plain), (full, _, second, rates) = calls
    label = images.table["cancer"].to_numpy(float)
    assert len(warm.rows) == 4  # one breast with cancer and one without
    assert label[warm.rows].sum() == label[full.rows].sum() == 2
    np.testing.assert_array_equal(full.rows, rows)
    assert set(warm.rows) < set(full.rows)
    assert (first * 4, second * 16) == (80, 240)  # a quarter of the budget, then the rest
    assert plain == ["full"]
    depth = len(model.parts) - 1
    for epoch, groups in enumerate(rates):
        moving = [group for group in groups if group["lr"]]
        thawed = min(depth, epoch // max(1, second // (2 * depth)))
        assert len(moving) == thawed + 1
        assert {group["lr"] for group in moving} == {settings["lr"] * screening.FALL**thawed}
    assert len([g for g in rates[-1] if g["lr"]]) == depth + 1


@pytest.mark.parametrize("way", screening.IMBALANCE)
def test_the_loss_and_the_batches_of_each_way(few, way):
    images = screened.women("train", size=64)
    rows = np.arange(len(images))
    batches, objective, each = screening.feed(
        images, rows, imbalance=way, seed=0, batch=4, limit=4, augment="none"
    )
    batch = next(iter(batches))
    model = build("test_efficientnet", size=64).eval()
    logit = model(batch.image).double()[:, 0]
    p, y = logit.sigmoid(), batch.target.double()
    entropy = -(y * p.log() + (1 - y) * (1 - p).log())
    ratio = balance.pos_weight(images.table["cancer"].to_numpy(float))
    right = torch.where(y == 1, p, 1 - p)
    wanted = {
        "pos_weight": entropy * torch.where(y == 1, ratio, 1.0),
        "focal": entropy * (1 - right) ** 2 * torch.where(y == 1, 0.25, 0.75),
    }.get(way, entropy)
    assert objective(model, batch).item() == pytest.approx(wanted.mean().item(), rel=1e-5)
    assert each == (12 if way == "balanced" else 16)  # six positive images and as many others
    target = torch.cat([b.target for b in batches])
    assert target.mean() == 0.5 if way == "balanced" else len(target) == 16


def made(rng, women, *, shift=0.0):
    """Four views a woman, every fourth with cancer on the left."""
    label = np.repeat(np.arange(women) % 4 == 0, 4) & np.tile([True, True, False, False], women)
    side = np.tile(["L", "L", "R", "R"], women)
    woman = np.repeat(np.arange(women), 4)
    names = [f"{w}{s}" for w, s in zip(woman, side, strict=True)]
    logit = rng.normal(size=4 * women) + 1.5 * label + shift
    return pd.DataFrame({"woman": woman, "breast": names, "label": label.astype(int), "logit": logit})


def test_scores_are_those_of_sklearn_on_breasts_with_weights():
    rng = np.random.default_rng(0)
    valid, test = made(rng, 120, shift=2), made(rng, 160, shift=2)
    found = screening_scores.scored(valid, test)
    breasts = test.groupby("breast", sort=False).agg({"woman": "first", "label": "max", "logit": "max"})
    assert found["roc_auc"] == pytest.approx(roc_auc_score(breasts["label"], breasts["logit"]))
    mean = test.groupby("breast", sort=False)["logit"].mean()
    assert found["roc_auc_mean"] == pytest.approx(roc_auc_score(breasts["label"], mean))
    assert found["roc_auc_image"] == pytest.approx(roc_auc_score(test["label"], test["logit"]))
    whole = test.groupby("woman").agg({"label": "max", "logit": "max"})
    assert found["roc_auc_woman"] == pytest.approx(roc_auc_score(whole["label"], whole["logit"]))
    sick = breasts.groupby("woman")["label"].transform("max") == 1
    for share, name in ((0.02, "2"), (0.005, "05")):
        # 40 positive breasts of 80 of women with cancer; the 240 others make up the rest.
        weight = np.where(sick, 1.0, (40 / share - 80) / 240)
        expected = average_precision_score(breasts["label"], breasts["logit"], sample_weight=weight)
        assert found[f"pr_auc_{name}"] == pytest.approx(expected)
        p = expit(breasts["logit"].to_numpy(float))
        hits = (weight * p * breasts["label"]).sum()
        expected = 2 * hits / ((weight * p).sum() + (weight * breasts["label"]).sum())
        assert found[f"pf1_{name}"] == pytest.approx(expected)
    known = valid.groupby("breast", sort=False).agg({"label": "max", "logit": "max"})
    negatives = np.sort(known.loc[known["label"] == 0, "logit"])
    allowed = int(0.1 * len(negatives))
    called = breasts["logit"] > negatives[-allowed - 1]
    assert found["sensitivity_cut"] == pytest.approx(called[breasts["label"] == 1].mean())
    assert found["specificity_cut"] == pytest.approx(1 - called[breasts["label"] == 0].mean(), abs=0.01)


def test_recalibration_brings_the_mean_to_the_prevalence_and_keeps_the_ranking():
    rng = np.random.default_rng(1)
    valid = made(rng, 400, shift=4)
    found = screening_scores.scored(valid, valid)
    assert found["mean_2"] > 0.5
    assert found["mean_2_fixed"] == pytest.approx(0.02, abs=1e-4)
    assert found["ece_2_fixed"] < found["ece_2"]
    assert found["brier_2_fixed"] < found["brier_2"]
    shifted = screening_scores.scored(
        valid.assign(logit=valid["logit"] - 9), valid.assign(logit=valid["logit"] - 9)
    )
    for name in ("roc_auc", "pr_auc_2", "pr_auc_05", "sensitivity_cut", "pf1_2_fixed", "pf1_05_fixed"):
        assert shifted[name] == pytest.approx(found[name], abs=1e-4), name


def test_all_arms_of_a_seed_start_from_the_same_weights(tmp_path):
    path = tmp_path / "encoder.safetensors"
    torch.manual_seed(5)
    sources.save(build("test_efficientnet", size=64).encoder, path, {})
    assert screening.initial(screening.arm(weights=str(path))) == str(path)
    assert screening.initial(screening.arm(weights="none")) == "none"
    shipped = sources.pretrained("simclr", "mobilenetv2_050")
    assert screening.initial(screening.arm(weights="simclr")) == shipped
    with pytest.raises(ValueError, match="unknown source"):
        screening.initial(screening.arm(weights="simclrr"))


@pytest.mark.parametrize("wrong", [{"stages": "two"}, {"unfreezing": "some"}, {"imbalance": "none"}])
def test_an_arm_that_is_not_there(wrong):
    with pytest.raises(ValueError, match="choose one of"):
        screening.arm(**wrong)


def test_the_studies_compare_equal_arms_with_equal_effort():
    decisive = [tuple(one.values()) for one in stages.DECISIVE.settings]
    assert len(decisive) == 4
    assert len(stages.DECISIVE.seeds) == len(stages.SECONDS.seeds) == 10
    factors = {(one["stages"], one["unfreezing"]) for one in stages.DECISIVE.settings}
    assert factors == {(a, b) for a in ("single", "warm_up") for b in ("all", "progressive")}
    for study in (stages.DECISIVE, stages.STUDY, stages.SECONDS, stages.TUNING):
        same = [{k: one[k] for k in ("model", "size", "cohort")} for one in study.settings]
        assert all(one == same[0] for one in same)
    for study in (stages.DECISIVE, stages.SECONDS):
        assert {one["weights"] for one in study.settings} == {outlined.METHOD}
    assert {one["budget"] for one in stages.STUDY.settings} == {screening.BUDGET}
    names = ["stages", "unfreezing", "imbalance", "weights"]
    for key, rates in pd.DataFrame(stages.TUNING.settings).groupby(names)["lr"]:
        assert tuple(rates) == (*stages.TRIALS, *stages.BEYOND.get(key, ()))
        assert stages.RATES[key] in set(rates)
    assert {stages.name(one) for one in stages.TUNING.settings} == set(stages.RATES)
    assert set(pd.DataFrame(stages.TUNING.settings)["cohort"]) == {"develop"}
    for name in ("TUNING", "DECISIVE", "STUDY", "SECONDS"):
        study = grid.find(f"mammo_utils.study.stages:{name}")
        assert study.run == screening.RUN
        assert study.tolerance == screening.TOLERANCE
    assert stages.DECISIVE.result == grid.table_of(stages.STUDY).stem
    one, other = (screening_scores.kept(screening.arm(lr=lr)) for lr in (1e-3, 3e-3))
    assert one != other  # another rate is another run
    assert "0.003" in other.name


def test_the_first_head_does_not_depend_on_weights_that_are_trained_on_the_way(few, monkeypatch):
    heads = []

    def stop(model, *rest, **options):
        heads.append(model.head.weight.detach().clone())
        raise InterruptedError

    monkeypatch.setattr(screening, "learn", stop)
    for drawn in (0, 5):
        monkeypatch.setattr(screening, "initial", lambda *a, n=drawn: torch.rand(n) is None or "none")
        with pytest.raises(InterruptedError):
            screening.classify(screening.arm(cohort="develop") | TINY, 3)
    torch.testing.assert_close(*heads, rtol=0, atol=0)
