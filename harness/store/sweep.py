"""A sweep on disk: what was asked of it, and a record of each job.

It is a folder below the folder of its runs. `sweep.json` is there before a job is, and stays as it is.
`launches.json` says how jobs were launched. The record of a job is written whole by that job alone, which
holds a lock while it works: a record that says `running` and whose lock nobody holds is that of a job that
was lost.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import atomic, files, launches, lock, packed, slurm
from .files import ResultsError
from .manifest import BLOCKS, MOST, RUN_NAME, check_origin, sealed

FOLDER, MANIFEST, RECORDS, LAUNCH = ".sweeps", "sweep.json", "jobs", "launch.lock"
SCHEMA = 1
PURPOSE = "sweep"
MOST_JOBS = 1000  # of a sweep, each planned before the first begins
PATIENCE_S = 2.0  # in which whoever looks whether a lock is held has let go of it
NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
JOB_ID = re.compile(r"[0-9a-f]{12}")
LOG = re.compile(r"(?!(.*/)?\.\.?(/|$))[\w.+-]+(/[\w.+-]+){0,5}", re.ASCII)  # inside of the sweep's folder
LINE = 300  # characters of a log's line
BASIC = "basic"  # the sweeper whose jobs are known before the launch
AGAIN = ("failed", "stopped", "lost", "disturbed")  # states of jobs that another launch begins again
WRITTEN = ("running", "done", "failed", "stopped", "disturbed")
TIMES = ("began", "ended")
TEXTS = ("host", "scheduler", "run", "log", "reason")
NUMBERS = ("process", "cores", "memory_bytes")


@dataclass(frozen=True)
class Job:
    """What a sweep asks of one job: the swept overrides, and the whole configuration."""

    id: str
    overrides: list[str]
    config: dict[str, Any]


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


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and its manifest, checked."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def results(self) -> Path:
        """The folder of its runs."""
        return self.folder.parent.parent

    @property
    def jobs(self) -> list[Job]:
        """What is asked of each; of a search, of those that have begun. Raises ResultsError for damage."""
        if not self.searched:
            return [Job(**job) for job in self.manifest["jobs"]]
        jobs: list[Job] = []
        while self._asked(len(jobs)).exists() and len(jobs) < MOST_JOBS:
            jobs.append(self.job(len(jobs)))
        return jobs

    def job(self, number: int) -> Job:
        """What is asked of one job; of a search, also while one before it has yet to begin.

        Raises ResultsError for damage.
        """
        if not self.searched:
            return Job(**self.manifest["jobs"][number])
        path = self._asked(number)
        try:
            job = files.parse(files.read(path))
            _check_job(job)
        except OSError as error:
            raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ResultsError(f"{path} is damaged: {error}; remove the sweep") from None
        return Job(**job)

    @property
    def searched(self) -> bool:
        """Whether a sweeper chooses the jobs as it goes."""
        return self.manifest["sweeper"] != BASIC

    def begun(self, number: int) -> Record | None:
        """The record of a job; None where it has none. Raises ResultsError for one that is damaged."""
        path = self._record(number)
        try:
            record = _record_of(files.parse(files.read(path)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ResultsError(f"{path} is damaged: {error}; remove it, and the job is begun again") from None
        if record.state == "running" and lock.is_held(self._lock(number)) is False:
            return replace(record, state="lost")
        return record

    def record(self, number: int) -> Record:
        """How a job stands now. Raises ResultsError for a record that is damaged."""
        return self._standing([number])[number]

    def records(self) -> list[Record]:
        """How each job stands."""
        return list(self._standing(range(len(self.jobs))).values())

    def _standing(self, numbers: Iterable[int]) -> dict[int, Record]:
        """How jobs stand, by their records, by what launched them last, and by what Slurm says."""
        found = {number: self.begun(number) for number in numbers}
        under_way = lock.is_held(self.folder / LAUNCH) is not False
        launched = launches.read(self.folder)
        launcher = launched[-1].launcher if launched else BASIC
        places = launches.places(self.folder, launched)
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
                return self.begun(number) or self._lost(names)
            if launcher == launches.ELSEWHERE:
                return Record("queued", reason="its launcher keeps submitit's files elsewhere; see squeue")
            return Record("missing")  # other launchers wait for their jobs

        return {number: stands(number, record, named[number]) for number, record in found.items()}

    def _lost(self, names: list[str]) -> Record:
        """The record of a job that Slurm called so, and that has left none."""
        if not names:
            return Record("lost", reason="Slurm was not given it")
        log = launches.log(self.folder, names[-1])
        gone = "Slurm has it no more, and it left no record"
        return Record("lost", scheduler=f"slurm {names[-1]}", log=log, reason=gone)

    def runs(self) -> list[Path]:
        """The folders of the runs that there are."""
        found = (self.begun(number) for number in range(len(self.jobs)))
        named = {record.run: None for record in found if record and record.run}
        folders = [self.results / run for run in named]
        return [f for f in folders if packed.of_run(f) or (f.is_dir() and not f.is_symlink())]

    def ask(self, number: int, job: Job) -> None:
        """Writes what a search asks of one more job."""
        atomic.write_json(self._asked(number), asdict(job), exact=True)

    def write(self, number: int, record: Record) -> None:
        """Writes the record of a job; for who holds its lock."""
        atomic.write_json(self._record(number), {"schema": SCHEMA, **asdict(record)})

    @contextmanager
    def working(self, number: int) -> Iterator[bool]:
        """Holds the lock of a job; False where another process works on it."""
        with _held(self._lock(number)) as held:
            yield held

    @contextmanager
    def launching(self) -> Iterator[None]:
        """Holds the lock of the command that waits for the jobs. Raises ResultsError where another does."""
        with _held(self.folder / LAUNCH) as held:
            if not held:
                raise ResultsError(f"{self.folder} is under way in another command; wait for it")
            yield

    def swept(self, number: int) -> list[str]:
        """The overrides in which a job differs from the others."""
        return [o for o in self.job(number).overrides if o.partition("=")[0] in self.manifest["swept"]]

    def worked_s(self, record: Record) -> float:
        """Seconds for which a job that has ended was worked on; of a lost one until its run's last block."""
        until = datetime.fromtimestamp(0, UTC)  # without a block nobody knows, and it counts for nothing
        if record.run is not None:
            with suppress(OSError):
                last = (self.results / record.run / BLOCKS).stat().st_mtime
                until = datetime.fromtimestamp(last, UTC)
        return record.worked_s(until)

    def last_line(self, record: Record) -> tuple[Path | None, str]:
        """(the log of a job, its last line that is not empty); (None, "") where there is none."""
        if record.log is None:
            return None, ""
        path = self.folder / record.log
        if path.resolve() != self.folder.resolve() / record.log:  # a link, which may lead anywhere
            return path, ""
        try:
            lines = files.read(path).decode(errors="replace").split("\n")
        except OSError:
            return path, ""
        return path, next((line.strip() for line in reversed(lines) if line.strip()), "")[:LINE]

    def log_of(self, number: int) -> Path:
        """Where a job writes what it would print, where its launcher keeps nothing."""
        return self.folder / RECORDS / f"{number}.log"

    def _asked(self, number: int) -> Path:
        return self.folder / RECORDS / f"{number}.asked.json"

    def _record(self, number: int) -> Path:
        return self.folder / RECORDS / f"{number}.json"

    def _lock(self, number: int) -> Path:
        return self.folder / RECORDS / f"{number}.lock"


