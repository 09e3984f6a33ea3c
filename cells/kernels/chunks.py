"""Chunks of the steps of a scan, and the threads that compute them side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise


def chunks(steps: int, workers: int, share: float) -> list[slice]:
    """One chunk more than workers, or one a step; the first is `share` of the others in length.

    The first is computed at once, while the ends of the others are; of the last no end is needed.
    """
    count = min(steps, workers + 1)
    width = steps / (share + count - 1)
    edges = [0, *(max(c + 1, min(steps - count + c + 1, round(width * (share + c)))) for c in range(count))]
    return [slice(a, b) for a, b in pairwise(edges)]


def most_threads() -> int:
    """The threads that Numba may use, as NUMBA_NUM_THREADS or numba.set_num_threads says.

    Numba's own getter starts its threads where none have been: of OpenMP, which takes back a number that
    torch.set_num_threads had set.
    """
    import numba
    from numba.np.ufunc import parallel

    if parallel._is_initialized:
        return numba.get_num_threads()
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set when numba is imported


def has_a_core_each() -> bool:
    """Whether somebody said how many threads there are, so that each may count on a core of its own.

    Threads that wait for each other at every step lose where two of them share a core, as they may on cores
    that other work has too.
    """
    return "NUMBA_NUM_THREADS" in os.environ


def together(tasks: Iterable[Callable[[], None]], threads: int) -> None:
    """Runs the tasks side by side, the first on the caller's thread; in turn where there is one thread."""
    tasks = list(tasks)
    if threads == 1:
        for task in tasks:
            task()
        return
    others = [pool(threads - 1).submit(task) for task in tasks[1:]]
    for task in tasks[:1]:
        task()
    for other in others:
        other.result()


@lru_cache
def pool(workers: int) -> ThreadPoolExecutor:
    """So many threads, which the process keeps."""
    return ThreadPoolExecutor(workers, "cellbench-scan")


os.register_at_fork(after_in_child=pool.cache_clear)  # a child has none of its parent's threads
