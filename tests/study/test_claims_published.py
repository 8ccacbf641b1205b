"""Verdicts that stand in the notebooks and in the README are the computed ones."""

import json
import re
from pathlib import Path

import pytest

from mammo_utils.study import claims, claims_page

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORD = "|".join(sorted(claims.VERDICTS, key=len, reverse=True))
BEFORE = r"(?:(?P<numbers>[-+.\d]+ \[[^]]+\]):? )?"
LINE = re.compile(rf"^(?P<label>[^:\n]+): {BEFORE}(?P<verdict>{WORD})(?: \([^)]*\))?$", re.MULTILINE)
PROSE = re.compile(rf"^\| (?P<label>[^|]+) \|(?:.* \|)? \**(?P<verdict>{WORD})\** \|", re.MULTILINE)

TUNED = [
    f"{high} minus {low}, {n} labels"
    for high in ("full", "layer-wise")
    for low in ("LoRA", "BNBitFit")
    for n in (16, 64)
]
# Notebook → {what stands before a verdict: claim, and which of its questions where it is not the whole}.
SHOWN = {
    "03_architectures": {
        "transformer lower, 8 labels": ("transformers", 0),
        "transformer lower, 256 labels": ("transformers", 1),
        "transformer gains more per doubling": ("catching up", 0),
        "EfficientNet is the backbone to choose for few labels": ("backbone", None),
        "transformers fall short of it": ("transformers", None),
        "SAM-like networks fall short of it": ("SAM-like", None),
        "the latter two find far too much or nearly nothing (so the summary)": ("too much or nothing", None),
    },
    "04_self_supervision": {
        "ImageNet → SimCLR minus ImageNet": ("generic pretraining", 0),
        "ImageNet → multi-view minus ImageNet": ("multi-view", 0),
        "ImageNet → multi-view minus ImageNet → SimCLR": ("multi-view", 1),
        "generic self-supervision (here SimCLR) brings little over ImageNet": ("generic pretraining", None),
        "multi-view brings the most": ("multi-view", None),
    },
    "05_fine_tuning": {label: ("fine-tuning", place) for place, label in enumerate(TUNED)}
    | {"all together": ("fine-tuning", None)},
    "07_screening": {
        f"{name}, {metric}": (name, place)
        for name in ("warm-up", "unfreezing")
        for place, metric in enumerate(("roc_auc", "pr_auc"))
    }
    | {f"{name} ranks breasts better": (name, None) for name in ("warm-up", "unfreezing")},
    "08_grad_cam": {
        "how often a called view has the stronger map, class of its call": ("maps", 0),
        "how often a called view has the smaller spot, class of its call": ("maps", 1),
        "how often a called view has the smaller spot, malignant for all": ("maps", 2),
        "Maps of malignant calls are red and focused, those of benign ones yellow, weak and diffuse": (
            "maps",
            None,
        ),
        "AUC of what the twin lacks in the map, Grad-CAM minus the centre of the breast": ("on masses", 0),
        "Maps of malignant calls lie on masses": ("on masses", None),
        "logit of a woman with her cancer minus without": ("structure", 0),
        "The network may have learnt structure and does not rely on global texture alone": (
            "structure",
            None,
        ),
        "logit with a spiculated minus a smooth outline": ("outline", 0),
        "It uses the outline that makes a mass malignant": ("outline", None),
    },
    "09_histology": {
        "accuracy, system minus baseline": ("system", 0),
        "ROC-AUC, both levels minus the first alone": ("levels", 0),
        "logarithm of the tiles to the level, both levels minus none": ("epochs", 0),
        "ROC-AUC, with gates minus without": ("gates", 0),
        "ROC-AUC, with turns and flips minus without": ("augmentation", 0),
        "ROC-AUC, normalised minus as scanned": ("normalisation", 0),
        "ROC-AUC where colour is diagnostic, normalised minus as scanned": ("diagnostic colour", 0),
        "ROC-AUC, first level alone minus none": ("distant sources", 0),
        "ROC-AUC, shallow layers alone, near minus distant source": ("layers", 0),
        "ROC-AUC, gain of the deep layers, near minus distant source": ("layers", 1),
        "size of the parameters over the size given, less one": ("size", 0),
    }
    | {claim.says: (claim.name, None) for claim in claims.DECLARED["histology"]},
    "06_losses": {"density MAE (points)": ("hybrid loss", 0), "Dice": ("hybrid overlap", 0)},
}


