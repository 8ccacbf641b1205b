"""A cache is judged by what a reader finds in it, also after the builder was killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from mammo_utils.data import cache, catalogs, dicom, pixels, preprocess, rows, splits
from mammo_utils.synth import exams

SIZE = 48
SHAPE = (48, 39)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    exams.write(root, range(3), layout="phantom", size=96, prevalence=1.0)
    return root


@pytest.fixture
def copied(phantom, tmp_path):
    """A folder of its own for tests that damage files; times of change are kept."""
    return shutil.copytree(phantom, tmp_path / "data")


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are prepared, in order."""
    names, prepare = [], rows.prepare

    def noting(job):
        names.append(os.path.basename(job["path"]).removesuffix(".dcm"))
        return prepare(job)

    monkeypatch.setattr(rows, "prepare", noting)
    return names


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def written(directory):
    return {
        path.name: path.stat().st_mtime_ns
        for path in directory.iterdir()
        if path.suffix in (".raw", ".jsonl")
    }


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_row_is_its_image_prepared(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)
    built = cache.build(table, tmp_path / "cache", size=SIZE)
    pd.testing.assert_frame_equal(built.table, table)
    assert built.failures.empty
    assert built.images.shape == (len(table), *SHAPE) == (len(built), *SHAPE)
    assert built.images.dtype == np.uint16
    assert set(built.masks) == {"breast", "dense", "lesion", "pectoral", "reader_A", "reader_B", "foreground"}
    for row in range(len(table)):
        image = dicom.read(table["path"][row]).image
        expected = preprocess.prepare(image, SHAPE, laterality=table["laterality"][row])
        assert np.abs(built.images[row] / 65535 - expected.image).max() <= 0.5 / 65535 + 1e-6
        np.testing.assert_array_equal(built.masks["foreground"][row], expected.foreground)
        for name in ("dense", "lesion", "reader_B"):
            mask = np.asarray(Image.open(table[f"{name}_mask"][row])) > 127
            np.testing.assert_array_equal(built.masks[name][row], expected.to_prepared(mask))
    assert built.masks["dense"].dtype == bool
    assert built.masks["lesion"].any(axis=(1, 2)).sum() > 2


def test_points_go_to_the_prepared_image_and_back(phantom, tmp_path):
    built = cache.build(catalogs.load("phantom", phantom), tmp_path, size=SIZE)
    checked = 0
    for row, path in enumerate(built.table["lesion_mask"]):
        mask = np.asarray(Image.open(path)) > 127
        if built.masks["lesion"][row].sum() < 4:
            continue
        middle, there = np.argwhere(mask).mean(0), np.argwhere(built.masks["lesion"][row]).mean(0)
        assert np.abs(built.to_prepared(row, [middle])[0] - there).max() < 1
        np.testing.assert_allclose(built.to_original(row, built.to_prepared(row, [middle])), [middle])
        checked += 1
    assert checked > 2
    spacing = pydicom.dcmread(built.table["path"][0]).PixelSpacing[0]
    assert built.geometry["spacing_mm"][0] == pytest.approx(spacing / built.geometry["row_scale"][0])
    flipped = built.geometry["column_scale"] < 0
    assert list(flipped) == list(built.table["laterality"] == "R")


