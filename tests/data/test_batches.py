"""Batches against the arrays of a real small cache: the same whoever reads them, in whatever company."""

import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_utils.data import cache, catalogs
from mammo_utils.data.augment import Ranges
from mammo_utils.data.batches import Arrays, Batch, Batches
from mammo_utils.synth import exams

SIZE = 48


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three women, twelve images: batches of five leave two for the last one."""
    root = tmp_path_factory.mktemp("phantom")
    exams.write(root, range(3), layout="phantom", size=96, prevalence=0.5)
    return cache.build(catalogs.load("phantom", root), root / "cache", size=SIZE)


def arrays(n, shape=(24, 20)):
    rng = np.random.default_rng(n)
    masks = {name: rng.random((n, *shape)) > 0.5 for name in ("reader_A", "breast")}
    table = pd.DataFrame({"group": [f"woman {i // 4}" for i in range(n)]})
    return Arrays(rng.integers(1, 65536, (n, *shape), dtype=np.uint16), masks, table)


ALL = {n: arrays(n, (2, 2)) for n in range(1, 26)}


class Watched(np.ndarray):
    """Images that note which of them are read, and fail where they are told to."""

    def __new__(cls, images, *, fails=()):
        array = images.view(cls)
        array.read, array.fails = [], fails
        return array

    def take(self, rows, *args, **options):
        self.read.extend(np.asarray(rows).tolist())
        if set(self.fails) & set(np.asarray(rows).tolist()):
            raise OSError("the disk is gone")
        return np.asarray(self).take(rows, *args, **options)


def watched(n, **options):
    whole = arrays(n)
    return whole._replace(images=Watched(whole.images, **options))


def same(first, second):
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        torch.equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def rows_of(batches):
    return [row for batch in batches for row in batch.row.tolist()]


def by_row(batches):
    """{row: (image, target, breast)}"""
    return {int(b.row[i]): (b.image[i], b.target[i], b.breast[i]) for b in batches for i in range(len(b.row))}


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_a_batch_holds_what_the_cache_holds(prepared):
    batches = Batches(prepared, [7, 0, 9, 2, 4, 11], batch_size=4)
    first, second = list(batches)
    assert len(batches) == 2
    assert first.row.tolist() == [7, 0, 9, 2]
    assert second.row.tolist() == [4, 11]
    for batch in (first, second):
        rows, n = batch.row.numpy(), len(batch.row)
        assert (
            batch.image.shape
            == batch.target.shape
            == batch.breast.shape
            == (n, 1, *prepared.images.shape[1:])
        )
        assert batch.image.dtype == batch.target.dtype == batch.breast.dtype == torch.float32
        assert batch.patient.dtype == batch.row.dtype == torch.int64
        assert all(tensor.is_contiguous() for tensor in batch)
        expected = (prepared.images[rows] / 65535.0)[:, None]
        assert np.abs(batch.image.numpy() - expected).max() < 1e-7
        assert (batch.target.numpy()[:, 0] == prepared.masks["reader_A"][rows]).all()
        assert (batch.breast.numpy()[:, 0] == prepared.masks["breast"][rows]).all()
    assert first.image.max() > 0.6  # stored above 32767, where int16 would be negative
    assert first.patient.tolist() == [1, 0, 2, 0]
    assert second.patient.tolist() == [1, 2]


def test_the_ends_of_the_grey_scale_are_exact():
    ends = np.array([0, 1, 32767, 32768, 65535], np.uint16).reshape(5, 1, 1)
    whole = Arrays(ends, {"breast": np.ones((5, 1, 1), bool)}, pd.DataFrame({"group": list("aabbc")}))
    image = next(iter(Batches(whole, target="breast"))).image
    assert image.flatten().tolist() == [np.float32(v / 65535) for v in (0, 1, 32767, 32768, 65535)]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_batches(prepared, workers):
    options = {"batch_size": 5, "shuffle": True, "augment": "strong", "seed": 3}
    expected = list(Batches(prepared, **options, workers=0))
    assert same(Batches(prepared, **options, workers=workers), expected)
    assert same(Batches(prepared, **options, resident=True), expected)


def test_an_epoch_repeats_until_another_is_set(prepared):
    batches = Batches(prepared, batch_size=5, shuffle=True, augment="standard", workers=2)
    first, again = list(batches), list(batches)
    assert same(first, again)
    batches.set_epoch(1)
    assert rows_of(batches) != rows_of(first)
    assert sorted(rows_of(batches)) == sorted(rows_of(first)) == list(range(12))
    assert not any(torch.equal(by_row(batches)[row][0], by_row(first)[row][0]) for row in range(12))
    batches.set_epoch(0)
    assert same(batches, first)


def test_another_seed_is_another_order_with_other_draws(prepared):
    one, two = (Batches(prepared, shuffle=True, augment="light", seed=seed) for seed in (0, 1))
    assert rows_of(one) != rows_of(two)
    assert not any(torch.equal(by_row(one)[row][0], by_row(two)[row][0]) for row in range(12))
    assert rows_of(Batches(prepared, augment="light", seed=5)) == list(range(12))


def test_orders_put_every_image_anywhere():
    """Of 8 images in 400 epochs each should stand about 50 times at each place."""
    batches, counts = Batches(arrays(8), batch_size=8, shuffle=True, workers=0), np.zeros((8, 8))
    for epoch in range(400):
        batches.set_epoch(epoch)
        counts[np.arange(8), rows_of(batches)] += 1
    assert ((counts - 50) ** 2 / 50).sum() < 100  # chi-squared with 49 degrees of freedom


def test_a_set_epoch_waits_for_the_next_iteration(prepared):
    batches = Batches(prepared, batch_size=5, shuffle=True, augment="light")
    expected, running = list(batches), iter(batches)
    begun = [next(running)]
    batches.set_epoch(9)
    assert same(begun + list(running), expected)


def test_the_change_of_an_image_does_not_depend_on_its_batch(prepared):
    changed = [
        by_row(Batches(prepared, rows, batch_size=size, shuffle=shuffle, augment="strong"))
        for rows, size, shuffle in ((None, 5, True), (None, 12, False), ([3, 8, 1], 1, False))
    ]
    for other in changed[1:]:
        for row, tensors in other.items():
            for one, two in zip(tensors, changed[0][row], strict=True):
                assert (one - two).abs().gt(1e-5).float().mean() < 0.001  # a mask's tie may fall either way


@pytest.mark.parametrize("target", ["reader_A", "cancer"])
def test_views_are_versions_of_the_same_images_one_after_the_other(prepared, target):
    options = {"target": target, "shuffle": True, "augment": "strong", "seed": 2, "batch_size": 5}
    once, thrice = Batches(prepared, **options), Batches(prepared, **options, views=3)
    assert len(once) == len(thrice)
    for batch, versions in zip(once, thrice, strict=True):
        n = len(batch.row)
        first, second, third = (Batch(*(x[k * n : (k + 1) * n] for x in versions)) for k in range(3))
        for view in (first, second, third):
            assert torch.equal(view.row, batch.row)
            assert torch.equal(view.patient, batch.patient)
            if target == "cancer":
                assert torch.equal(view.target, batch.target)
        assert same([first], [batch])  # another number of versions does not change the first
        for a, b in ((first, second), (first, third), (second, third)):
            for name in ("image", "breast", *(["target"] if target == "reader_A" else [])):
                pairs = zip(getattr(a, name), getattr(b, name), strict=True)
                assert not any(torch.equal(*pair) for pair in pairs), name
    again = Batches(prepared, **options, views=3, workers=0)
    assert same(again, thrice)
    again.set_epoch(1)
    assert not set(rows_of(again)) ^ set(rows_of(thrice))
    assert not any(torch.equal(by_row(again)[row][0], by_row(thrice)[row][0]) for row in range(12))


def test_masks_of_a_view_follow_their_own_image():
    """An image that is white inside its breast stays so in every version."""
    whole = arrays(6, (48, 40))
    rows, columns = np.mgrid[:48, :40]
    discs = np.stack([(rows - 20 - i) ** 2 + (columns - 15) ** 2 < 90 for i in range(6)])
    whole = whole._replace(images=discs * np.uint16(65535), masks={"breast": discs})
    moves = Ranges(rotation=(-30, 30), scale=(0.8, 1.2), shift_rows=(-0.2, 0.2))
    batch = next(iter(Batches(whole, target="breast", augment=moves, views=2)))
    assert batch.image.shape == batch.target.shape == batch.breast.shape == (12, 1, 48, 40)
    assert torch.equal(batch.breast, (batch.image >= 0.5).float())
    assert torch.equal(batch.target, batch.breast)


def test_without_changes_all_views_are_alike(prepared):
    batch = next(iter(Batches(prepared, batch_size=4, views=2)))
    assert torch.equal(batch.image[:4], batch.image[4:])


def runs(values):
    """How many stretches of equal values there are."""
    return 1 + sum(a != b for a, b in zip(values, values[1:], strict=False))


def test_together_shuffles_women_and_keeps_their_images_side_by_side():
    whole = arrays(24)
    mixed = np.random.default_rng(0).permutation(24)  # nor do they stand together in the cache
    whole = whole._replace(table=whole.table.iloc[mixed].reset_index(drop=True))
    numbers = pd.factorize(whole.table["group"])[0]
    options = {"batch_size": 5, "shuffle": True, "together": True}
    batches, orders = Batches(whole, **options), set()
    for epoch in range(20):
        batches.set_epoch(epoch)
        rows = rows_of(batches)
        assert sorted(rows) == list(range(24))
        assert runs(numbers[rows].tolist()) == 6
        orders.add(tuple(dict.fromkeys(numbers[rows].tolist())))
    assert len(orders) > 15  # of 720
    assert {order[0] for order in orders} == set(range(6))
    apart = Batches(whole, batch_size=5, shuffle=True)
    assert runs(numbers[rows_of(apart)].tolist()) > 10
    for workers in (0, 3):
        assert same(
            Batches(whole, **options, augment="light", workers=workers),
            Batches(whole, **options, augment="light"),
        )
    some = rows_of(Batches(whole, [3, 20, 7, 11, 2], **options))
    assert sorted(some) == [2, 3, 7, 11, 20]
    assert runs(numbers[some].tolist()) == len(set(numbers[some]))


@pytest.mark.parametrize(("limit", "expected"), [(None, 5), (1, 1), (3, 3), (9, 5)])
def test_a_limit_ends_an_epoch_early_and_the_next_has_other_images(limit, expected):
    batches = Batches(ALL[18], batch_size=4, shuffle=True, limit=limit)
    whole = Batches(ALL[18], batch_size=4, shuffle=True)
    assert len(batches) == len(list(batches)) == expected
    assert same(batches, list(whole)[:expected])
    assert same(batches.iterate(1), list(whole)[1:expected])
    seen = set()
    for epoch in range(30):
        batches.set_epoch(epoch)
        seen |= set(rows_of(batches))
    assert seen == set(range(18))


def test_masks_are_moved_with_their_image():
    """An image that equals its mask must still do so after every change of geometry."""
    whole = arrays(12, (48, 40))
    rows, columns = np.mgrid[:48, :40]
    discs = np.stack([(rows - 10 - 2 * i) ** 2 + (columns - 15) ** 2 < 60 for i in range(12)])
    whole = whole._replace(images=discs * np.uint16(65535), masks={"reader_A": discs, "breast": ~discs})
    moves = Ranges(rotation=(-30, 30), scale=(0.8, 1.2), vertical_flip=0.5, elastic=(0, 0.05))
    batch = next(iter(Batches(whole, augment=moves, seed=1)))
    assert torch.equal(batch.target, (batch.image >= 0.5).float())
    assert (batch.target * batch.breast).sum() < 0.02 * batch.target.sum()
    assert not any(torch.equal(batch.target[i, 0].bool(), torch.from_numpy(discs[i])) for i in range(12))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 25),
    size=st.integers(1, 8),
    world=st.integers(1, 8),
    epoch=st.integers(0, 3),
    drop=st.booleans(),
)
def test_the_parts_of_all_processes_make_the_batches(n, size, world, epoch, drop):
    world = min(world, size)
    drop = drop and n >= size
    whole = Batches(ALL[n], batch_size=size, shuffle=True, drop_last=drop, workers=0)
    whole.set_epoch(epoch)
    parts = [whole.part(rank, world) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)} == {n // size if drop else -(-n // size)}
    for batch, *shares in zip(whole, *parts, strict=True):
        rows = sorted(row for share in shares for row in share.row.tolist())
        sizes = {len(share.row) for share in shares}
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        expected = sorted(batch.row.tolist())
        assert (rows if len(expected) >= world else sorted(set(rows))) == expected


@pytest.mark.parametrize("world", [2, 3, 5])
def test_an_image_keeps_its_change_in_every_process(prepared, world):
    whole = Batches(prepared, batch_size=5, shuffle=True, augment="strong")
    expected = by_row(whole)
    for rank in range(world):
        for row, tensors in by_row(whole.part(rank, world)).items():
            for one, two in zip(tensors, expected[row], strict=True):
                assert (one - two).abs().gt(1e-5).float().mean() < 0.001


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_make_the_batches_with_views_too(prepared, world, together):
    options = {"batch_size": 6, "shuffle": True, "views": 2, "augment": "standard", "together": together}
    whole = Batches(prepared, **options)
    parts = [whole.part(rank, world) for rank in range(world)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert {len(share.row) for share in shares} == {12 // world}
        halves = [[x.chunk(2) for x in share] for share in shares]
        for view, expected in enumerate(zip(*(x.chunk(2) for x in batch), strict=True)):
            joined = Batch(*(torch.cat([half[k][view] for half in halves]) for k in range(5)))
            order = [joined.row.tolist().index(row) for row in expected[4].tolist()]
            for one, other in zip(joined, expected, strict=True):
                assert (one[order].float() - other.float()).abs().gt(1e-5).float().mean() < 0.001


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 6), (0, 0)])
def test_a_share_that_cannot_be(rank, world):
    with pytest.raises(ValueError, match="processes cannot share"):
        Batches(ALL[9], batch_size=5).part(rank, world)


def test_skipped_batches_are_not_read():
    whole = watched(20)
    batches = Batches(whole, batch_size=4, shuffle=True, augment="light")
    expected = list(batches)
    whole.images.read.clear()
    assert same(batches.iterate(3), expected[3:])
    assert sorted(whole.images.read) == sorted(rows_of(expected[3:]))
    assert list(batches.iterate(5)) == []
    with pytest.raises(ValueError, match="has 5 batches"):
        batches.iterate(6)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_is_abandoned_is_not_read_on_and_leaves_no_thread(workers):
    whole = watched(400)
    before = len(readers())
    for number, _ in enumerate(Batches(whole, batch_size=4, workers=workers)):
        assert len(readers()) - before <= workers
        if number == 2:
            break
    gc.collect()
    assert len(readers()) == before
    assert len(whole.images.read) <= 4 * (3 + workers + 1)
    for _ in Batches(whole, batch_size=4, workers=workers):
        pass
    assert len(readers()) == before


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_of_a_reader_comes_where_its_batch_was_due(workers):
    running = iter(Batches(watched(40, fails=[22]), batch_size=4, workers=workers))
    assert [next(running).row[0].item() for _ in range(5)] == [0, 4, 8, 12, 16]
    with pytest.raises(OSError, match="the disk is gone"):
        next(running)
    assert readers() == []


def test_a_column_as_target(prepared):
    batches = Batches(prepared, target="cancer", batch_size=5, shuffle=True, augment="standard")
    for batch in batches:
        assert batch.target.dtype == torch.float32
        assert batch.target.tolist() == [prepared.table["cancer"][row] for row in batch.row.tolist()]
    whole = ALL[9]._replace(table=ALL[9].table.assign(dense=[True, False, True] * 3, share=np.arange(9) / 8))
    assert next(iter(Batches(whole, target="dense"))).target.tolist() == [1, 0, 1] * 3
    assert next(iter(Batches(whole, target="share"))).target.tolist() == list(np.arange(9) / 8)


def test_a_wrong_target_lists_masks_and_columns(prepared):
    for wrong in ("densities", "density"):  # the second is a column, of letters
        with pytest.raises(ValueError, match=rf"no target '{wrong}'; masks: .*reader_A.*; columns .*cancer"):
            Batches(prepared, target=wrong)


def test_a_data_set_without_breast_masks_asks_for_the_foreground(prepared):
    masks = {"foreground": prepared.masks["foreground"]}
    whole = Arrays(prepared.images, masks, prepared.table)
    with pytest.raises(ValueError, match="no mask 'breast' .* foreground"):
        Batches(whole, target="cancer")
    batch = next(iter(Batches(whole, target="cancer", breast="foreground", batch_size=12)))
    assert (batch.breast.numpy()[:, 0] == masks["foreground"]).all()


@pytest.mark.parametrize("column", ["cancer", "reader_A_mask", "breast_mask", "group"])
def test_missing_values_are_counted(prepared, column):
    table = prepared.table.copy()
    table.loc[[1, 4, 5], column] = pd.NA
    whole = Arrays(prepared.images, prepared.masks, table)
    target = "cancer" if column == "cancer" else "reader_A"
    with pytest.raises(ValueError, match=f"3 of 12 rows have no {column}"):
        Batches(whole, target=target)
    with pytest.raises(ValueError, match=f"1 of 3 rows have no {column}"):
        Batches(whole, [0, 1, 2], target=target)
    assert len(rows_of(Batches(whole, table[column].notna(), target=target))) == 9


@pytest.mark.parametrize(
    "rows",
    [
        [1, 3, 4],
        np.array([1, 3, 4], np.uint8),
        range(1, 5),
        [False, True, False, True, True, False],
        pd.Series([False, True, False, True, True, False]),
        pd.Series([False, True, False, True, True, False], dtype="boolean"),
        pd.Index([1, 3, 4]),
    ],
)
def test_rows_by_number_or_by_choice(rows):
    expected = [1, 2, 3, 4] if isinstance(rows, range) else [1, 3, 4]
    assert rows_of(Batches(ALL[6], rows)) == expected


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([6], "0 to 5"),
        ([-1], "0 to 5"),
        ([0.5], "whole numbers"),
        (["a"], "whole numbers"),
        ([], "at least one row"),
        ([[1, 2]], "list"),
        ([True, False], "2 booleans cannot choose among 6 rows"),
        ([False] * 6, "at least one row"),
        (pd.Series([True, pd.NA, True, True, True, True], dtype="boolean"), "missing values|NA"),
    ],
)
def test_rows_that_are_not_there(rows, reason):
    with pytest.raises(ValueError, match=reason):
        Batches(ALL[6], rows)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"workers": -1}, "workers=-1"),
        ({"views": 0}, "views=0"),
        ({"limit": 0}, "limit=0"),
        ({"batch_size": 7, "drop_last": True}, "6 images do not fill one batch of 7"),
        ({"augment": "heavy"}, "choose one of: none, light"),
        ({"resident": "gpu"}, "choose one of: True, False, auto"),
    ],
)
def test_settings_that_cannot_be(options, reason):
    with pytest.raises(ValueError, match=reason):
        Batches(ALL[6], **options)


def test_images_of_another_type_and_a_table_without_groups():
    with pytest.raises(ValueError, match="uint16 .* not float32"):
        Batches(ALL[6]._replace(images=ALL[6].images.astype(np.float32)))
    with pytest.raises(ValueError, match="no column group"):
        Batches(ALL[6]._replace(table=pd.DataFrame({"cancer": [0] * 6})))


def test_the_last_batch_that_is_not_full_can_be_left_out():
    batches = Batches(ALL[11], batch_size=4, drop_last=True)
    assert [len(batch.row) for batch in batches] == [4, 4]
    assert len(batches) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own memory from /proc")
def test_a_large_memory_map_is_never_loaded(tmp_path):
    """800 MB of images and masks: what was read stays with the operating system, which may drop it."""
    shape = (5_000, 256, 208)
    for name, size in (("images.raw", 2), ("mask.raw", 1)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(size * int(np.prod(shape)))  # sparse: takes no room on the disk
    mask = np.memmap(tmp_path / "mask.raw", bool, "r", shape=shape)
    table = pd.DataFrame({"group": np.arange(shape[0]) // 4})
    images = np.memmap(tmp_path / "images.raw", np.uint16, "r", shape=shape)
    batches = Batches(Arrays(images, {"breast": mask}, table), target="breast", shuffle=True, workers=2)

    def own():
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024

    next(iter(batches))
    before = own()
    most = max(own() for _ in batches)
    assert most - before < 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", ["auto", True, False])
def test_a_cuda_device_gives_the_same_batches_to_rounding(prepared, resident):
    options = {"batch_size": 5, "shuffle": True, "augment": "strong"}
    there = Batches(prepared, **options, device="cuda", resident=resident)
    for batch, expected in zip(there, Batches(prepared, **options), strict=True):
        assert {tensor.device.type for tensor in batch} == {"cuda"}
        assert torch.equal(batch.row.cpu(), expected.row)
        for name in ("image", "target", "breast"):
            off = (getattr(batch, name).cpu() - getattr(expected, name)).abs() > 1e-3
            assert off.float().mean() < 0.001
