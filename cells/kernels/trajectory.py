"""The rows in which kernels keep a state: one for every step, or two that the steps use in turn."""

from __future__ import annotations

import numpy as np

from . import lines


class Trajectory:
    """A state (or its cotangent) by step: rows (T + 1, B, units), or two rows used in turn.

    Two suffice where nobody asks for the steps between, for a step reads one row and writes the other. A
    kernel takes step t of its segment modulo the number of rows, so that it need not know which it is. Two
    rows stay in a core's cache, where all steps of a long sequence would not.
    """

    def __init__(self, every_step: bool, steps: int, batch: int, units: int, dtype: str) -> None:
        self.rows = lines.empty((steps + 1 if every_step else 2, batch, units), dtype)
        self.in_turn = len(self.rows) < steps + 1  # of one step, two rows are all there are

    def of(self, segment: slice) -> np.ndarray:
        """The rows that a kernel takes for a segment of the steps: one more than these, or both."""
        return self.rows if self.in_turn else self.rows[segment.start : segment.stop + 1]

    def begin(self, first: np.ndarray) -> None:
        """Puts the state before the first step where the first segment reads it."""
        self.rows[0] = first

    def carry_on(self, count: int) -> None:
        """Puts the state after a segment of `count` steps where the next one, counting from 0, reads it."""
        if self.in_turn:
            self.rows[0] = self.rows[count % 2]

    def carry_back(self, segment: slice, last: np.ndarray | None) -> None:
        """Puts the cotangent after a segment where its kernel, going back, reads it.

        That is `last` after the last segment; else what the later segment left at its own step 0.
        """
        count, rows = segment.stop - segment.start, self.of(segment)
        if last is not None:
            rows[count % len(rows)] = last
        elif self.in_turn:
            rows[count % 2] = rows[0]

    @property
    def first(self) -> np.ndarray:
        """The state before the first step, once no segment comes before it."""
        return self.rows[0]

    @property
    def last(self) -> np.ndarray:
        """The state after the last step, once no segment follows."""
        return self.rows[0] if self.in_turn else self.rows[-1]
