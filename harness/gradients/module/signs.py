"""A sign of life on the error stream of a diagnosis that takes long: one line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

FIRST_S = 5.0  # nothing is said before
EVERY_S = 10.0


class SignOfLife:
    """Says which of the batches is in hand. A stream that cannot be written to is left alone."""

    def __init__(
        self, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.stream, self.clock = total, stream or sys.stderr, clock
        self.began = clock()
        self.next_s, self.at, self.what = FIRST_S, 0, "batch"

    def start(self, number: int, what: str = "batch") -> None:
        """This batch, counted from 1, is in hand."""
        self.at, self.what = number, what
        self.show()

    def show(self) -> None:
        """Writes the line if it is due."""
        spent = self.clock() - self.began
        if spent < self.next_s or self.stream is None:
            return
        self.next_s = spent + EVERY_S
        try:
            print(
                f"diagnose: {self.what} {self.at} of {self.total}, {spent:.0f} s",
                file=self.stream,
                flush=True,
            )
        except (OSError, ValueError):  # a stream that is closed
            self.next_s = float("inf")
