"""Memory of a block of threads: what may be touched, and which warp did since the last barrier."""

from __future__ import annotations

from typing import Any

import numpy as np


class Fault(AssertionError):
    """An access that no kernel may make, or an instruction that is not known; the message says where."""


NOBODY, SEVERAL = -1, -2
GRAIN = 2  # bytes whose accesses are told apart


class Memory:
    """Bytes, of which some may be touched, and the last accesses to each two of them."""

    def __init__(self, name: str, data: np.ndarray, allowed: np.ndarray) -> None:
        self.name, self.bytes, self.allowed = name, data, allowed
        count = len(data) // GRAIN
        self.writer, self.reader = np.full(count, NOBODY), np.full(count, NOBODY)
        self.written, self.read = np.full(count, -1), np.full(count, -1)  # epochs

    def load(self, at: np.ndarray, kind: Any, warp: np.ndarray, epoch: int, where: str) -> np.ndarray:
        self.check(at, np.dtype(kind).itemsize, warp, epoch, False, where)
        return self.bytes.view(kind)[at // np.dtype(kind).itemsize]

    def store(self, at: np.ndarray, values: np.ndarray, warp: np.ndarray, epoch: int, where: str) -> None:
        self.check(at, values.itemsize, warp, epoch, True, where)
        self.bytes.view(values.dtype)[at // values.itemsize] = values

    def check(self, at: np.ndarray, size: int, warp: np.ndarray, epoch: int, store: bool, where: str) -> None:
        """Raises Fault for an access beyond, at an odd place, or in a race with another warp."""
        if not len(at):
            return
        inside = at.min() >= 0 and at.max() + size <= len(self.bytes)
        if not inside or not (self.allowed[at].all() and self.allowed[at + size - 1].all()):
            raise Fault(f"{self.name}: out of bounds ({where})")
        if (at % size).any():
            raise Fault(f"{self.name}: not aligned ({where})")
        places = (at[:, None] + np.arange(0, max(size, GRAIN), GRAIN)) // GRAIN
        warps = np.broadcast_to(warp[:, None], places.shape).ravel()
        places = places.ravel()
        race = (self.written[places] == epoch) & (self.writer[places] != warps)
        if store:
            race |= (self.read[places] == epoch) & (self.reader[places] != warps)
        if race.any():
            does = "stores" if store else "loads"
            k = int(np.flatnonzero(race)[0])
            raise Fault(
                f"{self.name}: warp {warps[k]} {does} byte {places[k] * GRAIN}, which another warp touched"
                f" since the last barrier ({where})"
            )
        if store:
            self.written[places], self.writer[places] = epoch, warps
        else:
            self.note_readers(places, warps, epoch)

    def note_readers(self, places: np.ndarray, warps: np.ndarray, epoch: int) -> None:
        """Of places that several warps read, no one is the reader: a store by any of them is a race."""
        others = (self.read[places] == epoch) & (self.reader[places] != warps)
        self.reader[places] = np.where(others, SEVERAL, warps)
        self.read[places] = epoch
        order = np.argsort(places, kind="stable")
        here, by = places[order], warps[order]
        shared = (here[1:] == here[:-1]) & (by[1:] != by[:-1])
        self.reader[here[1:][shared]] = SEVERAL