def _names(places: list[dict[int, str]], number: int, record: Record | None) -> list[str]:
    """What Slurm calls a job that may wait: one without a record, or handed over anew since that ended."""
    names = [those[number] for those in places if number in those]
    if record is None:
        return names
    anew = record.state in AGAIN and names and record.scheduler != f"slurm {names[-1]}"
    return names[-1:] if anew else []


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Holds a lock; False where another process does, for longer than a look at it takes."""
    handle = lock.opened(path)
    until = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                lock.take(handle)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                yield False
            else:
                yield True
            return
    finally:
        os.close(handle)


def create(results: Path, described: dict[str, Any]) -> Sweep:
    """A new sweep below the folder of its runs. Raises ResultsError where it cannot be written."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = results / FOLDER / name
    content = {"schema": SCHEMA, "sweep": name, **described}
    try:
        files.check_bounds(content)
        _check(content)
        (folder / RECORDS).mkdir(parents=True)
        # exact: an option of a probe may be inf
        atomic.write_json(folder / MANIFEST, sealed(content, PURPOSE), exact=True, indent=None)
    except OSError as error:
        raise ResultsError(f"results {str(results)!r} cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"the sweep's manifest cannot be written: {error}") from None
    return read(folder)


def read(folder: Path) -> Sweep:
    """The sweep in a folder. Raises ResultsError for what is none, and for one that is damaged."""
    path = folder / MANIFEST
    try:
        found = files.parse(files.read(path))
        _check(found)
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(f"{folder} is no sweep: it has no {MANIFEST}") from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}; remove the sweep") from None
    return Sweep(folder, found)


