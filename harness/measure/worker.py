"""Runs a function in a fresh process, so that a crash, a hang or exhausted memory takes nothing along."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .limits import THREAD_VARIABLES, limited, limits
from .side_by_side import Attempt, Work, side_by_side
from .started import Result, describe, kind

__all__ = [
    "THREAD_VARIABLES",
    "Done",
    "Emit",
    "Result",
    "call",
    "describe",
    "kind",
    "limited",
    "limits",
    "run",
]
Emit = Callable[[Any], None]


def call(
    function: Callable[..., Any],
    *args: Any,
    on_message: Emit = lambda message: None,
    threads: int = 1,
    timeout_s: float | None = None,
    limit_memory: bool = True,
    imported: Sequence[str] = (),
) -> Result:
    """Runs function(emit, *args) in a fresh process; its messages go to on_message at once.

    Threads of BLAS, OpenMP and Numba are limited from the start. With `limit_memory` the process may map no
    more than is available now, so that too large an allocation raises there instead of ending in the kernel's
    hands. timeout_s is the longest silence: every message starts it anew. With `imported`, modules that the
    function needs, the process is forked from one that has them already (see forked.py); else it is spawned.
    """
    results: list[Result] = []

    def work() -> Work:
        results.append((yield Attempt(function, args, on_message, threads, limit_memory, tuple(imported))))

    side_by_side([work()], 1, timeout_s)
    return results[0]


@dataclass(frozen=True)
class Done:
    """What a program wrote, and its exit code; None where it was ended for taking too long."""

    stdout: bytes
    stderr: bytes
    returncode: int | None


def run(
    command: Sequence[str],
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Done:
    """Runs a program to its end, under a keeper: it and what it starts do not outlive this process.

    `given` is its standard input, `variables` are set in its environment. Raises OSError where it cannot be
    started.
    """
    result = call(_program, list(command), given, dict(variables or {}), timeout_s, limit_memory=False)
    if result.status != "ok":
        return Done(b"", f"error: {result.reason}".encode(), 1)
    if isinstance(result.value, OSError):
        raise result.value
    return result.value


def _program(
    emit: Emit, command: list[str], given: bytes, variables: dict[str, str], timeout_s: float | None
) -> Done | OSError:
    """Runs in the worker."""
    environment = {name: value for name, value in os.environ.items() if name not in limits(1)} | variables
    try:
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        return Done(late.stdout or b"", late.stderr or b"", None)
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename)
    return Done(done.stdout, done.stderr, done.returncode)