def test_open_gives_what_build_gave_and_workers_do_not_matter(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)
    one = cache.build(table, tmp_path / "one", size=(40, 32))
    cache.build(table, tmp_path / "two", size=(40, 32), workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    again = cache.ImageCache.open(tmp_path / "one")
    np.testing.assert_array_equal(again.images, one.images)
    pd.testing.assert_frame_equal(again.table, one.table)
    pd.testing.assert_frame_equal(again.geometry, one.geometry)


def test_a_finished_cache_is_not_built_again_but_takes_new_columns(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)
    cache.build(table, tmp_path, size=SIZE)
    before = written(tmp_path)
    built = cache.build(table.assign(split="train"), tmp_path, size=SIZE)
    assert written(tmp_path) == before
    assert list(built.table["split"]) == ["train"] * len(table)


def test_a_split_that_a_woman_crosses_is_refused_before_and_after_the_work(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)
    crossing = table.assign(split=["train", "test"] * 6)
    with pytest.raises(splits.SplitError, match="3 of 3 groups"):
        cache.build(crossing, tmp_path / "new", size=SIZE)
    assert not (tmp_path / "new").exists()
    cache.build(splits.split(table), tmp_path / "old", size=SIZE)
    catalogs.write(crossing, tmp_path / "old" / "table.csv")
    with pytest.raises(splits.SplitError):
        cache.ImageCache.open(tmp_path / "old")


def test_appended_rows_are_the_only_new_work(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)
    cache.build(table[:5], tmp_path / "grown", size=SIZE)
    before = contents(tmp_path / "grown")
    inode = (tmp_path / "grown" / "images.raw").stat().st_ino
    cache.build(table, tmp_path / "grown", size=SIZE)
    cache.build(table, tmp_path / "whole", size=SIZE)
    after = contents(tmp_path / "grown")
    assert after == contents(tmp_path / "whole")
    assert after["rows.jsonl"].startswith(before["rows.jsonl"])
    assert (tmp_path / "grown" / "images.raw").stat().st_ino == inode
    cache.build(table[:5], tmp_path / "grown", size=SIZE)
    assert contents(tmp_path / "grown") == before


def test_damaged_files_end_in_the_failures_and_the_rest_goes_on(copied, tmp_path):
    table = catalogs.load("phantom", copied)
    truncate(copied / "images" / f"{table['image_id'][1]}.dcm")
    (copied / "images" / f"{table['image_id'][4]}.dcm").unlink()
    truncate(copied / "masks" / "dense" / f"{table['image_id'][6]}.png")
    (copied / "masks" / "lesion" / f"{table['image_id'][7]}.png").write_bytes(b"no picture")
    no_breast = copied / "images" / "square.png"
    Image.fromarray(np.pad(np.full((20, 20), 200, np.uint8), ((38, 38), (29, 29)))).save(no_breast)
    table.loc[11, "path"] = str(no_breast)
    Image.new("L", (20, 20)).save(copied / "masks" / "breast" / f"{table['image_id'][9]}.png")

    built = cache.build(table, tmp_path / "cache", size=SIZE)
    failed = list(built.failures["image_id"])
    assert failed == [table["image_id"][row] for row in (1, 4, 6, 7, 9, 11)]
    assert built.failures["reason"].notna().all()
    assert built.failures["remedy"].notna().all()
    reasons = dict(zip(failed, built.failures["reason"], strict=True))
    assert "20×20" in reasons[table["image_id"][9]]
    assert reasons[table["image_id"][6]].startswith(f"{table['image_id'][6]}.png: ")
    good = table.drop(index=[1, 4, 6, 7, 9, 11]).reset_index(drop=True)
    pd.testing.assert_frame_equal(built.table, good)
    clean = cache.build(good, tmp_path / "clean", size=SIZE)
    np.testing.assert_array_equal(built.images, clean.images)
    np.testing.assert_array_equal(built.masks["dense"], clean.masks["dense"])


def test_a_repaired_file_joins_and_a_changed_one_is_prepared_again(copied, tmp_path):
    table = catalogs.load("phantom", copied)
    path = copied / "images" / f"{table['image_id'][5]}.dcm"
    whole = path.read_bytes()
    truncate(path)
    assert len(cache.build(table, tmp_path / "cache", size=SIZE).failures) == 1
    path.write_bytes(whole)
    repaired = cache.build(table, tmp_path / "cache", size=SIZE)
    assert repaired.failures.empty
    clean = cache.build(table, tmp_path / "clean", size=SIZE)
    np.testing.assert_array_equal(repaired.images, clean.images)
    assert not np.array_equal(repaired.images[5], repaired.images[2])

    other = (copied / "images" / f"{table['image_id'][2]}.dcm").read_bytes()
    path.write_bytes(other)  # the other woman's file under this name
    changed = cache.build(table, tmp_path / "cache", size=SIZE)
    assert not np.array_equal(changed.images[5], clean.images[5])
    np.testing.assert_array_equal(changed.images[:5], clean.images[:5])
    np.testing.assert_array_equal(changed.images[6:], clean.images[6:])


@pytest.mark.parametrize("row", [0, 5, 11])
def test_a_touched_file_is_the_only_one_to_be_decoded(copied, tmp_path, decoded, row):
    table = catalogs.load("phantom", copied)
    cache.build(table, tmp_path / "cache", size=SIZE)
    os.utime(table["path"][row], ns=(1, 1))
    decoded.clear()
    cache.build(table, tmp_path / "cache", size=SIZE)
    assert decoded == [table["image_id"][row]]
    cache.build(table, tmp_path / "clean", size=SIZE)
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


def test_a_repaired_file_is_the_only_one_to_be_decoded_whatever_else_still_fails(copied, tmp_path, decoded):
    table = catalogs.load("phantom", copied)
    files = [copied / "images" / f"{table['image_id'][row]}.dcm" for row in (1, 7)]
    whole = files[0].read_bytes()
    for file in files:
        truncate(file)
    cache.build(table, tmp_path / "cache", size=SIZE)
    before, inode = written(tmp_path / "cache"), (tmp_path / "cache" / "images.raw").stat().st_ino
    decoded.clear()
    assert len(cache.build(table, tmp_path / "cache", size=SIZE).failures) == 2
    assert decoded == list(table["image_id"][[1, 7]])  # tried again, and nothing was written
    assert written(tmp_path / "cache") == before
    assert (tmp_path / "cache" / "images.raw").stat().st_ino == inode

    files[0].write_bytes(whole)
    decoded.clear()
    assert len(cache.build(table, tmp_path / "cache", size=SIZE).failures) == 1
    assert set(decoded) == set(table["image_id"][[1, 7]])
    cache.build(table, tmp_path / "clean", size=SIZE)
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


def test_rows_that_are_taken_out_put_in_or_moved_are_not_decoded_again(phantom, tmp_path, decoded):
    table = catalogs.load("phantom", phantom)
    cache.build(table.drop(index=4), tmp_path / "cache", size=SIZE)
    decoded.clear()
    other = table.drop(index=[0, 9])[::-1].reset_index(drop=True)
    cache.build(other, tmp_path / "cache", size=SIZE)
    assert decoded == [table["image_id"][4]]
    cache.build(other, tmp_path / "clean", size=SIZE)
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


@pytest.mark.parametrize("workers", [1, 2])
def test_failed_rows_are_tried_again_by_the_workers(phantom, tmp_path, workers):
    table = catalogs.load("phantom", phantom)
    lost = table.assign(path=table["path"] + ".lost")
    for _ in range(2):
        assert len(cache.build(lost, tmp_path, size=SIZE, workers=workers).failures) == len(table)


@pytest.mark.parametrize("damage", [b"\0" * 40, b"\xff\xfe{", b"12", b'{"source": ['])
@pytest.mark.parametrize("line", [0, 4, 11])
def test_a_line_that_a_power_loss_destroyed_ends_the_journal(phantom, tmp_path, damage, line):
    table = catalogs.load("phantom", phantom)
    cache.build(table, tmp_path, size=SIZE)
    whole, journal = contents(tmp_path), tmp_path / "rows.jsonl"
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([*lines[:line], damage, *lines[line + 1 :], b""]))
    cache.build(table, tmp_path, size=SIZE)
    assert contents(tmp_path) == whole


