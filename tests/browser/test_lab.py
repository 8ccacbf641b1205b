"""The course in JupyterLab, as a student meets it: notebooks run, figures show, widgets obey the keyboard."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as Late

from mammo_utils.course import write

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SECONDS = 240
# JupyterLab shows tracebacks and stderr alike; the notebooks write neither.
ERROR = '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]'
STARTED = (
    "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(p => /[*\\d]/.test(p.innerText))"
)
SLIDER = """\
import io
import ipywidgets
import numpy as np
from PIL import Image

def picture(level):
    file = io.BytesIO()
    Image.fromarray(np.full((40, 40), level, np.uint8)).save(file, "png")
    return file.getvalue()

slider = ipywidgets.IntSlider(100, 0, 255, description="level [grey]")
view = ipywidgets.Image(value=picture(100))
slider.observe(lambda change: setattr(view, "value", picture(change.new)), "value")
ipywidgets.VBox([slider, view])"""
FIGURE = "import matplotlib.pyplot as plt\n\nplt.plot([1, 2])\nplt.show()"


def run_all(page, lab, name, notebook):
    """Open a copy without outputs and without Colab cell, run all its cells and wait for the last one."""
    folder, address = lab
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    write.save(folder / name, notebook)
    page.goto(address(name))
    cells = sum(cell["cell_type"] == "code" for cell in notebook["cells"])
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(cells - 1).wait_for(
        state="attached", timeout=60_000
    )
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]:visible").wait_for(timeout=60_000)
    for _ in range(10):  # the page may call a kernel idle that does not yet listen; the order is then lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            page.wait_for_function(STARTED, timeout=5_000)
            break
        except Late:
            continue
    page.wait_for_function(
        """([cells, failed]) => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            const done = prompts.filter(prompt => /\\[\\d+\\]/.test(prompt.innerText)).length == cells;
            return done || document.querySelector(failed);
        }""",
        arg=[cells, ERROR],
        timeout=SECONDS * 1000,
    )


def errors(page):
    return page.locator(ERROR).all_inner_texts()


def pictures(page):
    """Width and height of every picture that the page shows in an output."""
    page.wait_for_function("[...document.querySelectorAll('.jp-OutputArea img')].every(i => i.complete)")
    found = page.locator(".jp-OutputArea img").evaluate_all(
        "all => all.map(i => [i.naturalWidth, i.clientHeight])"
    )
    return [tuple(size) for size in found if min(size) > 0]


def sliders_obey_the_keyboard(page):
    """Press an arrow key on the first slider and wait until the picture of its widget has changed."""
    slider = page.locator(".widget-slider [role=slider], .widget-slider input[type=range]").first
    slider.scroll_into_view_if_needed()
    # The picture that moves with it is the nearest one in the same output.
    output = page.locator(".jp-OutputArea-output", has=slider).last
    picture = output.locator("img.widget-image").first
    before = picture.get_attribute("src")
    number = output.locator(".widget-readout").first.inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([i, src]) => i.src != src", arg=[picture.element_handle(), before], timeout=30_000
    )
    assert output.locator(".widget-readout").first.inner_text() != number


def code(source):
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


def test_a_small_notebook_shows_its_figure_and_its_slider_moves_a_picture(page, lab):
    run_all(page, lab, "small.ipynb", write.stable({"cells": [code(FIGURE), code(SLIDER)]}))
    assert errors(page) == []
    assert len(pictures(page)) == 2
    sliders_obey_the_keyboard(page)


def test_an_error_is_seen(page, lab):
    run_all(page, lab, "broken.ipynb", write.stable({"cells": [code("1 / 0"), code("2")]}))
    assert "ZeroDivisionError" in errors(page)[0]
    assert pictures(page) == []


def test_the_start_runs_and_shows_a_figure(page, lab):
    run_all(page, lab, "00_start_here.ipynb", write.read(NOTEBOOKS / "00_start_here.ipynb"))
    assert errors(page) == []
    assert pictures(page)


def test_window_and_level_move_by_keyboard(page, lab):
    run_all(page, lab, "01_preprocessing.ipynb", write.read(NOTEBOOKS / "01_preprocessing.ipynb"))
    assert errors(page) == []
    sliders_obey_the_keyboard(page)


@pytest.mark.parametrize(("forbidden", "word"), [("0", "skipped"), ("1", "error")])
def test_without_a_browser_the_tests_skip_with_a_reason_or_fail_where_that_is_forbidden(
    tmp_path, forbidden, word
):
    command = [sys.executable, "-m", "pytest", "-rs", "-n0", "-p", "no:cacheprovider", __file__]
    command += ["-k", "test_an_error_is_seen"]
    environment = {"PATH": "/nowhere", "HOME": str(tmp_path), "MAMMO_REQUIRE_BROWSER": forbidden}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=NOTEBOOKS.parent)
    assert f"1 {word}" in result.stdout.splitlines()[-1]
    assert "apt-get install chromium" in result.stdout
    assert (result.returncode == 0) == (word == "skipped")
