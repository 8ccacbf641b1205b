"""The tables of notebook 11: rows are made once more, and agree with what the study had kept."""

import numpy as np
import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.profile import shipped
from mammo_utils.study import clinic, density_tool, screened, screening_file
from mammo_utils.synth.breast import VERSION, exam


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def tables():
    return {name: pd.read_csv(shipped(f"results/clinic_{name}.csv")) for name in ("breasts", "density")}


def test_the_tables_are_of_this_phantom_and_of_every_woman_of_the_study(tables):
    for cohort in clinic.COHORTS:
        women = screened.WOMEN[cohort].positive + screened.WOMEN[cohort].negative
        for name, rows in (("breasts", 2 * women), ("density", women)):
            own = tables[name][tables[name]["cohort"] == cohort]
            assert len(own) == rows
            assert own["patient"].nunique() == women
            assert set(own["phantom"]) == {VERSION}
    assert set(tables["breasts"].query("cohort == 'external'")["vendor"]) == {2}
    assert set(tables["breasts"].query("cohort != 'external'")["vendor"]) == {0, 1}


def test_logits_are_those_that_the_study_kept(tables):
    kept = pd.read_csv(shipped("results/screening_breasts.csv")).query("imbalance == 'pos_weight'")
    assert len(kept) == len(tables["breasts"])
    for cohort, own in tables["breasts"].groupby("cohort"):
        then = kept[kept["cohort"] == cohort]
        number = pd.factorize(own["patient"])[0]
        own = own.set_index(pd.Index(number.astype(str) + own["side"].to_numpy()))
        then = then.set_index("breast").loc[own.index]
        np.testing.assert_array_equal(own["label"], then["label"])
        np.testing.assert_allclose(own["logit"], then["logit"], atol=0.02)


@pytest.mark.parametrize("cohort", ["test", "external"])
def test_two_women_are_made_and_scored_once_more(cohort, tables, cache):
    listed = tables["breasts"][tables["breasts"]["cohort"] == cohort]
    sick = listed.loc[listed["label"] == 1, "patient"].iloc[3]
    patients = [sick, listed.loc[~listed["patient"].isin([sick]), "patient"].iloc[0]]
    images = clinic.again(patients, cohort, size=128)
    found = clinic.breasts(screening_file.trained().model, images).set_index(["patient", "side"])
    wanted = listed.set_index(["patient", "side"]).loc[found.index]
    np.testing.assert_allclose(found["logit"], wanted["logit"], atol=0.01)
    np.testing.assert_allclose(found["mm"], wanted["mm"], atol=0.5)
    for name in ("label", "finding", "density", "age", "vendor"):
        assert found[name].tolist() == wanted[name].tolist()
    assert found["shape"].dropna().tolist() == wanted["shape"].dropna().tolist()

    listed = tables["density"].set_index(["cohort", "patient"]).loc[cohort].loc[patients]
    tool = density_tool.trained()
    for seed in range(20):  # until the views that were drawn of all women are drawn of these two
        found = clinic.densities(tool, images, seed=seed).set_index("patient").loc[patients]
        if (found[["side", "view"]] == listed[["side", "view"]]).all(axis=None):
            break
    else:
        pytest.fail("in no draw the two views that are listed")
    np.testing.assert_allclose(found[["truth", "found"]], listed[["truth", "found"]], atol=0.3)
    np.testing.assert_allclose(found["distance"], listed["distance"], rtol=0.02)


def test_what_a_breast_has_is_what_the_phantom_put_there(cache):
    patients = [27_006, 27_009]
    images = clinic.again(patients, "test", size=64)
    model = screening_file.trained().model
    found = clinic.breasts(model, images).set_index(["patient", "side"])
    one = screened.WOMEN["test"]
    prevalence = one.positive / (one.positive + one.negative)
    for patient in patients:
        for view in exam(patient, size=128, prevalence=prevalence):  # as the files are written
            row = found.loc[patient, view.laterality]
            kinds = {"cancer" if lesion.malignant else "benign finding" for lesion in view.lesions}
            assert row["label"] == view.cancer
            assert (row["age"], row["vendor"], row["density"]) == (view.age, view.vendor, view.density)
            assert row["finding"] == _worst(kinds)


def test_the_view_that_is_shown_is_the_one_with_the_most_of_it():
    found = pd.DataFrame({"row": [0, 1, 2, 3], "patient": [5, 5, 5, 6], "side": list("LLRL")})
    found = found.assign(mm=[3.0, 9.0, 0.0, 1.0], logit=[2.0, 1.0, 0.0, 0.0])
    cases = pd.DataFrame({"patient": [6, 5], "side": ["L", "L"]})
    assert clinic.shown(found, cases, by="mm") == [3, 1]
    assert clinic.shown(found, cases, by="logit") == [3, 0]
    with pytest.raises(KeyError):
        clinic.shown(found, pd.DataFrame({"patient": [6], "side": ["R"]}), by="mm")


def _worst(kinds):
    return "cancer" if "cancer" in kinds else "benign finding" if kinds else "normal"


def test_the_command_writes_both_tables(tmp_path, monkeypatch, capsys, cache):
    for name, one in screened.WOMEN.items():
        monkeypatch.setitem(screened.WOMEN, name, one._replace(positive=1, negative=1))
    assert main(["clinic", "--out", str(tmp_path / "out")]) == 0
    assert "valid: 2 women" in capsys.readouterr().out
    listed = pd.read_csv(tmp_path / "out" / "clinic_breasts.csv")
    assert listed["cohort"].tolist() == [name for name in clinic.COHORTS for _ in range(4)]
    assert listed.groupby("cohort")["label"].sum().tolist() == [1, 1, 1]
    listed = pd.read_csv(tmp_path / "out" / "clinic_density.csv")
    assert listed["cohort"].tolist() == [name for name in clinic.COHORTS for _ in range(2)]
    assert {"phantom", "commit", "date"} <= set(listed)
