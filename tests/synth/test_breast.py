"""The phantom breast: one anatomy, four views that agree, and truth that means what it says."""

import dataclasses

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy import ndimage

from mammo_utils.study.headroom import exponent
from mammo_utils.synth import breast
from mammo_utils.synth.breast import Lesion, anatomy, exam, exposure, lesions, projection, readers

WOMEN = range(0, 90)


@pytest.fixture(scope="module")
def small():
    return [exam(patient, size=64, lesions=()) for patient in WOMEN]


def fingerprint(views):
    arrays = [view.image for view in views] + [mask for view in views for mask in view.reader_masks.values()]
    return [array.tobytes() for array in arrays], [view.percent_density for view in views]


def test_the_same_woman_for_any_order_and_any_number_of_workers():
    patients = [5, 2, 9, 1_000_004]
    asked = {"size": 64, "prevalence": 0.5}
    alone = [fingerprint(exam(patient, **asked)) for patient in patients]
    backwards = [fingerprint(exam(patient, **asked)) for patient in patients[::-1]]
    spread = Parallel(n_jobs=2)(delayed(exam)(patient, **asked) for patient in patients)
    assert alone == backwards[::-1] == [fingerprint(views) for views in spread]


def test_another_seed_is_another_woman():
    assert not np.array_equal(exam(5, seed=0, size=64)[0].image, exam(5, seed=1, size=64)[0].image)


def test_masks_lie_where_they_must(small):
    for view in (view for views in small for view in views):
        assert view.image.dtype == np.float32
        assert 0 <= view.image.min() < view.image.max() <= 1
        assert not (view.dense_mask & ~view.breast_mask).any()
        assert not (view.breast_mask & view.pectoral_mask).any()
        assert not any((mask & ~view.breast_mask).any() for mask in view.reader_masks.values())
        expected = 100 * np.count_nonzero(view.dense_mask) / np.count_nonzero(view.breast_mask)
        assert view.percent_density == pytest.approx(expected)


def test_chest_walls_are_on_their_sides_and_the_muscle_is_at_the_upper_one(small):
    for view in (view for views in small for view in views):
        chest, far = (0, -1) if view.laterality == "L" else (-1, 0)
        body = view.breast_mask | view.pectoral_mask
        assert body[:, chest].sum() > 20
        assert body[:, far].sum() == 0
        muscle = view.pectoral_mask
        if view.view == "MLO":
            rows, columns = np.nonzero(muscle)
            assert rows.mean() < 32
            assert muscle[:, chest].sum() >= muscle.any(1).sum() - 1
        else:
            assert muscle.sum() < 0.12 * body.sum()


def test_views_of_one_breast_and_of_one_woman_agree_on_density(small):
    percent = np.array([[view.percent_density for view in views] for views in small])
    correlation = np.corrcoef(percent.T)  # columns: L CC, L MLO, R CC, R MLO
    assert correlation[0, 1] > 0.8
    assert correlation[2, 3] > 0.8
    assert 0.8 < correlation[0, 2] < 0.999  # alike, not copies


@pytest.mark.parametrize("likeness", [0, 0.5, anatomy.LIKENESS, 1])
def test_noise_of_left_and_right_correlates_as_asked(likeness):
    traits = anatomy.woman(3, 0)
    left, right = (anatomy.breast(traits, 3, 0, side, likeness=likeness) for side in "LR")
    for name in ("gland_noise", "septa_noise"):
        one, other = getattr(left, name), getattr(right, name)
        # A filter changes no correlation; this one leaves the many short waves, which pin it down.
        short = [ndimage.laplace(noise.astype(float), mode="wrap").ravel() for noise in (one, other)]
        assert np.corrcoef(short)[0, 1] == pytest.approx(likeness, abs=0.05)
        assert np.array_equal(one, other) == (likeness == 1)
    assert (left.threshold == right.threshold) == (likeness == 1)
    assert not np.array_equal(left.ducts.points, right.ducts.points)


def test_likeness_moves_left_and_right_together_and_nothing_else_about_the_woman(small):
    women, overlap, apart = WOMEN[:12], [], []
    for likeness in (0.0, 0.5, 1.0):
        found = [exam(patient, size=64, lesions=(), likeness=likeness) for patient in women]
        left, right = (np.stack([views[at].dense_mask for views in found]) for at in (0, 2))
        right = right[:, :, ::-1]
        overlap.append(2 * (left & right).sum() / (left.sum() + right.sum()))
        apart.append(np.mean([abs(views[0].percent_density - views[2].percent_density) for views in found]))
        for view, other in zip(sum(found, []), sum(small[:12], []), strict=True):
            assert np.array_equal(view.breast_mask, other.breast_mask)
            assert np.array_equal(view.pectoral_mask, other.pectoral_mask)
            assert (view.thickness_mm, view.age) == (other.thickness_mm, other.age)
    assert overlap[0] + 0.02 < overlap[1] < overlap[2] - 0.02
    assert apart[0] > apart[1] > apart[2]


