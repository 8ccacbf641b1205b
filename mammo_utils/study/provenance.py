"""What a row of results says about its own making: the code, the machine, the memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from mammo_utils import profile

PACKAGE = Path(profile.__file__).parent


def commit() -> str:
    """Short git hash of the package's clone, with ``-dirty`` if the package was changed; else ``unknown``."""
    if not (PACKAGE.parent / ".git").exists():  # a wheel may lie inside somebody else's repository
        return "unknown"
    found = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".")
    if not found or changed is None:
        return "unknown"
    return f"{found}-dirty" if changed else found


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True)
    except OSError:  # no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine(precision: str = "auto") -> str:
    """Processor or GPU, number of cores and, where the run used torch, its version, threads and precision.

    ``precision`` is what the run was asked for.  Names of the host and of the user are not part of it.
    """
    parts = [_processor(), f"{_cores()} cores"]
    torch = sys.modules.get("torch")
    if torch is not None:
        if torch.cuda.is_initialized():
            parts.append(torch.cuda.get_device_name())
        threads = torch.get_num_threads()
        parts.append(f"torch {torch.__version__}, {threads} thread{'s'[: threads > 1]}")
        parts.append(profile.precision(precision))
    return ", ".join(parts)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else ()
    models = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    name = next(models, "") or platform.processor() or platform.machine()
    return " ".join(name.split())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def differences(found: dict, wanted: dict) -> str:
    """What differs between the settings of two runs, in words; empty where nothing does.

    >>> differences({"lr": 0.1, "seed": 0}, {"lr": 0.1, "seed": 1})
    'seed is 0 there and 1 here'
    """
    return "; ".join(
        f"{name} is {found.get(name)!r} there and {wanted.get(name)!r} here"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    )


def memory_mib() -> float:
    """Peak resident memory of this process in MiB.

    On Linux from ``/proc``: there ``getrusage`` counts the process that started this one as well.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    if os.name == "nt":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    # bytes on macOS, KiB on the BSDs
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def cuda_mib() -> float | None:
    """Peak of the memory that torch allocated on the GPU in MiB, None where the run used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda.max_memory_allocated() / 2**20


def measured(seconds: float, *, commit: str, precision: str = "auto") -> dict:
    """The last columns of a table of results, `results.MEASURED`, of this process.

    ``commit`` is that of before the run: what is changed meanwhile is not what ran.
    """
    from mammo_utils.study import results

    values = (seconds, memory_mib(), cuda_mib(), profile.current().name, results.phantom_version())
    return dict(zip(results.MEASURED, (*values, commit, machine(precision), today()), strict=True))


def today() -> str:
    """Date in UTC, as in ``2025-01-31``."""
    return datetime.now(UTC).date().isoformat()
