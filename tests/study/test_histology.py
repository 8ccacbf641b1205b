"""The histology study on a phantom of a few patients: draws, levels of transfer, scores and studies."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from mammo_utils.models import weights as files
from mammo_utils.models.classification import build
from mammo_utils.study import grid, histology, histology_levels, histology_scores, histology_studies
from mammo_utils.study import tiles as phantom
from mammo_utils.training.classes import Classes

TINY = {"size": 32, "budget": 64}
TESTED = phantom.COHORTS["test"][0]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A cache of its own and cohorts of a few patients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(
            phantom, "COHORTS", {"develop": (20, 3), "train": (20, 3), "valid": (12, 2), "test": (14, 2)}
        )
        patch.setattr(phantom, "PATIENTS", 8)
        patch.setattr(phantom, "HELD", 1)
        patch.setattr(phantom, "ORIGINALS", 2)
        patch.setattr(histology_levels, "SOURCE_BUDGET", 128)
        patch.setattr(phantom, "PORTION", 32)
        yield


def test_a_draw_is_of_patients_and_leaves_their_last_fields(few):
    images = phantom.patients("train", magnification=200, size=32)
    assert images.images.shape == (60, 32, 32, 3)
    rows, same = phantom.drawn(images, 3)
    names = images.table["group"]
    assert set(names.iloc[rows]) == set(names.iloc[same])
    assert names.iloc[rows].nunique() == 8
    assert set(images.table["field"].iloc[rows]) == {0, 1}
    assert set(images.table["field"].iloc[same]) == {2}
    assert set(names.iloc[phantom.others(images, rows)]).isdisjoint(names.iloc[rows])
    again, _ = phantom.drawn(images, 3)
    np.testing.assert_array_equal(rows, again)
    assert set(phantom.drawn(images, 4)[0]) != set(rows)


def test_cohorts_of_a_study_share_no_patient_and_tiles_are_kept(few, monkeypatch):
    names = [
        set(phantom.patients(c, magnification=200, size=32).table["group"])
        for c in ("train", "valid", "test")
    ]
    assert sum(map(len, names)) == len(set.union(*names))
    monkeypatch.setattr(phantom.histology, "tile", None)  # nothing is drawn again
    assert len(phantom.patients("test", magnification=200, size=32).images) == 28


def test_source_domains_have_as_many_tiles_and_groups_of_copies(few):
    for name, classes in (("patterns", 5), ("organs", 5), ("fractals", 10)):
        found = phantom.domain(name, size=32)
        assert found.images.shape == (200, 32, 32, 3)
        assert found.table["kind"].nunique() == classes
        assert (found.table.groupby("group").size() == 20).all()


@pytest.mark.parametrize("source", ["none", "organs", "patterns+organs"])
def test_a_run_gives_every_score_and_repeats(few, source):
    settings = histology.arm(source=source, cohort="develop") | TINY
    found = histology.classify(settings, 1)
    assert set(found) <= set(histology.TOLERANCE)
    assert 0 <= found["roc_auc"] <= 1
    assert found["images_to_level"] in (16, 32, 48, 64)
    assert found["log_tiles"] == pytest.approx(np.log(found["images_to_level"]))
    again = histology.classify(settings, 1)
    for name in ("roc_auc", "roc_auc_same", "accuracy", "watched_mean"):
        assert again[name] == pytest.approx(found[name], abs=1e-4)


def test_the_first_run_keeps_what_it_says_of_test_tiles_and_the_network_that_says_it(few):
    settings = histology.arm(source="none", task="subtypes") | TINY
    found = histology.classify(settings, 0)
    path = histology_scores.kept(settings)
    tiles = pd.read_csv(path)
    assert len(tiles) == 14 * 2
    assert histology_scores.scored(tiles)["roc_auc"] == pytest.approx(found["roc_auc"])
    model = histology_levels.network(settings, classes=8)
    model.load_state_dict(load_file(path.with_suffix(".safetensors")))
    histology.classify(settings | {"lr": 1e-4}, 1)
    assert len(list(path.parent.glob("*.csv"))) == 1


def test_levels_follow_each_other_and_share_the_budget(few, monkeypatch):
    learnt = []

    def fit(model, batches, task, *, epochs, **options):
        learnt.append((model, batches, epochs))

    monkeypatch.setattr(histology_levels, "fit", fit)
    settings = histology.arm(source="patterns+organs") | TINY | {"size": 48}
    path = histology_levels.weights(settings, 4)
    (first, batches, once), (second, later, twice) = learnt
    assert once == twice == 128 // 2 // 32
    assert [batches.stains, later.stains] == [0, 0]  # a source keeps the colours it has
    assert all([batches.turns, later.turns])
    assert not first.encoder.state_dict().keys() & {"gates.denseblock1.squeeze.weight"}
    assert len(second.encoder.gates) == 4
    kept = load_file(path)
    # The second level went on from the first, which was not trained here.
    for name, tensor in first.encoder.state_dict().items():
        assert torch.equal(kept[name], tensor)
    assert histology_levels.weights(settings, 4) == path
    assert len(learnt) == 2
    monkeypatch.setattr(phantom, "ORIGINALS", 3)  # from other tiles: another encoder
    assert histology_levels.weights(settings, 4) != path
    assert len(learnt) == 4
    # Gates that sit elsewhere come with the second level; the first is the same plain network.
    elsewhere = histology_levels.weights(histology.arm(position="layer") | TINY | {"size": 48}, 4)
    assert elsewhere != histology_levels.weights(settings, 4)
    assert len(learnt) == 5
    assert len(learnt[-1][0].encoder.gates) == 3 + 4 + 4 + 3
    # Another run has levels of its own.
    assert histology_levels.weights(settings, 5) != histology_levels.weights(settings, 4)
    assert len(learnt) == 7


@pytest.mark.parametrize("depth", [0, 2, 5])
def test_depth_says_how_many_parts_come_from_the_source(few, tmp_path, depth):
    torch.manual_seed(9)
    source = build("densenet_small", size=(32, 32), channels=3)
    path = tmp_path / "a.safetensors"
    files.save(source.encoder, path, {})
    settings = histology.arm(depth=depth) | TINY
    model = histology_levels.started(settings, path, 0)
    torch.manual_seed(0)
    fresh = histology_levels.network(settings, classes=2)
    own, taught, new = (dict(one.encoder.named_parameters()) for one in (model, source, fresh))
    kernels = [name for name, weight in taught.items() if weight.ndim == 4]  # those of norms begin as ones
    assert not any(torch.equal(taught[name], new[name]) for name in kernels)
    parts = dict(source.parts)
    for place, name in enumerate(("stem", "stage1", "stage2", "stage3", "stage4")):
        held = {id(weight) for weight in parts[name].parameters()}
        inside = [kernel for kernel in kernels if id(taught[kernel]) in held]
        assert inside
        wanted = taught if place < depth else new
        assert all(torch.equal(own[kernel], wanted[kernel]) for kernel in inside)


def test_arms_of_a_seed_begin_with_the_same_head(tmp_path):
    path = tmp_path / "a.safetensors"
    files.save(build("densenet_small", size=(32, 32), channels=3).encoder, path, {})
    arms = [(histology.arm(), path), (histology.arm(source="none", model="densenet_small"), "none")]
    arms += [(histology.arm(source="none", position="layer", gates="sigmoid"), "none")]
    heads = [histology_levels.started(settings | TINY, start, 4).head.weight for settings, start in arms]
    assert all(torch.equal(head, heads[0]) for head in heads)
    assert not torch.equal(heads[0], histology_levels.started(arms[0][0] | TINY, path, 5).head.weight)


def test_a_run_looks_after_every_portion_of_its_tiles(monkeypatch):
    """Counted on batches that are really fed; what is learnt does not matter."""
    known = {"cancer": np.arange(320) % 2, "group": np.arange(320)}
    tiles = phantom.Tiles(np.zeros((320, 32, 32, 3), np.uint8), pd.DataFrame(known))
    fed = []

    def watched(model, tiles, task):
        return pd.DataFrame({"label": [0, 1], "probability": [0.0, len(fed)]})

    def task():
        return lambda model, batch: fed.extend(batch.row.tolist()) or model(batch.image).sum() * 0

    monkeypatch.setattr(phantom, "PORTION", 160)
    monkeypatch.setattr(histology, "predicted", watched)
    monkeypatch.setattr(histology.classes, "task", task)
    settings = histology.arm(source="none", model="test_resnet") | {"size": 32}
    curve, _ = histology.learn(
        histology_levels.started(settings, "none", 0), tiles, settings, seed=0, watch=tiles
    )
    assert list(curve) == list(range(160, 4001, 160))
    assert len(fed) == 4000
    assert len(set(fed[:160])) == 160
    assert set(fed[:160]) != set(fed[160:320])


def test_turns_are_an_arm():
    known = {"cancer": [0, 1] * 8, "group": range(16)}
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    tiles = phantom.Tiles(images, pd.DataFrame(known))
    for turns in (True, False):
        (batch,) = phantom.feed(tiles, "binary", "none", 0, turns=turns)
        own = torch.from_numpy(images).permute(0, 3, 1, 2)[batch.row] / 255
        assert torch.equal(batch.image, own) is not turns


def test_normalisation_is_fitted_on_training_tiles_alone(few, monkeypatch):
    seen = []
    monkeypatch.setattr(
        histology.stain, "fit", lambda images, method: seen.append((images, method)) or (lambda x: x // 2)
    )
    images = phantom.patients("train", magnification=200, size=32)
    rows, _ = phantom.drawn(images, 0)
    ready = histology.coloured("normalise", images, rows)
    ((fitted, method),) = seen
    np.testing.assert_array_equal(fitted, images.images[rows])
    assert method == "macenko"
    np.testing.assert_array_equal(ready(images).images, images.images // 2)
    assert histology.coloured("augment", images, rows)(images) is images


def test_scores_by_tile_and_patient_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 8, 400)
    probability = rng.dirichlet(np.ones(8), 400) + 0.4 * np.eye(8)[kind]
    probability /= probability.sum(1, keepdims=True)
    label = (kind >= 4).astype(int)
    patient = kind * 10 + rng.integers(0, 5, 400)
    found = Classes(probability, kind, patient, np.arange(400))
    table = histology_scores.told(found, pd.DataFrame({"cancer": label, "kind": kind}))
    scores = histology_scores.scored(table)
    malignant = probability[:, 4:].sum(1)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(label, malignant))
    assert scores["accuracy"] == pytest.approx(accuracy_score(label, malignant >= 0.5))
    called = probability.argmax(1)
    assert scores["accuracy_subtype"] == pytest.approx(accuracy_score(kind, called))
    assert scores["balanced_subtype"] == pytest.approx(balanced_accuracy_score(kind, called))
    shares = [np.mean((malignant >= 0.5)[patient == p] == label[patient == p]) for p in set(patient)]
    assert scores["accuracy_patient"] == pytest.approx(np.mean(shares))
    confusion = histology_scores.confusion(table)
    assert confusion.loc["PT", "LC"] == pytest.approx(np.mean(called[kind == 2] == 7))
    # Elsewhere nobody says which subtype it is: the label must not be taken for one.
    bare = histology_scores.told(found._replace(target=label), pd.DataFrame({"cancer": label}))
    assert "kind" not in bare
    np.testing.assert_array_equal(bare["called"], called)
    assert "accuracy_subtype" not in histology_scores.scored(bare)


def test_confounded_runs_are_scored_where_colour_says_nothing(few, monkeypatch):
    asked = []
    own = phantom.patients
    monkeypatch.setattr(
        phantom, "patients", lambda name, **k: asked.append((name, k["regime"])) or own(name, **k)
    )
    found = histology.classify(
        histology.arm(regime="confounded", source="none", model="densenet_small") | TINY, 0
    )
    assert asked[:3] == [("train", "confounded"), ("test", "irrelevant"), ("valid", "irrelevant")]
    assert asked[3] == ("test", "confounded")
    assert "roc_auc_home" in found


def test_every_study_pairs_its_seeds_at_rates_that_were_tried_for_each_arm():
    for study in ("histology_tuning", "histology_decisive", "histology"):
        assert all(one["tissue"] == histology.VERSION for one in grid.find(study).settings)
    decisive, explored = histology_studies.DECISIVE, histology_studies.STUDY
    assert list(decisive.seeds) == list(range(10))
    assert list(explored.seeds) == list(range(3))
    assert TESTED >= 200
    assert not [one for one in explored.settings if one in decisive.settings]  # they share a table
    tried = histology_studies.TUNING.settings
    for one in decisive.settings:
        own = {t["lr"] for t in tried if one | {"lr": t["lr"], "cohort": "develop"} == t}
        assert own >= {*histology_studies.TRIALS, one["lr"]}


def test_rates_are_borrowed_as_it_is_written():
    """Each changed setting beside the one whose rate it takes; all others are tuned themselves."""
    same = {"position": "layer", "turns": False, "budget": 9, "task": "subtypes", "gates": "sigmoid"}
    same |= {"depth": 2, "magnification": 40, "tested": "all"}
    for setting, value in same.items():
        assert histology_studies.name({setting: value}) == histology_studies.name({})
    for source, tuned in (("fractals", "patterns"), ("fractals+organs", "patterns+organs")):
        assert histology_studies.name({"source": source}) == histology_studies.name({"source": tuned})
    for stains, tuned in (("augment", "none"), ("both", "normalise")):
        for regime, known in (("confounded", "irrelevant"), ("diagnostic", "diagnostic")):
            own = histology_studies.name({"stains": stains, "regime": regime})
            assert own == histology_studies.name({"stains": tuned, "regime": known})
    own = histology_studies.name({"model": "mobilenetv2_050", "source": "none"})
    assert own == ("se_densenet_small", "none", "normalise", "irrelevant")
    assert len(histology_studies.RATES) == len(histology_studies.TUNED)
    for study in (histology_studies.DECISIVE, histology_studies.STUDY):
        for one in study.settings:
            changes = {key: one[key] for key in one if key not in ("tissue", "lr")}
            assert one["lr"] == histology_studies.RATES[histology_studies.name(changes)]


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="unknown source 'imagenet'; choose one of: none, patterns"):
        histology.arm(source="imagenet")
    with pytest.raises(ValueError, match="unknown depth 6"):
        histology.arm(depth=6)
    for changes in ({"gates": "sigmoid"}, {"position": "layer"}):
        with pytest.raises(ValueError, match="densenet_small has no gates: leave gates at identity"):
            histology.arm(model="densenet_small", **changes)
    with pytest.raises(ValueError, match="depth 2 of no source"):
        histology.arm(source="none", depth=2)
    with pytest.raises(ValueError, match="unknown source domain 'skin'"):
        phantom.domain("skin")
