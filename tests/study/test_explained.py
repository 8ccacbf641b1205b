"""The table of methods and layers: what is scored, what each column is, and when nothing is ranked."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.data import cache
from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.explain import cam, layers, localisation, perturbation, sanity, twins
from mammo_utils.models.classification import build
from mammo_utils.study import explained, explained_cases, grid, screened, screening_file
from mammo_utils.synth.breast import exam
from mammo_utils.synth.breast.lesions import cancer_shape


@pytest.fixture(scope="module")
def women(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield screened.women("test", size=64, positive=3, negative=3)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build("test_efficientnet", size=64)


class Knowing(torch.nn.Module):
    """A network that recalls by heart how to score each image."""

    def __init__(self, model, images: cache.ImageCache, logit):
        super().__init__()
        self.model = model
        pixels = (images.images[:] / 65535).astype(np.float32)
        self.known = {pixel.tobytes(): float(value) for pixel, value in zip(pixels, logit, strict=True)}

    @property
    def parts(self):
        return self.model.parts

    def forward(self, x):
        own = [self.known.get(one.detach().numpy().tobytes(), 0.0) for one in x[:, 0]]
        return 0 * self.model(x) + torch.tensor(own)[:, None]


def alone(women):
    """Whether each view holds one lesion and no other."""
    count = {
        (name, view.laterality, view.view): len(view.lesions)
        for name in women.table["patient_id"].unique()
        for view in exam(int(name[1:]), size=128, prevalence=1.0)
    }
    keys = women.table[["patient_id", "laterality", "view"]].itertuples(index=False, name=None)
    return np.array([count[key] == 1 for key in keys])


def test_detected_cancers_alone_are_scored(women, model):
    label = women.table["cancer"].to_numpy() == 1
    logit = np.random.default_rng(0).normal(size=len(women)) + 1.5 * label
    cut = float(np.median(logit[label]))
    found = explained_cases.detected(Knowing(model, women, logit), women, threshold=cut - 1e-6)
    rows = found.table["row"].to_numpy()
    expected = label & (logit >= cut) & women.masks["lesion"].any((1, 2)) & alone(women)
    np.testing.assert_array_equal(rows, np.flatnonzero(expected))
    assert 0 < len(rows) < label.sum()
    np.testing.assert_allclose(found.table["logit"], logit[rows], rtol=1e-5)
    assert found.auc["all"] == pytest.approx(roc_auc(logit, label))
    shapes = np.array([cancer_shape(int(name[1:])) for name in women.table["patient_id"]])
    specks = np.isin(shapes, ["round calcifications", "fine linear calcifications"])
    shown = women.masks["lesion"].any((1, 2))
    for kind, chosen in {"calcifications": specks, "masses": ~specks}.items():
        these = ~label | (chosen & shown)
        if (label & these).any():
            assert found.auc[kind] == pytest.approx(roc_auc(logit[these], label[these]))
    for row, pair in zip(rows, found.pairs, strict=True):
        record = women.table.iloc[row]
        assert (pair.laterality, pair.view) == (record["laterality"], record["view"])
    spacing = women.geometry["spacing_mm"].to_numpy()[rows]
    area = found.masks.sum((1, 2)) * spacing**2
    np.testing.assert_allclose(np.pi * found.table["mm"] ** 2 / 4, area)
    fewer = explained_cases.detected(Knowing(model, women, logit), women, threshold=cut - 1e-6, count=2)
    assert set(fewer.table["row"]) < set(rows)
    assert len(fewer.table) == 2
    with pytest.raises(ValueError, match="calls no view with a cancer"):
        explained_cases.detected(Knowing(model, women, -10.0 * label), women, threshold=0.0)


def test_every_view_has_a_kind_and_examples_are_of_different_women(women, model):
    label = women.table["cancer"].to_numpy() == 1
    logit = np.random.default_rng(1).normal(size=len(women))
    cut = float(np.median(logit))
    views = explained_cases.called(Knowing(model, women, logit), women, threshold=cut)
    shown = women.masks["lesion"].any((1, 2))
    np.testing.assert_array_equal(views["kind"] == "cancer", label)
    np.testing.assert_array_equal(views["kind"] == "normal", ~label & ~shown)
    np.testing.assert_array_equal(views["called"], views["logit"] >= cut)
    np.testing.assert_array_equal(views["mm"] > 0, shown)
    np.testing.assert_array_equal(
        women.table["group"].to_numpy()[views["row"]] == women.table["group"].iloc[0], views["woman"] == 0
    )
    chosen = explained_cases.examples(views, count=1)
    assert chosen["woman"].is_unique
    assert chosen.groupby(["kind", "called"]).size().max() == 1
    assert (chosen[chosen["kind"] != "normal"]["mm"] > 0).all()
    order = [(explained_cases.KINDS.index(row.kind), not row.called) for row in chosen.itertuples()]
    assert order == sorted(order)
    assert {"cancer", "normal"} <= set(chosen["kind"])
    both = explained_cases.examples(views, count=2)
    assert len(both) > len(chosen)
    pd.testing.assert_frame_equal(both, explained_cases.examples(views, count=2))
    merged = both.merge(views, how="left", on=list(views), indicator=True)
    assert (merged["_merge"] == "both").all()


def test_a_view_is_called_for_its_cancer_if_its_twin_is_not(women):
    class Sum(torch.nn.Module):
        """A logit that is the brightness of the image, to which a lesion adds."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1e-2))

        def forward(self, x):
            return self.scale * x.sum((1, 2, 3))[:, None]

    every = explained_cases.detected(Sum(), women, threshold=-np.inf)
    twin = np.array([1e-2 * pair.twin.sum() for pair in every.pairs])
    np.testing.assert_allclose(every.table["logit"] - every.table["effect"], twin, rtol=1e-3)
    assert not every.table["owed"].any()
    first = every.table.iloc[0]
    assert first["effect"] > 0
    found = explained_cases.detected(Sum(), women, threshold=first["logit"] - first["effect"] / 2)
    called = every.table["logit"] >= first["logit"] - first["effect"] / 2
    assert found.table.set_index("row")["owed"][first["row"]]
    assert len(found.table) == called.sum() >= 1
    assert not found.table.loc[found.table["logit"] - found.table["effect"] > first["logit"], "owed"].any()


