"""One process at a time, on every operating system."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: str | Path, *, busy: Callable[[], None] = lambda: None):
    """Hold the lock of the file ``path``, made if absent; ``busy()`` is called if it must be waited for.

    The lock ends with the process that holds it, however that ends; the file stays.
    """
    with open(path, "w") as file:
        if os.name == "nt":
            import msvcrt

            def take(*, wait):
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            def take(*, wait):
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

        wait = False
        while True:
            try:
                take(wait=wait)
                break
            except OSError as error:  # Windows gives up waiting after ten seconds
                if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                    raise
                if not wait:
                    busy()
                wait = True
        yield