def test_settings_that_a_power_loss_destroyed_start_afresh(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)[:3]
    cache.build(table, tmp_path, size=SIZE)
    whole = contents(tmp_path)
    (tmp_path / "settings.json").write_bytes(bytes(60))
    cache.build(table, tmp_path, size=SIZE)
    assert contents(tmp_path) == whole


def test_rows_that_failed_for_want_of_a_decoder_join_once_it_is_there(phantom, tmp_path, monkeypatch):
    table = catalogs.load("phantom", phantom)
    with monkeypatch.context() as without:
        without.setitem(pixels.DECODERS, JPEG2000Lossless, ("missing", "pip install it"))
        built = cache.build(table, tmp_path / "cache", size=SIZE)
        assert list(built.failures["image_id"]) == list(
            table["image_id"][4:8]
        )  # the woman with an odd number
        assert set(built.failures["remedy"]) == {"pip install it"}
    assert cache.build(table, tmp_path / "cache", size=SIZE).failures.empty
    cache.build(table, tmp_path / "clean", size=SIZE)
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


def test_another_size_or_set_of_masks_starts_afresh(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)[:3]
    cache.build(table, tmp_path / "cache", size=SIZE)
    cache.build(table, tmp_path / "cache", size=(30, 20))
    fewer = table.assign(dense_mask=pd.array([pd.NA] * 3, dtype="string"))
    built = cache.build(fewer, tmp_path / "cache", size=(30, 20))
    assert "dense" not in built.masks
    cache.build(fewer, tmp_path / "clean", size=(30, 20))
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


