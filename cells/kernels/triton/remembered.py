"""The compiler's answers kept in the cache folder: a case asks again what another case's process asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ... import seal
from ..sealed import keep
from . import compiler, resources


def remembered(asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as `resources.answered`, from files where all answers are there. A failure is not kept."""
    files = [_file(job) for job in asked]
    known = [_read(file) for file in files]
    if all(answer is not None for answer in known):
        return [answer for answer in known if answer is not None]
    answers = resources.answered(asked)
    for file, answer in zip(files, answers, strict=True):
        if "error" not in answer:
            with suppress(OSError):  # where nothing can be kept, it is asked again
                keep(file, json.dumps(answer).encode())
    return answers


def _file(job: dict[str, Any]) -> Path:
    """Of a job, this compiler, and the text of what reads its answers off."""
    versions = resources.version(), Path(compiler.__file__).read_text(encoding="utf8")
    key = hashlib.sha256(json.dumps([job, versions], sort_keys=True).encode()).hexdigest()
    return seal.cache_folder() / "resources" / f"{key[:32]}.json"


def _read(file: Path) -> dict[str, Any] | None:
    """The answer in a file; None where there is none, or it is no answer."""
    try:
        answer = json.loads(file.read_text(encoding="utf8"))
        resources.Resources(**answer)
    except (OSError, ValueError, TypeError):
        return None
    whole = all(isinstance(value, int) for value in answer.values())
    return answer if answer and whole else None
