"""The one knob: how large a run is, its device, precision and seed, and where files go."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Profile:
    """Sizes of a run.

    ``size`` is the image height in pixels, ``women`` the number of labelled women, ``repeats`` the number of
    seeds of a comparison.
    """

    name: str
    size: int
    women: int
    epochs: int
    batch_size: int
    encoder: str
    repeats: int


PROFILES = {
    "smoke": Profile("smoke", 64, 16, 1, 8, "test_efficientnet", 1),
    "cpu": Profile("cpu", 128, 64, 12, 16, "mobilenetv2_050", 3),
    "gpu": Profile("gpu", 512, 400, 40, 16, "efficientnet-b0", 10),
}


def choose(what: str, name: str, valid) -> str:
    """Return ``name`` if it is in ``valid``; otherwise raise a ``ValueError`` that lists the right names."""
    if name not in valid:
        raise ValueError(f"unknown {what} {name!r}; choose one of: {', '.join(map(str, valid))}")
    return name


def current(name: str | None = None) -> Profile:
    """The profile called ``name``; by default the one in the variable ``MAMMO_PROFILE``, else ``cpu``.

    >>> current("smoke").size
    64
    """
    return PROFILES[choose("profile", name or os.environ.get("MAMMO_PROFILE", "cpu"), PROFILES)]


def device() -> str:
    """The device that a run uses: ``cuda``, ``mps`` or ``cpu``; ``MAMMO_DEVICE`` overrides the choice."""
    import torch

    found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return os.environ.get("MAMMO_DEVICE", found)


def precision(wanted: str = "auto") -> str:
    """The Fabric precision that ``auto`` stands for on this machine: ``bf16-mixed`` or ``32-true``.

    bf16 is chosen on CUDA devices of compute capability 8.0 and above and on processors with AMX or
    AVX512-BF16; everywhere else it would be emulated and slower.  Another ``wanted`` value is returned as it
    is; ``MAMMO_PRECISION`` overrides ``auto``.
    """
    import torch

    wanted = os.environ.get("MAMMO_PRECISION", wanted) if wanted == "auto" else wanted
    if wanted != "auto":
        return wanted
    chosen = device()
    if chosen.startswith("cuda"):
        return "bf16-mixed" if torch.cuda.get_device_capability(chosen)[0] >= 8 else "32-true"
    fast = chosen == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if fast else "32-true"


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (`training.loop.fit` leaves them as they are)."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def cache_dir() -> Path:
    """Folder for prepared images and runs: ``MAMMO_CACHE``, else ``~/.cache/mammo_utils``; made if absent."""
    folder = Path(os.environ.get("MAMMO_CACHE", Path.home() / ".cache" / "mammo_utils"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shipped(name: str) -> Path:
    """Path of a file or folder that comes with the package, such as ``results/table.csv`` or ``weights``.

    It lies under ``data/`` in a clone and inside the package where a wheel was installed.

    Raises ``FileNotFoundError`` with the names that there are.
    """
    package = Path(__file__).parent
    homes = [package.parent / "data", package / "shipped"]
    for path in (home / name for home in homes):
        if path.exists():
            return path
    there = sorted(
        file.relative_to(home).as_posix()
        for home in homes
        for kind in ("weights", "results")
        for file in (home / kind).rglob("*")
        if file.is_file()
    )
    known = ", ".join(there) or "nothing"
    raise FileNotFoundError(f"{name!r} does not come with this package; it has: {known}")


def data_root(name: str) -> Path:
    """Folder in which the data set ``name`` is expected: ``MAMMO_DATA``/name, else ``data/name`` here."""
    return Path(os.environ.get("MAMMO_DATA", "data")) / name
