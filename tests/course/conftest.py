"""A small notebook that keeps every rule of the course, to be damaged by the tests."""

import copy

import pytest

from mammo_utils.course import rules, write

OPENING = f"""\
# An example

A notebook that is only here to be tested by the machinery.

Afterwards you will be able to trust it.  About 1 minute on two cores.  It tests no claim.

{rules.BANNER}"""
ENDING = """\
## What the papers say and what was measured here

Nothing.

## Limits

Many; see [the start](00_start.ipynb#top), [a table](../data/table.csv) and [a site](https://example.org).

## Exercises

Compute the area."""
SOLUTION = '''\
def area(mask):
    """Number of pixels of a mask."""
    return int(mask.sum())


double = 2 * area(numbers > 0)'''
CHECK = """\
from mammo_utils.course import checks

checks.function("area", area, [((np.ones((2, 3)),), 6)], hint="sum the mask")
checks.compare("the doubled area", double, 4, hint="twice the area")"""
FIGURE = """\
import matplotlib.pyplot as plt
import numpy as np

numbers = np.arange(3)
plt.plot(numbers)
plt.show()
print("largest:", numbers.max())"""
TIMED = """\
import sys, time

start = time.perf_counter()
for done in range(3):
    sys.stdout.write(f"\\r{done}")
    sys.stdout.flush()
assert time.perf_counter() > start"""
WIDGET = """\
import ipywidgets

ipywidgets.IntSlider(description="window [HU]")"""


def cell(kind, source, *tags):
    new = {"cell_type": kind, "metadata": {"tags": list(tags)} if tags else {}, "source": source}
    return new | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def plain():
    """The notebook as an author leaves it: no ids, noise in the metadata, nothing run."""
    cells = [
        cell("markdown", OPENING),
        cell("code", write.current_setup_cell(), "colab-setup", "nbval-skip"),
        cell("code", FIGURE),
        cell("code", TIMED, "nbval-ignore-output"),
        cell("code", WIDGET, "widget", "nbval-ignore-output"),
        cell("code", "import os\n\nprint(os.environ['MAMMO_PRECISION'], 'MAMMO_FILE' in os.environ)"),
        cell("markdown", ENDING),
        cell("code", SOLUTION, "solution"),
        cell("code", CHECK),
        cell("markdown", "## Next\n\n[Start again](00_start.ipynb)"),
    ]
    cells[3]["metadata"]["scrolled"] = True
    cells[3]["metadata"]["execution"] = {"iopub.execute_input": "2024-01-01T00:00:00"}
    metadata = {"language_info": {"version": "3.8.1"}, "widgets": {"state": {}}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of notebooks with the example in it, run and written once."""
    home = tmp_path_factory.mktemp("course") / "notebooks"
    home.mkdir()
    (home / "00_start.ipynb").write_text("{}")
    (home.parent / "data").mkdir()
    (home.parent / "data" / "table.csv").touch()
    write.save(home / "01_example.ipynb", write.stable(write.run(plain(), folder=home)))
    return home


@pytest.fixture
def example(folder):
    """The example as it was written, free to be changed."""
    return copy.deepcopy(write.read(folder / "01_example.ipynb"))


@pytest.fixture
def unrun():
    return plain()
