"""Batches straight from the memory maps of a cache: read ahead by threads, finished on the device, and the
same for any number of threads and processes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing, nullcontext
from operator import index
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from mammo_utils.data import augment as changes
from mammo_utils.data.ahead import ahead
from mammo_utils.data.draws import hashed
from mammo_utils.profile import choose


class Batch(NamedTuple):
    """N images and what is known about them, all on one device."""

    image: torch.Tensor  # (N, 1, H, W) float32 0–1, bright = dense, chest wall left
    target: torch.Tensor  # a mask: (N, 1, H, W) float32 0/1; a column of the table: (N,) float32
    breast: torch.Tensor  # (N, 1, H, W) float32 0/1
    patient: torch.Tensor  # (N,) int64 number of the group (woman) in the cache, never an identifier
    row: torch.Tensor  # (N,) int64 row in the cache


class Arrays(NamedTuple):
    """Images in memory instead of a cache; types and shapes as in ``cache.ImageCache``."""

    images: np.ndarray
    masks: dict[str, np.ndarray]
    table: pd.DataFrame


class Batches:
    """The batches of one epoch, anew with every iteration; ``len()`` of them.

    ``cache``: an ``ImageCache`` or ``Arrays``.  ``rows``: numbers of the images that take part, or a boolean
    for each image; by default all.  ``target``: the name of a mask, or of a column of numbers or booleans.
    ``breast``: the name of a mask; ``"foreground"``, the breast with muscle, serves data sets without one.

    ``shuffle`` orders every epoch by a hash of (seed, epoch); ``together`` then keeps the images of a woman
    side by side.  ``augment``: a name of ``augment.STRENGTHS`` or ``augment.Ranges``; the draw of an image
    depends on (seed, epoch, row) only.  With ``views`` above 1 a batch holds every image so many times, each
    with a draw of its own: first all images once, then all again; ``batch_size`` counts the originals.
    ``drop_last`` leaves out a last batch that is not full; ``limit`` ends an epoch after so many batches, so
    that shuffled epochs differ in their images.  ``workers`` threads read ahead; with 0 a batch is read when
    it is asked for.  ``resident`` keeps all selected images on the device: True, False, or ``"auto"``, which
    does so on a CUDA device if they take less than a quarter of its free memory.

    Raises: ``ValueError`` for a target or breast that is not there, for selected rows without target, breast
    or group, for rows outside of the cache, and for settings that leave no batch.
    """

    def __init__(
        self,
        cache,
        rows=None,
        *,
        target: str = "reader_A",
        breast: str = "breast",
        batch_size: int = 16,
        shuffle: bool = False,
        together: bool = False,
        augment: str | changes.Ranges | None = None,
        views: int = 1,
        seed: int = 0,
        drop_last: bool = False,
        limit: int | None = None,
        device="cpu",
        workers: int = 1,
        resident: bool | str = "auto",
    ):
        if cache.images.dtype != np.uint16:
            raise ValueError(f"images must be uint16 with 65535 for 1, not {cache.images.dtype}")
        self.rows = _selected(rows, len(cache.images))
        self.count = len(self.rows)  # images of an epoch
        self.batch_size, self.workers, self.drop_last = index(batch_size), index(workers), drop_last
        self.views, self.together, self.limit = index(views), together, limit and index(limit)
        if min(self.batch_size, self.views, 1 if limit is None else limit) < 1 or self.workers < 0:
            raise ValueError(
                f"batch_size={batch_size}, views={views} and a limit={limit} must be 1 or more and "
                f"workers={workers} 0 or more"
            )
        if drop_last and len(self.rows) < self.batch_size:
            raise ValueError(
                f"{len(self.rows)} images do not fill one batch of {batch_size}; lower batch_size"
            )
        self.ranges = changes.ranges_of("none" if augment is None else augment)
        self.shuffle, self.seed, self.epoch, self.device = shuffle, index(seed), 0, torch.device(device)
        self.resident = choose("resident", resident, (True, False, "auto"))
        self._images, self._kept, self._part = cache.images, None, (0, 1)
        self._target = None if target in cache.masks else _numbers(cache, target, self.rows)
        if breast not in cache.masks:
            there = ", ".join(cache.masks) or "none"
            raise ValueError(
                f"no mask {breast!r} of the breast; there are: {there} (foreground has the muscle)"
            )
        named = [breast] if self._target is not None or target == breast else [target, breast]
        for name in named:
            _complete(cache.table, f"{name}_mask", self.rows)
        self._masks = [cache.masks[name] for name in named]
        if "group" not in cache.table:
            raise ValueError("the table has no column group, which says which images are of one woman")
        _complete(cache.table, "group", self.rows)
        self._patient = pd.factorize(cache.table["group"])[0].astype(np.int64)

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        batches = full + (rest > 0 and not self.drop_last)
        return batches if self.limit is None else min(batches, self.limit)

    def __iter__(self) -> Iterator[Batch]:
        return self.iterate()

    def iterate(self, start: int = 0) -> Iterator[Batch]:
        """The batches of the epoch from number ``start`` on; those before it are not read."""
        plan = self._plan()
        if not 0 <= start <= len(plan):
            raise ValueError(f"start={start}: this epoch has {len(plan)} batches")
        return self._stream(plan[start:], self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the draws of the iterations that begin from now on."""
        self.epoch = index(epoch)

    def part(self, rank: int, world: int) -> Batches:
        """The share of process ``rank`` out of ``world``: of every batch the images rank, rank + world, ….

        ``batch_size`` counts the images of all processes together, whose batches together hold the images of
        the undivided batch with the same draws.  Shares differ by one image at most, and all processes have
        equally many batches: in a last batch with fewer images than processes some images are given twice.

        Raises: ``ValueError`` for a rank outside 0…world - 1 and for more processes than images in a batch.
        """
        if not 0 <= rank < world <= self.batch_size:
            raise ValueError(f"rank {rank} of {world} processes cannot share batches of {self.batch_size}")
        share = copy.copy(self)
        share._part = (rank, world)
        return share

    def _plan(self) -> list[np.ndarray]:
        """For each batch the places of its images in ``rows``."""
        order, (rank, world) = self._order(), self._part
        batches = [order[k * self.batch_size : (k + 1) * self.batch_size] for k in range(len(self))]
        return [batch[rank % len(batch) :: world] for batch in batches]

    def _order(self) -> np.ndarray:
        """The places in ``rows`` of the ``count`` images of this epoch, in its order."""
        places = np.arange(len(self.rows))
        unit = self._patient[self.rows] if self.together else places
        return np.argsort(hashed(self.seed, self.epoch, unit), kind="stable") if self.shuffle else places

    def _stream(self, plan: list[np.ndarray], epoch: int) -> Iterator[Batch]:
        if self._stays():
            blocks = (self._recall(places) for places in plan)
        else:
            blocks = ahead(self._read, plan, self.workers)
        with closing(blocks):
            for places, block in zip(plan, blocks, strict=True):
                yield self._finish(places, block, epoch)

    def _read(self, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, H, W) int16 with the bits of uint16 and masks (masks, N, H, W) bool, as they are stored.

        Pinned for CUDA, whose copies then run beside other work.
        """
        cuda, shape = self.device.type == "cuda", (len(places), *self._images.shape[1:])
        # A thread pins memory for its current device, which is device 0 unless said otherwise.
        with torch.cuda.device(self.device) if cuda else nullcontext():
            image = torch.empty(shape, dtype=torch.int16, pin_memory=cuda)
            masks = torch.empty((len(self._masks), *shape), dtype=torch.bool, pin_memory=cuda)
        rows = self.rows[places]
        np.take(self._images, rows, axis=0, out=image.numpy().view(np.uint16), mode="clip")
        for mask, out in zip(self._masks, masks.numpy(), strict=True):
            np.take(mask, rows, axis=0, out=out, mode="clip")  # the other modes would copy once more
        return image, masks

    def _stays(self) -> bool:
        if self.resident == "auto" and self.device.type == "cuda":
            needed = len(self.rows) * self._images[0].size * (2 + len(self._masks))
            return self._kept is not None or needed < torch.cuda.mem_get_info(self.device)[0] / 4
        return self.resident is True

    def _recall(self, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        if self._kept is None:
            parts = np.array_split(np.arange(len(self.rows)), range(0, len(self.rows), self.batch_size)[1:])
            parts = [[tensor.to(self.device) for tensor in self._read(part)] for part in parts]
            self._kept = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts], 1)
        at = torch.from_numpy(places).to(self.device)
        return self._kept[0][at], self._kept[1][:, at]

    def _finish(self, places: np.ndarray, block: tuple[torch.Tensor, torch.Tensor], epoch: int) -> Batch:
        rows, free = self.rows[places], self.device.type == "cuda"
        image, masks = (tensor.to(self.device, non_blocking=free) for tensor in block)
        # Not every device can compute with uint16.
        image = image.to(torch.int32).bitwise_and_(0xFFFF).to(torch.float32).div_(65535)[:, None]
        masks = masks.to(torch.float32).transpose(0, 1)
        versions = [
            changes.apply(
                changes.draw(rows, ranges=self.ranges, seed=self.seed, epoch=epoch, view=view),
                image,
                masks=masks,
            )[:2]
            for view in range(self.views)
        ]
        image, masks = versions[0] if self.views == 1 else map(torch.cat, zip(*versions, strict=True))
        rows, places = np.tile(rows, self.views), np.tile(places, self.views)
        target = masks[:, :1].contiguous() if self._target is None else self._target[places].to(self.device)
        patient, row = (torch.from_numpy(values).to(self.device) for values in (self._patient[rows], rows))
        return Batch(image, target, masks[:, -1:].contiguous(), patient, row)


def _selected(rows, n: int) -> np.ndarray:
    """Row numbers, int64, out of numbers or of a boolean for each of ``n`` rows."""
    if rows is None:
        rows = np.arange(n)
    rows = np.asarray(rows, bool) if pd.api.types.is_bool_dtype(rows) else np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise ValueError(f"{rows.size} booleans cannot choose among {n} rows")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.size == 0:
        raise ValueError(f"rows must be a list of at least one row of the cache, which has {n}")
    if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"rows must be whole numbers from 0 to {n - 1}, the last row of the cache")
    return rows.astype(np.int64)


def _numbers(cache, column: str, rows: np.ndarray) -> torch.Tensor:
    """A column of the table in the chosen rows, (N,) float32."""
    numeric = [name for name in cache.table if pd.api.types.is_numeric_dtype(cache.table[name])]
    if column not in numeric:
        masks, numeric = (", ".join(map(str, names)) or "none" for names in (cache.masks, numeric))
        raise ValueError(f"no target {column!r}; masks: {masks}; columns of numbers: {numeric}")
    _complete(cache.table, column, rows)
    return torch.from_numpy(cache.table[column].iloc[rows].to_numpy(np.float32))


def _complete(table: pd.DataFrame, column: str, rows: np.ndarray) -> None:
    """Chosen rows need a value in ``column``, if it is there: the cache holds empty masks for the others."""
    absent = int(table[column].iloc[rows].isna().sum()) if column in table else 0
    if absent:
        raise ValueError(
            f"{absent} of {len(rows)} rows have no {column}; choose those that have one, such as "
            f"rows=table[{column!r}].notna()"
        )
