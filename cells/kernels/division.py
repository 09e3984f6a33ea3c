"""How threads share out the work of a program: its sequences, or blocks of its units.

Threads that have sequences of their own never wait for each other. Those that have units wait at every step,
so that they take over where the sequences are few, or cannot be shared evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

Range = tuple[int, int]  # from the first to before the last
OF_A_THREAD = 1 << 20  # multiplications: for fewer, handing them over takes longer than doing them
OF_A_STEP = 1 << 16  # multiplications of a thread between two barriers, some two microseconds
TOGETHER = 8  # units: a block has whole registers of them, but for the last one
GAIN = 0.8  # of n threads that wait at every step, taken to be worth this times n


@dataclass(frozen=True)
class Division:
    """The sequences (shares) and the units (blocks) that threads take; one of the two is whole."""

    shares: list[Range]
    blocks: list[Range]
    alone: str = ""  # why there is one thread, where the work is enough for more

    @property
    def threads(self) -> int:
        return len(self.shares) * len(self.blocks)

    @property
    def of_units(self) -> bool:
        return len(self.blocks) > 1

    def __str__(self) -> str:
        """What `implementation` has behind the library's name."""
        if self.threads == 1:
            return f", 1 thread: {self.alone}" if self.alone else ""
        return f", {self.threads} threads" + " over units" * self.of_units


def division(most: int, batch: int, units: int, work: int, of_step: int) -> Division:
    """Of at most so many threads.

    work are the multiplications of all steps. of_step are those of one step that wait for the step before,
    0 where the units cannot be shared.
    """
    useful = max(1, min(most, work // OF_A_THREAD))
    sharing, waiting = min(useful, batch), max(1, min(useful, of_step // OF_A_STEP, -(-units // TOGETHER)))
    if waiting > 1 and waiting * GAIN > batch / -(-batch // sharing):
        return Division([(0, batch)], _ranges(units, waiting, TOGETHER))
    alone = "one sequence, whose units are not shared out" if useful > 1 == batch and not of_step else ""
    return Division(_ranges(batch, sharing, 1), [(0, units)], alone)


def _ranges(count: int, parts: int, together: int) -> list[Range]:
    """So many ranges, as even as they can be where each but the last has a multiple of `together`."""
    some = -(-count // together)
    edges = [*(together * (some * k // parts) for k in range(parts)), count]
    return list(pairwise(edges))
