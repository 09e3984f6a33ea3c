"""The record of a job of a sweep: how it stands, where it runs, and what became of its cases."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from ..manifest import RUN_NAME
from . import entries
from .entries import SCHEMA

LOG = re.compile(r"(?!(.*/)?\.\.?(/|$))[\w.+-]+(/[\w.+-]+){0,5}", re.ASCII)  # inside of the sweep's folder
AGAIN = ("failed", "stopped", "lost", "disturbed")  # states of jobs that another launch begins again
WRITTEN = ("running", "done", "failed", "stopped", "disturbed")
TIMES = ("began", "ended")
TEXTS = ("host", "scheduler", "run", "log", "reason")
NUMBERS = ("process", "cores", "memory_bytes")


@dataclass(frozen=True)
class Record:
    """How a job stands. None is what is not known yet.

    `began` is when it was begun last, `before_s` how long it was worked on before that, `log` a path inside
    of the sweep's folder. `state` is queued, running, done, failed (it has not measured), stopped (by a
    signal), disturbed (other jobs spoilt some of its times), lost (its process has ended without a word, or
    Slurm has dropped it) or missing (nothing will start it). `reason` of a queued one says why nobody can
    tell.
    """

    state: str
    began: str | None = None
    ended: str | None = None
    host: str | None = None
    process: int | None = None
    scheduler: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    run: str | None = None
    log: str | None = None
    reason: str | None = None
    cases: dict[str, int] = field(default_factory=dict)
    before_s: float = 0.0

    def worked_s(self, now: datetime) -> float:
        """Seconds for which it was worked on until it ended, or until now; 0 of one that has not begun."""
        if self.began is None:
            return self.before_s
        until = now if self.ended is None else datetime.fromisoformat(self.ended)
        return self.before_s + max(0.0, (until - datetime.fromisoformat(self.began)).total_seconds())


def record_of(found: Any) -> Record:
    """The record of a JSON value. Raises ValueError, which names the entry that is not what it must be."""
    if not isinstance(found, dict) or found.pop("schema", None) != SCHEMA:
        raise ValueError(f"it is of no schema that this version reads, which is {SCHEMA}")
    found.setdefault("before_s", 0.0)  # a record of an older version
    if found.keys() != {f.name for f in fields(Record)} or found["state"] not in WRITTEN:
        raise ValueError(f"it is {found!r:.60}")
    for name in (*TEXTS, *TIMES):
        if found[name] is not None:
            entries.text(found, name)
    for name in TIMES:
        if found[name] is not None and not _is_time(found[name]):
            raise ValueError(f"its {name} is {found[name]!r:.60}, and no time with a zone")
    if not entries.are_numbers([found["before_s"]]):
        raise ValueError(f"its before_s is {found['before_s']!r:.60}, and no number of seconds")
    for name in NUMBERS:
        if not isinstance(found[name], int | None) or isinstance(found[name], bool):
            raise ValueError(f"its {name} is {found[name]!r:.60}, and no number")
    for name, form in (("run", RUN_NAME), ("log", LOG)):
        if found[name] is not None and not form.fullmatch(found[name]):
            raise ValueError(f"its {name} is {found[name]!r:.60}, and no name")
    cases = found["cases"]
    if not isinstance(cases, dict) or not all(type(n) is int for n in cases.values()):
        raise ValueError(f"its cases are {cases!r:.60}")
    return Record(**found)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