def of_html(html):
    """(label, numbers, verdict) of the rows of a table that end in a verdict."""
    group, left = "", 0
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL):
        cells = re.findall(r"<(th|td)([^>]*)>(.*?)</\1>", row, re.DOTALL)
        names = [text for kind, _, text in cells if kind == "th"]
        values = [text for kind, _, text in cells if kind == "td"]
        if cells and (span := re.search(r'rowspan="(\d+)"', cells[0][1])):
            group, left = names.pop(0), int(span[1])
        if values and re.fullmatch(WORD, values[-1]):
            yield ", ".join([group] * (left > 0) + names), _floats(" ".join(values)), values[-1]
        left -= 1


def of_text(text, pattern):
    """The same of printed lines, or of the rows of a Markdown table."""
    for found in pattern.finditer(text):
        yield found["label"].strip(), _floats(found.groupdict().get("numbers") or ""), found["verdict"]


def _floats(text):
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", text)][:3]


def shown(path):
    """(label, numbers, verdict) of every verdict in the cells and outputs of a notebook."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            yield from of_text("".join(cell["source"]), PROSE)
        for output in cell.get("outputs", []):
            yield from of_html("".join(output.get("data", {}).get("text/html", "")))
            yield from of_text("".join(output.get("data", {}).get("text/markdown", "")), PROSE)
            yield from of_text("".join(output.get("text", "")), LINE)


@pytest.fixture(scope="module")
def computed():
    return claims.verdicts(), claims.intervals()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_the_computed_verdicts(path, computed):
    judged, asked = computed
    found = list(shown(path))
    wanted = SHOWN.get(path.stem, {})
    assert {label for label, *_ in found} == set(wanted), "name the claim of each verdict in SHOWN"
    for label, numbers, words in found:
        name, place = wanted[label]
        if place is None:
            assert judged.loc[name, "verdict"] == words, label
            continue
        row = asked[asked["claim"] == name].iloc[place]
        assert row["verdict"] == words, label
        assert numbers == pytest.approx(row[["estimate", "low", "high"]].tolist(), abs=5.1e-4), label


def test_the_readme_shows_the_computed_verdicts(computed):
    judged = computed[0].set_index("says")["verdict"].to_dict()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {label: words for label, _, words in of_text(text, PROSE)}
    assert found == judged
    assert claims_page.page(*computed) in text, "write them anew: claims --page README.md"


def test_verdicts_are_found_wherever_they_stand():
    html = (
        '<tr><th rowspan="2">full minus LoRA</th><th>16 labels</th><td>-0.012</td><td>supported</td></tr>\n'
        "<tr><th>64 labels</th><td>0.003</td><td>0.1</td><td>not supported</td></tr>\n"
        "<tr><th>alone</th><td>inconclusive</td></tr><tr><th>no verdict</th><td>seeds</td></tr>"
    )
    assert list(of_html(html)) == [
        ("full minus LoRA, 16 labels", [-0.012], "supported"),
        ("full minus LoRA, 64 labels", [0.003, 0.1], "not supported"),
        ("alone", [], "inconclusive"),
    ]
    printed = "Dice: -0.004 [-0.010, +0.003]: supported\nit: not supported (not supported, supported)\n"
    printed += "8 intervals, {'not supported': 6}\nwarm-up, roc_auc: +0.031 [+0.01, +0.05] supported\n"
    assert list(of_text(printed, LINE)) == [
        ("Dice", [-0.004, -0.01, 0.003], "supported"),
        ("it", [], "not supported"),
        ("warm-up, roc_auc", [0.031, 0.01, 0.05], "supported"),
    ]
    prose = "| a | **not testable here** | weights |\n| b | 0.1 | inconclusive |\n| supported claims | x |\n"
    assert [(label, words) for label, _, words in of_text(prose, PROSE)] == [
        ("a", "not testable here"),
        ("b", "inconclusive"),
    ]
