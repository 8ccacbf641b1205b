"""``python -m mammo_utils doctor``: what is installed and found here, and what to do about the rest."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from mammo_utils import profile

# Compressed transfer syntaxes that mammograms come in, by the names they are known by.
SYNTAXES = {
    "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended, 8 bits",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless, first order",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K lossless, RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Finding(NamedTuple):
    """One line of the report; ``state`` is ``ok``, ``absent`` (works without) or ``wrong`` (does not)."""

    state: str
    what: str
    detail: str
    remedy: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes none."""


def main(options: argparse.Namespace | None = None) -> int:
    """Print every finding with its remedy; 1 if something is wrong that the course needs."""
    found = []
    for examine in (packages, hardware, decoders, data_sets, extras):
        print(f"\n{examine.__name__.replace('_', ' ')}")
        for finding in examine():
            found.append(finding)
            print(f"  {finding.state:<6}  {finding.what}: {finding.detail}")
            if finding.remedy:
                print(f"          -> {finding.remedy}")
    wrong = [finding.what for finding in found if finding.state == "wrong"]
    print(f"\nto repair: {', '.join(wrong)}" if wrong else "\nready")
    return int(bool(wrong))


def packages() -> Iterator[Finding]:
    """Python and every package of the one list of dependencies, with its version."""
    from packaging.requirements import Requirement

    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    for line in metadata.requires("mammo-utils") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        remedy = f"{sys.executable} -m pip install '{wanted.name}{wanted.specifier}'"
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield Finding("wrong", wanted.name, "not installed", remedy)
            continue
        good = wanted.specifier.contains(version, prereleases=True)
        yield Finding(*("ok", wanted.name, version) if good else ("wrong", wanted.name, version, remedy))
    yield torch_pair()


def torch_pair() -> Finding:
    """Whether torch and torchvision were built for each other, found by loading both.

    A CPU-only torch beside torchvision of the default index fails at import, with a message about a missing
    operator that does not name the reason.
    """
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(
            "wrong",
            "torch with torchvision",
            f"they do not fit together ({reason})",
            "install both at once from one source: pip uninstall torch torchvision, then "
            "pip install torch torchvision (for a CPU-only build add the --index-url given in README.md)",
        )
    return Finding("ok", "torch with torchvision", "fit together")


def hardware() -> Iterator[Finding]:
    """The device, precision and free memory that a run would use."""
    import psutil

    available, total = psutil.virtual_memory().available / 2**30, psutil.virtual_memory().total / 2**30
    need = "close other programs, or set MAMMO_PROFILE=smoke" if available < 3 else ""
    yield Finding("absent" if need else "ok", "memory", f"{available:.1f} of {total:.1f} GiB free", need)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("ok", "disk here", f"{free:.0f} GiB free")
    yield Finding("ok", "processors", f"{os.cpu_count()}")
    try:
        import torch

        device, precision = profile.device(), profile.precision()
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding("wrong", "device", f"torch does not load ({error})", "see torch with torchvision above")
        return
    chosen = profile.current()
    yield Finding(
        "ok", "profile", f"{chosen.name}: {chosen.size} px, {chosen.women} women (MAMMO_PROFILE changes it)"
    )
    yield Finding("ok", "precision", f"{precision} (MAMMO_PRECISION changes it)")
    if device.startswith("cuda"):
        free, total = (part / 2**30 for part in torch.cuda.mem_get_info())
        yield Finding("ok", "device", f"{torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GiB free")
    elif device == "cpu" and torch.version.cuda is None and shutil.which("nvidia-smi"):
        remedy = "pip install --force-reinstall torch torchvision from the default index"
        yield Finding(
            "absent", "device", "cpu, though there is an NVIDIA driver: torch is a CPU-only build", remedy
        )
    else:
        yield Finding("ok", "device", device)


def decoders() -> Iterator[Finding]:
    """Which compressed transfer syntaxes of DICOM can be read, by the decoders that the reader uses."""
    try:
        from mammo_utils.data import pixels
    except ImportError as error:
        yield Finding("wrong", "decoders", f"the reader does not load ({error})", "see the packages above")
        return
    for uid, (_, remedy) in pixels.DECODERS.items():
        if pixels.available(uid):
            yield Finding("ok", SYNTAXES[uid], "can be read")
        else:
            remedy = f"{sys.executable} -m {remedy}"
            yield Finding("wrong", SYNTAXES[uid], "cannot be read: its decoder is missing", remedy)


def data_sets() -> Iterator[Finding]:
    """Which of the real data sets lie where ``MAMMO_DATA`` says; the course works without any."""
    from mammo_utils.data.catalogs import NAMES

    for name in NAMES:
        folder = profile.data_root(name)
        if folder.is_dir():
            yield Finding("ok", name, f"found in {folder}")
        else:
            source = import_module(f"mammo_utils.data.catalogs.{name}").SOURCE
            remedy = f"set MAMMO_DATA to the folder that holds {name}/; it comes from {source.where}"
            yield Finding("absent", name, f"no folder {folder}", remedy)


def extras() -> Iterator[Finding]:
    """A browser for the tests and weights that were downloaded for transfer from ImageNet."""
    browser = chromium()
    remedy = "only the browser tests need it: apt-get install chromium"
    yield Finding(*("ok", "chromium", browser) if browser else ("absent", "chromium", "not found", remedy))
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return  # reported among the packages, as timm needs it
    names = sorted(path.name.removeprefix("models--") for path in Path(HF_HUB_CACHE).glob("models--*"))
    if names:
        yield Finding("ok", "pretrained weights", f"{len(names)} in {HF_HUB_CACHE}: {', '.join(names[:4])}")
    else:
        remedy = (
            "only weights='imagenet' needs them; the first use downloads, HF_HUB_CACHE names another folder"
        )
        yield Finding("absent", "pretrained weights", f"none in {HF_HUB_CACHE}", remedy)


def chromium() -> str | None:
    """Path of the system's Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)
