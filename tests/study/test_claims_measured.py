"""From tables to intervals and verdicts, on tables small enough to be worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from mammo_utils.study import claims
from mammo_utils.study.claims.registry import Arithmetic, Claim, Question, Tabled, Term, minus

A, B, C = ({"loss": name, "lam": lam} for name, lam in (("a", None), ("b", 1.0), ("c", 2.0)))


def runs(**values):
    """A table with a row a seed of the arms ``values`` {name: scores of seeds 0, 1, …}."""
    arms = {"a": A, "b": B, "c": C}
    rows = [
        arms[name] | {"seed": seed, "dice": score, "phantom": 1, "profile": "cpu"}
        for name, scores in values.items()
        for seed, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def asked(table="t", terms=None, *, direction="up", delta=0.02, **more):
    terms = minus(B, A, "dice") if terms is None else terms
    return Question(f"b minus a in {table}", table, terms, direction, delta, **more)


def claim(*questions, name="one", work="w", missing=""):
    return Claim(name, work, f"{name} holds", "abstract", "no number", questions, missing)


def measured(question, table, **more):
    return claims.intervals({question.table: table}, claims=[claim(question)], **more).iloc[0]


def limits(row):
    return [round(float(row[name]), 3) for name in ("estimate", "low", "high")]


def test_arms_are_compared_on_the_seeds_that_both_have():
    table = runs(a=[0.5, 0.6, 0.7, 0.9], b=[0.51, 0.65, 0.73])  # differences 0.01, 0.05, 0.03
    row = measured(asked(kind="explored"), table)
    assert limits(row) == [0.03, -0.02, 0.08]  # 4.303 · 0.02 / √3, Student's t with two degrees of freedom
    assert (row["seeds"], row["level"], row["verdict"]) == (3, 0.95, "inconclusive")
    assert row["conditions"] == "phantom 1, profile cpu"
    assert limits(measured(asked(kind="explored"), table.sample(frac=1, random_state=0))) == limits(row)


def test_a_question_alone_in_its_study_needs_no_wider_interval():
    table = runs(a=[0.5, 0.6, 0.7], b=[0.51, 0.65, 0.73])
    assert limits(measured(asked(), table)) == [0.03, -0.02, 0.08]


def test_questions_share_an_error_rate_within_a_study_or_within_a_work():
    questions = [asked("s"), asked("s"), asked("t"), asked("t", kind="explored")]
    every = [claim(*questions), claim(asked("s"), name="other", work="v")]
    tables = dict.fromkeys("st", runs(a=[0.5, 0.6, 0.7], b=[0.51, 0.65, 0.73]))
    study = claims.intervals(tables, claims=every)["level"]
    assert study.tolist() == pytest.approx([0.975, 0.975, 0.95, 0.95, 0.95])
    work = claims.intervals(tables, claims=every, over="work")["level"]
    assert work.tolist() == pytest.approx([1 - 0.05 / 3] * 3 + [0.95, 0.95])
    with pytest.raises(ValueError, match="choose one of: study, work"):
        claims.intervals(tables, claims=every, over="course")


def test_runs_of_one_pretraining_count_as_its_mean_where_pretrainings_differ():
    table = runs(a=[0.0, 0.0, 0.0, 0.0], b=[0.01, 0.05, 0.02, 0.06])  # seeds 0 and 2 share one, 1 and 3
    assert limits(measured(asked(nests=2), table)) == [0.035, -0.219, 0.289]


def test_of_several_arms_the_mean_is_compared():
    table = runs(a=[0.1, 0.2, 0.3], b=[0.2, 0.4, 0.6], c=[0.4, 0.4, 0.4])
    assert limits(measured(asked(terms=minus([B, C], A, "dice")), table))[0] == pytest.approx(0.2)


def test_an_arm_may_be_compared_with_a_number():
    table = runs(a=[0.2, 0.4])
    alone = asked(terms=(Term(1.0, "dice", A),), above=0.25)
    assert limits(measured(alone, table))[0] == pytest.approx(0.05)


def test_a_single_run_has_no_interval_and_its_claim_no_verdict():
    table = runs(a=[0.5], b=[0.6])
    row = measured(asked(), table)
    assert row["estimate"] == pytest.approx(0.1)
    assert np.isnan(row["low"])
    assert row["verdict"] == ""
    with pytest.raises(ValueError, match="unknown verdict ''"):
        claims.verdicts({"t": table}, claims=[claim(asked())])
    told = claims.verdicts({"t": table}, claims=[claim(asked(), missing="more runs")]).loc["one"]
    assert (told["verdict"], told["parts"]) == ("not testable here", "")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (runs(a=[0.5, 0.6]), "no seed with a value"),
        (runs(a=[0.5, np.nan], b=[np.nan, 0.6]), "no seed with a value"),
        (pd.concat([runs(a=[0.5], b=[0.6]), runs(b=[0.7])]), "several runs of a seed"),
        (runs(a=[0.5], b=[0.6]).drop(columns="lam"), "unknown setting 'lam'"),
    ],
)
def test_a_claim_without_its_rows_is_an_error(table, words):
    with pytest.raises(ValueError, match=words):
        measured(asked(), table)


def test_a_table_that_is_not_given_is_an_error():
    with pytest.raises(ValueError, match="unknown table 't'; choose one of: s"):
        claims.intervals({"s": runs(a=[0.5])}, claims=[claim(asked())])


def test_a_claim_is_judged_by_all_of_its_parts():
    steady = runs(a=[0.5, 0.6, 0.7], b=[0.55, 0.65, 0.75001])
    tables = {"t": steady, "s": runs(a=[0.5, 0.6, 0.7], b=[0.5, 0.6, 0.70001])}
    up, none = asked("t"), asked("s")
    exact = Arithmetic("one minus two", lambda: (-1.0, -1.0, -1.0), "arithmetic", "down", 0.1)
    every = [claim(up, exact), claim(up, none, name="two"), claim(up, name="three", missing="film")]
    told = claims.verdicts(tables, claims=every)
    assert told["verdict"].tolist() == ["supported", "not supported", "not testable here"]
    assert told.loc["one", "kind"] == "decided, arithmetic"
    assert told.loc["two", "parts"] == "1 supported, 1 not supported"
    assert told.loc["three", "parts"] == "1 supported"
    assert claims.intervals(tables, claims=every)["seeds"].isna().tolist() == [False, True, *[False] * 3]


def test_an_interval_that_a_table_holds_is_taken_as_it_stands():
    table = pd.DataFrame(
        {"name": ["x", "y"], "seed": 0, "estimate": [0.3, 0.0], "low": [0.2, -0.1], "high": [0.4, 0.01]}
    ).assign(phantom=1, profile="cpu", over=0.05, over_low=-0.01, over_high=0.06)
    first = Tabled("x", "t", {"name": "x"}, "up", 0.02)
    over = Tabled("x over y", "t", {"name": "x"}, "up", 0.02, column="over", ends=("over_low", "over_high"))
    second = Tabled("y", "t", {"name": "y"}, "up", 0.02)
    shared = claim(first, over, second)
    asked = claims.intervals({"t": table}, claims=[shared])
    assert asked["verdict"].tolist() == ["supported", "inconclusive", "not supported"]
    assert asked["level"].eq(0.95).all()
    assert asked["conditions"].eq("phantom 1, profile cpu").all()
    assert asked["seeds"].eq(1).all()
    assert claims.tables([shared]) == ["t"]
    with pytest.raises(ValueError, match="no row of the table t with"):
        claims.intervals({"t": table}, claims=[claim(Tabled("z", "t", {"name": "z"}, "up", 0.02))])
    with pytest.raises(ValueError, match="choose one of: up, down, little"):
        Tabled("x", "t", {"name": "x"}, "sideways", 0.02)


def test_words_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="choose one of: up, down, little"):
        asked(direction="sideways")
    with pytest.raises(ValueError, match="choose one of: up, down, little"):
        Arithmetic("a", lambda: None, "b", "sideways", 1)
    with pytest.raises(ValueError, match="choose one of: decided"):
        asked(kind="certain")
    with pytest.raises(ValueError, match="ask a question, or say what is missing"):
        claim()
