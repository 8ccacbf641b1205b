"""Classifiers in the loop: every strategy and precision, and the way from images to breasts and women."""

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.data.balance import BalancedBatches, pos_weight
from mammo_utils.data.batches import Arrays, Batches
from mammo_utils.evaluation.pooling import pooled
from mammo_utils.models import classification
from mammo_utils.training import loop, tasks
from mammo_utils.training.strategies import STRATEGIES

SMALL = [name for name, model in classification.MODELS.items() if model.profile == "cpu"]


def screened(women=6, shape=(64, 52)):
    """Four views a woman; a bright square in both views of the left breast of every third."""
    rng = np.random.default_rng(0)
    cancer = np.repeat([w % 3 == 0 for w in range(women)], 4) & np.tile([True, True, False, False], women)
    images = rng.integers(1, 20_000, (4 * women, *shape), dtype=np.uint16)
    images[cancer, 20:36, 10:26] = 65_000
    table = pd.DataFrame(
        {
            "group": np.repeat([f"secret {w}" for w in range(women)], 4),
            "laterality": np.tile(["L", "L", "R", "R"], women),
            "view": np.tile(["CC", "MLO"], 2 * women),
            "cancer": cancer.astype(int),
        }
    )
    return Arrays(images, {"breast": np.ones((4 * women, *shape), bool)}, table)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", SMALL)
def test_it_trains_with_every_strategy_and_precision(name, strategy, precision):
    cache = screened()
    torch.manual_seed(0)
    model = classification.build(name, size=64)
    train = BalancedBatches(cache, target="cancer", batch_size=4, workers=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss = tasks.classification(pos_weight=pos_weight(cache.table["cancer"]))
    options = {"strategy": strategy, "precision": precision, "progress": False}
    history = loop.fit(model, train, loss, epochs=2, lr=1e-2, **options)
    assert np.isfinite(history.table["loss"]).all()
    assert (model.head.state_dict()["weight" if name != "test_convnext2" else "1.weight"].isfinite()).all()
    assert any(
        not torch.equal(before[key], value) for key, value in model.state_dict().items() if key in before
    )


def test_it_learns_to_rank_and_the_scores_become_breasts_and_women():
    cache = screened(12)
    torch.manual_seed(0)
    model = classification.build("test_efficientnet", size=64)
    train = Batches(cache, target="cancer", batch_size=8, shuffle=True, workers=0)
    loop.fit(
        model, train, tasks.classification("focal"), epochs=12, lr=3e-3, progress=False, precision="32-true"
    )
    batches = Batches(cache, target="cancer", batch_size=5, workers=0)
    assert tasks.auc(model, batches) > 0.9
    scores = tasks.predict_scores(model, batches)
    table = tasks.score_table(scores, cache.table)
    assert list(table["image"]) == list(range(48))
    assert not table.astype(str).map(lambda text: "secret" in text).any(axis=None)
    assert (table["label"] == cache.table["cancer"]).all()
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-table["logit"])), rtol=1e-5)

    breasts = pooled(table, unit="breast")
    assert len(breasts) == 24
    assert breasts["label"].sum() == 4
    left = breasts[breasts["breast"] == "3L"].iloc[0]
    assert left["label"] == 1
    assert left["probability"] == table["probability"][12:14].max()
    women = pooled(table, unit="woman", how="mean")
    assert list(women["label"]) == [1, 0, 0] * 4
    assert women["probability"][1] == pytest.approx(table["probability"][4:8].mean())


def test_an_image_without_a_side_belongs_to_no_breast():
    cache = screened(3)
    cache.table.loc[2, "laterality"] = None
    values = np.zeros(12, np.float32)
    scores = tasks.Scores(values, values, values, np.arange(12) // 4, np.arange(12))
    with pytest.raises(ValueError, match="1 images have no side"):
        tasks.score_table(scores, cache.table)
