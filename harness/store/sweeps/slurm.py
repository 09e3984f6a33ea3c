"""Whether Slurm still has some jobs: squeue is asked, seldom, and with a limit of time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from functools import lru_cache

ASK_S = 10.0  # for which an answer is kept: the controller serves the whole cluster
LONGEST_S = 10.0  # for which an answer is waited for
NONE = "Invalid job id"  # what squeue says of one number that Slurm has forgotten


def has(numbers: Iterable[str]) -> frozenset[str] | str:
    """The names, such as `17_3`, of the jobs of these numbers that wait or run.

    A text says why it cannot be told, and what to do.
    """
    asked = tuple(numbers)
    return _asked(asked, int(time.monotonic() // ASK_S)) if asked else frozenset()


@lru_cache(maxsize=32)
def _asked(numbers: tuple[str, ...], when: int) -> frozenset[str] | str:
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(numbers)}"]
    # a person's own defaults, which may leave jobs out
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST_S, env=variables
        )
    except FileNotFoundError:
        return "squeue is not here; look again on a node that has it"
    except subprocess.TimeoutExpired:
        return f"squeue has not answered within {LONGEST_S:g} s; look again later"
    except OSError as error:
        return f"squeue cannot be called: {error.strerror}; look again on another node"
    if done.returncode and NONE not in done.stderr:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"squeue fails: {lines[-1]}; look again later"
    return frozenset(done.stdout.split())
