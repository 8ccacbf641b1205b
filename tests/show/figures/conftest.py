"""One small view and its lesion, for figures that draw maps over them."""

import numpy as np
import pytest

SHAPE = (64, 52)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


@pytest.fixture
def lesion():
    mask = np.zeros(SHAPE, bool)
    mask[20:30, 10:22] = True
    return mask
