"""The trials of a search that prunes: what each job's training was worth after each of its evaluations.

`trials/CASE/JOB.json` in the sweep's folder is written whole by that job alone. CASE is the case's place
among those of its job, so that a folder holds what can be compared. No lock is needed for that on a shared
folder, as a database would need.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .. import atomic, files
from ..files import ResultsError

FOLDER, SCHEMA = "trials", 1
STATES = ("running", "complete", "pruned", "failed")
JOB = re.compile(r"0|[1-9]\d{0,3}", re.ASCII)
MOST = 100_000  # evaluations of a training, and entries of a pruner


@dataclass(frozen=True)
class Trial:
    """A case as a trial: values of the objective by evaluation, from 1 on; `attrs` are the pruner's own."""

    state: str = "running"
    values: dict[int, float] = field(default_factory=dict)
    attrs: dict[str, float] = field(default_factory=dict)

    @property
    def last(self) -> float:
        """The value at the last evaluation; NaN where there was none."""
        return self.values[max(self.values)] if self.values else math.nan


def read(sweep: Path, case: int, warn: Callable[[str], object]) -> dict[int, Trial]:
    """The trials of a case, by job. One that is damaged is left out, and `warn` is told why."""
    folder = sweep / FOLDER / str(case)
    paths = {int(path.stem): path for path in folder.glob("*.json") if JOB.fullmatch(path.stem)}
    found: dict[int, Trial] = {}
    for job in sorted(paths):
        try:
            found[job] = _read(paths[job])
        except ResultsError as error:
            warn(f"{error}; it is left out, as no trial")
    return found


def write(sweep: Path, case: int, job: int, trial: Trial) -> None:
    """Writes the trial of a job's case. Raises ResultsError where it cannot."""
    path = sweep / FOLDER / str(case) / f"{job}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, {"schema": SCHEMA, **asdict(trial)}, exact=True, indent=None)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from None


def _read(path: Path) -> Trial:
    try:
        return _trial(files.parse(files.read(path)))
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}") from None


def _trial(found: Any) -> Trial:
    """Raises ValueError, which names the entry, for a trial that is not what it must be."""
    if not isinstance(found, dict) or found.pop("schema", None) != SCHEMA:
        raise ValueError(f"it is of no schema that this version reads, which is {SCHEMA}")
    if found.keys() != {f.name for f in fields(Trial)} or found["state"] not in STATES:
        raise ValueError(f"it is {found!r:.60}")
    for name in ("values", "attrs"):
        if not _are_numbers(found[name]):
            raise ValueError(f"its {name} are {found[name]!r:.60}, and no numbers")
    if not all(step.isdecimal() and len(step) < 10 for step in found["values"]):
        raise ValueError(f"its values are {found['values']!r:.60}, and not by evaluation")
    return Trial(found["state"], {int(n): float(v) for n, v in found["values"].items()}, found["attrs"])


def _are_numbers(table: Any) -> bool:
    return (
        isinstance(table, dict)
        and len(table) <= MOST
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in table.values())
    )
