"""``make notebook-figures``: the figures of the notebooks as PNG files, for slides."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from mammo_utils.course.write import read


def export(notebook, folder) -> list[Path]:
    """Save every PNG output of a notebook in ``folder`` as ``NN_name_1.png``, ``NN_name_2.png`` …"""
    notebook, folder = Path(notebook), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [
        output["data"]["image/png"]
        for cell in read(notebook)["cells"]
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    paths = [folder / f"{notebook.stem}_{number}.png" for number in range(1, len(pictures) + 1)]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(base64.b64decode(picture))
    return paths


if __name__ == "__main__":
    for name in sys.argv[2:]:
        for path in export(name, sys.argv[1]):
            print(path)
