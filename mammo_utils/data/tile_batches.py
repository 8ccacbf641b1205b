"""Batches of colour tiles: turned, mirrored and stained anew by a draw that belongs to each tile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from operator import index

import numpy as np
import pandas as pd
import torch

from mammo_utils.data import stain
from mammo_utils.data.batches import Batch, _complete, _selected
from mammo_utils.data.draws import hashed, uniform

TURN = 78  # what the numbers of turns are for, so that they are not those of stains


class TileBatches:
    """The batches of one epoch of tiles, anew with every iteration; ``len()`` of them.

    ``tiles``: `data.tiles.Tiles`.  ``rows``: numbers of the tiles that take part, or a boolean for each; by
    default all.  ``target``: a column of numbers without gaps among ``rows``.  ``shuffle`` orders every epoch
    by a hash of (seed, epoch).  ``turns``: quarter turns and mirror images, which leave no corner empty.
    ``stains``: strength of `stain.vary`, 0 for none.  ``limit`` ends an epoch after so many batches.

    A batch has ``image`` (N, 3, H, W) float32 0–1, ``target`` (N,) float32, ``breast`` None, ``patient`` (the
    number of the group, never an identifier) and ``row``.  Draws depend on (seed, epoch, row) alone.

    Raises: ``ValueError`` for an absent column or value, for rows outside of the tiles and for numbers below
    1.
    """

    def __init__(
        self,
        tiles,
        rows=None,
        *,
        target: str = "cancer",
        batch_size: int = 32,
        shuffle: bool = False,
        turns: bool = False,
        stains: float = 0.0,
        seed: int = 0,
        limit: int | None = None,
        device="cpu",
    ):
        self.rows = _selected(rows, len(tiles.images))
        self.count, self.batch_size, self.limit = len(self.rows), index(batch_size), limit and index(limit)
        if min(self.batch_size, 1 if limit is None else limit) < 1:
            raise ValueError(f"batch_size={batch_size} and a limit={limit} must be 1 or more")
        for column in (target, "group"):
            if column not in tiles.table:
                there = ", ".join(map(str, tiles.table))
                raise ValueError(f"the table has no column {column}; it has: {there}")
            _complete(tiles.table, column, self.rows)
        self._images, self._part = tiles.images, (0, 1)
        self._target = torch.tensor(tiles.table[target].iloc[self.rows].to_numpy(np.float32))
        self._patient = pd.factorize(tiles.table["group"])[0].astype(np.int64)
        self.shuffle, self.turns, self.stains = shuffle, turns, stains
        self.seed, self.epoch, self.device = index(seed), 0, torch.device(device)

    def __len__(self) -> int:
        batches = -(-self.count // self.batch_size)
        return batches if self.limit is None else min(batches, self.limit)

    def __iter__(self) -> Iterator[Batch]:
        return self.iterate()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the draws of the iterations that begin from now on."""
        self.epoch = index(epoch)

    def part(self, rank: int, world: int) -> TileBatches:
        """The share of process ``rank`` out of ``world``: of every batch the tiles rank, rank + world, …."""
        if not 0 <= rank < world <= self.batch_size:
            raise ValueError(f"rank {rank} of {world}: batches of {self.batch_size} have no such part")
        share = copy.copy(self)
        share._part = (rank, world)
        return share

    def iterate(self, start: int = 0) -> Iterator[Batch]:
        """The batches of the epoch from number ``start`` on."""
        keys = hashed(self.seed, self.epoch, np.arange(self.count))
        order = np.argsort(keys, kind="stable") if self.shuffle else np.arange(self.count)
        rank, world = self._part
        for number in range(start, len(self)):
            places = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield self._batch(places[rank % len(places) :: world])

    def _batch(self, places: np.ndarray) -> Batch:
        rows = self.rows[places]
        pixels = torch.from_numpy(self._images[np.asarray(rows)]).to(self.device)
        image = pixels.permute(0, 3, 1, 2).float() / 255
        if self.turns:
            image = turned(
                image, (8 * uniform(hashed(TURN, self.seed, self.epoch, rows), 1)[:, 0]).astype(int)
            )
        if self.stains:
            image = stain.vary(image, rows, strength=self.stains, seed=self.seed, epoch=self.epoch)
        patient, row = (torch.from_numpy(values).to(self.device) for values in (self._patient[rows], rows))
        return Batch(image, self._target[places].to(self.device), None, patient, row)


def turned(images: torch.Tensor, which) -> torch.Tensor:
    """Square images (N, C, S, S) in eight positions: ``which`` (N,) quarter turns, mirrored from 4 on."""
    result = torch.empty_like(images)
    for kind in np.unique(which):
        at = torch.from_numpy(np.flatnonzero(np.asarray(which) == kind)).to(images.device)
        own = images[at].rot90(int(kind) % 4, (2, 3))
        result[at] = own.flip(3) if kind >= 4 else own
    return result
