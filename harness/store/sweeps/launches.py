"""How the jobs of a sweep were launched: by what, which of them, and the numbers that Slurm gave them.

`launches.json` lies in the sweep's folder. Each launch is written there before its launcher is called.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .. import atomic, files
from ..files import ResultsError

FILE, SCHEMA = "launches.json", 1
SLURM = "submitit_slurm"
ELSEWHERE = "submitit_slurm, with its files elsewhere"  # so that its numbers cannot be told
FOLDER = ".submitit"  # of submitit, in the folder of Hydra
SUBMITTED = f"hydra/{FOLDER}/*/*_submission.sh"  # in the folder of Slurm's number
OF_SLURM = b"#SBATCH"
NUMBER = re.compile(r"\d{1,12}", re.ASCII)
ARRAY = re.compile(rb"^#SBATCH --array=0-(\d{1,6})\b", re.MULTILINE)
MOST = 10_000  # launches of a sweep, jobs of a launch
LONGEST = 1000  # characters of a launcher's name


@dataclass(frozen=True)
class Launch:
    """A call of a launcher: its name, or its class where it is none of Hydra's known ones.

    `jobs` are in the order in which they were handed over; None of a search, which counts its jobs so.
    `before` are Slurm's numbers that the sweep had already.
    """

    launcher: str
    jobs: list[int] | None
    before: list[str]


def read(folder: Path) -> list[Launch]:
    """The launches of a sweep, the last one last. Raises ResultsError for a file that is damaged."""
    path = folder / FILE
    try:
        found = files.parse(files.read(path))
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise ValueError(f"it is of no schema that this version reads, which is {SCHEMA}")
        launches = found.get("launches")
        if not isinstance(launches, list) or len(launches) > MOST:
            raise ValueError(f"its launches are {launches!r:.60}")
        return [_launch(launch) for launch in launches]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}; remove it, and go on with the sweep") from None


def add(folder: Path, launcher: str, jobs: Sequence[int] | None) -> None:
    """Writes one more launch; for who holds the launch's lock. Raises ResultsError where it cannot."""
    launch = Launch(launcher, None if jobs is None else list(jobs), list(submitted(folder)))
    launches = [asdict(one) for one in (*read(folder), launch)]
    try:
        atomic.write_json(folder / FILE, {"schema": SCHEMA, "launches": launches}, indent=None)
    except OSError as error:
        raise ResultsError(f"{folder / FILE} cannot be written: {error.strerror}") from None


def submitted(folder: Path) -> dict[str, int | None]:
    """Slurm's numbers of what was submitted, lowest first, and how many jobs an array has; None of no array.

    Files may be anybody's, and their names may hold anything.
    """
    found = {}
    for path in folder.glob(SUBMITTED):
        number = path.parent.name
        try:
            content = files.read(path)
        except OSError:
            continue
        if NUMBER.fullmatch(number) and OF_SLURM in content:
            array = ARRAY.search(content)
            found[number] = int(array[1]) + 1 if array else None
    return dict(sorted(found.items(), key=lambda one: int(one[0])))


def numbers(folder: Path, launches: Sequence[Launch]) -> list[list[str]]:
    """Slurm's numbers of each launch, an array as one."""
    if not launches:
        return []
    there = list(submitted(folder))
    ends = [*(launch.before for launch in launches[1:]), there]
    return [
        [number for number in there if number in end and number not in launch.before]
        for launch, end in zip(launches, ends, strict=True)
    ]


def places(folder: Path, launches: Sequence[Launch]) -> list[dict[int, str]]:
    """Of each launch, what Slurm calls a job, such as `17_3`, by the job's number in the sweep."""
    sizes = submitted(folder)
    found = []
    for launch, mine in zip(launches, numbers(folder, launches), strict=True):
        names = [name for number in mine for name in _names(number, sizes.get(number))]
        jobs = range(len(names)) if launch.jobs is None else launch.jobs
        # a sweeper hands over all jobs at once, or in batches of which each waits for the one before
        found.append(dict(zip(jobs, names, strict=False)))
    return found


def log(folder: Path, place: str) -> str | None:
    """Where submitit keeps a job's lines, inside of the sweep's folder; None where nothing was written."""
    for end in ("err", "out"):
        name = f"hydra/{FOLDER}/{place}/{place}_0_log.{end}"
        try:
            if (folder / name).stat().st_size:
                return name
        except OSError:
            continue
    return None


def _names(number: str, jobs: int | None) -> list[str]:
    """What Slurm calls the jobs of one submission."""
    return [number] if jobs is None else [f"{number}_{n}" for n in range(min(jobs, MOST))]


def _launch(found: Any) -> Launch:
    """Raises ValueError, which names the entry, for a launch that is not what it must be."""
    if not isinstance(found, dict) or found.keys() != {f.name for f in fields(Launch)}:
        raise ValueError(f"a launch of it is {found!r:.60}")
    launcher, jobs, before = found["launcher"], found["jobs"], found["before"]
    if not isinstance(launcher, str) or len(launcher) > LONGEST:
        raise ValueError(f"its launcher is {launcher!r:.60}, and no text")
    if jobs is not None and (not isinstance(jobs, list) or not all(type(n) is int for n in jobs)):
        raise ValueError(f"its jobs are {jobs!r:.60}, and no list of numbers")
    if not isinstance(before, list) or not all(isinstance(n, str) and NUMBER.fullmatch(n) for n in before):
        raise ValueError(f"its before is {before!r:.60}, and no list of Slurm's numbers")
    return Launch(launcher, jobs, before)
