"""A real Slurm of one node, and sweeps on it: jobs killed, cancelled, requeued, over their time, resumed.

Slurm comes from Debian's packages. Its daemons run with files of their own in a scratch folder, so that a
Slurm of the machine is not touched. A node without a database has no accounting, which submitit asks for: a
`sacct` of a few lines answers from what the controller knows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import store
from ..store import sweeps
from ..store.scratch import scratch
from ..store.sweeps import Sweep

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
JOBS, SEEDS = 12, 20
ABREAST = 5  # jobs, also where there are fewer cores: nothing here is timed
LONGEST_S = 480.0
REQUEUE_S = 20  # for which Slurm lets a requeued job wait
LONG_CASES = 30  # of more than four seconds each, whatever the machine, until the job was begun again
WAIT = "wait"  # a file beside the cell
SLOW = f"""\
import time
from pathlib import Path

from cellbench.cells.zoo.elman import Elman


class Slow(Elman):
    \"\"\"Elman, with a wait in each step while there is a file beside it.\"\"\"

    def equations(self, wx, wh, prev):
        time.sleep(0.2 * Path(__file__).with_name({WAIT!r}).exists())
        return super().equations(wx, wh, prev)
"""
CONFIGURATION = """\
ClusterName=cellbench
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort=17827
SlurmdPort=17828
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_s}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=3600
NodeName={host} CPUs={cores} State=UNKNOWN
PartitionName=batch Nodes=ALL Default=YES MaxTime=60 State=UP
"""
SACCT = """\
#!/bin/sh
echo 'JobID|State|NodeList'
scontrol show job -o | sed -nE \\
  -e 's/^JobId=[0-9]+ ArrayJobId=([0-9]+) ArrayTaskId=([0-9]+) .* JobState=([A-Z_]+) .*/\\1_\\2|\\3|/p' \\
  -e '/ArrayJobId/!s/^JobId=([0-9]+) .* JobState=([A-Z_]+) .*/\\1|\\2|/p'
"""


def main(arguments: list[str]) -> int:
    """Runs the study; returns the exit code. What is absent makes it say so and skip."""
    if "--install" in arguments and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES], check=True)
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent or os.geteuid() != 0:
        why = f"{', '.join(absent)} not installed" if absent else "only root may start Slurm"
        print(f"skipped: {why}; as root, nox -s cluster -- --install installs {' and '.join(PACKAGES)}")
        return 0
    with scratch() as folder, _slurm(folder) as environment:
        os.environ.update(environment)  # how jobs stand is asked from here too
        _try(folder, environment)
    return 0


@contextmanager
def _slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Starts the daemons and gives the environment in which Slurm's commands find them."""
    folder.chmod(0o755)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    names = {"host": socket.gethostname(), "folder": folder, "cores": ABREAST, "requeue_s": REQUEUE_S}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**names))
    (folder / "bin" / "sacct").write_text(SACCT)
    (folder / "bin" / "sacct").chmod(0o755)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    files = {"key-file": key} | {
        name: folder / name for name in ("socket", "pid-file", "log-file", "seed-file")
    }
    files["socket"], files["pid-file"] = folder / "munge.socket", folder / "munged.pid"
    options = [f"--{name}={path}" for name, path in files.items()]
    daemons = [["munged", "--foreground", "--force", *options], ["slurmctld", "-D"], ["slurmd", "-D"]]
    running = []
    try:
        for command in daemons:
            running.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
            time.sleep(1)
        _until(lambda: "idle" in _said(environment, "sinfo", "-h"), "the node is idle")
        yield environment
    finally:
        _said(environment, "scancel", "--full", "--user=root")
        for daemon in reversed(running):
            daemon.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()


def _said(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _until(true: Callable[[], Any], what: str, longest_s: float = LONGEST_S) -> None:
    until = time.monotonic() + longest_s
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"after {longest_s:g} s it is not so that {what}")
        time.sleep(0.2)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cellbench.harness.cli", "run", *arguments]


def _watched(sweep: Sweep) -> list[str]:
    """How the jobs stand when `sweeps --watch` has ended, which prints that."""
    watch = [sys.executable, "-m", "cellbench.harness.cli", "sweeps", str(sweep.folder), "--watch"]
    subprocess.run(watch, check=True, timeout=LONGEST_S)
    return [record.state for record in sweep.records()]


def _swept(results: Path, jobs: int, *others: str, partition: str = "batch") -> list[str]:
    launcher = ["hydra/launcher=submitit_slurm", f"hydra.launcher.partition={partition}"]
    launcher += ["hydra.launcher.cpus_per_task=1"]
    measured = ["cells=[elman]", "backends=[numpy]", "probes=[gradient_decay]", f"seeds={SEEDS}"]
    sizes = ",".join(map(str, range(4, 4 + jobs)))
    swept = f"workload.hidden_size={sizes}"
    return _command(
        "-m", *measured, *launcher, "hydra.launcher.timeout_min=10", *others, swept, f"results={results}"
    )


def _over_its_time(folder: Path) -> list[str]:
    """A sweep of one job that takes longer than its limit, until it has begun again.

    Slurm's signal may come a minute too early, which of one minute would leave nothing.
    """
    (folder / "slow.py").write_text(SLOW)
    (folder / WAIT).touch()
    limits = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=10"]
    slow = [f"cells=[{folder / 'slow.py'}:Slow]", f"seeds={LONG_CASES}", "workload.steps=20"]
    return _swept(folder / "over", 1, *limits, "hydra.launcher.max_num_timeout=20", *slow)