def test_the_default_is_a_likeness_of_85_percent_and_one_vendor_a_woman(small):
    asked = exam(4, size=64, lesions=(), likeness=0.85, vendors="woman")
    assert fingerprint(asked) == fingerprint(small[4])
    assert all(len({view.vendor for view in views}) == 1 for views in small)


def test_a_style_for_every_view_changes_what_is_displayed_and_no_truth(small):
    ordinary = small[:24]
    restyled = [exam(patient, size=64, lesions=(), vendors="view") for patient in WOMEN[:24]]
    for view, other in zip(sum(restyled, []), sum(ordinary, []), strict=True):
        for field in dataclasses.fields(breast.View):
            if field.name not in ("image", "vendor"):
                np.testing.assert_equal(getattr(view, field.name), getattr(other, field.name), field.name)
        assert np.array_equal(view.image, other.image) == (view.vendor == other.vendor)
    # A view's style says nothing about the style of another, nor about the vendor of the woman.
    vendors = [
        [view.vendor for view in (*views, own[0])] for views, own in zip(restyled, ordinary, strict=True)
    ]
    equal = np.mean([np.equal.outer(row, row) for row in vendors], axis=0)
    assert set(np.ravel(vendors)) == {0, 1}
    assert (np.abs(equal - 0.5) < 0.3)[~np.eye(5, dtype=bool)].all()


def test_a_restyled_view_looks_as_if_the_woman_had_come_to_that_vendor(monkeypatch):
    kinds = tuple(dataclasses.replace(vendor, field=240.0) for vendor in breast.VENDORS)
    monkeypatch.setattr(breast, "VENDORS", kinds)  # geometry stays hers, so the fields are made equal here
    restyled = exam(3, size=64, vendors="view")
    assert {view.vendor for view in restyled} == {0, 1}
    draw = breast.woman
    for vendor in (0, 1):
        monkeypatch.setattr(
            breast, "woman", lambda *who, vendor=vendor: dataclasses.replace(draw(*who), vendor=vendor)
        )
        for view, other in zip(restyled, exam(3, size=64), strict=True):
            assert np.array_equal(view.image, other.image) == (view.vendor == vendor)


def test_the_shifted_site_has_no_other_style_to_show():
    asked = (exam(breast.SHIFTED_FROM + 1, size=64, vendors=vendors) for vendors in ("woman", "view"))
    assert len({str(fingerprint(views)) for views in asked}) == 1


def test_percent_density_by_class_is_within_the_published_spread(small):
    calls = np.array([views[0].density for views in small])
    percent = np.array([np.mean([view.percent_density for view in views]) for views in small])
    for name, (share, mean, spread) in breast.CLASSES.items():
        found = percent[calls == name]
        assert abs(found.mean() - mean) < spread, name
        assert 0.4 * spread < found.std() < 2 * spread, name
        assert abs(len(found) / len(small) - share) < 0.15, name


def test_texture_follows_a_power_law_with_a_published_exponent():
    found = [
        exponent(view.image, view.breast_mask, view.spacing_mm)
        for patient in range(8)
        for view in exam(patient, size=256, lesions=())
    ]
    assert min(found) > 1.5
    assert max(found) < 3.5


@pytest.mark.parametrize("beta", [1.5, 2.5, 3.5])
def test_exponent_finds_the_slope_of_noise_with_a_known_one(beta):
    rng = np.random.default_rng(0)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    f[0, 0] = np.inf
    found = [
        exponent(
            np.fft.ifft2(np.fft.fft2(rng.normal(size=(256, 256))) * f ** (-beta / 2)).real,
            np.ones((256, 256), bool),
            1.0,
        )
        for _ in range(5)
    ]
    assert np.mean(found) == pytest.approx(beta, abs=0.2)


def chest_distance(view):
    """Millimetres from the chest wall to the middle of the lesion."""
    columns = np.nonzero(view.lesion_mask)[1]
    column = columns.mean() if view.laterality == "L" else view.image.shape[1] - 1 - columns.mean()
    return (column + 0.5) * view.spacing_mm


