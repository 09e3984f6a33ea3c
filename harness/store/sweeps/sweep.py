"""A sweep's folder: made, read and found again, with the record of each of its jobs."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import atomic, files, lock, packed
from ..files import ResultsError
from ..manifest import BLOCKS, sealed
from .entries import SCHEMA
from .manifest import BASIC, MOST_JOBS, NAME, PURPOSE, Job, check, check_job
from .record import Record, record_of
from .standing import LAUNCH, standing

FOLDER, MANIFEST, RECORDS = ".sweeps", "sweep.json", "jobs"
LINE = 300  # characters of a log's line


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
            check_job(job)
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
            record = record_of(files.parse(files.read(path)))
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
        return standing(self.folder, self.begun, [number])[number]

    def records(self) -> list[Record]:
        """How each job stands."""
        return list(standing(self.folder, self.begun, range(len(self.jobs))).values())

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
        with lock.held(self._lock(number)) as held:
            yield held

    @contextmanager
    def launching(self) -> Iterator[None]:
        """Holds the lock of the command that waits for the jobs. Raises ResultsError where another does."""
        with lock.held(self.folder / LAUNCH) as held:
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


def create(results: Path, described: dict[str, Any]) -> Sweep:
    """A new sweep below the folder of its runs. Raises ResultsError where it cannot be written."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = results / FOLDER / name
    content = {"schema": SCHEMA, "sweep": name, **described}
    try:
        files.check_bounds(content)
        check(content)
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
        check(found)
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
