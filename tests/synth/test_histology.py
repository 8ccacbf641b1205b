"""Phantom histology: what colour and traits say of the label, and files under the names of real data sets."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from mammo_utils.synth import histology
from mammo_utils.synth.histology import cases, sources, tissue


def people(count, **options):
    return [histology.patient(number, **options) for number in range(count)]


def digest(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory):
    root = tmp_path_factory.mktemp("breakhis")
    histology.write(root, range(6), layout="breakhis", size=32, fields=2)
    return root


def test_the_best_observer_of_a_tile_reaches_what_is_said():
    """The same number by drawing fields and fitting the optimal (linear) rule to half of them."""
    label, traits = [], []
    for person in people(6000, malignant=0.5):
        drawn, _ = cases.field(person, np.random.default_rng(person.number))
        label.append(person.label)
        traits.append(drawn)
    label, traits = np.array(label), np.array(traits)
    rule = LinearDiscriminantAnalysis().fit(traits[::2], label[::2])
    reached = roc_auc_score(label[1::2], rule.decision_function(traits[1::2]))
    assert reached == pytest.approx(histology.observer(), abs=0.015)
    assert histology.observer() == pytest.approx(0.9, abs=0.01)


def test_an_architecture_says_nothing_about_the_label():
    benign, malignant = ({a for _, y, a in cases.SUBTYPES.values() if y == label} for label in (0, 1))
    assert benign == malignant == set(cases.ARCHITECTURES)


def test_a_patient_and_a_tile_are_functions_of_their_arguments():
    one, again = histology.patient(5, seed=2), histology.patient(5, seed=2)
    first = histology.tile(one, 3, magnification=100, size=48, seed=2)
    histology.tile(one, 4, size=48)  # another one in between
    second = histology.tile(again, 3, magnification=100, size=48, seed=2)
    assert first.image.dtype == np.uint8
    assert first.image.shape == (48, 48, 3)
    assert (first.image == second.image).all()
    assert (first.image != histology.tile(one, 2, magnification=100, size=48, seed=2).image).any()
    assert (first.image != histology.tile(one, 3, magnification=200, size=48, seed=2).image).any()


def test_regimes_change_stain_and_laboratory_alone():
    regimes = {regime: people(800, regime=regime) for regime in histology.REGIMES}
    for one, two, three in zip(*regimes.values(), strict=True):
        assert one.label == two.label == three.label
        assert (one.traits == two.traits).all()
        assert (one.traits == three.traits).all()
        assert one.lab == three.lab
    label = np.array([person.label for person in regimes["irrelevant"]])

    def auc(values):
        return roc_auc_score(label, values)

    odd = {name: [person.lab % 2 for person in them] for name, them in regimes.items()}
    assert auc(odd["irrelevant"]) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(odd["confounded"]) == label) == pytest.approx(0.95, abs=0.03)  # 0.9 + half of 0.1
    ratio = {name: [p.amounts[0] / p.amounts[1] for p in them] for name, them in regimes.items()}
    assert auc(ratio["irrelevant"]) == pytest.approx(0.5, abs=0.06)
    assert auc(ratio["diagnostic"]) > 0.65


def test_a_tile_obeys_beer_and_lambert(monkeypatch):
    """Without noise every pixel of the fine picture has light · exp(-stains · amounts), whatever they are."""
    rng = np.random.default_rng(0)
    amounts = rng.random((2, 64, 64))
    person = histology.patient(1)
    monkeypatch.setattr(tissue, "stained", lambda *a, **k: amounts)
    monkeypatch.setattr("mammo_utils.synth.histology.optics.NOISE", 0.0)
    found = histology.tile(person, size=32).image.astype(float)
    strength = np.array([1.9, 1.05])
    vectors = person.stains * (person.amounts * strength)[:, None]
    light = 255 * person.light * np.exp(-np.einsum("khw,kc->hwc", amounts, vectors))
    wanted = np.array(
        [[light[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((0, 1)) for c in range(32)] for r in range(32)]
    )
    assert np.abs(found - wanted).max() < 0.51


def test_amounts_are_those_that_a_tile_was_stained_with():
    """The stains that are read back from the picture, whose colours are known, are those of the truth."""
    for person in people(6):
        drawn = histology.amounts(person, 1, magnification=400, size=48)
        image = histology.tile(person, 1, magnification=400, size=48).image
        left = (image + 0.5) / 255 / person.light
        mixing = (person.amounts * [1.9, 1.05])[:, None] * person.stains
        read = -np.log(left).reshape(-1, 3) @ np.linalg.pinv(mixing)
        for own, truth in zip(read.T, drawn, strict=True):
            assert np.corrcoef(own, truth.ravel())[0, 1] > 0.9
        np.testing.assert_allclose(read.mean(0), drawn.mean((1, 2)), rtol=0.15, atol=0.01)
    assert 0.05 < (drawn[0] > 0.5).mean() < 0.7


def seen(trait, measure):
    """What ``measure(blue, eosin)`` says of six fields with the trait at -2 and at 2."""
    found = []
    for level in (-2, 2):
        traits = np.where(np.array(cases.TRAITS) == trait, level, 0)
        fields = [
            tissue.stained(
                tissue.ARCHITECTURES["tubules"], traits, np.random.default_rng(n), size=128, edge=128
            )
            for n in range(6)
        ]
        found.append(np.mean([measure(*one) for one in fields]))
    return found


def test_traits_are_seen_in_the_tissue():
    """Thicker epithelium leaves less lumen, denser nuclei are more blue, larger ones are fewer."""
    thin, thick = seen("layers", lambda blue, eosin: (eosin < 0.08).mean())
    assert thin > thick + 0.02
    loose, dense = seen("crowding", lambda blue, eosin: (blue > 0.6).mean())
    assert dense > 1.1 * loose
    small, large = seen("nuclear size", lambda blue, eosin: ndimage.label(blue > 0.6)[1])
    assert small > 1.3 * large


@pytest.mark.parametrize("key", range(6))
def test_a_copy_is_a_rotated_crop_of_its_original(key):
    """On an image whose colours are its coordinates a copy tells where each of its pixels came from."""
    rows, columns = np.mgrid[:129, :129]
    image = np.stack([rows, columns, np.full_like(rows, 7)], 2).astype(np.uint8)
    copy = sources.copy(image, key).astype(float)
    assert copy[64, 64].tolist() == [64, 64, 7]
    assert (copy[..., 2] == 7).all()  # no corner of nothing
    matrix = np.stack([copy[124, 64, :2] - copy[4, 64, :2], copy[64, 124, :2] - copy[64, 4, :2]], 1) / 120
    angle = np.degrees(np.arctan2(*np.abs(matrix[[1, 0], [0, 0]])))
    assert angle < 25.6
    wanted = 1 / (np.cos(np.radians(angle)) + np.sin(np.radians(angle)))
    assert np.sqrt(abs(np.linalg.det(matrix))) == pytest.approx(wanted, abs=0.02)


def test_copies_are_mirrored_either_way():
    rows, columns = np.mgrid[:65, :65]
    image = np.stack([rows, columns, rows], 2).astype(np.uint8)
    copies = [sources.copy(image, key).astype(int) for key in range(30)]
    assert len({(c[60, 32, 0] > 32, c[32, 60, 1] > 32) for c in copies}) == 4


def test_breakhis_has_its_grammar(breakhis):
    files = sorted(breakhis.rglob("*.png"))
    assert len(files) == 6 * 4 * 2
    for file in files:
        *folders, slide, magnification, name = file.relative_to(breakhis).parts
        assert folders[:3] == ["BreaKHis_v1", "histology_slides", "breast"]
        found = re.fullmatch(r"SOB_([BM])_([A-Z]+)-14-(\d+(?:AB|CD)?)-(\d+)-(\d{3})\.png", name)
        kind, subtype, case, power, _ = found.groups()
        assert slide == f"SOB_{kind}_{subtype}_14-{case}"
        assert magnification == f"{power}X"
        assert folders[3:] == [{"B": "benign", "M": "malignant"}[kind], "SOB", cases.SUBTYPES[subtype][0]]
        assert Image.open(file).size == (32, 32)


def test_files_are_the_same_for_any_number_of_workers(breakhis, tmp_path):
    histology.write(tmp_path / "two", range(6), layout="breakhis", size=32, fields=2, workers=2)
    assert digest(tmp_path / "two") == digest(breakhis)
    for workers in (1, 2):
        histology.write(tmp_path / str(workers), range(2), layout="lc25000", size=32, workers=workers)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    names = [name for name in digest(tmp_path / "1") if name.endswith("jpeg")]
    assert len(names) == 5 * 2 * 20
    assert "lung_colon_image_set/lung_image_sets/lung_scc/lungscc40.jpeg" in names


def test_wrong_names_and_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown layout 'camelyon'; choose one of: breakhis, lc25000"):
        histology.write(tmp_path, range(2), layout="camelyon")
    with pytest.raises(ValueError, match="0 patients and 4 fields"):
        histology.write(tmp_path, [], layout="breakhis")
    with pytest.raises(ValueError, match="unknown stain regime 'blue'"):
        histology.patient(0, regime="blue")
    with pytest.raises(ValueError, match="unknown magnification 20; choose one of: 40, 100, 200, 400"):
        histology.tile(histology.patient(0), magnification=20)
    with pytest.raises(ValueError, match="unknown class 'skin'; choose one of: lung_n"):
        sources.original("skin", 0)


def test_cohorts_share_no_patient():
    taken = [number for name in histology.COHORTS for number in histology.cohort(name)]
    assert len(taken) == len(set(taken)) == sum(histology.COHORTS.values())