@pytest.mark.parametrize("laterality", ["L", "R"])
def test_a_lesion_lies_at_matching_positions_in_both_views(laterality):
    for patient in range(6):
        lesion = Lesion(laterality, "circumscribed", False, (55.0, 20.0, -15.0), 14.0)
        cc, mlo = (v for v in exam(patient, size=128, lesions=(lesion,)) if v.laterality == laterality)
        assert chest_distance(cc) == pytest.approx(55, abs=2.5)
        assert chest_distance(mlo) == pytest.approx(55, abs=2.5)
        # Both shadows have the size of the mass, so both show the same body.
        for view in (cc, mlo):
            area = np.count_nonzero(view.lesion_mask) * view.spacing_mm**2
            assert 0.4 * np.pi * 7**2 < area < 1.3 * np.pi * 7**2


def test_a_lateral_lesion_is_high_in_cc_and_an_upper_one_high_in_mlo():
    def height(y, z, view):
        views = exam(4, size=128, lesions=(Lesion("L", "circumscribed", True, (50.0, y, z), 12.0),))
        return np.nonzero(views[view].lesion_mask)[0].mean()

    assert height(25, 0, 0) < height(-25, 0, 0) - 10  # rows count downwards; CC shows lateral up
    assert height(0, 25, 0) == pytest.approx(height(0, -25, 0), abs=1)  # CC cannot see height
    assert height(0, 25, 1) < height(0, -25, 1) - 8


@pytest.mark.parametrize("shape", lesions.SHAPES)
def test_the_twin_without_lesion_is_equal_elsewhere(shape):
    lesion = Lesion("R", shape, True, (50.0, 10.0, 10.0), 16.0)
    for twin, view in zip(exam(2, lesions=()), exam(2, lesions=(lesion,)), strict=True):
        changed = twin.image != view.image
        for name in ("breast_mask", "pectoral_mask", "dense_mask"):
            assert np.array_equal(getattr(twin, name), getattr(view, name))
        assert twin.percent_density == view.percent_density
        if view.laterality == "L":
            assert not changed.any()
            assert not view.cancer
        else:
            reach = 30 if shape == "spiculated" else 3 if lesion.is_mass else 1  # mm
            away = ndimage.distance_transform_edt(~view.lesion_mask) * view.spacing_mm
            assert changed[view.lesion_mask].mean() > (0.95 if lesion.is_mass else 0.1)
            assert not changed[away > reach].any()
            assert (view.image - twin.image)[view.lesion_mask].mean() > 0
            assert view.cancer
            assert not twin.lesion_mask.any()


def test_prevalence_is_per_woman_and_only_adds():
    few, many = [], []
    for patient in range(120):
        traits = anatomy.woman(patient, 0)
        bodies = dict.fromkeys("LR", anatomy.breast(traits, patient, 0, "L"))
        for prevalence, found in ((0.1, few), (0.6, many)):
            drawn = lesions.draw(bodies, patient, 0, prevalence)
            found.append({lesion for lesion in drawn if lesion.malignant})
    assert 3 <= sum(map(bool, few)) <= 24
    assert 50 <= sum(map(bool, many)) <= 94
    assert all(a <= b for a, b in zip(few, many, strict=True))


def test_the_shifted_site_has_the_vendor_that_the_others_lack():
    near = {exam(p, size=32)[0].vendor for p in range(12)}
    far = {exam(breast.SHIFTED_FROM + p, size=32)[0].vendor for p in range(3)}
    assert near == {0, 1}
    assert far == {2}


def test_a_larger_image_shows_the_same_woman_in_more_detail():
    for patient in (1, 7):
        for fine, coarse in zip(exam(patient, size=256), exam(patient, size=128), strict=True):
            reduced = fine.image.reshape(128, 2, 104, 2).mean((1, 3))
            body = coarse.breast_mask | coarse.pectoral_mask
            assert np.corrcoef(reduced[body], coarse.image[body])[0, 1] > 0.95
            assert fine.percent_density == pytest.approx(coarse.percent_density, abs=3)


def frame_of(mlo):
    return projection.Frame((128, 104), 1.8, mlo, anatomy.woman(3, 0), 120.0)


@pytest.mark.parametrize("mlo", [False, True])
def test_film_and_body_coordinates_invert_each_other(mlo):
    frame = frame_of(mlo)
    rng = np.random.default_rng(0)
    p, q = rng.uniform(-60, 60, (2, 50))
    x = rng.uniform(0, 80, 50)
    row, column = frame.to_film(np.stack([x, *frame.to_body(p, q)], 1)).T
    found_x, found_p = frame.from_film(row, column)
    np.testing.assert_allclose(found_x, x)
    np.testing.assert_allclose(found_p, p, atol=1e-3)


