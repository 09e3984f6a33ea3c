"""Threads that wait for each other: all of them run at once, or none goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import lru_cache
from threading import Lock

import numpy as np

from .chunks import pool

Task = Callable[[np.ndarray], None]
STOPPED, NUMBERS = 8, 16  # STOPPED as in `barrier`, which imports Numba
_turn = lru_cache(Lock)  # two gangs that share a pool would each wait for a thread that the other one has
os.register_at_fork(after_in_child=_turn.cache_clear)


def new_barrier() -> np.ndarray:
    """A barrier at which nobody has arrived."""
    return np.zeros(NUMBERS, np.int64)


def at_once(tasks: Sequence[Task]) -> None:
    """Runs tasks that meet at a barrier, which each takes: the first on the caller's thread.

    What one raises is raised here, once all have ended.
    """
    barrier = new_barrier()  # of this run: who comes too late finds it stopped
    others = []
    with _turn():
        try:
            for task in tasks[1:]:
                others.append(pool(len(tasks) - 1).submit(_guarded, task, barrier))
            _guarded(tasks[0], barrier)
        except BaseException:
            barrier[STOPPED] = 1
            raise
        finally:
            wait(others)
    for other in others:
        other.result()


def _guarded(task: Task, barrier: np.ndarray) -> None:
    """Runs the task, and lets nobody wait for it where it fails."""
    if barrier[STOPPED]:
        return
    try:
        task(barrier)
    except BaseException:
        barrier[STOPPED] = 1
        raise
