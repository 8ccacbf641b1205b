"""Phantom files are read back with pydicom and Pillow, which know nothing of how they were written."""

import dataclasses
import hashlib
import plistlib
from itertools import combinations

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.pixels import apply_voi_lut
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from mammo_utils.data import catalogs, dicom
from mammo_utils.synth import breast, exams, files, layouts

SIZE = 64
# Both vendors of the ordinary site, the held-out one, odd and even numbers (JPEG 2000 and uncompressed).
WOMEN = [0, 1, 2, 3, breast.SHIFTED_FROM, breast.SHIFTED_FROM + 1]


def write(root, layout, patients=WOMEN, **options):
    return exams.write(root, patients, layout=layout, **{"size": SIZE, "prevalence": 0.6, **options})


def views_of(patient, **options):
    return breast.exam(patient, **{"size": SIZE, "prevalence": 0.6, **options})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    roots = {layout: tmp_path_factory.mktemp(layout) for layout in exams.LAYOUTS}
    return {layout: (root, write(root, layout)) for layout, root in roots.items()}


def digest(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_cohorts_are_disjoint_and_the_shifted_ones_have_the_held_out_vendor():
    cohorts = [exams.cohort(name, shifted=shifted) for name in exams.COHORTS for shifted in (False, True)]
    for a, b in combinations(cohorts, 2):
        assert max(a[0], b[0]) > min(a[-1], b[-1])  # ranges of numbers without a common one
    assert len(exams.cohort("test")) >= 500
    for name in exams.COHORTS:
        assert (
            exams.cohort_of(exams.cohort(name)[-1])
            == exams.cohort_of(exams.cohort(name, shifted=True)[0])
            == name
        )
        assert views_of(exams.cohort(name)[0])[0].vendor != 2
        assert views_of(exams.cohort(name, shifted=True)[0])[0].vendor == 2
    with pytest.raises(ValueError, match="develop, pool, train, valid, test, final"):
        exams.cohort("training")


@pytest.mark.parametrize("layout", list(exams.LAYOUTS))
def test_two_workers_in_another_order_write_the_same_bytes(layout, folders, tmp_path):
    write(tmp_path, layout, WOMEN[1::4][::-1], workers=2)
    some, everyone = digest(tmp_path), digest(folders[layout][0])
    assert any(not name.endswith(".csv") for name in some)
    for name, value in some.items():
        if name.endswith(".csv"):
            lines = (folders[layout][0] / name).read_text().splitlines()
            assert set((tmp_path / name).read_text().splitlines()) <= set(lines)
        else:
            assert value == everyone[name]


def test_every_woman_of_the_fixture_set_covers_what_the_tests_are_about():
    views = [view for patient in WOMEN for view in views_of(patient)]
    assert {view.vendor for view in views} == {0, 1, 2}
    assert {lesion.is_mass for view in views for lesion in view.lesions} == {True, False}
    assert any(view.cancer for view in views)
    assert any(view.vendor == 1 and int(view.patient_id[1:]) % 2 for view in views)


def test_dicom_gives_the_image_back_through_the_standard_pipeline(folders):
    root, table = folders["phantom"]
    rows = pd.read_csv(table).set_index("image_id")
    for patient in WOMEN:
        for view in views_of(patient):
            ds = pydicom.dcmread(root / rows.loc[f"{view.patient_id}_{view.laterality}_{view.view}", "path"])
            assert ds.pixel_array.max() < 2**12
            shown = apply_voi_lut(ds.pixel_array, ds, index=0) / 4095
            if ds.PhotometricInterpretation == "MONOCHROME1":
                shown = 1 - shown
            assert np.abs(shown - view.image).max() < 1e-3


@pytest.mark.parametrize("layout", ["phantom", "rsna", "vindr"])
def test_the_project_reads_the_image_back_within_quantisation(layout, folders):
    table = catalogs.load(layout, folders[layout][0])
    for number, patient in enumerate(WOMEN):
        for row, view in zip(range(4 * number, 4 * number + 4), views_of(patient), strict=True):
            assert (table["laterality"][row], table["view"][row]) == (view.laterality, view.view)
            found = dicom.read(table["path"][row])
            assert np.abs(found.image - view.image).max() < 1e-3
            tagged = (None, None) if layout == "rsna" else (view.laterality, view.view)
            assert (found.laterality, found.view) == tagged
            assert found.spacing_mm == pytest.approx((view.spacing_mm,) * 2, abs=1e-6)


def test_dicom_headers_are_valid_and_hold_no_date(folders):
    root, _ = folders["phantom"]
    syntaxes, photometric, functions, windows, uids = set(), set(), set(), set(), []
    for path in sorted((root / "images").iterdir()):
        ds = pydicom.dcmread(path)
        assert ds.SOPClassUID.name == "Digital Mammography X-Ray Image Storage - For Presentation"
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.PatientID == path.name.split("_")[0] == ds.PatientName
        assert all(element.value in ("", None) for element in ds if element.VR in ("DA", "TM", "DT"))
        assert (ds.ImageLaterality, ds.ViewPosition) == tuple(path.stem.split("_")[1:])
        assert UID(ds.SOPInstanceUID).is_valid
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert (ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation) == (16, 12, 0)
        assert ds.file_meta.TransferSyntaxUID == (
            JPEG2000Lossless if int(ds.PatientID[1:]) % 2 else ExplicitVRLittleEndian
        )
        syntaxes.add(ds.file_meta.TransferSyntaxUID)
        photometric.add((ds.PhotometricInterpretation, ds.PresentationLUTShape))
        functions.add(ds.get("VOILUTFunction", "LINEAR"))
        windows.add(ds["WindowCenter"].VM)
        uids.append(ds.SOPInstanceUID)
    assert len(syntaxes) == 2
    assert photometric == {("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")}
    assert functions == {"LINEAR", "SIGMOID"}
    assert windows == {1, 3}
    assert len(set(uids)) == len(uids) == 4 * len(WOMEN)


def test_the_phantom_layout_keeps_every_truth(folders):
    root, table = folders["phantom"]
    rows = pd.read_csv(table).set_index("image_id")
    for patient in WOMEN:
        for view in views_of(patient):
            row = rows.loc[f"{view.patient_id}_{view.laterality}_{view.view}"]
            assert row["percent_density"] == pytest.approx(view.percent_density, rel=1e-12)
            assert (row["density"], row["cancer"], row["birads"]) == (view.density, view.cancer, view.birads)
            assert (row["age"], row["machine"]) == (view.age, f"vendor {view.vendor}")
            assert row["cohort"] == "develop"
            truth = {"breast": view.breast_mask, "pectoral": view.pectoral_mask, "dense": view.dense_mask}
            truth |= {"lesion": view.lesion_mask, "reader_A": view.reader_masks["A"]}
            truth |= {"reader_B": view.reader_masks["B"]}
            for name, mask in truth.items():
                stored = np.asarray(Image.open(root / row[f"{name}_mask"]))
                np.testing.assert_array_equal(stored, mask.astype(np.uint8) * 255)


# CBIS-DDSM shows the breasts with a lesion only.
WHOLE = [name for name in catalogs.NAMES if name in exams.LAYOUTS and name != "cbis_ddsm"]


@pytest.mark.parametrize("layout", WHOLE)
def test_every_catalogue_reads_its_layout_and_keeps_women_together(layout, folders):
    table = catalogs.load(layout, folders[layout][0])
    assert len(table) == 4 * len(WOMEN)
    assert table.groupby("group").size().eq(4).all()
    assert table.groupby("group")[["laterality", "view"]].nunique().eq(2).all(axis=None)


def test_phantom_boxes_hold_the_lesions(folders):
    table = catalogs.load("phantom", folders["phantom"][0])
    assert table["boxes"].map(bool).any()
    for _, row in table.iterrows():
        mask, covered = (
            np.asarray(Image.open(row["lesion_mask"])) > 0,
            np.zeros((SIZE, SIZE * 13 // 16), bool),
        )
        for top, left, bottom, right in row["boxes"]:
            assert mask[top, left:right].any()
            assert mask[bottom - 1, left:right].any()
            assert mask[top:bottom, left].any()
            assert mask[top:bottom, right - 1].any()
            covered[top:bottom, left:right] = True
        assert not (mask & ~covered).any()


def test_rsna_files_say_nothing_about_side_and_view_and_site_2_reports_no_density(folders):
    root, table = folders["rsna"]
    rows = pd.read_csv(table)
    for _, row in rows.iterrows():
        ds = pydicom.dcmread(root / "train_images" / str(row["patient_id"]) / f"{row['image_id']}.dcm")
        for tag in (
            "ImageLaterality",
            "ViewPosition",
            "ViewCodeSequence",
            "PatientOrientation",
            "PatientAge",
        ):
            assert tag not in ds
    assert rows.loc[rows["site_id"] == 2, "density"].isna().all()
    assert rows.loc[rows["site_id"] == 1, "density"].notna().all()
    assert rows["BIRADS"].isna().mean() == 0.5
    truth = {(p, v.laterality, v.view): v.cancer for p in WOMEN for v in views_of(p)}
    keys = zip(rows["patient_id"], rows["laterality"], rows["view"], strict=True)
    assert [truth[key] for key in keys] == list(rows["cancer"].astype(bool))


def test_vindr_boxes_mark_suspicious_breasts_only(folders):
    table = catalogs.load("vindr", folders["vindr"][0])
    suspicious = table["birads"] >= 4
    assert table.loc[suspicious, "boxes"].map(bool).any()
    assert not table.loc[~suspicious, "boxes"].map(bool).any()


def test_density_masks_are_lossy_and_mean_reader_a_above_127(folders):
    root, _ = folders["density"]
    table = catalogs.load("density", root)
    views = {v.laterality + v.view: v for v in views_of(1)}
    rows = table[table["image_id"].isin(catalogs.load("density", root)["image_id"][4:8])]
    values = set()
    for _, row in rows.iterrows():
        view = views[row["laterality"] + row["view"]]
        breast_mask, dense = (np.asarray(Image.open(row[f"{name}_mask"])) for name in ("breast", "dense"))
        values |= set(np.unique(dense))
        drawn = view.reader_masks["A"] & view.breast_mask
        assert np.mean((dense > 127) != drawn) < 0.01
        assert abs(100 * (dense > 127).sum() / (breast_mask > 127).sum() - row["percent_density"]) < 2
    assert values - {0, 255}


def test_density_withholds_the_masks_of_vindr_s_test_women(tmp_path):
    write(tmp_path, "density", [3, 4])
    table = catalogs.load("density", tmp_path)
    vindr = catalogs.load("vindr", tmp_path / "vindr").set_index("image_id")
    assert list(table["official_split"]) == ["train"] * 4 + ["test"] * 4
    assert list(vindr.loc[table["image_id"], "official_split"]) == ["training"] * 4 + ["test"] * 4
    assert list(vindr.loc[table["image_id"], "path"]) == list(table["path"])
    assert table.loc[table["official_split"] == "test", ["dense_mask", "breast_mask"]].isna().all(axis=None)
    for kind in ("dense_masks", "breast_masks"):
        assert {path.stem for path in (tmp_path / "train" / kind).iterdir()} == set(table["image_id"][:4])


def test_inbreast_hides_the_woman_in_the_file_name_and_outlines_the_lesion(folders):
    root = folders["inbreast"][1].parent
    text = (root / "INbreast.csv").read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == 1 + 4 * len(WOMEN)
    rows = pd.read_csv(root / "INbreast.csv", sep=";")
    assert set(rows["Patient ID"]) == {"removed"}
    files = {int(path.name.split("_")[0]): path for path in (root / "AllDICOMs").iterdir()}
    assert set(files) == set(rows["File Name"])
    assert len({path.name.split("_")[1] for path in files.values()}) == len(WOMEN)
    assert {path.name.split("_")[4] for path in files.values()} == {"CC", "ML"}
    drawn = 0
    for patient in WOMEN:
        for number, view in enumerate(views_of(patient)):
            path = root / "AllXML" / f"{20_000_000 + 10 * patient + number}.xml"
            assert path.exists() == bool(view.lesions)
            if not view.lesion_mask.any():
                continue
            regions = plistlib.loads(path.read_bytes())["Images"][0]["ROIs"]
            canvas = Image.new("L", view.lesion_mask.shape[::-1])
            for region in regions:
                points = [tuple(map(float, point.strip("()").split(","))) for point in region["Point_px"]]
                ImageDraw.Draw(canvas).polygon(points, fill=1)
            filled = np.asarray(canvas) > 0
            assert (filled & view.lesion_mask).sum() >= 0.7 * view.lesion_mask.sum()
            drawn += 1
    assert drawn


def test_cbis_tables_have_the_oddities_of_the_real_ones(folders):
    root, _ = folders["cbis_ddsm"]
    rows = 0
    for kind, column in (("mass", "breast_density"), ("calc", "breast density")):
        for part in ("train", "test"):
            table = pd.read_csv(root / f"{kind}_case_description_{part}_set.csv")
            assert column in table
            for _, row in table.iterrows():
                region = [row["cropped image file path"], row["ROI mask file path"]]
                assert sum(path.endswith("\n") for path in region) == 1
                full, crop, mask = (
                    pydicom.dcmread(root / "CBIS-DDSM" / path.strip())
                    for path in (row["image file path"], *region)
                )
                if int(row["patient_id"][2:]) % 4 == 3:
                    crop, mask = mask, crop
                assert mask.pixel_array.shape == full.pixel_array.shape == (SIZE, SIZE * 13 // 16)
                assert set(np.unique(mask.pixel_array)) == {0, 255}
                inside = np.argwhere(mask.pixel_array)
                (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
                np.testing.assert_array_equal(crop.pixel_array, full.pixel_array[top:bottom, left:right])
                rows += 1
    assert rows


def test_prevalence_and_seed_reach_the_phantom(tmp_path):
    none = pd.read_csv(write(tmp_path / "none", "phantom", [0, 1, 2], prevalence=0.0))
    all_of_them = pd.read_csv(write(tmp_path / "all", "phantom", [0, 1, 2], prevalence=1.0))
    assert none["cancer"].sum() == 0
    assert all_of_them.groupby("patient_id")["cancer"].max().eq(1).all()
    other = pd.read_csv(write(tmp_path / "seed", "phantom", [0, 1, 2], prevalence=0.0, seed=5))
    assert (other["percent_density"] != none["percent_density"]).all()


def test_the_style_of_a_view_stands_in_its_header_in_the_table_and_in_its_pixels(tmp_path):
    options = {"likeness": 0.2, "vendors": "view"}
    rows = pd.read_csv(write(tmp_path, "phantom", **options)).set_index("image_id")
    mixed = 0
    for patient in WOMEN:
        views = views_of(patient, **options)
        mixed += len({view.vendor for view in views}) > 1
        for view in views:
            row = rows.loc[f"{view.patient_id}_{view.laterality}_{view.view}"]
            ds = pydicom.dcmread(tmp_path / row["path"])
            assert row["machine"] == f"vendor {view.vendor}"
            assert ds.ManufacturerModelName == f"Phantom vendor {view.vendor}"
            inverse = ds.PhotometricInterpretation == "MONOCHROME1"
            assert inverse == breast.VENDORS[view.vendor].monochrome1
            assert ("VOILUTFunction" in ds) == (view.vendor == 2)
            assert (ds.WindowCenter == 2048) == (view.vendor != 1)
            found = dicom.read(tmp_path / row["path"])
            assert np.abs(found.image - view.image).max() < 1e-3
            assert found.spacing_mm == pytest.approx((view.spacing_mm,) * 2, abs=1e-6)
            assert row["percent_density"] == pytest.approx(view.percent_density, rel=1e-12)
    assert mixed


def test_a_woman_stays_at_her_site_when_her_views_have_styles_of_their_own(folders, tmp_path):
    ordinary = pd.read_csv(folders["rsna"][1])
    restyled = pd.read_csv(write(tmp_path, "rsna", vendors="view"))
    assert (restyled["site_id"] == ordinary["site_id"]).all()
    assert (restyled["machine_id"] != ordinary["machine_id"]).any()
    styles = [view.vendor for patient in WOMEN for view in views_of(patient, vendors="view")]
    assert list(restyled["machine_id"]) == [29 + 20 * vendor for vendor in styles]


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="phantom, rsna, vindr, density, inbreast, cbis_ddsm"):
        exams.write(tmp_path, [0], layout="embed")


@pytest.mark.parametrize("patients", [[], range(0), iter([])])
def test_no_patients_is_an_error_that_writes_nothing(tmp_path, patients):
    with pytest.raises(ValueError, match="no patients"):
        exams.write(tmp_path / "none", patients, layout="phantom")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("cancer", "birads", "biopsy", "difficult", "said"),
    [
        (False, 0, 0, True, "0.0"),
        (False, 4, 1, True, "0.0"),
        (False, 2, 0, False, "2.0"),
        (True, 5, 1, False, "0.0"),
        (True, 1, 1, False, "1.0"),
    ],
)
def test_rsna_marks_healthy_breasts_that_were_recalled(tmp_path, cancer, birads, biopsy, difficult, said):
    view = dataclasses.replace(views_of(2)[0], cancer=cancer, birads=birads)
    [record] = layouts.rsna(tmp_path, [view], (0, 2, SIZE))
    found = tuple(record[name] for name in ("biopsy", "difficult_negative_case", "BIRADS"))
    assert found == (biopsy, difficult, said)


@pytest.mark.parametrize("vendor", range(len(breast.VENDORS)))
def test_each_vendor_stores_as_it_is_said_to(tmp_path, vendor):
    view = dataclasses.replace(views_of(2)[0], vendor=vendor)
    files.write_view(tmp_path / "a.dcm", view, names=(0, 2, SIZE), patient_id="x", compress=False)
    kind = pydicom.dcmread(tmp_path / "a.dcm").PhotometricInterpretation
    assert (kind == "MONOCHROME1") == breast.VENDORS[vendor].monochrome1
    assert np.abs(dicom.read(tmp_path / "a.dcm").image - view.image).max() < 1e-3
