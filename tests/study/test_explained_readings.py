"""What is read from maps, as numbers: maps of a small network, effects on one that adds up pixels."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.explain import cam, twins
from mammo_utils.models.classification import build
from mammo_utils.study import explained_cases, explained_readings, screened
from mammo_utils.synth.breast.lesions import cancer_shape

SHAPES = ("spiculated", "circumscribed")


@pytest.fixture(scope="module")
def women(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield screened.women("test", size=64, positive=4, negative=4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build("test_efficientnet", size=64)


class Sum(nn.Module):
    """The sum of all pixels, whose effects are those of the images."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.one * x.sum((1, 2, 3))[:, None]


def test_a_map_is_looked_at_view_by_view(model, women):
    empty = 0
    for target in (0, 1):
        high, bright = explained_readings.looks(model, women, target=target, batch=7)
        for row in range(len(women)):
            pixels = torch.tensor((women.images[row] / 65535).astype(np.float32))[None, None]
            (heat,) = cam.explain(model, pixels, target=target, method="gradcam", normalise=False)
            assert high[row] == pytest.approx(heat.max(), rel=1e-3, abs=1e-6)
            if heat.max() > 0:
                assert bright[row] == pytest.approx((heat >= 0.5 * heat.max()).mean(), abs=0.01)
            else:
                empty += 1
                assert np.isnan(bright[row])
    assert empty < 2 * len(women)


def test_readings_are_areas_and_effects_in_deviations_between_healthy_women(model, women, monkeypatch):
    count = len(women)
    views = explained_cases.called(model, women, threshold=-100.0)
    calls = np.arange(count) % 2 == 0
    high = np.where(calls, 2.0, 1.0)
    high[1] = 3.0  # one of those that are not called is the strongest
    wide = np.where(calls, 0.6, 0.2)
    wide[3] = np.nan  # and one has no map for malignant, which has no focus either
    # The map for benign is spread over nearly everything, in the views that are not called as in the others.
    of = {1: (np.full(count, 2.0), wide), 0: (high, np.full(count, 0.9))}
    monkeypatch.setattr(explained_readings, "looks", lambda *_, target: of[target])
    monkeypatch.setattr(explained_readings, "called", lambda *_, **__: views.assign(called=calls))
    added = pd.DataFrame({"cancer": [1.0, 3.0], "spiculated": [2.0, 2.0], "circumscribed": [1.0, 2.0]})
    monkeypatch.setattr(explained_readings, "effects", lambda *_, **__: added)
    table = explained_readings.table(model, women, threshold=0.0, women=2, n=20).set_index("reading")
    assert list(table.index) == ["strength", "focus", "focus_malignant", "cancer", "outline"]
    assert table.loc["strength", "estimate"] == pytest.approx(roc_auc(high, calls.astype(int)) - 0.5)
    assert table.loc["focus", "estimate"] == 0.5
    assert table.loc["focus_malignant", "estimate"] == -0.5
    assert table["women"].tolist() == [8, 8, 8, 2, 2]
    healthy = views[views["kind"] == "normal"].groupby("woman")["logit"].mean().to_numpy()
    assert table.loc["cancer", "estimate"] == pytest.approx(2.0 / healthy.std(ddof=1))
    assert table.loc["outline", "estimate"] == pytest.approx(0.5 / healthy.std(ddof=1))
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()


def test_effects_are_those_of_the_pairs(women):
    views = explained_cases.called(Sum(), women, threshold=0.0)
    number = next(
        explained_cases.number(name)
        for name in women.table["patient_id"][(views["kind"] == "cancer").to_numpy()]
        if "calcifications" not in cancer_shape(explained_cases.number(name))
    )
    found = explained_readings.effects(Sum(), [number], size=64)
    own = [float((pair.image - pair.twin).sum()) for pair in twins.pairs(number, size=64)]
    assert found.loc[0, "cancer"] == pytest.approx(np.mean(own), rel=1e-3)
    for shape, pairs in twins.reshaped(number, SHAPES, size=64).items():
        own = [float((pair.image - pair.twin).sum()) for pair in pairs]
        assert found.loc[0, shape] == pytest.approx(np.mean(own), rel=1e-3)


def test_women_are_those_whose_cancer_is_a_mass(women):
    views = explained_cases.called(Sum(), women, threshold=0.0)
    numbers = explained_readings._patients(women, views, 100)
    assert numbers
    assert len(numbers) == len(set(numbers))
    sick = women.table.loc[women.table["cancer"] == 1, "patient_id"].map(explained_cases.number)
    assert set(numbers) <= set(sick)
    assert not any("calcifications" in cancer_shape(number) for number in numbers)
    assert explained_readings._patients(women, views, 1) == numbers[:1]
