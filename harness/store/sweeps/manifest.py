"""What is asked of a sweep and of each of its jobs, checked before it is written or believed."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from ..manifest import check_origin
from . import entries
from .entries import SCHEMA

PURPOSE = "sweep"
MOST_JOBS = 1000  # of a sweep, each planned before the first begins
NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
JOB_ID = re.compile(r"[0-9a-f]{12}")
BASIC = "basic"  # the sweeper whose jobs are known before the launch


@dataclass(frozen=True)
class Job:
    """What a sweep asks of one job: the swept overrides, and the whole configuration."""

    id: str
    overrides: list[str]
    config: dict[str, Any]


def check(manifest: Any) -> None:
    """Raises ValueError, which names the entry, for a manifest that is not what it must be."""
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise ValueError(f"it is of schema {schema!r:.60}, and this version reads schema {SCHEMA}")
    if not NAME.fullmatch(entries.text(manifest, "sweep")):
        raise ValueError(f"its sweep is called {manifest['sweep']!r:.60}")
    for name in ("created", "command", "sweeper", "primary", *_given(manifest, "direction")):
        entries.text(manifest, name)
    for name in ("swept", "given", *_given(manifest, "folders")):
        entries.texts(manifest, name)
    check_origin(manifest)
    if not entries.are_numbers(manifest.get("estimates_s", [])):
        raise ValueError(f"its estimates_s is {manifest['estimates_s']!r:.60}, and no list of seconds")
    jobs = manifest.get("jobs")
    fewest = int(manifest["sweeper"] == BASIC)
    if not isinstance(jobs, list) or not fewest <= len(jobs) <= MOST_JOBS:
        raise ValueError(f"its jobs are {jobs!r:.60}; from {fewest} to {MOST_JOBS:,} are read")
    for job in jobs:
        check_job(job)


def check_job(job: Any) -> None:
    """The same of a job."""
    if not isinstance(job, dict) or job.keys() != {f.name for f in fields(Job)}:
        raise ValueError(f"a job of it is {job!r:.60}")
    if not JOB_ID.fullmatch(entries.text(job, "id")) or not isinstance(job["config"], dict):
        raise ValueError(f"job {job['id']!r:.60} is damaged")
    entries.texts(job, "overrides")


def _given(manifest: dict[str, Any], name: str) -> list[str]:
    """The name of an entry that not every sweep has, where it is there."""
    return [name] if name in manifest else []
