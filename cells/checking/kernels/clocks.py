"""What programs know of each other: vector clocks, as in FastTrack, which barriers and atomics move on."""

from __future__ import annotations

import numpy as np


class Clocks:
    """Of so many programs, each of which stands for threads.

    What a program did is published by a release only where a barrier of its own came before, and what an
    acquire tells counts from its next barrier on.
    """

    def __init__(self, programs: int) -> None:
        # by program, the last time of each other one that it knows of; its own is that since its last barrier
        self.known = np.eye(programs, dtype=np.int64)
        self.told = np.zeros_like(self.known)
        self.published: dict[int, np.ndarray] = {}  # by address of a counter

    def now(self, program: int) -> int:
        """The program's own time."""
        return int(self.known[program, program])

    def barrier(self, program: int) -> None:
        known = self.known[program]
        np.maximum(known, self.told[program], out=known)
        known[program] += 1

    def acquire(self, program: int, counter: int) -> None:
        if counter in self.published:
            np.maximum(self.told[program], self.published[counter], out=self.told[program])

    def release(self, program: int, counter: int) -> None:
        done = self.known[program].copy()
        done[program] -= 1  # what came after the last barrier is not published
        before = self.published.get(counter, done)
        self.published[counter] = np.maximum(before, done)
