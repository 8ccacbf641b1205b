"""What a notebook needs on Colab; this module imports only what Colab certainly has."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

# Colab's own builds fit its drivers and each other; another version of one of them breaks the rest.
KEPT = ("torch", "torchvision", "numpy", "pandas")

_BY_HAND = """\
# On Colab this cell installs the course; anywhere else it does nothing.
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    course = sorted(Path("/content").glob("mammo*"))
    if course:
        %pip install --quiet --no-deps "{course[-1]}"
        from mammo_utils.course import colab

        colab.install_missing()
    else:
        print("Upload the course with the Files panel, as a zip of its folder called mammo_utils.zip,")
        print("or clone it to /content/mammo_utils; then run this cell again.")"""

_FROM_ADDRESS = """\
# On Colab this cell installs the course; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps "git+{address}@v{version}"
    from mammo_utils.course import colab

    colab.install_missing()"""


def setup_cell(urls: dict[str, str], version: str) -> str:
    """Source of the set-up cell of every notebook, given ``[project.urls]`` and the version of the project.

    While no address is decided (``urls`` has no ``Repository``) it says how to bring the course by hand.

    >>> "git+https://example.org/us@v1.0" in setup_cell({"Repository": "https://example.org/us"}, "1.0")
    True
    """
    if "Repository" not in urls:
        return _BY_HAND
    return _FROM_ADDRESS.format(address=urls["Repository"], version=version)


def missing(requirements: list[str]) -> list[str]:
    """Those of the requirement lines that no installed package meets by name, extras and ``KEPT`` left out.

    >>> missing(["numpy>=99", "no-such-package>=1", "pytest>=8; extra == 'test'"])
    ['no-such-package>=1']
    """
    from packaging.requirements import Requirement

    installed = {_normal(distribution.metadata["Name"] or "") for distribution in metadata.distributions()}
    wanted = [Requirement(line) for line in requirements]
    plain = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    return [str(need) for need in plain if need.name not in KEPT and _normal(need.name) not in installed]


def install_missing() -> None:
    """Install the course's dependencies that are not there, without touching the versions of ``KEPT``."""
    needed = missing(metadata.requires("mammo-utils") or [])
    if needed:
        kept = [f"{name}=={metadata.version(name)}" for name in KEPT]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needed, *kept], check=True)
    print("the course is ready" + (f"; installed {', '.join(needed)}" if needed else ""))


def _normal(name: str) -> str:
    """A package's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
