"""One run in one process: its memory is its own, a crash takes nothing along, no run outlives its study."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module

from mammo_utils.study import provenance, results

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Run:
    """A run under way: once ``finished()`` it has ``metrics`` and ``measured``, or ``failure``, ``log``."""

    def __init__(self, function: str, settings: dict, seed: int, *, profile: str, threads: int):
        self.settings, self.seed = settings, seed
        self.metrics: dict[str, float] = {}
        self.measured: dict = {}
        self.failure = self.log = ""
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115, end() closes both
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps([function, settings, seed])],
            env=os.environ | dict.fromkeys(THREADS, str(threads)) | {"MAMMO_PROFILE": profile},
            stdin=subprocess.PIPE,  # its end tells the run that this process has ended
            stdout=self._answer,
            stderr=self._errors,
            start_new_session=True,  # an interrupt from the keyboard reaches this process alone
        )

    def finished(self) -> bool:
        """Whether the run has ended; fills in what came of it."""
        if self._process.poll() is None:
            return False
        self._answer.seek(0)
        answer = self._answer.read()
        found = json.loads(answer) if answer.endswith(b"\n") else {"failure": ""}
        self.metrics, self.measured = found.get("metrics", {}), found.get("measured", {})
        if "failure" in found:
            self._errors.seek(max(self._errors.seek(0, os.SEEK_END) - 20_000, 0))
            self.log = self._errors.read().decode(errors="replace").replace("\r", "\n").strip()
            self.failure = found["failure"] or self._reason()
        self.end()
        return True

    def _reason(self) -> str:
        status = self._process.returncode
        if status < 0:
            name = signal.Signals(-status).name
            return f"ended by {name}" + " (out of memory?)" * (name == "SIGKILL")
        return f"exit status {status}: {self.log.splitlines()[-1] if self.log else 'no message'}"

    def end(self) -> None:
        """End the run and the processes that it started."""
        if self._process.poll() is None:
            _end_group(self._process.pid)
            self._process.wait()
        for file in (self._process.stdin, self._answer, self._errors):
            file.close()


def _end_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGTERM)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    _end_group(os.getpid())


def main(request: str) -> None:
    """Do the run of ``request`` (function, settings and seed as JSON) and write what came of it to stdout."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the run prints is no answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, settings, seed = json.loads(request)
    commit = provenance.commit()  # before the run: what is changed meanwhile is not what ran
    try:
        module, _, name = function.partition(":")
        function = getattr(import_module(module), name)
        started = time.perf_counter()
        metrics = {name: float(value) for name, value in function(dict(settings), seed).items()}
        seconds = time.perf_counter() - started
        taken = sorted({*settings, "seed", *results.MEASURED} & set(metrics))
        if taken:
            raise ValueError(f"metrics need names of their own, other than {', '.join(taken)}")
    except Exception as error:
        traceback.print_exc()
        lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
        found = {"failure": lines[-1]}
    else:
        precision = settings.get("precision") or "auto"
        measured = provenance.measured(seconds, commit=commit, precision=precision)
        found = {"metrics": metrics, "measured": measured}
    answer.write(json.dumps(found) + "\n")
    answer.close()


if __name__ == "__main__":
    main(sys.argv[1])
