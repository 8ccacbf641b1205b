"""The stable writer of the notebooks: ``make notebooks``.

A notebook with its outputs is the master.  It is run from a fresh kernel and written so that two runs give
the same bytes: fixed cell ids, sorted keys, no versions, times, widget state or library marks.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from mammo_utils.course import colab, exercises

# What the notebooks are written and tested under; the Makefile holds the same for the tests.
ENVIRONMENT = {"MAMMO_PROFILE": "cpu", "MAMMO_PRECISION": "32-true", "OMP_NUM_THREADS": "1"}
# Settings of a reader's own machine, which must not reach the master.
PRIVATE = ("MAMMO_FILE", "MAMMO_DATA", "MAMMO_DEVICE")
CELL_SECONDS = 180
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read(path) -> dict:
    """The notebook as plain dictionaries, every ``source`` and text output one string."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", ()):
            for holder, key in [
                (output, "text"),
                *((output.get("data", {}), k) for k in output.get("data", {})),
            ]:
                if isinstance(holder.get(key), list):
                    holder[key] = "".join(holder[key])
    return notebook


def text(notebook: dict) -> str:
    """The notebook as the file's text: keys sorted, one line of source or output a line of the file."""
    lines = json.loads(json.dumps(notebook))
    for cell in lines["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = output["text"].splitlines(keepends=True)
            for kind, value in output.get("data", {}).items():
                if isinstance(value, str) and not kind.startswith("image/p"):
                    output["data"][kind] = value.splitlines(keepends=True)
    return json.dumps(lines, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def save(path, notebook: dict) -> None:
    """Write the file whole or not at all, and only if it changes."""
    path, content = Path(path), text(notebook)
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        part = path.with_suffix(".part")
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)


def stable(notebook: dict) -> dict:
    """A copy in which everything that may differ between two runs of the same code is gone or fixed.

    Cells keep their ids; a missing or repeated one is derived from place and source.  Cells keep their tags
    and lose other metadata; executed cells are counted 1..N; widget cells are saved without output; streams
    of one name are joined, with only the last state of a line that was overwritten.
    """
    cells, seen, count = [], set(), 0
    for place, cell in enumerate(notebook["cells"]):
        name = cell.get("id")
        if not name or name in seen:
            name = hashlib.sha256(f"{place}\n{cell['source']}".encode()).hexdigest()[:8]
        seen.add(name)
        tags = sorted(cell["metadata"].get("tags", ()))
        new = {"cell_type": cell["cell_type"], "id": name, "source": cell["source"].rstrip()}
        new["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            ran = cell["execution_count"] is not None
            count += ran
            new["execution_count"] = count if ran else None
            outputs = [] if "widget" in tags else _joined(cell["outputs"])
            new["outputs"] = [_output(output, new["execution_count"]) for output in outputs]
        cells.append(new)
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def _joined(outputs: list[dict]) -> list[dict]:
    joined = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            joined[-1] = before | {"text": before["text"] + output["text"]}
        else:
            joined.append(output)
    return joined


def _output(output: dict, count: int | None) -> dict:
    new = {key: value for key, value in output.items() if key != "transient"}
    if "text" in new:
        new["text"] = re.sub(r"[^\n]*\r(?!\n)", "", new["text"])
    if "execution_count" in new:
        new["execution_count"] = count
    if "data" in new:
        new["data"] = {kind: value for kind, value in new["data"].items() if "jupyter.widget" not in kind}
        if "image/png" in new["data"]:
            new["data"]["image/png"] = _small_png(new["data"]["image/png"])
    return new


def _small_png(encoded: str) -> str:
    """The same picture in 256 colours and without the chunk in which matplotlib names its version.

    A page of grey pictures shrinks to a third, so that a notebook stays small enough to be shown on the web.
    160 greys keep mammograms free of tints, the other colours come from the coloured pixels.
    """
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    if picture.mode != "P":
        pixels = np.asarray(picture.convert("RGB"))
        coloured = np.ptp(pixels, axis=-1) > 8
        places = np.rint(pixels.mean(axis=-1) / 255 * 159).astype(np.uint8)
        palette = np.repeat(np.linspace(0, 255, 160).round().astype(int), 3).tolist()
        if coloured.any():
            found = Image.fromarray(pixels[coloured][None]).quantize(96, Image.Quantize.MAXCOVERAGE)
            places[coloured] = 160 + np.asarray(found)[0]
            palette += found.getpalette()[: 3 * 96]
        picture = Image.fromarray(places)
        picture.putpalette(palette)
    picture.info.clear()
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def run(notebook: dict, *, folder) -> dict:
    """Execute all cells in a fresh kernel of this environment, in ``folder``, under ``ENVIRONMENT``.

    Raises ``nbclient.exceptions.CellExecutionError`` or ``CellTimeoutError`` with the cell's source.
    """
    import nbformat
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(KernelSpecManager):
        """Starts the interpreter that is running now, whatever kernels are installed for this user."""

        def get_kernel_spec(self, kernel_name):
            return KernelSpec(**get_kernel_dict())

    node = nbformat.from_dict(stable(notebook))
    manager = AsyncKernelManager(kernel_spec_manager=ThisPython())
    environment = {key: value for key, value in os.environ.items() if key not in PRIVATE} | ENVIRONMENT
    client = NotebookClient(node, km=manager, timeout=CELL_SECONDS, store_widget_state=False)
    client.execute(cwd=str(folder), env=environment)
    return json.loads(json.dumps(node))


def with_setup_cell(notebook: dict) -> dict:
    """The notebook with the current set-up cell for Colab in place of the one tagged ``colab-setup``."""
    for cell in notebook["cells"]:
        if "colab-setup" in cell["metadata"].get("tags", ()):
            cell["source"] = current_setup_cell()
    return notebook


def current_setup_cell() -> str:
    """The set-up cell as pyproject.toml of this clone wants it."""
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    return colab.setup_cell(project.get("urls", {}), project["version"])


def main() -> int:
    """Run and rewrite the given notebooks, then the exercises of all notebooks beside them."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    parser = argparse.ArgumentParser("python -m mammo_utils.course.write", description=main.__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    failed = []
    for path in parser.parse_args().notebooks:
        print(path, flush=True)
        try:
            save(path, stable(run(with_setup_cell(read(path)), folder=path.parent)))
        except (CellExecutionError, CellTimeoutError) as error:
            print(f"{path} is left as it was:\n{error}", file=sys.stderr)
            failed.append(path)
            continue
        (path.parent / "exercises").mkdir(exist_ok=True)
        save(path.parent / "exercises" / path.name, exercises.cut(read(path)))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
