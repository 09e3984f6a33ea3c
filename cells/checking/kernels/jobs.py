"""Jobs for a process of its own: each is a line of JSON, and so is its answer."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...kernels.questions import Answer, answers_to


def answers(
    jobs: Sequence[Any], command: Sequence[str], name: str, env: Mapping[str, str] | None = None
) -> list[Answer]:
    """What `python -m COMMAND` answers to each job, a dataclass; {"failed": text} of one that it died of.

    name is what that text calls the process; env its variables, those of this process where none are given.
    """
    return answers_to(command, [asdict(job) for job in jobs], name, lambda text: {"failed": text}, env)


def serve(answer: Callable[[dict[str, Any]], Answer], wrapped: bool = False) -> None:
    """Answers the jobs of the standard input one after the other; what `answer` raises is an answer too.

    wrapped: what is told of an error is its cause, where it has one.
    """
    out, sys.stdout = sys.stdout, sys.stderr  # a cell's file may print
    for line in sys.stdin:
        try:
            told = answer(json.loads(line))
        except Exception as error:  # of a kernel, and the next job is another
            cause = (wrapped and error.__cause__) or error
            told = {"failed": f"{type(cause).__name__}: {cause}", "trace": traceback.format_exc()}
        print(json.dumps(told), file=out, flush=True)
