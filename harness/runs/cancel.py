"""Jobs that still run when their command was interrupted: those here are ended, Slurm's may be cancelled."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..screen import one_line, tell
from ..store.sweeps import Sweep, launches
from .live import UNDER_WAY

WAIT_S = 5.0  # in which a second Ctrl-C cancels
END_S = 10.0  # in which a job that was told to end has ended
GRACE_S = 1.0  # in which one that Ctrl-C has reached ends by itself
LOOK_S = 0.1


@contextmanager
def shielded(wanted: bool) -> Iterator[None]:
    """Has processes that are started meanwhile not see Ctrl-C, at which submitit's would print a traceback.

    This process takes it in another thread, which must be there; it is raised here all the same.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} if wanted else set())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_below(sweep: Sweep) -> None:
    """Lets jobs in processes below this one come to the end of their block, and of their record.

    Ctrl-C on a terminal has reached them; a signal to the command alone has not.
    """
    import psutil

    began, told = time.monotonic(), False
    while (running := _running_below(sweep)) and time.monotonic() < began + END_S:
        if not told and time.monotonic() > began + GRACE_S:
            told = True
            for number in running:
                with suppress(psutil.Error):
                    psutil.Process(number).terminate()
        time.sleep(LOOK_S)


def _running_below(sweep: Sweep) -> set[int]:
    """The processes of jobs that work; a record may name any, so that it must be one of this command's."""
    import psutil

    named = {record.process for record in sweep.records() if record.state == "running"}
    return {process.pid for process in psutil.Process().children(recursive=True)} & {n for n in named if n}


def offer(sweep: Sweep) -> None:
    """Says how to cancel what Slurm still has of the last launch; Ctrl-C meanwhile cancels it."""
    numbers = launches.numbers(sweep.folder, launches.read(sweep.folder))[-1:]
    if not UNDER_WAY & {record.state for record in sweep.records()} or not any(numbers):
        return
    command = ["scancel", *numbers[-1]]
    tell(
        f"Slurm goes on with its jobs; cancel them with: {shlex.join(command)}, or with Ctrl-C within"
        f" {WAIT_S:g} s"
    )
    try:
        time.sleep(WAIT_S)
    except KeyboardInterrupt:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            tell(f"{shlex.join(command)}: {error.strerror}")
        else:
            tell(f"{shlex.join(command)}: {one_line(done.stderr.strip()) or 'cancelled'}")
