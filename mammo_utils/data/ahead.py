"""Reading ahead: the next blocks are read by threads while the present one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def ahead(read, plan: list, workers: int) -> Iterator:
    """``read`` of every entry in order, by threads that are at most ``workers`` + 1 entries ahead.

    An error of a thread is raised where its result is due.  The threads end with the generator.
    """
    if workers == 0:
        yield from map(read, plan)
        return
    pool, waiting = ThreadPoolExecutor(workers, "read-ahead"), deque()
    try:
        for places in plan:
            waiting.append(pool.submit(read, places))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
