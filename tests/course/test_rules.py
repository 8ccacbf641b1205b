"""Each rule is broken once on a notebook that keeps them all, so that none of them can pass by itself."""

import json

import pytest

from mammo_utils.course import rules, write


def problems(notebook, folder):
    """What is found after `make notebooks` would have written it."""
    write.save(folder / "01_damaged.ipynb", write.stable(notebook))
    found = rules.problems(folder / "01_damaged.ipynb")
    (folder / "01_damaged.ipynb").unlink()
    return found


def test_the_example_keeps_every_rule(folder):
    assert rules.problems(folder / "01_example.ipynb") == []


def change(place, old, new):
    def damage(cells):
        assert old in cells[place]["source"]
        cells[place]["source"] = cells[place]["source"].replace(old, new)

    return damage


def tag(place, *tags):
    return lambda cells: cells[place]["metadata"].update(tags=list(tags))


def show(place, **output):
    return lambda cells: cells[place]["outputs"].append(output)


# One black pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def stream(name, text):
    return {"output_type": "stream", "name": name, "text": text}


def data(kind):
    return {"output_type": "display_data", "metadata": {}, "data": {kind: PIXEL, "text/plain": "y"}}


def error():
    return {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}


# Places: 0 opening, 1 set-up, 2 figure, 3 timed, 4 widget, 5 prints, 6 ending, 7 solution, 8 check.
DAMAGES = {
    "title": (change(0, "# An example", "An example"), "one H1 title"),
    "second title": (change(6, "## Limits", "# More\n\n## Limits"), "one H1 title"),
    "no purpose": (change(0, "A notebook that", "| A notebook that"), "sentence of purpose"),
    "no aim": (change(0, "be able to", "wish to"), "what you will be able to do"),
    "no minutes": (change(0, "1 minute on two cores", "soon"), "the minutes on two cores"),
    "no claims": (change(0, "claim", "idea"), "which claims it tests"),
    "no banner": (change(0, rules.BANNER, ""), "the banner"),
    "set-up moved": (lambda cells: cells.insert(1, cells.pop(6)), "second cell must be the set-up cell"),
    "set-up changed": (change(1, "google", "goggle"), "set-up cell differs"),
    "no limits": (change(6, "## Limits", "## Restrictions"), "end with the headings"),
    "wrong order": (change(6, "## Exercises", "## Next"), "end with the headings"),
    "no paper": (change(6, "the papers say", "they say"), "what the paper says"),
    "no solution": (tag(7), "no cell is tagged solution"),
    "tag": (tag(5, "hide-input"), "unknown tags ['hide-input']"),
    "length": (change(5, "import os", "import os\n" * 15), "16 lines of code"),
    "skipped": (tag(5, "nbval-skip"), "left out of the tests"),
    "semicolon": (change(5, ".environ)", ".environ);"), "ends in a semicolon"),
    "interact": (change(5, "import os", "interact(print)"), "cannot be compared"),
    "path in code": (change(5, "import os", "open('/home/ann/x.dcm')"), "path /home/ann/x.dcm"),
    "path in prose": (change(6, "Many", "See C:\\Users\\ann\\x"), "absolute path C:"),
    "path in output": (
        show(5, **stream("stdout", "saved /tmp/a1/x.png")),
        "shows the absolute path /tmp/a1/x.png",
    ),
    "widget output": (tag(4, "widget"), "saved without output and tagged"),
    "error": (show(5, **error()), "ended in an error"),
    "stderr": (show(5, **stream("stderr", "a warning")), "wrote to stderr"),
    "mute figure": (show(7, **data("image/png")), "prints none of its numbers"),
    "address": (show(5, **stream("stdout", "<Axes at 0x7f0011223344>")), "memory address"),
    "not run": (lambda cells: cells[5].update(execution_count=None), "must have been run in order"),
    "too few compared": (tag(5, "nbval-ignore-output"), "2 of 5 code cells are not compared"),
    "nothing asserted": (change(3, "assert time", "time"), "asserts nothing"),
    "dead link": (
        change(6, "../data/table.csv", "../data/tables.csv"),
        "../data/tables.csv, which is not there",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_broken_rule_is_named(name, folder, example):
    damage, words = DAMAGES[name]
    damage(example["cells"])
    found = problems(example, folder)
    assert any(words in problem for problem in found), found
    assert len(found) <= 2, found


def test_size_is_bounded(folder, example):
    example["cells"][6]["source"] += "x" * rules.MAX_BYTES
    assert any("more than 1500000" in problem for problem in problems(example, folder))


@pytest.mark.parametrize("state", [{}, {"application/vnd.jupyter.widget-state+json": {}}])
def test_widget_state_is_refused(folder, example, state):
    path = folder / "01_damaged.ipynb"
    example["metadata"] = example["metadata"] | {"widgets": state}
    path.write_text(write.text(example))
    found = rules.problems(path)
    path.unlink()
    assert any("metadata.widgets" in problem for problem in found)
    assert any("not as `make notebooks` writes it" in problem for problem in found)


def test_a_file_saved_by_an_editor_is_refused(folder, example):
    path = folder / "01_damaged.ipynb"
    path.write_text(json.dumps(example))
    found = rules.problems(path)
    path.unlink()
    assert found == ["the file is not as `make notebooks` writes it"]


def test_the_start_needs_neither_paper_nor_exercise(folder, example):
    path = folder / "00_damaged.ipynb"
    example["cells"][6]["source"] = example["cells"][6]["source"].replace("the papers say", "they say")
    del example["cells"][7:9], example["cells"][3]
    write.save(path, write.stable(example))
    found = rules.problems(path)
    path.unlink()
    assert found == []


def test_links_in_code_blocks_are_code():
    cell = {"cell_type": "markdown", "metadata": {}, "source": "```\n[a](b.png)\n```\n[c](d.png)"}
    assert rules.dead_links({"cells": [cell]}, ".") == ["link to d.png, which is not there"]