def test_other_code_starts_afresh(phantom, tmp_path, monkeypatch):
    table = catalogs.load("phantom", phantom)[:3]
    monkeypatch.setattr(rows, "CODE", "an earlier version")
    cache.build(table, tmp_path / "cache", size=SIZE)
    (tmp_path / "cache" / "images.raw").write_bytes(bytes(2 * 3 * SHAPE[0] * SHAPE[1]))  # as it drew them
    monkeypatch.undo()
    assert cache.build(table, tmp_path / "cache", size=SIZE).images.any(axis=(1, 2)).all()


def test_rows_without_a_mask_are_empty_there(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)[:3].copy()
    table.loc[1, "dense_mask"] = pd.NA
    built = cache.build(table, tmp_path, size=SIZE)
    assert list(built.masks["dense"].any(axis=(1, 2))) == [True, False, True]
    assert list(built.table["dense_mask"].isna()) == [False, True, False]


def test_lossy_masks_of_the_density_data_set(tmp_path):
    exams.write(tmp_path / "density", range(2), layout="density", size=96)
    table = catalogs.load("density", tmp_path / "density")
    built = cache.build(table, tmp_path / "cache", size=SIZE)
    percent = 100 * built.masks["dense"].sum(axis=(1, 2)) / built.masks["breast"].sum(axis=(1, 2))
    assert np.abs(percent - table["percent_density"]).max() < 4


def test_a_cache_of_nothing_but_failures_and_an_unfinished_one(tmp_path, phantom):
    table = catalogs.load("phantom", phantom)[:2]
    lost = table.assign(path=table["path"] + ".lost")
    built = cache.build(lost, tmp_path / "lost", size=SIZE)
    assert built.images.shape == (0, *SHAPE)
    assert len(built.table) == 0
    assert len(built.failures) == 2
    with pytest.raises(FileNotFoundError, match=r"cache\.build"):
        cache.ImageCache.open(tmp_path / "never")


def test_an_error_of_the_program_is_not_a_bad_file(phantom, tmp_path):
    table = catalogs.load("phantom", phantom)[:2]
    with pytest.raises(ValueError, match="laterality") as caught:
        cache.build(table.assign(laterality=["L", "left"]), tmp_path, size=SIZE)
    assert caught.value.__notes__ == [f"while preparing {table['path'][1]}"]
    assert cache.build(table, tmp_path, size=SIZE).failures.empty
    with pytest.raises(ValueError, match="size"):
        cache.build(table, tmp_path, size=0)
    with pytest.raises(TypeError, match="integer"):
        cache.build(table, tmp_path, size=48.5)


