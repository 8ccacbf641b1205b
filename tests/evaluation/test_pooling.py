import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammo_utils.evaluation.pooling import pooled


def views(rows):
    frame = pd.DataFrame(rows, columns=["woman", "side", "label", "probability"])
    return frame.assign(breast=frame["woman"].astype(str) + frame["side"]).drop(columns="side")


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from("LR"), st.integers(0, 1), st.floats(0, 1)), min_size=1
    ),
    st.sampled_from(["breast", "woman"]),
    st.sampled_from(["max", "mean"]),
)
def test_every_unit_has_the_score_of_its_images(rows, unit, how):
    table = pooled(views(rows), unit=unit, how=how)
    key = {"breast": lambda row: f"{row[0]}{row[1]}", "woman": lambda row: row[0]}[unit]
    expected = {}
    for row in rows:
        expected.setdefault(key(row), []).append(row)
    assert list(table[unit]) == list(expected)
    rule = {"max": max, "mean": np.mean}[how]
    for (_, found), members in zip(table.iterrows(), expected.values(), strict=True):
        assert found["label"] == any(row[2] for row in members)
        assert found["probability"] == pytest.approx(rule([row[3] for row in members]))
        assert found["images"] == len(members)


def test_weights_stay_and_must_be_those_of_the_unit():
    frame = views([(1, "L", 0, 0.1), (1, "R", 1, 0.2), (2, "L", 0, 0.3)])
    assert list(pooled(frame.assign(weight=[1, 1, 4.8]), unit="woman")["weight"]) == [1, 4.8]
    with pytest.raises(ValueError, match="weights of images differ within a woman"):
        pooled(frame.assign(weight=[1, 2, 3]), unit="woman")
    assert len(pooled(frame.assign(weight=[1, 2, 3]), unit="breast")) == 3


def test_bad_input_is_named():
    frame = views([(1, "L", 0, 0.1), (2, "R", 1, 0.2)])
    with pytest.raises(ValueError, match="unknown unit 'exam'; choose one of: breast, woman"):
        pooled(frame, unit="exam")
    with pytest.raises(ValueError, match="unknown rule 'median'; choose one of: max, mean"):
        pooled(frame, how="median")
    with pytest.raises(ValueError, match="look at \\['label'\\]"):
        pooled(frame.assign(label=[pd.NA, 1]))
    with pytest.raises(ValueError, match="look at \\['breast'\\]"):
        pooled(frame.drop(columns="breast"), unit="woman")
    with pytest.raises(ValueError, match="a breast has two women"):
        pooled(frame.assign(breast="L"))
