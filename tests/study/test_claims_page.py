"""Claims as a table in a Markdown page."""

import pandas as pd
import pytest

from mammo_utils.__main__ import main
from mammo_utils.study import claims, claims_page

FILE = f"# title\n\n{claims_page.BEGIN}\nold\n{claims_page.END}\n\nthe rest\n"


@pytest.fixture(scope="module")
def computed():
    return claims.verdicts(), claims.intervals()


def test_the_page_stands_between_its_marks_and_nowhere_else(computed, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(FILE, encoding="utf-8")
    claims_page.write(path, *computed)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# title\n\n<!-- claims")
    assert text.endswith("<!-- end of claims -->\n\nthe rest\n")
    assert "old" not in text.splitlines()
    claims_page.write(path, *computed)
    assert path.read_text(encoding="utf-8") == text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
    assert {len(row) for row in rows} == {4}
    assert len(rows) == len(computed[0]) + computed[0]["work"].nunique()
    for _, claim in computed[0].iterrows():
        (row,) = [row for row in rows if row[0] == claim["says"]]
        assert row[3] == claim["verdict"]


def test_differences_are_given_in_full_or_counted():
    about = {"work": "density", "says": "it rises", "published": "much", "verdict": "supported"}
    judged = pd.DataFrame([about | {"missing": ""}, about | {"missing": "film"}], index=["one", "two"])
    asked = pd.DataFrame(
        {"claim": "one", "asks": ["a", "b", "c", "d"], "estimate": [0.1, 0.25, -0.5, float("nan")],
         "low": 0.0, "high": 0.3, "verdict": ["supported", "supported", "inconclusive", ""]}
    )  # fmt: skip
    told = claims_page.brief(judged, asked)["here"]
    assert told["one"] == "3 differences from -0.5 to +0.25: 2 supported, 1 inconclusive"
    assert told["two"] == "missing: film"
    told = claims_page.brief(judged, asked[:2])["here"]
    assert told["one"] == "a: +0.1 [+0, +0.3]; b: +0.25 [+0, +0.3]"


def test_a_page_without_marks_is_left_alone(tmp_path, capsys):
    path = tmp_path / "page.md"
    path.write_text("# title\n", encoding="utf-8")
    assert main(["claims", "--work", "screening", "--page", str(path)]) == 1
    assert "has no place for the claims: write the lines <!-- claims" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "# title\n"
