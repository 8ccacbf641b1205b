"""What every notebook of the course must be, checked on its JSON: `problems` lists what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mammo_utils.course import write

COURSE = (
    "00_start_here",
    "01_preprocessing",
    "02_splits_and_scores",
    "03_architectures",
    "04_self_supervision",
    "05_fine_tuning",
    "06_losses",
    "07_screening",
    "08_grad_cam",
    "09_histology",
    "10_recipe",
    "11_before_the_clinic",
)
BANNER = "**Teaching and research only: nothing here is a medical device.**"
TAGS = {"colab-setup", "nbval-skip", "nbval-ignore-output", "solution", "widget"}
MAX_BYTES, MAX_LINES = 1_500_000, 15
ENDING = ("## Limits", "## Exercises", "## Next")


def problems(path) -> list[str]:
    """Everything in the notebook at ``path`` that breaks a rule, in words; empty for a good one.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "00_empty.ipynb")
    ...     write.save(path, write.stable({"cells": []}))
    ...     problems(path)[0]
    'the first cell must be Markdown with the one H1 title'
    """
    path = Path(path)
    notebook = write.read(path)
    rules = (_file, _opening, _ending, _cells, _outputs, _counts, _ignored, _links)
    return [problem for rule in rules for problem in rule(path, notebook)]


def _file(path: Path, notebook: dict):
    content = path.read_text(encoding="utf-8")
    if len(content.encode()) > MAX_BYTES:
        yield f"the file has {len(content.encode())} bytes, more than {MAX_BYTES}"
    if "widgets" in notebook["metadata"]:
        yield "metadata.widgets is there; GitHub does not show such a notebook"
    if content != write.text(write.stable(notebook)):
        yield "the file is not as `make notebooks` writes it"


def _opening(path: Path, notebook: dict):
    cells = notebook["cells"]
    first = cells[0]["source"] if cells and cells[0]["cell_type"] == "markdown" else ""
    titles = [
        line for cell in _markdown(cells) for line in _prose(cell).splitlines() if line.startswith("# ")
    ]
    if not first.startswith("# ") or len(titles) != 1:
        yield "the first cell must be Markdown with the one H1 title"
    wanted = {
        "a sentence of purpose below the title": r"\A# [^\n]+\n\n[^\n#*|>-][^\n]{20,}",
        "what you will be able to do": r"you will be able to",
        "the minutes on two cores": r"\d+ minutes? on two cores",
        "which claims it tests": r"(?i:\bclaims?\b)",
        f"the banner {BANNER}": re.escape(BANNER),
    }
    yield from (
        f"the first cell must say {what}" for what, regex in wanted.items() if not re.search(regex, first)
    )
    if len(cells) < 2 or _tags(cells[1]) != {"colab-setup", "nbval-skip"}:
        yield "the second cell must be the set-up cell, tagged colab-setup and nbval-skip"
    elif cells[1]["source"] != write.current_setup_cell():
        yield "the set-up cell differs from mammo_utils.course.colab.setup_cell"


def _ending(path: Path, notebook: dict):
    headings = [line for cell in _markdown(notebook["cells"]) for line in _prose(cell).splitlines()]
    places = [headings.index(title) if title in headings else -1 for title in ENDING]
    if -1 in places or places != sorted(places):
        yield f"the notebook must end with the headings {', '.join(ENDING)}"
    if path.name.startswith("00"):
        return
    if not any(re.match(r"## .*\bpapers?\b", line) for line in headings):
        yield "a heading must set what the paper says beside what was measured here"
    if not any("solution" in _tags(cell) for cell in notebook["cells"]):
        yield "no cell is tagged solution"


def _cells(path: Path, notebook: dict):
    for number, cell in enumerate(notebook["cells"]):
        tags, source = _tags(cell), cell["source"]
        if tags - TAGS:
            yield f"cell {number} has unknown tags {sorted(tags - TAGS)}"
        if cell["cell_type"] == "code":
            length = sum(bool(line.strip()) for line in source.splitlines())
            if length > MAX_LINES:
                yield f"cell {number} has {length} lines of code, more than {MAX_LINES}"
            if "nbval-skip" in tags and "colab-setup" not in tags:
                yield f"cell {number} is left out of the tests; only the set-up cell may be"
            if source.rstrip().endswith(";"):
                yield f"cell {number} ends in a semicolon, which hides nothing when the notebook is tested"
            if re.search(r"\bclear_output\b|\binteract\(|\bOutput\(", source):
                yield f"cell {number} uses clear_output, interact or Output, which cannot be compared"
        if found := _private(source):
            yield f"cell {number} names the absolute path {found}"


def _outputs(path: Path, notebook: dict):
    for number, cell in enumerate(notebook["cells"]):
        outputs = cell.get("outputs", [])
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        printed = any(output.get("name") == "stdout" for output in outputs)
        if "widget" in _tags(cell):
            if outputs or "nbval-ignore-output" not in _tags(cell):
                yield f"cell {number}: a widget is saved without output and tagged nbval-ignore-output"
            continue
        if any(output["output_type"] == "error" for output in outputs):
            yield f"cell {number} ended in an error"
        if any(output.get("name") == "stderr" for output in outputs):
            yield f"cell {number} wrote to stderr, where warnings carry paths that differ in each run"
        if any("jupyter.widget" in kind for kind in kinds):
            yield f"cell {number} shows a widget but is not tagged widget"
        if any(kind.startswith("image/") for kind in kinds) and not printed:
            yield f"cell {number} draws a figure and prints none of its numbers, so nothing of it is compared"
        words = json.dumps([_without_images(output) for output in outputs])
        if found := _private(words):
            yield f"cell {number} shows the absolute path {found}"
        if re.search(r"\b0x[0-9a-f]{6,}", words):
            yield f"cell {number} shows a memory address"


def _counts(path: Path, notebook: dict):
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if counts != list(range(1, len(counts) + 1)):
        yield f"code cells must have been run in order, 1 to {len(counts)}, not {counts}"


def _ignored(path: Path, notebook: dict):
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    compared = [cell for cell in code if not _tags(cell) & {"widget", "colab-setup"}]
    ignored = [cell for cell in compared if "nbval-ignore-output" in _tags(cell)]
    if 4 * len(ignored) > len(compared):
        yield f"{len(ignored)} of {len(compared)} code cells are not compared, more than a quarter"
    for cell in ignored:
        if not re.search(r"^\s*assert ", cell["source"], re.M):
            yield f"cell {notebook['cells'].index(cell)} is not compared and asserts nothing"


def _links(path: Path, notebook: dict):
    yield from dead_links(notebook, path.parent)


def dead_links(notebook: dict, folder) -> list[str]:
    """The relative links and pictures of a notebook in ``folder`` that lead nowhere."""
    targets = [t for cell in _markdown(notebook["cells"]) for t in re.findall(r"\]\(([^)\s]+)", _prose(cell))]
    files = [target.split("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    return [f"link to {file}, which is not there" for file in files if not Path(folder, file).exists()]


def _tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", ()))


def _markdown(cells: list[dict]) -> list[dict]:
    return [cell for cell in cells if cell["cell_type"] == "markdown"]


def _prose(cell: dict) -> str:
    """The Markdown without its code blocks."""
    return re.sub(r"^```.*?^```", "", cell["source"], flags=re.M | re.S)


def _private(words: str) -> str | None:
    """The first path of somebody's own machine in ``words``."""
    home = r"(?<![\w.~/])/(?:home|root|Users|tmp|var|work|opt|mnt|media|private|scratch|data)/[\w./-]+"
    found = re.search(home + r"|\b[A-Z]:\\+\w[^\s\"']*", words)
    return found.group() if found else None


def _without_images(output: dict) -> dict:
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return output | {"data": data}
