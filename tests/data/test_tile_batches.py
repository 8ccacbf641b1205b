"""Batches of tiles against numpy's own turns, and draws that belong to a tile alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.data.tile_batches import TileBatches, turned
from mammo_utils.data.tiles import Tiles


@pytest.fixture
def tiles():
    images = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)
    table = pd.DataFrame({"cancer": [0, 1] * 5, "group": list("aabbccddee"), "kind": [0, 1, 2, 3, 4] * 2})
    return Tiles(images, table)


def test_a_batch_has_the_tiles_of_its_rows(tiles):
    batches = TileBatches(tiles, [1, 4, 7], batch_size=2, target="kind")
    first, second = batches
    np.testing.assert_array_equal(first.row, [1, 4])
    np.testing.assert_array_equal(second.target, [2])
    np.testing.assert_array_equal(first.patient, [0, 2])
    assert first.image.shape == (2, 3, 6, 6)
    np.testing.assert_allclose(second.image[0].permute(1, 2, 0), tiles.images[7] / 255, atol=1e-7)


def test_eight_positions_are_those_of_numpy():
    image = np.arange(18.0).reshape(2, 3, 3)
    found = turned(torch.tensor(np.stack([image] * 8)), np.arange(8))
    wanted = [np.rot90(image, k, (1, 2)) for k in range(4)]
    wanted += [one[:, :, ::-1] for one in wanted]
    np.testing.assert_array_equal(found, np.stack(wanted))
    assert len({one.numpy().tobytes() for one in found}) == 8


def test_draws_depend_on_seed_epoch_and_row_alone(tiles):
    def images(rows, epoch=0, **options):
        batches = TileBatches(tiles, rows, turns=True, stains=0.2, seed=3, **options)
        batches.set_epoch(epoch)
        return {
            int(row): image for batch in batches for row, image in zip(batch.row, batch.image, strict=True)
        }

    whole, part = images(None, batch_size=10), images([2, 5, 9], batch_size=2, shuffle=True)
    for row, image in part.items():
        torch.testing.assert_close(image, whole[row])
    assert any((images(None, epoch=1)[row] - whole[row]).abs().max() > 0.1 for row in whole)


def test_order_limit_and_parts(tiles):
    batches = TileBatches(tiles, batch_size=4, shuffle=True, seed=1, limit=2)
    assert len(batches) == 2
    rows = [batch.row.tolist() for batch in batches]
    assert [len(one) for one in rows] == [4, 4]
    assert [batch.row.tolist() for batch in batches.iterate(1)] == rows[1:]
    batches.set_epoch(1)
    assert [batch.row.tolist() for batch in batches] != rows
    batches.set_epoch(0)
    halves = [[batch.row.tolist() for batch in batches.part(rank, 2)] for rank in (0, 1)]
    for whole, first, second in zip(rows, *halves, strict=True):
        assert whole == [first[0], second[0], first[1], second[1]]


def test_what_is_missing_is_named(tiles):
    with pytest.raises(ValueError, match="no column birads; it has: cancer, group, kind"):
        TileBatches(tiles, target="birads")
    gap = Tiles(tiles.images, tiles.table.assign(cancer=[None, *[1] * 9]))
    with pytest.raises(ValueError, match="1 of 10 rows have no cancer"):
        TileBatches(gap)
    assert len(TileBatches(gap, [1, 2])) == 1
    with pytest.raises(ValueError, match="batch_size=0"):
        TileBatches(tiles, batch_size=0)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        TileBatches(tiles).part(2, 2)
