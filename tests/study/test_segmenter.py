"""A segmenter that was trained with adapters is kept as any other: under the names of the network."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mammo_utils.data.batches import Arrays
from mammo_utils.models import lora
from mammo_utils.models.segmentation import build
from mammo_utils.study import segmenter


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 65536, (4, 64, 52), dtype=np.uint16)
    masks = {"dense": grey > 40_000, "breast": np.ones(grey.shape, bool)}
    return Arrays(grey, masks, pd.DataFrame({"group": list("abcd")}))


def test_adapters_are_merged_before_the_weights_are_written(images, tmp_path):
    options = {"model": "unet/test_efficientnet", "epochs": 2, "lr": 0.01, "precision": "32-true"}
    settings = segmenter.Settings(strategy="lora", **options)
    model = segmenter.learn(images, settings, tmp_path, rows=np.arange(4))
    assert not lora.adapters(model)
    start = segmenter.network(settings, (64, 52)).state_dict()
    written = load_file(tmp_path / segmenter.WEIGHTS)
    assert set(written) == set(start)
    encoder = [name for name in start if name.startswith("net.encoder.") and written[name].ndim == 4]
    changed = [name for name in encoder if not torch.equal(written[name], start[name])]
    assert len(changed) > 0.9 * len(encoder)
    for name in changed:  # the adapters are in the weights: what was added has their rank
        added = (written[name] - start[name]).flatten(1).double()
        assert torch.linalg.matrix_rank(added, rtol=1e-3) <= 4

    plain = build(options["model"], size=64)
    plain.load_state_dict(written)
    image = torch.rand(2, 1, 64, 52)
    again = segmenter.learn(images, settings, tmp_path, rows=np.arange(4))  # taken from the file
    for other in (plain, again):
        torch.testing.assert_close(other.eval()(image), model.eval()(image), rtol=1e-4, atol=1e-5)