@pytest.fixture(scope="module")
def measured(women, model):
    label = women.table["cancer"].to_numpy() == 1
    cases = explained_cases.detected(Knowing(model, women, 1.0 * label), women, threshold=0.5, count=4)
    options = {"methods": ["hirescam", "eigencam"], "layers": ["stage2", "stage4"], "steps": 4}
    return cases, explained.measure(model, cases, perturbed=3, **options)


def test_every_map_has_every_score_once(measured, model):
    cases, table = measured
    names = [*localisation.SCORES, "twin", "insertion", "deletion"]
    # layers, maps (two of them need no network), images for four scores and for insertion and deletion
    assert len(table) == 2 * 4 * (4 * 4 + 3 * 2)
    assert not table.duplicated(["image", "method", "layer", "score"]).any()
    assert set(table["method"]) == {"hirescam", "eigencam", "centre prior", "edges"}
    assert set(table["score"]) == set(names)
    numbers = table[["value", "chance", "centre", "edges", "ceiling"]]
    assert np.isfinite(numbers).all(axis=None)
    for name, column in (("centre prior", "centre"), ("edges", "edges")):
        rival = table[table["method"] == name].set_index(["image", "layer", "score"])["value"]
        every = table.join(rival.rename("of the rival"), on=["image", "layer", "score"])
        np.testing.assert_array_equal(every[column], every["of the rival"])
    inputs = torch.tensor(cases.images)[:, None]
    maps = cam.explain(model, inputs, target=1, method="hirescam", layer="stage2", normalise=False)
    maps = maps * cases.breast
    own = table[(table["method"] == "hirescam") & (table["layer"] == "stage2")].set_index("score")["value"]
    np.testing.assert_allclose(own["energy"], localisation.energy(maps, cases.masks), rtol=1e-5)
    np.testing.assert_allclose(own["twin"], twins.agreement(maps, cases.pairs), rtol=1e-5)
    areas = perturbation.curves(model, inputs[:3], maps[:3], target=1, steps=4).areas
    np.testing.assert_allclose(own["deletion"], areas[1], rtol=1e-4)
    grid = layers.find(model.eval(), inputs[:1], "stage4").grid
    ceiling = localisation.iou(grid.passed(cases.masks.astype(float)) * cases.breast, cases.masks)
    chosen = table[(table["layer"] == "stage4") & (table["score"] == "iou")]
    for _, part in chosen.groupby("method"):
        np.testing.assert_allclose(part["ceiling"], ceiling, rtol=1e-5)


def test_the_table_ranks_only_where_the_classifier_can_tell(measured):
    cases, table = measured
    kinds = [name for name in cases.auc if name != "all"]
    auc = {"all": 0.8} | {name: 0.74 for name in kinds}
    found = explained.table(table, auc, n=50)
    columns = ["method", "layer", "score", "lesion", "images", "women", "estimate", "low", "high"]
    columns += ["chance", "ceiling"]
    rivals = ("over_chance", "over_centre", "over_edges")
    columns += [f"{rival}{end}" for rival in rivals for end in ("", "_low", "_high")] + ["auc", "rank"]
    assert list(found.columns) == columns
    assert found[~found["lesion"].isin(["all", explained.OWED])]["rank"].isna().all()
    own = found[found["lesion"] == "all"]
    assert own[own["method"].isin(["centre prior", "edges"])]["rank"].isna().all()
    for (score, _), part in own[own["method"].isin(cam.METHODS)].groupby(["score", "layer"]):
        best = part.loc[part["rank"].idxmin()]
        assert best["rank"] == 1
        assert best["estimate"] == (part["estimate"].min() if score == "deletion" else part["estimate"].max())
        assert len(part) == 2
    again = pd.read_csv(io.StringIO(found.to_csv(index=False)))
    pd.testing.assert_frame_equal(again, found, check_dtype=False)


