"""Shows the case in hand and the time left: a bar on a terminal or in a notebook, plain lines elsewhere.

A line that cannot be written is left out: it must end no run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO, cast

from ..screen import Screen, last, one_line, screen
from .notebook_bar import NotebookBar, notebook_display

QUIET = ("ok", "unsupported")  # statuses that leave no line on a terminal


class Progress:
    """The time left is the estimate of all cases, scaled by how the estimates did so far."""

    def __init__(
        self, total_s: float, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total_s, self.clock = total_s, clock
        self.stream = screen(stream or sys.stderr)
        self.began = clock()
        self.past_s, self.current_s, self.share, self.label = 0.0, 0.0, 0.0, ""
        self.spared_s = 0.0  # of the estimate, for what is not measured
        display = notebook_display() if stream is None else None
        self.notebook = NotebookBar(display, total_s) if display else None
        self.bar: Any = self.notebook or (_bar(total_s, self.stream) if self.stream.isatty() else None)

    def start(self, label: str, estimate_s: float) -> None:
        """The next case is in hand."""
        self.past_s += self.current_s
        self.label, self.current_s, self.share = label, estimate_s, 0.0
        self.show()

    def advance(self, share: float) -> None:
        """So much of the case in hand is done, 0 to 1."""
        self.share = share
        self.show()

    def spare(self, seconds: float) -> None:
        """So much of the estimate will not be measured, as the second pass of a case that has failed."""
        self.spared_s += seconds

    def show(self) -> None:
        """Redraws the bar."""
        if self.bar:
            words = one_line(f"{self.label}  {self.remaining()}")
            self.bar.update(0, completed=self.done_s + self.spared_s, description=words)

    def finish(self, status: str, reason: str | None, label: str | None = None) -> None:
        """The case in hand, or the one that is named, has ended."""
        self.share = 1.0
        text = (status if ": " in status else f"{label or self.label}: {status}") + (
            f" ({reason})" if reason else ""
        )
        if self.bar is None:
            print(f"{text}  [{self.remaining()}]", file=self.stream, flush=True)
        elif status in QUIET:
            return
        elif self.notebook:
            print(one_line(text), file=self.stream, flush=True)
        else:
            self.bar.console.print(one_line(text), markup=False, highlight=False)

    @property
    def done_s(self) -> float:
        """Estimated seconds of the cases that have ended, and of the done share of the current one."""
        return self.past_s + self.share * self.current_s

    def remaining(self) -> str:
        """About how long it still takes."""
        spent = self.clock() - self.began
        pace = spent / self.done_s if self.done_s > 5 else 1.0  # a few cases of a second tell no pace
        return left(max(0.0, self.total_s - self.spared_s - self.done_s) * pace)

    def close(self) -> None:
        """Takes the bar away."""
        if self.bar:
            self.bar.stop()

    def end(self, counts: str, made: str) -> None:
        """Says how the cases ended and what was made; in a notebook in one line, in the place of the bar."""
        if self.notebook:
            self.notebook.end(one_line(f"{counts}; {made}"))
        else:
            print(counts)
            last(made)


def left(seconds: float) -> str:
    """So many seconds as a person reads them."""
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def _bar(total_s: float, stream: Screen) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(30),
        TextColumn("{task.percentage:3.0f} %  {task.description}", markup=False),
        console=Console(file=cast(TextIO, stream.styled), force_terminal=True),
        transient=True,
    )
    bar.add_task("", total=total_s)
    bar.start()
    return bar
