"""Whose images may be learnt from without labels: the rule, on phantoms in the layouts of the data sets."""

import pandas as pd
import pytest

from mammo_utils.data import catalogs
from mammo_utils.study import unlabelled
from mammo_utils.synth import exams

LEARNT, JUDGED = ("develop", "pool", "train"), ("valid", "test", "final")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A woman of every cohort, and of every cohort of the other site."""
    root = tmp_path_factory.mktemp("phantom")
    everyone = [exams.cohort(name, shifted=shifted)[0] for name in exams.COHORTS for shifted in (False, True)]
    exams.write(root, everyone, layout="phantom", size=64)
    return unlabelled.table_of("phantom", root)


@pytest.fixture(scope="module")
def vindr(tmp_path_factory):
    """Ten women as VinDr-Mammo has them, and the women 1 and 4 of them as in the density data set, which
    withholds the masks of woman 4."""
    root = tmp_path_factory.mktemp("vindr")
    exams.write(root / "vindr", range(10), layout="vindr", size=64)
    exams.write(root / "density", (1, 4), layout="density", size=64)
    names = ("vindr", root / "vindr"), ("density", root / "density")
    return [unlabelled.table_of(*pair) for pair in names]


def test_every_cohort_is_either_learnt_from_or_judged():
    assert sorted(LEARNT + JUDGED) == sorted(exams.COHORTS)
    assert set(JUDGED) <= set(unlabelled.HELD_OUT)
    assert not set(LEARNT) & set(unlabelled.HELD_OUT)


def test_no_phantom_woman_of_valid_test_or_final_is_in_a_pool(phantom, capsys):
    rest = unlabelled.pool(phantom)
    assert set(rest["official_split"]) == set(LEARNT)
    assert len(rest) == 4 * 2 * len(LEARNT)
    assert "left out: 6 women (24 images) of the official split final, test, valid" in capsys.readouterr().out
    with pytest.raises(ValueError, match="women of the cohorts final, test, valid are in no pool"):
        unlabelled.pool(phantom, keep_test=True)
    test = phantom[phantom["official_split"] == "test"]
    rest = unlabelled.pool(phantom, [test, phantom[:4]], transductive=True)
    assert set(rest["official_split"]) == set(LEARNT)
    with pytest.raises(ValueError, match="all 8 images are of the official split test"):
        unlabelled.pool(test)


def test_masks_are_not_even_named(phantom, vindr):
    for table in (phantom, *vindr):
        assert not set(table) & set(catalogs.MASKS)


def test_women_of_density_and_of_vindr_s_test_are_left_out_unless_they_are_asked_for(vindr, capsys):
    everyone, density = vindr
    women = everyone["group"].unique()
    rest = unlabelled.pool(everyone, [density])
    assert list(rest["group"].unique()) == [women[n] for n in (0, 2, 3, 5, 6, 7, 8)]
    said = capsys.readouterr().out
    assert "left out: 2 women (8 images) of the official split test" in said
    assert "left out: 1 women (4 images) who are in density" in said
    assert "audit by group, woman, exam and breast: 0 leaks\n" in said

    # Woman 4 is a test woman of both: kept as one of VinDr's, she is still labelled, if without a mask.
    rest = unlabelled.pool(everyone, [density], keep_test=True)
    assert list(rest["group"].unique()) == [women[n] for n in (0, 2, 3, 5, 6, 7, 8, 9)]
    said = capsys.readouterr().out
    assert "keeps the women of the official split test: do not score on them" in said
    assert "left out: 2 women (8 images) who are in density" in said

    rest = unlabelled.pool(everyone, [density], keep_test=True, transductive=True)
    pd.testing.assert_frame_equal(rest, everyone)
    said = capsys.readouterr().out
    assert "transductive: the pool keeps 2 women (8 images) who are in density" in said
    # 2 groups, 2 women, 2 exams, 4 breasts, and twice each breast beside the other one
    assert "14 leaks, breast 4, other breast 4, group 2, woman 2, exam 2" in said


def test_vindr_alone_is_told_apart_from_the_density_data_set(vindr, phantom, capsys):
    note = "all images of the data set density come from VinDr-Mammo"
    unlabelled.pool(vindr[0])
    assert note in capsys.readouterr().out
    unlabelled.pool(vindr[0], [vindr[1]])
    unlabelled.pool(phantom)
    assert note not in capsys.readouterr().out


def test_a_pool_that_leaves_nobody_out_says_so(phantom, capsys):
    note = "names no women on whom networks are judged, so all are learnt from"
    learnt = phantom[phantom["official_split"].isin(LEARNT)]
    pd.testing.assert_frame_equal(unlabelled.pool(learnt), learnt)
    assert note in capsys.readouterr().out
    unlabelled.pool(learnt, [learnt[:4]])
    unlabelled.pool(phantom)
    assert note not in capsys.readouterr().out


@pytest.mark.parametrize("part", ["Test", "validation", "val", "testing"])
def test_one_image_on_which_networks_are_judged_keeps_out_its_woman(vindr, part):
    table = vindr[0][:16].copy()  # the women 0 to 3
    table["official_split"] = pd.Series(["training", None, part, None] * 2 + [None] * 8, dtype="string")
    assert list(unlabelled.pool(table)["group"].unique()) == list(table["group"].unique()[2:])