def _try(folder: Path, environment: dict[str, str]) -> None:
    """The sweep, and what must hold of it. Raises AssertionError, or RuntimeError where it takes too long."""
    began, results = time.monotonic(), folder / "runs"
    wrong = subprocess.run(
        _swept(folder / "wrong", 1, partition="bach"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    last = wrong.stderr.strip().splitlines()[-1]
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "bach" in wrong.stderr, wrong.stderr
    print(f"a misspelt partition: {last}", flush=True)
    refused = sweeps.read(sweeps.sweeps(folder / "wrong")[0])
    assert _watched(refused) == ["lost"], refused.records()

    with _started(_over_its_time(folder), environment) as over:
        with _started(_swept(results, JOBS), environment) as launching:
            _until(lambda: sweeps.sweeps(results), "the sweep is on disk")
            sweep = sweeps.read(sweeps.sweeps(results)[0])
            _disturb(sweep, launching, environment)
        kept = {run: (run / store.BLOCKS).read_bytes() for run in sweep.runs()}
        done = subprocess.run(_command(f"resume={sweep.folder}"), env=environment, check=False)
        assert done.returncode == 0 and {r.state for r in sweep.records()} == {"done"}
        for run, before in kept.items():
            whole = before[: before.rfind(b"\n") + 1]
            assert (run / store.BLOCKS).read_bytes().startswith(whole), f"{run} was begun again"
        _each_once(sweep, JOBS * SEEDS)
        page = [sys.executable, "-m", "cellbench.harness.cli", "report", str(sweep.folder)]
        subprocess.run([*page, f"--output={folder / 'page'}"], check=True, stdout=subprocess.DEVNULL)
        long = sweeps.read(sweeps.sweeps(folder / "over")[0])
        _until(lambda: over.poll() is not None or len(_attempts(long)) > 1, "the job over its time goes on")
        (folder / WAIT).unlink()
        assert over.wait(LONGEST_S) == 0, f"the job over its time: {long.record(0)}"
        _each_once(long, LONG_CASES)
        times = len(_attempts(long))
        assert times > 1, "the job over its time was not requeued"
        print(f"a job over its time measured in {times} attempts, in one run")
        print(f"{JOBS} jobs, {JOBS * SEEDS} cases, each ended once; {time.monotonic() - began:.0f} s")


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A command that is ended with the block, however that ends."""
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _attempts(sweep: Sweep) -> set[int]:
    """The attempts in which a case of the sweep has ended."""
    return {block["attempt"] for run in sweep.runs() for block in store.read_blocks(run) if block["done"]}


def _each_once(sweep: Sweep, cases: int) -> None:
    """Checks that all cases have ended, and none of them twice, in whatever way."""
    ends = [block for run in sweep.runs() for block in store.read_blocks(run) if block["done"]]
    different = len({block["case"] for block in ends})
    assert len(ends) == different == cases, (
        f"{len(ends)} ends of {different} cases, of {cases} that were asked for"
    )
    assert {block["status"] for block in ends} == {"ok"}


def _disturb(sweep: Sweep, launching: subprocess.Popen, environment: dict[str, str]) -> None:
    """Cancels a job that waits, kills another, requeues a third, and waits until none is under way."""
    _until(lambda: _begun(sweep) or launching.poll() is not None, "a job has measured a case")
    cancelled = _cancelled(sweep, environment)
    killed = _begun(sweep)[0]
    os.kill(sweep.record(killed).process or 0, signal.SIGKILL)
    print(f"job {killed} was killed", flush=True)
    _until(lambda: [n for n in _begun(sweep) if n != killed], "another job has measured a case")
    requeued = next(n for n in _begun(sweep) if n != killed)
    before = sweep.record(requeued)
    number = (before.scheduler or "").removeprefix("slurm ")
    print(
        f"job {requeued}: {_said(environment, 'scontrol', 'requeue', number).strip() or 'requeued'}",
        flush=True,
    )
    launching.wait(LONGEST_S)
    states = _watched(sweep)
    assert states[cancelled] == "lost", sweep.record(cancelled)
    _until(lambda: not {"running", "queued"} & {r.state for r in sweep.records()}, "no job is under way")
    _until(lambda: sweep.record(requeued).state == "done", "the requeued job has ended")
    assert sweep.record(requeued).run == before.run, "a requeued job goes on with its own run"
    assert sweep.record(killed).state == "lost", sweep.record(killed)


def _cancelled(sweep: Sweep, environment: dict[str, str]) -> int:
    """The job that was to begin last, which is cancelled while it waits."""
    number = len(sweep.jobs) - 1
    record = sweep.record(number)
    assert record.state == "queued" and record.scheduler, record
    _said(environment, "scancel", record.scheduler.removeprefix("slurm "))
    print(f"job {number} was cancelled while it waited", flush=True)
    return number


def _begun(sweep: Sweep) -> list[int]:
    """The jobs that are running and have measured a case."""
    running = [(n, r) for n, r in enumerate(sweep.records()) if r.state == "running" and r.run]
    return [n for n, r in running if _blocks(sweep.results / str(r.run)) > 1]


def _blocks(run: Path) -> int:
    with suppress(OSError):
        return (run / store.BLOCKS).read_bytes().count(b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
