"""How the jobs of a sweep stand: by their records, by what launched them last, and by what Slurm says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from .. import lock
from . import launches, slurm
from .manifest import BASIC
from .record import AGAIN, Record

LAUNCH = "launch.lock"  # held by the command that waits for the jobs


def standing(
    folder: Path, begun: Callable[[int], Record | None], numbers: Iterable[int]
) -> dict[int, Record]:
    """How jobs of the sweep in a folder stand; `begun` reads the record of one, None where it has none."""
    found = {number: begun(number) for number in numbers}
    under_way = lock.is_held(folder / LAUNCH) is not False
    launched = launches.read(folder)
    launcher = launched[-1].launcher if launched else BASIC
    places = launches.places(folder, launched)
    named = {number: _names(places, number, record) for number, record in found.items()}
    asked = dict.fromkeys(name.partition("_")[0] for names in named.values() for name in names)
    there = slurm.has(asked)

    def stands(number: int, record: Record | None, names: list[str]) -> Record:
        scheduler = f"slurm {names[-1]}" if names else None
        if names and not isinstance(there, str) and there.intersection(names):
            return replace(record or Record("queued"), state="queued", scheduler=scheduler, reason=None)
        if record is not None:
            return record
        if names and isinstance(there, str):
            return Record("queued", scheduler=scheduler, reason=there)
        if under_way and not (places and number in places[-1]):
            return Record("queued")  # its launcher has yet to start it
        if launcher == launches.SLURM:
            # it may have begun, and ended, since its record was looked for
            return begun(number) or _lost(folder, names)
        if launcher == launches.ELSEWHERE:
            return Record("queued", reason="its launcher keeps submitit's files elsewhere; see squeue")
        return Record("missing")  # other launchers wait for their jobs

    return {number: stands(number, record, named[number]) for number, record in found.items()}


def _lost(folder: Path, names: list[str]) -> Record:
    """The record of a job that Slurm called so, and that has left none."""
    if not names:
        return Record("lost", reason="Slurm was not given it")
    log = launches.log(folder, names[-1])
    gone = "Slurm has it no more, and it left no record"
    return Record("lost", scheduler=f"slurm {names[-1]}", log=log, reason=gone)


def _names(places: list[dict[int, str]], number: int, record: Record | None) -> list[str]:
    """What Slurm calls a job that may wait: one without a record, or handed over anew since that ended."""
    names = [those[number] for those in places if number in those]
    if record is None:
        return names
    anew = record.state in AGAIN and names and record.scheduler != f"slurm {names[-1]}"
    return names[-1:] if anew else []
