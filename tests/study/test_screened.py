"""Women of the screening study: who has cancer, from where, and what their weights bring back."""

import numpy as np
import pytest

from mammo_utils.evaluation.classification import prevalence_weights
from mammo_utils.study import screened
from mammo_utils.synth import breast, exams
from mammo_utils.synth.breast import lesions


@pytest.fixture
def made(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    return tmp_path / f"phantom_{breast.VERSION}"


@pytest.mark.parametrize("prevalence", [0.1, 0.6])
def test_who_has_cancer_is_known_before_she_is_made(prevalence):
    for patient in [*range(6), breast.SHIFTED_FROM]:
        views = breast.exam(patient, size=32, prevalence=prevalence, seed=1)
        assert any(v.cancer for v in views) == lesions.has_cancer(patient, seed=1, prevalence=prevalence)
        for lesion in {lesion for view in views for lesion in view.lesions if lesion.malignant}:
            assert lesion.shape == lesions.cancer_shape(patient, seed=1)


def test_every_cohort_has_its_women_and_none_is_shared():
    seen = set()
    for chosen in screened.WOMEN.values():
        cohort = exams.cohort(chosen.cohort, shifted=chosen.shifted)
        patients, prevalence = exams.enriched(cohort, positive=chosen.positive, negative=chosen.negative)
        sick = [lesions.has_cancer(patient, prevalence=prevalence) for patient in patients]
        assert (sum(sick), len(sick) - sum(sick)) == (chosen.positive, chosen.negative)
        assert set(patients) <= set(cohort)
        assert patients == sorted(set(patients))
        assert not seen & set(patients)
        seen |= set(patients)
    train = screened.WOMEN["train"]
    assert train.positive / (train.positive + train.negative) == 0.04
    assert screened.WOMEN["external"].shifted


def test_enriched_women_take_the_first_of_each_kind():
    patients, prevalence = exams.enriched(range(300), positive=3, negative=27)
    assert prevalence == 0.1
    sick = [p for p in range(300) if lesions.has_cancer(p)][:3]
    assert patients == sorted(sick + [p for p in range(300) if not lesions.has_cancer(p)][:27])


@pytest.mark.parametrize(
    ("positive", "negative", "words"),
    [(0, 5, "give 1 or more of each"), (9, 9, "fewer than 9 and 9"), (1, 9, "fewer than 1 and 9")],
)
def test_women_who_are_not_there(positive, negative, words):
    with pytest.raises(ValueError, match=words):
        exams.enriched(range(1, 9), positive=positive, negative=negative)


def test_women_are_written_once_with_the_cancer_that_was_chosen(made):
    options = {"size": 48, "positive": 2, "negative": 3}
    test = screened.women("test", **options)
    external = screened.women("external", **options)
    assert {path.name for path in made.iterdir()} == {"test_2_of_5_48", "test_shifted_2_of_5_48"}
    for images in (test, external):
        assert len(images) == 20
        by_woman = images.table.groupby("group")["cancer"]
        assert by_woman.max().sum() == 2
        assert (by_woman.sum() <= 2).all()  # two views of one breast
        assert images.masks["lesion"][images.table["cancer"] == 1].any()
    assert not set(test.table["group"]) & set(external.table["group"])
    assert set(external.table["machine"]) == {"vendor 2"}
    assert "vendor 2" not in set(test.table["machine"])
    before = (made / "test_2_of_5_48" / "cache" / "images.raw").stat().st_mtime_ns
    again = screened.women("test", **options)
    assert (made / "test_2_of_5_48" / "cache" / "images.raw").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.images, test.images)

    label, women = test.table["cancer"], test.table["group"]
    for prevalence in screened.PREVALENCES:
        weights = prevalence_weights(label, prevalence, groups=women)
        assert np.average(label, weights=weights) == pytest.approx(prevalence)
        breast_rows = test.table["view"] == "CC"
        assert np.average(label[breast_rows], weights=weights[breast_rows]) == pytest.approx(prevalence)

    rows = [screened.draw(test, positive=1, negative=2, seed=seed) for seed in range(8)]
    for drawn in rows:
        part = test.table.iloc[drawn].groupby("group")["cancer"]
        assert (part.size() == 4).all()
        assert sorted(part.max()) == [0, 0, 1]
    assert len({tuple(drawn) for drawn in rows}) > 3
    np.testing.assert_array_equal(screened.draw(test, positive=1, negative=2, seed=0), rows[0])
    with pytest.raises(ValueError, match="3 women with label 1 are wanted, and there are 2"):
        screened.draw(test, positive=3, negative=2, seed=0)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="develop, train, valid, test, external, outlined"):
        screened.women("final", size=48)
