"""One job of a sweep, in whatever process its launcher put it: begun, or gone on with where it stopped.

Nothing that a job raises reaches its launcher, which would end the other jobs, or print it whole: it stands
in the job's record, or where that cannot be written in a line.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import store
from ..measure import worker
from ..screen import counted, tell
from ..store import sweeps
from ..store.files import ResultsError
from ..store.sweeps import Job, Record, Sweep
from . import compose, hydra_keys, live, objective, pruning
from . import measure as measuring
from .allocation import allocation, scheduler
from .beside import Beside
from .schema import check
from .values import ConfigError

INTERRUPTED = 130
OWN = ("sweep", "digest", "job")  # keys by which a launcher's job finds what it is to do
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # by which schedulers take a job's machine away
HEAD = 1000  # characters of a reason
LONGEST_S = 120.0  # in which Slurm kills what it has sent SIGTERM: its KillWait, 30 s where nobody sets it
in_launcher = False  # set in the process that launches, where jobs may run too


def job(composed: Any) -> None:
    """What Hydra's launcher calls: `composed` names the sweep, the digest of its manifest, and the job."""
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized():
        hydra_keys.show(HydraConfig.get().verbose)
    _do(_sweep(composed), int(composed["job"]))


def trial(composed: Any) -> float:
    """A job of a search, in which `composed` is the job's configuration; returns its objective.

    Raises ConfigError where it has none.
    """
    from hydra.core.hydra_config import HydraConfig

    sweep, number = _sweep(composed), int(HydraConfig.get().job.num)
    config = compose.plain_config(composed, OWN)
    overrides = [o for o in HydraConfig.get().overrides.task if o.partition("=")[0].lstrip("+") not in OWN]
    try:
        sweep.ask(number, Job(job_id(config), overrides, config))
    except OSError as error:
        raise ConfigError(
            f"job {number} cannot be written: {error}; free the disk, and search anew"
        ) from None
    _do(sweep, number)
    record = sweep.record(number)
    if record.state != "done" or record.run is None:
        raise ConfigError(f"job {number} is {record.state}: {record.reason or 'it has no run'}")
    return objective.value(sweep.results / record.run, config["objective"])


def job_id(config: dict[str, Any]) -> str:
    """A hash of a job's configuration but for the folder of the results."""
    asked = json.dumps({k: v for k, v in config.items() if k != "results"}, sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:12]


def _sweep(composed: Any) -> Sweep:
    folder = Path(composed["sweep"])
    if sweeps.digest(folder) != composed["digest"]:
        raise ConfigError(f"{folder} has another manifest than the sweep that was launched; launch it again")
    return sweeps.read(folder)


def _do(sweep: Sweep, number: int) -> None:
    """Does a job that nobody else works on, and that is not done."""
    ended = None
    try:
        with sweep.working(number) as free:
            if free and not ((begun := sweep.begun(number)) and begun.state == "done"):
                if in_launcher:  # on the terminal, between the lines of the jobs
                    asked = " ".join(sweep.swept(number))
                    tell(f"sweep {sweep.folder.name}: job {number}, {asked}; {live.line(sweep)}")
                with _printed(sweep.log_of(number)) as log:
                    ended = _work(sweep, number, log)
    except ResultsError as error:
        tell(f"sweep {sweep.folder.name}: {error}")
    except OSError as error:
        _tell_unwritten(sweep, number, error)
    if ended == signal.SIGTERM and (scheduler(os.environ) or "").startswith("slurm"):
        # Slurm is about to kill this process; one that ends by itself is not begun again, requeued or not
        time.sleep(LONGEST_S)


def _tell_unwritten(sweep: Sweep, number: int, error: Exception) -> None:
    tell(f"sweep {sweep.folder.name}, job {number}: its record cannot be written: {error}")


