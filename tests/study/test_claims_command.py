import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.study import claims, claims_command


def test_every_claim_is_printed_with_its_verdict_and_intervals(tmp_path, capsys):
    out = tmp_path / "new" / "claims.csv"
    assert main(["claims", "--work", "density", "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ").split())
    judged, asked = claims.verdicts(), claims.intervals()
    judged, table = judged[judged["work"] == "density"], pd.read_csv(out, keep_default_na=False)
    for name, claim in judged.iterrows():
        assert f"{claim['verdict'].upper()} · {name}: {claim['says']}" in said
        assert claim["missing"] in said
        own = asked[asked["claim"] == name]
        for _, row in own.iterrows():
            assert f"{row['asks']}: {row['estimate']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}]" in said
        rows = table[table["claim"] == name]
        assert len(rows) == max(1, len(own))
        assert set(rows["claim_verdict"]) == {claim["verdict"]}
        assert rows["verdict"].tolist() == (own["verdict"].tolist() or [""])
    assert said.index("If all of a work shared it") > said.index(judged["says"].iloc[-1])


def test_a_work_that_is_not_in_gets_the_list_of_those_that_are(capsys):
    assert main(["claims", "--work", "cardiology"]) == 1
    assert f"choose one of: {', '.join(claims.WORKS)}" in capsys.readouterr().err


def test_what_a_stricter_adjustment_changes_is_named():
    judged = pd.DataFrame({"verdict": ["supported", "inconclusive"]}, index=["one", "two"])
    asked = pd.DataFrame({"asks": ["b minus a", "c minus a"], "verdict": ["supported", "not supported"]})
    strict = judged.assign(verdict="inconclusive"), asked
    said = " ".join(claims_command.changes((judged, asked), strict))
    assert "claims that change: one: supported → inconclusive" in said
    assert "intervals that change: none" in said


@pytest.mark.parametrize(
    ("limit", "words"), [(0.1, "[-0.1, +0.1] inconclusive"), (float("nan"), "no interval")]
)
def test_a_measurement_without_an_interval_says_so(limit, words):
    row = {"asks": "b minus a", "estimate": 0.0, "low": -limit, "high": limit, "kind": "explored"}
    row |= {"verdict": "inconclusive" if limit == limit else "", "direction": "up", "delta": 0.02}
    row |= {"level": 0.95, "seeds": pd.NA, "conditions": "made up", "claim": "one"}
    judged = pd.DataFrame(
        {"verdict": ["x"], "says": ["y"], "published": [""], "source": [""], "missing": [""]}
    )
    asked = pd.DataFrame([row]).astype({"seeds": "Int64"})
    said = " ".join(claims_command.lines("title", judged.set_axis(["one"]), asked))
    assert words in said
    assert "seeds" not in said