def test_the_checks_of_a_table_are_those_of_the_room(measured, model):
    cases, _ = measured
    torch.manual_seed(1)
    blind = build("test_efficientnet", size=64)
    options = {"methods": ["hirescam", "eigencam"], "layers": ["stage3"]}
    table = explained.trust(model, cases, blind=blind, count=3, **options)
    inputs, inside = torch.tensor(cases.images[:3])[:, None], cases.breast[:3]
    own = {"target": 1, "method": "hirescam", "layer": "stage3"}
    found = table[table["method"] == "hirescam"].set_index("order")
    assert list(found.columns[:4]) == ["method", "layer", "part", "ssim"]
    for order in sanity.ORDERS:
        expected = sanity.randomisation(model, inputs, inside, order=order, **own)
        means = expected.groupby("part", sort=False)["rank"].mean()
        np.testing.assert_allclose(found.loc[order, "rank"], means)
        assert list(found.loc[order, "part"]) == list(means.index)
    between = sanity.between(model, blind, inputs, inside, **own)["ssim"].mean()
    assert found.loc["labels", "ssim"] == pytest.approx(between)
    assert found.loc["labels", "part"] == "permuted labels"
    heads = table[(table["part"] == "head") & (table["order"] == "cascading")].set_index("method")["rank"]
    assert heads["eigencam"] == pytest.approx(1)  # it asks for no class
    assert "labels" not in set(explained.trust(model, cases, count=3, **options)["order"])


def test_answers_join_the_scores_with_the_checks(measured):
    cases, table = measured
    scores = explained.table(table, cases.auc, n=50)
    rows = [
        {"method": method, "layer": "stage2", "order": order, "part": part, "rank": rank}
        for method, head, last, blind in (("hirescam", 0.6, 0.2, 0.3), ("eigencam", 1.0, 0.1, 0.9))
        for order, part, rank in (
            ("cascading", "nothing", 1.0),
            ("cascading", "head", head),
            ("cascading", "stem", last),
            ("cascading", "another image", 0.4),
            ("independent", "head", 0.5),
            ("labels", "permuted labels", blind),
        )
    ]
    found = explained.answers(scores, pd.DataFrame(rows), layer="stage2", score="energy")
    assert list(found.index) == ["hirescam", "eigencam", "centre prior", "edges"]
    own = scores.query("layer == 'stage2' and score == 'energy' and lesion == 'all'").set_index("method")
    np.testing.assert_array_equal(found["estimate"], own.loc[found.index, "estimate"])
    over = own.loc["eigencam", ["over_edges", "over_edges_low", "over_edges_high"]]
    assert found.loc["eigencam", "over edges"] == "{:+.2f} [{:+.2f}, {:+.2f}]".format(*over)
    assert found.loc["edges", "over edges"] == "+0.00 [+0.00, +0.00]"
    checks = found.loc[["hirescam", "eigencam"], ["head", "all", "labels", "fails"]]
    assert checks.to_numpy().tolist() == [[0.6, 0.2, 0.3, "no"], [1.0, 0.1, 0.9, "yes"]]
    assert found.loc["edges", ["head", "fails"]].isna().all()
    with pytest.raises(ValueError, match="stage2, stage4"):
        explained.answers(scores, pd.DataFrame(rows), layer="stage3", score="energy")


def test_the_shipped_tables_are_those_of_the_shipped_classifier():
    scores, checks = grid.read("explained"), grid.read("explained_sanity")
    made = screening_file.trained().made
    for table in (scores, checks):
        assert not table.duplicated(list(table.columns[:4])).any()
        assert not table["commit"].str.contains("dirty").any()
        assert set(table["layer"]) == {"stage1", "stage2", "stage3", "stage4"}
    assert set(scores["method"]) == {*cam.METHODS, "centre prior", "edges"}
    assert set(checks["method"]) == set(cam.METHODS)
    every = scores[scores["lesion"] == "all"]
    assert every["auc"].unique().item() == pytest.approx(made["scores"]["roc_auc_image"], abs=1e-3)
    assert len(scores) == 8 * 4 * 6 * scores["lesion"].nunique()
    ranked = scores["method"].isin(cam.METHODS) & (scores["auc"] >= localisation.RANKABLE)
    np.testing.assert_array_equal(scores["rank"].notna(), ranked)
    several = scores["women"] > 1
    np.testing.assert_array_equal(scores["low"].notna(), several)
    assert scores.loc[several, "estimate"].between(scores["low"][several], scores["high"][several]).all()
    assert set(checks["order"]) == {*sanity.ORDERS, "labels"}