def digest(folder: Path) -> str:
    """Of the manifest, so that a job on another machine reads what was launched. Raises OSError."""
    return hashlib.sha256(files.read(folder / MANIFEST)).hexdigest()


def is_sweep(folder: Path) -> bool:
    """Whether a folder has a sweep's manifest; a path that can be none has not."""
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # a name that is too long
        return False


def named(text: str, results: Path) -> Path:
    """The folder of a sweep that is given by its folder, or by its name where its runs lie in `results`."""
    return results / FOLDER / text if NAME.fullmatch(text) and not is_sweep(Path(text)) else Path(text)


def sweeps(results: Path) -> list[Path]:
    """The folders of the sweeps of a folder of runs, oldest first."""
    return sorted(path.parent for path in (results / FOLDER).glob(f"*/{MANIFEST}"))


def _check(manifest: Any) -> None:
    """Raises ValueError, which names the entry, for a manifest that is not what it must be."""
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise ValueError(f"it is of schema {schema!r:.60}, and this version reads schema {SCHEMA}")
    if not NAME.fullmatch(_text(manifest, "sweep")):
        raise ValueError(f"its sweep is called {manifest['sweep']!r:.60}")
    for name in ("created", "command", "sweeper", "primary"):
        _text(manifest, name)
    for name in ("swept", "given", *(["folders"] if "folders" in manifest else [])):
        _texts(manifest, name)
    check_origin(manifest)
    if not _are_numbers(manifest.get("estimates_s", [])):
        raise ValueError(f"its estimates_s is {manifest['estimates_s']!r:.60}, and no list of seconds")
    jobs = manifest.get("jobs")
    fewest = int(manifest["sweeper"] == BASIC)
    if not isinstance(jobs, list) or not fewest <= len(jobs) <= MOST_JOBS:
        raise ValueError(f"its jobs are {jobs!r:.60}; from {fewest} to {MOST_JOBS:,} are read")
    for job in jobs:
        _check_job(job)


def _check_job(job: Any) -> None:
    if not isinstance(job, dict) or job.keys() != {f.name for f in fields(Job)}:
        raise ValueError(f"a job of it is {job!r:.60}")
    if not JOB_ID.fullmatch(_text(job, "id")) or not isinstance(job["config"], dict):
        raise ValueError(f"job {job['id']!r:.60} is damaged")
    _texts(job, "overrides")


def _text(table: dict[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or len(value) > MOST:
        raise ValueError(f"its {name} is {value!r:.60}, and no text")
    return value


def _texts(table: dict[str, Any], name: str) -> None:
    values = table.get(name)
    if not isinstance(values, list) or len(values) > MOST or not all(isinstance(v, str) for v in values):
        raise ValueError(f"its {name} is {values!r:.60}, and no list of texts")


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < math.inf for v in values
    )


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _record_of(found: Any) -> Record:
    """Raises ValueError, which names the entry, for a record that is not what it must be."""
    if not isinstance(found, dict) or found.pop("schema", None) != SCHEMA:
        raise ValueError(f"it is of no schema that this version reads, which is {SCHEMA}")
    found.setdefault("before_s", 0.0)  # a record of an older version
    if found.keys() != {f.name for f in fields(Record)} or found["state"] not in WRITTEN:
        raise ValueError(f"it is {found!r:.60}")
    for name in (*TEXTS, *TIMES):
        if found[name] is not None:
            _text(found, name)
    for name in TIMES:
        if found[name] is not None and not _is_time(found[name]):
            raise ValueError(f"its {name} is {found[name]!r:.60}, and no time with a zone")
    if not _are_numbers([found["before_s"]]):
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
