"""The panel of the preparation steps: what it shows, and that it names nobody."""

import numpy as np
import pydicom
import pytest
from matplotlib.text import Text
from PIL import Image

from mammo_utils.data import dicom
from mammo_utils.show.figures import preprocessing
from mammo_utils.synth import exams


def texts(figure) -> str:
    """All that is written on a figure."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """One phantom mammogram whose header names a patient."""
    root = tmp_path_factory.mktemp("phantom")
    exams.write(root, range(1), layout="phantom", size=128)
    file = sorted(root.rglob("*.dcm"))[0]
    ds = pydicom.dcmread(file)
    ds.PatientName = ds.PatientID = ds.InstitutionName = "SECRET"
    ds.save_as(root / "named.dcm")
    return root / "named.dcm"


def test_five_panels_end_in_the_prepared_image(file, tmp_path):
    figure = preprocessing.steps(file, size=64)
    written = texts(figure)
    assert len(figure.axes) == 5
    for title in (
        "1 Stored values",
        "2 Modality and VOI",
        "3 Bright = dense",
        "4 Breast found",
        "5 Prepared",
    ):
        assert title in written
    for step in dicom.read(file, size=128).applied:
        assert step in written
    assert "SECRET" not in written
    stored, *_, last = (axes.get_images()[0].get_array() for axes in figure.axes)
    assert stored.dtype.kind in "iu"
    assert last.shape == (64, 52)
    figure.savefig(tmp_path / "panel.png")
    assert np.asarray(Image.open(tmp_path / "panel.png")).std() > 10


def test_a_picture_without_a_breast_says_so(tmp_path):
    picture = np.full((100, 80), 10, np.uint8)
    picture[40:50, 35:45] = 255
    Image.fromarray(picture).save(tmp_path / "label.png")
    assert "no breast found" in texts(preprocessing.steps(tmp_path / "label.png", size=64))


def test_an_unreadable_file_is_the_reader_s_error(tmp_path):
    (tmp_path / "broken.dcm").write_bytes(b"nothing")
    with pytest.raises(dicom.ImageReadError):
        preprocessing.steps(tmp_path / "broken.dcm")