def _work(sweep: Sweep, number: int, log: str | None) -> int | None:
    """Measures what is missing of a job, and keeps its record; returns the signal that ended it."""
    before = sweep.begun(number) or Record("queued")
    record = Record("running", began=_now(), run=before.run, log=log, **allocation())
    record = replace(record, before_s=sweep.worked_s(before))
    sweep.write(number, record)

    def named(run: str) -> None:
        nonlocal record
        record = replace(record, run=run)
        sweep.write(number, record)

    def end(state: str, reason: str | None = None) -> None:
        reason = reason and " ".join(reason.split())[:HEAD]
        try:
            cases = _statuses(sweep, record.run)
            sweep.write(number, replace(record, state=state, ended=_now(), reason=reason, cases=cases))
        except (ValueError, OSError) as error:  # it stays `running`, which without its lock is lost
            _tell_unwritten(sweep, number, error)

    # where jobs follow one another none is beside another, and a search cannot be gone on with
    beside = None if in_launcher or sweep.searched else Beside(sweep, number)
    with _ended_by_signals() as received:
        try:
            with beside or nullcontext():
                code = _measure(sweep, number, record.run, named, beside)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (ValueError, OSError) as error:
            end("failed", str(error))
            return None
        except Exception as error:  # a launcher would print it whole, or end the others
            end("failed", worker.describe(error))
            return None
        except BaseException:  # a launcher's own handler of a signal leaves in its way
            end("stopped", "its launcher ended it")
            raise
    if code != INTERRUPTED:
        end(*(_disturbed(beside) if beside and beside.cases else ("done",)))
        return None
    end("stopped", f"ended by {signal.Signals(received[0]).name}" if received else "interrupted")
    if not received:
        raise KeyboardInterrupt
    return received[0]


def _disturbed(beside: Beside) -> tuple[str, str]:
    """The state of a job of which cases were disturbed, and the reason."""
    how = "resume measures them again, and with hydra/launcher=basic one job at a time"
    cases = counted(len(beside.cases), "case")
    return "disturbed", f"other jobs of the sweep wanted the cores on which {cases} ran; {how}"


def _measure(sweep: Sweep, number: int, run: str | None, named: Any, beside: Beside | None) -> int:
    """The exit code of the job's own run."""
    job = sweep.job(number)
    settings = replace(check(job.config), results=sweep.results)
    pruned = pruning.of(sweep, number, settings)
    if run is not None and store.is_run(sweep.results / run):
        # its configuration is the sweep's, which is trusted: a node may not have this user's key
        known = store.read_manifest(sweep.results / run).get("config") == job.config
        return measuring.resume(str(sweep.results / run), known, beside, pruned)
    return measuring.measure(settings, sweep.manifest["command"], named, beside, pruned)


def _statuses(sweep: Sweep, run: str | None) -> dict[str, int]:
    """How many cases of a run have ended in which way."""
    if run is None or not store.is_run(sweep.results / run):
        return {}
    last = {block["case"]: block for block in store.read_blocks(sweep.results / run)}
    return dict(Counter(block["status"] for block in last.values() if block["done"]))


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """Has a scheduler's signal end the work as Ctrl-C does, once, unless a launcher handles it.

    submitit passes over SIGTERM, which ends the workers all the same: their cases would count as crashed.
    """
    received: list[int] = []

    def end(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    before = {n: handler for n in SIGNALS if _leaves(n, handler := signal.getsignal(n))}
    for number in before:
        signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leaves(number: int, handler: Any) -> bool:
    """Whether a signal would end the work without a word, or pass it over."""
    if handler is signal.SIG_DFL:
        return True
    owner = type(getattr(handler, "__self__", None))
    return number == signal.SIGTERM and owner.__module__.partition(".")[0] == "submitit"


@contextmanager
def _printed(path: Path) -> Iterator[str | None]:
    """Where a job's lines go, as its record names it: the launcher's file, or this one; None on the terminal.

    Jobs side by side would mix their lines there.
    """
    if in_launcher:
        yield None
        return
    if "SUBMITIT_FOLDER" in os.environ:
        from submitit import JobEnvironment

        log = os.path.relpath(JobEnvironment().paths.stderr, path.parents[1].resolve())
        yield log if sweeps.LOG.fullmatch(log) else None
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o644)
    for number in (1, 2):
        os.dup2(handle, number)
    os.close(handle)
    try:
        yield f"{path.parent.name}/{path.name}"
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk
                stream.flush()
        for number, other in zip((1, 2), kept, strict=True):
            os.dup2(other, number)
            os.close(other)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
