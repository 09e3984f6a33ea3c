"""How a sweep stands, in one line that is kept up to date: its jobs by state, and about how long it takes.

All of it is read from the sweep's folder, so that any terminal on any node may look.
"""

from __future__ import annotations

import statistics
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from ..screen import Screen, counted, one_line, screen, tell
from ..store.files import ResultsError
from ..store.sweeps import Record, Sweep
from .progress import left

LOOK_S = 1.0  # between two looks at how the jobs stand
ORDER = ("queued", "running", "done", "disturbed", "stopped", "failed", "missing", "lost")
UNDER_WAY = {"queued", "running"}


def state_of(sweep: Sweep) -> str:
    """How the jobs stand together: '3 queued, 2 running, 7 done'."""
    return _states(sweep.records())


def line(sweep: Sweep, now: datetime | None = None) -> str:
    """The same with the time that is left, where one can be told: '...; about 4 min left'."""
    records = sweep.records()
    seconds = remaining_s(records, sweep.manifest.get("estimates_s"), now or datetime.now(UTC))
    return _states(records) + ("" if seconds is None else f"; {left(seconds)}")


def _states(records: Sequence[Record]) -> str:
    counts = Counter(record.state for record in records)
    pruned = sum(record.state == "done" and "pruned" in record.cases for record in records)
    notes = {"done": f" ({pruned} pruned)"} if pruned else {}
    return ", ".join(f"{counts[state]} {state}{notes.get(state, '')}" for state in ORDER if state in counts)


def unknown(records: Sequence[Record]) -> str:
    """A line on jobs of which nobody here knows whether they wait; nothing where there is none."""
    of = {number: r.reason for number, r in enumerate(records) if r.state == "queued" and r.reason}
    if not of:
        return ""
    first, others = next(iter(of)), len(of) - 1
    named = f"job {first}" + (f" and {counted(others, 'other')}" if others else "")
    return f"whether Slurm still has {named} cannot be told here: {one_line(of[first])}"


def remaining_s(
    records: Sequence[Record], estimates_s: Sequence[float] | None, now: datetime
) -> float | None:
    """Seconds until no job is queued or running; None where none is, or where nothing tells them.

    Estimates of jobs are scaled by how long those took that are done. As many jobs run at a time as do now.
    """
    going = [n for n, record in enumerate(records) if record.state in UNDER_WAY]
    if not going or not estimates_s or len(estimates_s) != len(records):
        return None
    took = [
        r.worked_s(now) / estimate
        for r, estimate in zip(records, estimates_s, strict=True)
        if r.state == "done" and r.ended and estimate > 0
    ]
    pace = statistics.median(took) if took else 1.0
    left_s = [max(0.0, estimates_s[n] * pace - records[n].worked_s(now)) for n in going]
    abreast = sum(records[n].state == "running" for n in going) or 1
    return max(sum(left_s) / abreast, max(left_s)) or None  # later than estimated: nobody knows


@contextmanager
def told(sweep: Sweep, wanted: bool) -> Iterator[None]:
    """Keeps the line on standard error meanwhile."""
    ended = threading.Event()
    thread = threading.Thread(target=_beside, args=(sweep, ended), daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if wanted:
            thread.join()


def follow(sweep: Sweep) -> None:
    """Keeps the line on standard error until no job is queued or running."""
    if words := unknown(sweep.records()):
        tell(words)
    _watch(sweep, threading.Event(), last=True)


def _beside(sweep: Sweep, ended: threading.Event) -> None:
    """Keeps the line beside the launch, which goes on where a file of the sweep is damaged."""
    try:
        _watch(sweep, ended)
    except ResultsError as error:
        tell(f"sweep {sweep.folder.name}: {error}")


def _watch(sweep: Sweep, ended: threading.Event, last: bool = False) -> None:
    shown = _Line(sys.stderr)
    try:
        over = False
        while not over:
            over = ended.wait(LOOK_S)  # and one more look, at how it has ended
            records = sweep.records()
            shown.show(f"sweep {sweep.folder.name}: {line(sweep)}", _states(records))
            if last and not UNDER_WAY & {record.state for record in records}:
                return
    finally:
        shown.close()


class _Line:
    """A line that takes the place of the one before it on a terminal; elsewhere one for each change."""

    def __init__(self, stream: TextIO) -> None:
        self.screen: Screen = screen(stream)
        self.before, self.open = "", False

    def show(self, text: str, state: str) -> None:
        if self.screen.isatty():
            self.screen.styled.write(f"\r\x1b[2K{one_line(text)}")
            self.screen.flush()
            self.open = True
        elif state != self.before:
            tell(text)
        self.before = state

    def close(self) -> None:
        if self.open:
            self.screen.styled.write("\r\x1b[2K")
            self.screen.flush()
