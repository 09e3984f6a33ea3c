"""Questions to a process of its own, which may die of one: a new process goes on with the next."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = dict[str, Any]


def answers_to(
    command: Sequence[str],
    questions: Sequence[Any],
    name: str,
    died: Callable[[str], Answer],
    env: Mapping[str, str] | None = None,
) -> list[Answer]:
    """What `python -m COMMAND` answers to questions, in order; both are lines of JSON.

    Where the process dies, `died` makes the answer to the question that it was at, of a text that calls the
    process by its name. env are its variables, those of this process where none are given.
    """
    answers: list[Answer] = []
    while len(answers) < len(questions):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            input="\n".join(json.dumps(question) for question in questions[len(answers) :]),
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )
        answers += [json.loads(line) for line in done.stdout.splitlines()]
        if len(answers) < len(questions):
            last = (done.stderr.strip().splitlines() or ["and said nothing"])[-1]
            answers.append(died(f"{name} died with code {done.returncode}: {last[:200]}"))
    return answers
