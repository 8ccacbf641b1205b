"""Several classes against scikit-learn's log loss, and a fit of the one loop."""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss

from mammo_utils.data.tile_batches import TileBatches
from mammo_utils.data.tiles import Tiles
from mammo_utils.models.classification import build
from mammo_utils.training import classes
from mammo_utils.training.loop import fit


def coloured(count=24, size=32):
    """Tiles whose class is their reddest, greenest or bluest channel."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (count, size, size, 3), dtype=np.uint8)
    kind = np.arange(count) % 3
    for row, channel in enumerate(kind):
        images[row, :, :, channel] += 90
    return Tiles(images, pd.DataFrame({"kind": kind, "group": [f"p{row}" for row in range(count)]}))


def test_loss_and_predictions_agree_with_scikit_learn():
    tiles = coloured()
    torch.manual_seed(0)
    model = build("densenet_small", size=(32, 32), channels=3, classes=3).eval()
    batches = TileBatches(tiles, target="kind", batch_size=24)
    found = classes.predict(model, batches)
    assert found.probability.shape == (24, 3)
    np.testing.assert_array_equal(found.target, tiles.table["kind"])
    with torch.no_grad():
        loss = classes.task()(model, next(iter(batches)))
    np.testing.assert_allclose(float(loss), log_loss(found.target, found.probability), rtol=1e-5)


def test_the_loop_learns_classes_of_tiles():
    tiles = coloured()
    torch.manual_seed(0)
    model = build("densenet_small", size=(32, 32), channels=3, classes=3)
    batches = TileBatches(tiles, target="kind", batch_size=8, shuffle=True, turns=True, stains=0.05)
    fit(model, batches, classes.task(), epochs=6, lr=1e-2, progress=False)
    found = classes.predict(model, TileBatches(tiles, target="kind"))
    assert (found.probability.argmax(1) == found.target).mean() > 0.9
