"""The catalogue of images and masks in folders: which file belongs to which image, and label images."""

import numpy as np
import pytest
from PIL import Image

from mammo_utils.data import cache, catalogs
from mammo_utils.synth import breast, exams

VALUES = {"dense": [192], "breast": [128, 192]}
pytestmark = pytest.mark.filterwarnings("ignore:every image counts as a woman")


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def films(root, women=range(2)):
    """Four views a woman in images/, with a label image each: 64 nothing, 128 fat, 192 dense, 255 muscle."""
    for woman in women:
        for view in breast.exam(woman, size=96, lesions=()):
            label = np.full(view.image.shape, 64, np.uint8)
            label[view.breast_mask], label[view.dense_mask] = 128, 192
            label[view.pectoral_mask] = 255
            name = f"w{woman}_{view.laterality}.{view.view}"
            save(root / "images" / f"{name}.png", np.rint(view.image * 255).astype(np.uint8))
            save(root / "labels" / f"{name}_LI.png", label)
            save(root / "masks" / "dense" / f"{name}.png", (label == 192) * np.uint8(255))
            whole = (label == 128) | (label == 192)
            save(root / "masks" / "breast" / f"{name}-mask.png", whole * np.uint8(255))
    return root


@pytest.fixture
def root(tmp_path):
    return films(tmp_path / "films", range(1))


def test_label_values_make_the_masks_that_files_of_their_own_make(root, tmp_path):
    own = cache.build(catalogs.load("folder", root), tmp_path / "own", size=64)
    labelled = cache.build(catalogs.load("folder", root, labels=VALUES), tmp_path / "labelled", size=64)
    assert len(own) == len(labelled) == 4
    assert set(own.masks) == set(labelled.masks) == {"dense", "breast", "foreground"}
    for name in VALUES:
        assert own.masks[name].any()
        np.testing.assert_array_equal(own.masks[name], labelled.masks[name])
    assert not (labelled.masks["dense"] & ~labelled.masks["breast"]).any()


def test_without_labels_no_masks_are_looked_for(root, tmp_path):
    (tmp_path / "unlabelled").mkdir()
    (root / "images").rename(tmp_path / "unlabelled" / "images")
    with pytest.raises(catalogs.CatalogError, match="folder masks/ is missing"):
        catalogs.load("folder", tmp_path / "unlabelled")
    table = catalogs.load("folder", tmp_path / "unlabelled", labels={})
    assert len(table) == 4
    assert table[catalogs.MASKS].isna().all(axis=None)
    assert set(cache.build(table, tmp_path / "cache", size=64).masks) == {"foreground"}


def test_a_changed_label_image_is_read_again(root, tmp_path):
    def built():
        return cache.build(catalogs.load("folder", root, labels=VALUES), tmp_path / "cache", size=64)

    assert built().masks["dense"][0].any()
    file = sorted((root / "labels").iterdir())[0]
    with Image.open(file) as image:
        save(file, np.where(np.array(image) == 192, 128, np.array(image)).astype(np.uint8))
    assert not built().masks["dense"][0].any()


def test_phantom_dicom_files_with_masks_are_such_a_folder(tmp_path):
    exams.write(tmp_path, range(1), layout="phantom", size=64)
    table, known = catalogs.load("folder", tmp_path), catalogs.load("phantom", tmp_path)
    known = known.set_index("image_id").loc[table["image_id"]]
    for column in ("path", "dense_mask", "breast_mask", "reader_A_mask", "pectoral_mask"):
        assert table[column].tolist() == known[column].tolist()


def test_the_image_with_the_longest_name_owns_a_mask(tmp_path):
    grey = np.zeros((8, 8), np.uint8)
    for name in ("a", "a_1", "b"):
        save(tmp_path / "images" / f"{name}.png", grey)
    for name in ("a_dense", "a_1_dense"):
        save(tmp_path / "masks" / "dense" / f"{name}.png", grey)
    table = catalogs.load("folder", tmp_path).set_index("image_id")
    assert table.loc["a", "dense_mask"].endswith("/a_dense.png")
    assert table.loc["a_1", "dense_mask"].endswith("/a_1_dense.png")
    assert table["dense_mask"].isna().tolist() == [False, False, True]
    save(tmp_path / "masks" / "dense" / "zz.png", grey)
    with pytest.warns(UserWarning, match=r"1 files in dense/ are named after no image, e\.g\. zz\.png"):
        catalogs.load("folder", tmp_path)
    save(tmp_path / "masks" / "dense" / "a.png", grey)
    with pytest.raises(
        catalogs.CatalogError, match=r"dense/ has two files for one image: a\.png, a_dense\.png"
    ):
        catalogs.load("folder", tmp_path)


def test_a_list_says_who_is_who(root):
    names = sorted(file.stem for file in (root / "images").iterdir())
    lines = [f"{name},ann,{name.split('.')[1]}" for name in names]
    (root / "images.csv").write_text("image_id,patient_id,view\n" + "\n".join(lines) + "\n")
    table = catalogs.load("folder", root)
    assert set(table["group"]) == {"ann"}
    assert sorted(table["view"]) == ["CC", "CC", "MLO", "MLO"]
    (root / "images.csv").write_text("image_id,patient_id\n" + "\n".join(f"{n}," for n in names) + "\n")
    with pytest.raises(catalogs.CatalogError, match="no patient_id for 4 images"):
        catalogs.load("folder", root)
    (root / "images.csv").write_text(f"image_id,patient_id\n{names[0]},ann\n")
    with pytest.raises(catalogs.CatalogError, match="lacks 3 images"):
        catalogs.load("folder", root)


def test_without_a_list_it_says_that_women_are_unknown(root):
    with pytest.warns(UserWarning, match="woman of her own.*patient_id in images.csv"):
        table = catalogs.load("folder", root)
    assert table["group"].nunique() == 4


def test_one_error_lists_what_is_missing(tmp_path):
    with pytest.raises(catalogs.CatalogError) as error:
        catalogs.load("folder", tmp_path, labels=VALUES)
    assert error.value.problems == ["the folder images/ is missing", "the folder labels/ is missing"]
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(catalogs.CatalogError, match=r"images/ holds no file \.dcm"):
        catalogs.load("folder", tmp_path)
    save(tmp_path / "images" / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(catalogs.CatalogError, match="masks/ holds no folder breast, dense"):
        catalogs.load("folder", tmp_path)
    with pytest.raises(ValueError, match="unknown mask 'gland'; choose one of: breast, dense"):
        catalogs.load("folder", tmp_path, labels={"gland": [1]})


def test_labels_of_other_images_are_an_error(root):
    for file in list((root / "labels").iterdir()):
        file.rename(file.with_name(f"other_{file.name}"))
    with pytest.raises(
        catalogs.CatalogError, match="labels/ has no file named after an image, e.g. other_w0"
    ):
        catalogs.load("folder", root, labels=VALUES)


def test_a_label_image_of_another_size_is_listed_by_its_name(root, tmp_path):
    file = sorted((root / "labels").iterdir())[0]
    save(file, np.zeros((10, 12), np.uint8))
    built = cache.build(catalogs.load("folder", root, labels=VALUES), tmp_path / "cache", size=64)
    assert len(built) == 3
    assert file.name in built.failures["reason"][0]
    assert "10×12 pixels, its image 96×78" in built.failures["reason"][0]