def test_splat_keeps_the_volume():
    frame = frame_of(False)
    points = np.array([[40.0, 3.0, 7.0], [41.3, 2.0, 7.0], [60.0, -20.0, 0.0]])
    image = projection.splat(anatomy.Threads(points, np.array([2.0, 3.0, 5.0]), 2.0), frame)
    assert image.sum() * frame.spacing**2 == pytest.approx(10)


def test_exposure_obeys_the_law_of_attenuation():
    quiet = np.random.default_rng(0)
    slab = {"fat": np.full((40, 40), 30.0), "gland": np.full((40, 40), 20.0)}
    found = exposure.expose(slab, {}, 50, 1.0, quiet)[20, 20]
    low = 0.1 * (30 * 0.431 + 20 * 0.642)  # 22 keV
    high = 0.1 * (30 * 0.635 + 20 * 1.003)  # 18 keV
    assert low < found < high
    thicker = {"fat": np.full((40, 40), 40.0), "gland": np.full((40, 40), 20.0)}
    more = exposure.expose(thicker, {}, 50, 1.0, np.random.default_rng(0))[20, 20]
    assert 10 * 0.0431 < more - found < 10 * 0.0635


def test_a_reader_closes_holes_drops_crumbs_and_differs_from_the_other():
    gland = np.zeros((128, 104))
    gland[30:90, 20:70] = 0.6
    gland[58:60, 44:46] = 0.0  # a hole that nobody draws
    gland[110, 90] = 1.0  # a crumb
    inside = np.ones_like(gland, bool)
    drawn = {r: readers.outline(gland, inside, 0.25, 1.8, r, np.random.default_rng(7)) for r in "AB"}
    for mask in drawn.values():
        assert mask[59, 45]
        assert not mask[105:115, 85:95].any()
        assert 0.85 < mask.sum() / (60 * 50) < 1.15
    assert drawn["B"].sum() < drawn["A"].sum()  # B is the stricter


def test_density_calls_follow_the_odds_of_the_published_classes():
    def share(percent, name):
        rng = np.random.default_rng(0)
        return np.mean([readers.density_call(percent, breast.CLASSES, rng) == name for _ in range(400)])

    # At 4.3 %: A has 0.1/4.3, B 0.4/11.3·exp(-0.5·(15/11.3)²), C 0.4/14.8·exp(-0.5·(36.1/14.8)²).
    a, b, c = 0.1 / 4.3, 0.4 / 11.3 * np.exp(-0.5 * (15 / 11.3) ** 2), 0.4 / 14.8 * np.exp(-0.5 * 2.439**2)
    assert share(4.3, "A") == pytest.approx(a / (a + b + c), abs=0.07)
    assert share(75, "D") > 0.5
    assert share(25, "D") < 0.02


def test_a_birads_category_is_a_noisy_opinion_not_the_truth():
    cancer, benign = (Lesion("L", "lobulated", kind, (50.0, 0.0, 0.0), 10.0) for kind in (True, False))
    rng = np.random.default_rng(0)
    calls = {
        name: [readers.birads_call(found, rng) for _ in range(500)]
        for name, found in (("cancer", (benign, cancer)), ("benign", (benign,)), ("none", ()))
    }
    suspicious = {name: np.greater_equal(values, 4).mean() for name, values in calls.items()}
    assert 0.75 < suspicious["cancer"] < 0.95
    assert 0.2 < suspicious["benign"] < 0.4
    assert 0.005 < suspicious["none"] < 0.08
    assert set(calls["none"]) == {1, 2, 4}


def test_wrong_requests_name_what_is_right():
    with pytest.raises(ValueError, match="circumscribed.*spiculated"):
        Lesion("L", "star", True, (0.0, 0.0, 0.0), 10.0)
    with pytest.raises(ValueError, match="L, R"):
        Lesion("left", "spiculated", True, (0.0, 0.0, 0.0), 10.0)
    with pytest.raises(ValueError, match="at least 32"):
        exam(1, size=8)
    with pytest.raises(ValueError, match="prevalence 10"):
        exam(1, size=32, prevalence=10)
    for likeness in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"likeness {likeness}: .* from 0 to 1"):
            exam(1, size=32, likeness=likeness)
    with pytest.raises(ValueError, match="'image'.*woman, view"):
        exam(1, size=32, vendors="image")
    with pytest.raises(ValueError, match="outside the L breast"):
        exam(1, size=64, lesions=(Lesion("L", "circumscribed", True, (500.0, 0.0, 0.0), 10.0),))
