"""Outlines in property lists that are written here, filled by another library."""

import plistlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mammo_utils.data import contours
from mammo_utils.data.dicom import ImageReadError


def listed(path, *regions):
    rois = [{"Name": "Mass", "Point_px": points} for points in regions]
    path.write_bytes(plistlib.dumps({"Images": [{"NumberOfROIs": len(rois), "ROIs": rois}]}))
    return path


def test_a_corner_is_a_column_and_a_row(tmp_path):
    file = listed(tmp_path / "a.xml", ["(6.000000, 2.000000)", "(9, 2)", "(9,4)", "(6, 4.)"])
    [corners] = contours.regions(file)
    np.testing.assert_array_equal(corners, [[2, 6], [2, 9], [4, 9], [4, 6]])
    assert contours.boxes(file) == ((2, 6, 5, 10),)
    mask = contours.mask(file, (8, 12))
    inside = np.argwhere(mask)
    assert inside.min(0).tolist() == [2, 6]
    assert mask[3, 7]
    assert mask[3, 8]
    assert not mask[:2].any()
    assert not mask[5:].any()


@given(st.lists(st.tuples(st.floats(2, 28), st.floats(2, 38)), min_size=3, max_size=8, unique=True))
def test_the_filled_region_is_that_of_another_library_up_to_its_rim(tmp_path_factory, points):
    file = listed(tmp_path_factory.mktemp("plist") / "a.xml", [f"({x}, {y})" for y, x in points])
    canvas = Image.new("L", (40, 30))
    ImageDraw.Draw(canvas).polygon([(x, y) for y, x in points], fill=1)
    mask, other = contours.mask(file, (30, 40)), np.asarray(canvas) > 0
    away = distance(np.array([*points, points[0]]), mask.shape) > 2
    np.testing.assert_array_equal(mask[away], other[away])
    assert mask.any()


def distance(corners, shape):
    """Of every pixel from the nearest point of a line of corners."""
    pixels = np.stack(np.indices(shape), -1)[:, :, None]
    start, step = corners[:-1], np.diff(corners, axis=0)
    along = ((pixels - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-12)
    return np.linalg.norm(pixels - start - along.clip(0, 1)[..., None] * step, axis=-1).min(-1)


def test_regions_without_area_are_their_corners_and_nothing_is_drawn_outside(tmp_path):
    file = listed(tmp_path / "a.xml", ["(3.2, 1.6)"], [], ["(50, 2)"], ["(1, 0)", "(2, 0)"])
    assert np.argwhere(contours.mask(file, (4, 6))).tolist() == [[0, 1], [0, 2], [2, 3]]
    assert contours.boxes(file) == ((2, 3, 3, 4), (2, 50, 3, 51), (0, 1, 1, 3))


def test_a_region_over_the_edge_is_cut_there(tmp_path):
    file = listed(tmp_path / "a.xml", ["(-5, -5)", "(2, -5)", "(2, 1)", "(-5, 1)"])
    assert np.argwhere(contours.mask(file, (4, 6))).max(0).tolist() == [1, 2]


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<plist version="1.0"><dict><key>Images</key><string>&b;</string></dict></plist>"""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<plist",
        b"<html></html>",
        plistlib.dumps({"Images": 3}),
        plistlib.dumps({"Images": [{"ROIs": [{}]}]}),
        plistlib.dumps({"Images": []}, fmt=plistlib.FMT_BINARY),
        LAUGHS,
    ],
)
def test_what_is_no_list_of_regions_is_refused_with_the_name_of_the_file(tmp_path, content):
    (tmp_path / "22.xml").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"22\.xml: no property list of regions") as caught:
        contours.mask(tmp_path / "22.xml", (4, 4))
    assert "&a;" not in str(caught.value)


def test_no_file_outside_is_read_for_an_entity(tmp_path):
    (tmp_path / "secret").write_text("(1, 1)")
    content = LAUGHS.replace(b'<!ENTITY b "&a;&a;&a;&a;">', b'<!ENTITY b SYSTEM "secret">')
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(ImageReadError, match="no property list"):
        contours.regions(tmp_path / "a.xml")


@pytest.mark.parametrize("point", ["3, 4", "(3; 4)", "(nan, 1)", "(1e999, 1)", "(3, 4, 5)", 7])
def test_a_corner_that_is_none_is_refused(tmp_path, point):
    with pytest.raises(ImageReadError, match="corner"):
        contours.regions(listed(tmp_path / "a.xml", ["(1, 1)", point]))