@pytest.mark.parametrize("size", [np.int64(SIZE), np.array(SHAPE), (np.int32(SHAPE[0]), SHAPE[1])])
def test_a_size_may_be_a_number_of_numpy(phantom, tmp_path, size):
    built = cache.build(catalogs.load("phantom", phantom)[:2], tmp_path, size=size)
    assert built.images.shape == (2, *SHAPE)


CHILD = """
import json, os, signal, sys
from mammo_utils.data import cache, catalogs

def dying(value, dumps=json.dumps):
    # Called between the pixels of a row and its line.
    journal = sys.argv[2] + "/rows.jsonl"
    if isinstance(value, dict) and "geometry" in value and open(journal).read().count("\\n") == dies_after:
        os.kill(os.getpid(), signal.SIGKILL)
    return dumps(value)

if len(sys.argv) > 4:
    dies_after, json.dumps = int(sys.argv[4]), dying
table = catalogs.read(sys.argv[1])
cache.build(table, sys.argv[2], size=48, workers=int(sys.argv[3]))
"""


def kill_after(rows_there, listed, directory, workers=1):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(listed), str(directory), str(workers), str(rows_there)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert child.wait() == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # its workers, which would wait five minutes for more work


def test_a_run_killed_while_it_takes_over_what_is_there_loses_nothing(copied, tmp_path, decoded):
    table = catalogs.load("phantom", copied)
    listed = catalogs.write(table, tmp_path / "table.csv")
    cache.build(table, tmp_path / "cache", size=SIZE)
    os.utime(table["path"][1], ns=(1, 1))
    for rows_there in (0, 6):
        kill_after(rows_there, listed, tmp_path / "cache")
        with pytest.raises(FileNotFoundError):
            cache.ImageCache.open(tmp_path / "cache")
    os.utime(table["path"][3], ns=(1, 1))  # and once more behind what was done
    decoded.clear()
    cache.build(table, tmp_path / "cache", size=SIZE)
    assert decoded == [table["image_id"][3]]
    cache.build(table, tmp_path / "clean", size=SIZE)
    assert contents(tmp_path / "cache") == contents(tmp_path / "clean")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(phantom, tmp_path, workers):
    table = pd.concat([catalogs.load("phantom", phantom)] * 12, ignore_index=True)
    listed = catalogs.write(table, tmp_path / "table.csv")
    cache.build(table, tmp_path / "whole", size=SIZE)
    whole, journal = contents(tmp_path / "whole"), tmp_path / "killed" / "rows.jsonl"
    for rows_there in (0, 40, 90):
        kill_after(rows_there, listed, journal.parent, workers)
        assert journal.read_bytes().count(b"\n") == rows_there
    assert not (journal.parent / "table.csv").exists()
    cache.build(table, journal.parent, size=SIZE, workers=workers)
    assert contents(journal.parent) == whole


def test_two_builders_of_one_cache_do_not_disturb_each_other(phantom, tmp_path):
    table = pd.concat([catalogs.load("phantom", phantom)] * 4, ignore_index=True)
    listed = catalogs.write(table, tmp_path / "table.csv")
    command = [sys.executable, "-c", CHILD, str(listed), str(tmp_path / "shared"), "1"]
    builders = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [builder.wait() for builder in builders] == [0, 0]
    cache.build(table, tmp_path / "alone", size=SIZE)
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


@pytest.mark.parametrize("seed", range(6))
def test_any_torn_end_of_the_files_is_repaired(phantom, tmp_path, seed):
    """What a kill or a full disk can leave: pixels without a line, half a line, half an image."""
    table = catalogs.load("phantom", phantom)
    cache.build(table, tmp_path, size=SIZE)
    whole, rng = contents(tmp_path), np.random.default_rng(seed)
    for path in tmp_path.iterdir():
        if path.suffix in (".raw", ".jsonl") and rng.random() < 0.7:
            os.truncate(path, int(rng.integers(path.stat().st_size + 1)))
    if seed % 2:
        (tmp_path / "table.csv").unlink()
    cache.build(table, tmp_path, size=SIZE)
    assert contents(tmp_path) == whole
