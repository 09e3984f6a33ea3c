"""Jobs that a scheduler still has when their command was interrupted: how to cancel them, or that at once."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

from ..screen import one_line, tell
from ..store.sweep import Sweep
from .live import UNDER_WAY

WAIT_S = 5.0  # in which a second Ctrl-C cancels
SUBMITTED = "hydra/.submitit/*/*_submission.sh"  # of submitit, in the folder of the scheduler's number
OF_SLURM = b"#SBATCH"


def numbers(sweep: Sweep, since: float) -> list[str]:
    """Slurm's numbers of what was submitted since then (seconds of the epoch), an array as one."""
    files = [path for path in sweep.folder.glob(SUBMITTED) if path.stat().st_mtime >= since]
    names = {path.parent.name for path in files if path.parent.name.isdecimal() and _is_of_slurm(path)}
    return sorted(names, key=int)


def offer(sweep: Sweep, since: float) -> None:
    """Says how to cancel what Slurm still has of a sweep; Ctrl-C meanwhile cancels it."""
    if not UNDER_WAY & {record.state for record in sweep.records()} or not (ids := numbers(sweep, since)):
        return
    command = ["scancel", *ids]
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


def _is_of_slurm(path: Path) -> bool:
    return OF_SLURM in path.read_bytes()
