import base64
import copy
import io
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from PIL import Image

from mammo_utils.course import write


def outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


def test_running_twice_gives_the_same_bytes(folder, example, monkeypatch):
    monkeypatch.setenv("MAMMO_FILE", "private.dcm")
    monkeypatch.setenv("MAMMO_PRECISION", "bf16-mixed")
    again = write.text(write.stable(write.run(example, folder=folder)))
    assert again == (folder / "01_example.ipynb").read_text(encoding="utf-8")


def test_an_author_s_file_without_ids_gives_the_same_bytes_too(folder, unrun):
    written = write.text(write.stable(write.run(unrun, folder=folder)))
    assert written == (folder / "01_example.ipynb").read_text(encoding="utf-8")


def test_what_is_written_is_a_valid_notebook_as_nbformat_would_write_it(folder):
    path = folder / "01_example.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8")


def test_nothing_that_differs_between_runs_is_kept(folder, example):
    content = (folder / "01_example.ipynb").read_text(encoding="utf-8")
    for noise in (
        "scrolled",
        "iopub",
        '"widgets":',
        "widget-view",
        "3.8.1",
        "transient",
        sys.version.split()[0],
    ):
        assert noise not in content, noise
    picture = next(output["data"]["image/png"] for output in outputs(example) if "data" in output)
    chunks = re.findall(rb"IHDR|pHYs|tEXt|IDAT|IEND", base64.b64decode(picture))
    assert b"tEXt" not in chunks
    assert {b"IHDR", b"IDAT", b"IEND"} <= set(chunks)


def test_a_picture_shrinks_once_and_keeps_its_look():
    rows, columns = np.mgrid[:200, :160]
    before = np.stack([(rows + columns) // 2, rows, np.full_like(rows, 40)], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(before).save(file, "png")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "x"}
    output = {"output_type": "display_data", "metadata": {}, "data": data}
    cell = {"cell_type": "code", "source": "x", "metadata": {}, "execution_count": 1, "outputs": [output]}
    once = write.stable({"cells": [cell]})
    assert write.stable(once) == once
    picture = once["cells"][0]["outputs"][0]["data"]["image/png"]
    after = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
    assert np.abs(after.astype(int) - before).mean() < 6


def test_the_kernel_has_the_conditions_of_the_tests_and_none_of_the_reader(example):
    assert {"name": "stdout", "output_type": "stream", "text": "32-true False\n"} in outputs(example)


def test_progress_is_saved_in_its_last_state_and_widgets_without_output(example):
    timed, widget = example["cells"][3], example["cells"][4]
    assert [output["text"] for output in timed["outputs"]] == ["2"]
    assert widget["outputs"] == []


def test_stable_keeps_ids_replaces_repeated_ones_and_changes_nothing_twice(example):
    for number, cell in enumerate(example["cells"]):
        cell["id"] = f"mine-{min(number, 5)}"
    once = write.stable(example)
    ids = [cell["id"] for cell in once["cells"]]
    assert ids[:6] == [f"mine-{number}" for number in range(6)]
    assert len(set(ids)) == len(ids)
    assert write.stable(copy.deepcopy(once)) == once


def test_streams_are_joined_by_name_only_where_they_touch(example):
    def stream(name, words):
        return {"output_type": "stream", "name": name, "text": words}

    parts = [stream("stdout", "a"), stream("stdout", "b\n"), stream("stderr", "c"), stream("stdout", "d")]
    example["cells"][2]["outputs"] = parts
    joined = write.stable(example)["cells"][2]["outputs"]
    assert joined == [stream("stdout", "ab\n"), stream("stderr", "c"), stream("stdout", "d")]


def write_by_command(*paths):
    command = [sys.executable, "-m", "mammo_utils.course.write", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_refreshes_the_set_up_cell_and_leaves_a_failing_notebook_as_it_was(tmp_path, unrun):
    bad, good = tmp_path / "00_bad.ipynb", tmp_path / "01_good.ipynb"
    broken = copy.deepcopy(unrun)
    broken["cells"] = [broken["cells"][0], broken["cells"][2] | {"source": "1 / 0"}]
    bad.write_text(json.dumps(broken))
    unrun["cells"][1]["source"] = "print('an old set-up cell')"
    good.write_text(json.dumps(unrun))
    result = write_by_command(bad, good)
    assert result.returncode == 1
    assert "00_bad.ipynb is left as it was" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert bad.read_text() == json.dumps(broken)
    assert write.read(good)["cells"][1]["source"] == write.current_setup_cell()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["00_bad.ipynb", *["01_good.ipynb"] * 2]


def nbval(path):
    """Failures and passes of a strict run, as `make test` does it."""
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q", "-n0", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={path.parent}", str(path)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(path.parent)} | write.ENVIRONMENT
    text = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    return {
        word: int(n) for n, word in re.findall(r"(\d+) (failed|passed|skipped|error)", text.splitlines()[-1])
    }


def test_strict_nbval_passes_on_what_was_written_and_fails_on_another_number(folder, tmp_path, example):
    assert nbval(folder / "01_example.ipynb") == {"passed": 6, "skipped": 1}
    for output in outputs(example):
        if output.get("text") == "largest: 2\n":
            output["text"] = "largest: 3\n"
    write.save(tmp_path / "01_changed.ipynb", example)
    assert nbval(tmp_path / "01_changed.ipynb") == {"failed": 1, "passed": 5, "skipped": 1}


@pytest.mark.parametrize("name", write.ENVIRONMENT)
def test_makefile_tests_under_the_conditions_of_the_writer(name, pytestconfig):
    makefile = (pytestconfig.rootpath / "Makefile").read_text()
    course = re.search(r"^COURSE := (.*)$", makefile, re.M).group(1).split()
    assert f"{name}={write.ENVIRONMENT[name]}" in course
    assert set(write.PRIVATE) == set(re.search(r"^unexport (.*)$", makefile, re.M).group(1).split())
