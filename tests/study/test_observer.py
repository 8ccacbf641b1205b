"""The matched filter: what it must find, what must not matter to it, and areas worked out another way."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from mammo_utils.study import observer
from mammo_utils.study.observer import SHAPES, Background, Shadow
from mammo_utils.synth.breast import Lesion, lesions

SIZE, SPACING = 96, 2.0
Y, X = np.mgrid[:SIZE, :SIZE]


def discs(row, column):
    """A shadow of every shape: domes of three widths and two kinds of specks."""
    away = np.hypot(Y - row, X - column)
    domes = [np.sqrt(np.clip(1 - (away / width) ** 2, 0, 1)) for width in (3, 5, 8)]
    return [2 * dome for dome in domes] + [6.0 * (away < 0.5), 3.0 * (away < 1.1)]


def background(rng, at=(48, 40)):
    texture = 3 * ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1) + 0.2 * rng.normal(
        size=(SIZE, SIZE)
    )
    shadows = [
        Shadow(Lesion("L", name, True, (0.0, 0.0, 0.0), 12.0), texture + disc, at)
        for name, disc in zip(SHAPES, discs(*at), strict=True)
    ]
    inside = np.hypot(Y - 48, X - 48) < 36
    return Background(texture, inside, SPACING, shadows)


@pytest.fixture(scope="module")
def respond():
    rng = np.random.default_rng(0)
    return observer.matched_filter([background(rng) for _ in range(12)])


@pytest.mark.parametrize("number", range(5))
def test_the_greatest_response_of_the_own_template_is_where_the_lesion_lies(respond, number):
    hits = []
    for seed in range(1, 9):
        view = background(np.random.default_rng(seed), at=(30 + 4 * seed, 60 - 3 * seed))
        response = np.where(view.inside, respond(view.shadows[number].image, view.inside)[number], -np.inf)
        found = np.unravel_index(response.argmax(), response.shape)
        hits.append(np.hypot(*np.subtract(found, view.shadows[number].place)) < 3)
    assert sum(hits) >= 6


def test_gain_of_the_display_does_not_matter(respond):
    view = background(np.random.default_rng(20))
    image = view.shadows[1].image
    np.testing.assert_allclose(
        respond(7 * image, view.inside), respond(image, view.inside), rtol=1e-3, atol=1e-3
    )


def test_loud_texture_does_not_pass_for_a_lesion(respond):
    view = background(np.random.default_rng(21))
    loud = view.image * np.where(X < 48, 6, 1)  # no lesion, but one half is six times as rough
    quiet = respond(view.image, view.inside)[1][view.inside].max()
    assert respond(loud, view.inside)[1][view.inside].max() < 2 * quiet


def test_responses_are_in_units_of_their_spread_in_health(respond):
    view = background(np.random.default_rng(22))
    spread = respond(view.image, view.inside)[:, view.inside].std(1)
    assert ((spread > 0.6) & (spread < 1.4)).all()


def drawn(shift, rng, women=400):
    """Responses of independent normal filters; a lesion shifts its own filter by ``shift``."""
    read = rng.normal(size=(women, 2, 2, 2, 5, 2, 5))
    for number in range(5):
        read[..., number, 1, number] += shift[number]
    return read


def test_areas_of_normal_responses_are_those_of_the_formula():
    shift = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    rng = np.random.default_rng(3)
    read, malignant = drawn(shift, rng), rng.random((400, 2, 5)) < 0.5
    table = observer._table(read, malignant)
    expected = stats.norm.cdf(shift / np.sqrt(2))
    for column in ("place known", "place unknown"):
        np.testing.assert_allclose(table[column][:5], expected, atol=0.03)
    # The mean of two views has half the variance.
    np.testing.assert_allclose(table["two views"][:5], stats.norm.cdf(shift), atol=0.03)
    inside = (table["low"] <= table["place unknown"]) & (table["place unknown"] <= table["high"])
    assert inside.all()


def test_rows_for_cancer_equal_counting_pairs():
    rng = np.random.default_rng(4)
    read, malignant = drawn(np.array([2.0, 0, 0, 0, 0]), rng, women=10), rng.random((10, 2, 5)) < 0.5
    table = observer._table(read, malignant)
    odds = np.array(list(lesions.SHAPES.values()))
    weights = observer._hotelling(read[::2, :, :, 0], odds[:, 1])
    cancers, benign, healthy, twins = [], [], [], []
    for woman, side, view, shape in np.ndindex(5, 2, 2, 5):
        without, having = read[2 * woman + 1, side, view, 0, shape] @ weights
        is_cancer = malignant[2 * woman + 1, side, shape]
        healthy.append((without, 1.0))
        if is_cancer:
            cancers.append((having, odds[shape, 1]))
            twins.append((without, 1.0))
        else:
            benign.append((having, odds[shape, 0]))

    def area(positive, negative):
        pairs = [(a > b, v * w) for a, v in positive for b, w in negative]
        return sum(won * weight for won, weight in pairs) / sum(weight for _, weight in pairs)

    share = lesions.BENIGN / 2
    rest = (1 - share) * area(cancers, healthy) + share * area(cancers, benign)
    unknown = table["place unknown"]
    assert unknown["cancer, against its twin"] == pytest.approx(area(cancers, twins), abs=6e-4)
    assert unknown["cancer, against the rest"] == pytest.approx(rest, abs=6e-4)


def test_a_shadow_lies_at_its_place_and_only_in_its_view():
    views = observer.backgrounds(3, 64)
    assert len(views) == 4
    for view in views:
        for shadow in view.shadows:
            added = shadow.image.astype(float) - view.image
            row, column = shadow.place
            near = added[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            assert near.max() > 0.9 * np.abs(added).max() or shadow.lesion.is_mass
            assert near.mean() > added[view.inside].mean()


def test_too_few_women_are_refused():
    with pytest.raises(ValueError, match="8 to 1000"):
        observer.measure(women=4, size=64)


@pytest.mark.slow
def test_lesions_are_visible_but_not_trivial():
    table = observer.measure(women=100, size=128)
    assert 0.70 <= table.loc["cancer, against its twin", "place unknown"] <= 0.85
    masses = table.loc[["circumscribed", "lobulated", "spiculated"]]
    assert (masses["place known"] > masses["two views"]).all()
    assert (masses["two views"] > masses["place unknown"]).all()
    calcifications = table.loc[["round calcifications", "fine linear calcifications"], "place unknown"]
    assert (calcifications < 0.6).all()  # a pixel of 2 mm hides them


def test_a_row_of_the_study_is_the_table_by_kind(monkeypatch):
    table = pd.DataFrame(
        np.arange(10.0).reshape(5, 2), index=list(SHAPES), columns=["place known", "place unknown"]
    )
    monkeypatch.setattr(observer, "measure", lambda women, size: table + size + women)
    found = observer.visible({"size": 100, "women": 1000}, 0)
    assert set(found) == set(observer.SIZES.tolerance)
    assert found["known_circumscribed"] == 1100
    assert found["unknown_fine_linear_calcifications"] == 1109
