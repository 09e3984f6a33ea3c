"""Which block touched a place of global memory, and whether barriers and counters order the accesses."""

from __future__ import annotations

import numpy as np

from ..clocks import Clocks
from .memory import GRAIN, NOBODY, Fault, Memory


class Global(Memory):
    """Global memory as one block sees it; the blocks of a launch share `touched`."""

    def __init__(self, data: np.ndarray, allowed: np.ndarray, block: int, touched: Touched) -> None:
        super().__init__("global memory", data, allowed)
        self.block, self.touched = block, touched

    def check(self, at: np.ndarray, size: int, warp: np.ndarray, epoch: int, store: bool, where: str) -> None:
        super().check(at, size, warp, epoch, store, where)
        places = (at[:, None] + np.arange(0, max(size, GRAIN), GRAIN)).ravel() // GRAIN
        self.touched.by(self.block, places, store, where)


class Touched:
    """Of each place the block that stored it last, and when each block loaded it."""

    def __init__(self, blocks: int, size: int) -> None:
        count = size // GRAIN
        self.clocks = Clocks(blocks)
        self.writer, self.written = np.full(count, NOBODY), np.zeros(count, np.int64)
        self.loaded = np.zeros((blocks, count), np.int64)

    def by(self, block: int, places: np.ndarray, store: bool, where: str) -> None:
        """Raises Fault for what another block touched, and nothing orders before."""
        known = self.clocks.known[block]
        who = self.writer[places]
        race = (who != NOBODY) & (who != block) & (self.written[places] > known[np.maximum(who, 0)])
        if store:
            others = self.loaded[:, places] > known[:, None]
            others[block] = False
            race |= others.any(0)
        if race.any():
            does = "stores" if store else "loads"
            place = places[np.flatnonzero(race)[0]] * GRAIN
            raise Fault(
                f"global memory: block {block} {does} byte {place}, which another block touched, and no"
                f" barrier orders the two ({where})"
            )
        if store:
            self.writer[places], self.written[places] = block, known[block]
        else:
            self.loaded[block, places] = known[block]
