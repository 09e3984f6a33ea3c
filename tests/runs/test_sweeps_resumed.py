"""Sweeps that ended early: only what is missing is measured, each job in its own run, and nothing twice."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.measure import started, worker
from cellbench.harness.runs import job as jobs
from cellbench.harness.runs import multirun
from cellbench.harness.runs.progress import Progress
from cellbench.harness.store import sweeps
from cellbench.harness.store.sweeps import Record

SMALL = ["cells=[elman,gru,lstm]", "backends=[numpy]", "probes=[parameters]", "threads=2"]
SWEPT = "workload.hidden_size=4,5"
LONG = [
    "cells=[elman]",
    "backends=[numpy]",
    "probes=[gradient_decay]",
    "seeds=400",
    "workload.steps=2000,2001",
]


def test_a_schedulers_signal_to_the_whole_group_ends_a_sweep_in_one_line_that_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "cellbench.harness.cli", "run", "-m", *LONG, f"results={tmp_path}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes, start_new_session=True)
    while not any(b'"done": true' in path.read_bytes() for path in tmp_path.glob("*/cases.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGUSR1)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1 and "Traceback" not in error
    (folder,) = sweeps.sweeps(tmp_path)
    assert [r.state for r in sweeps.read(folder).records()] == ["stopped", "missing"]
    assert f"resume={folder}" in out and "crashed" not in (store.runs(tmp_path)[0] / store.BLOCKS).read_text()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGINT], ids=lambda n: n.name)
def test_a_job_that_was_ended_goes_on_in_its_own_run_with_nothing_measured_twice(
    begun, monkeypatch, capsys, number
):
    """The signal comes after two of three cases of the first job; the others of a carried sweep go on."""
    asked = {"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder)}
    finish = Progress.finish

    def finish_and_signal(self, *words):
        finish(self, *words)
        cases.append(words)
        if len(cases) == 2:
            os.kill(os.getpid(), number)

    cases = []
    monkeypatch.setattr(Progress, "finish", finish_and_signal)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            jobs.job(asked | {"job": 0})
    else:
        jobs.job(asked | {"job": 0})
    monkeypatch.undo()
    record = begun.record(0)
    assert record.state == "stopped" and record.cases == {"ok": 2}
    if number == signal.SIGINT:
        return  # the rest is the same
    (run,) = store.runs(begun.results)
    kept = (run / store.BLOCKS).read_bytes()
    assert main(["run", f"resume={begun.folder}"]) == 0
    assert [r.state for r in begun.records()] == ["done", "done"]
    assert begun.record(0).run == run.name and (run / store.BLOCKS).read_bytes().startswith(kept)
    assert len(store.runs(begun.results)) == 2 and sorted(store.runs(begun.folder)) == store.runs(
        begun.results
    )
    ended = [b["case"] for one in store.runs(begun.folder) for b in store.read_blocks(one) if b["done"]]
    assert len(ended) == len(set(ended)) == 6
    again = (run / store.BLOCKS).read_bytes()
    capsys.readouterr()
    assert main(["run", f"resume={begun.folder.name}"]) == 2  # a name alone is one in the default folder
    assert main(["run", f"resume={begun.folder}"]) == 0  # nothing is left
    assert (run / store.BLOCKS).read_bytes() == again and len(store.runs(begun.results)) == 2
    assert f"page: cellbench report {begun.folder}" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["stopped", "running"], ids=["stopped", "lost"])
def test_a_job_that_goes_on_keeps_how_long_it_was_worked_on(begun, state):
    """Of a lost one that is until the last block of its run."""
    jobs.job({"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0})
    began = datetime(2026, 1, 2, tzinfo=UTC)
    ended = began + timedelta(seconds=60)
    blocks = begun.results / begun.record(0).run / store.BLOCKS
    os.utime(blocks, (ended.timestamp(), ended.timestamp()))
    before = replace(begun.record(0), state=state, began=began.isoformat(), ended=None, before_s=30.0)
    if state == "stopped":
        before = replace(before, ended=ended.isoformat())
    begun.write(0, before)
    jobs.job({"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0})
    record = begun.record(0)
    assert record.state == "done" and record.before_s == 90.0
    assert record.worked_s(datetime.now(UTC)) >= 90.0


def test_a_run_that_was_lost_before_its_first_case_is_begun_anew_and_not_twice(begun):
    """The record names the run before there is the run."""
    begun.write(0, Record("running", run="20260101-000000-abcd"))
    assert begun.record(0).state == "lost"
    jobs.job({"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0})
    (run,) = store.runs(begun.results)
    assert begun.record(0).run == run.name and begun.record(0).state == "done"


@pytest.fixture
def begun(tmp_path):
    """A sweep of two jobs that was never launched."""
    return multirun.begin([*SMALL, SWEPT, f"results={tmp_path}"], "cellbench run -m")


def test_a_job_that_is_done_is_not_done_again_by_a_scheduler_that_starts_it_twice(begun):
    asked = {"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 1}
    jobs.job(asked)
    record = begun.record(1)
    assert record.state == "done" and record.log == "jobs/1.log"  # a job that a launcher carried elsewhere
    jobs.job(asked)
    assert begun.record(1) == record and len(store.runs(begun.results)) == 1
    with begun.working(0):
        jobs.job(asked | {"job": 0})  # another process works on it
    assert begun.record(0).state == "missing"


def test_what_a_job_raises_stands_in_its_record_and_not_on_a_launchers_screen(begun, monkeypatch, capsys):
    asked = {"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0}
    for error, words in ((ValueError("no room"), "no room"), (KeyError("x"), "KeyError: 'x'")):
        monkeypatch.setattr(jobs.measuring, "measure", lambda *_, error=error: (_ for _ in ()).throw(error))
        jobs.job(asked)
        assert begun.record(0).state == "failed" and begun.record(0).reason.startswith(words)
    assert multirun.exit_code(begun) == 1


@pytest.mark.parametrize(("nth", "state"), [(1, "missing"), (2, "lost"), (3, "lost")])
def test_a_full_disk_under_a_jobs_record_is_a_line_and_the_other_jobs_go_on(
    begun, monkeypatch, capsys, nth, state
):
    """When it begins, when its run is named, and when it ends; from then on nothing of it is written."""
    write, written = sweeps.Sweep.write, []

    def full(self, number, record):
        written.append(number)
        if number == 0 and len(written) >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, number, record)

    monkeypatch.setattr(sweeps.Sweep, "write", full)
    assert main(["run", f"resume={begun.folder}"]) == 1
    error = capsys.readouterr().err
    assert "job 0: its record cannot be written: [Errno 28] No space left" in error
    assert "Traceback" not in error and "the launcher has failed" not in error
    assert [record.state for record in begun.records()] == [state, "done"]


def test_ctrl_c_ends_a_sweep_under_whose_records_the_disk_is_full(begun, monkeypatch, capsys):
    write = sweeps.Sweep.write

    def full(self, number, record):
        if record.ended:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, number, record)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps.Sweep, "write", full)
    monkeypatch.setattr(jobs.measuring, "measure", interrupted)
    assert main(["run", f"resume={begun.folder}"]) == 130
    assert [record.state for record in begun.records()] == ["lost", "missing"]


@pytest.mark.parametrize("absent", ["_lock", "log_of"], ids=["its lock", "its log"])
def test_a_lock_or_a_log_that_cannot_be_made_is_a_line_of_the_job(begun, monkeypatch, capsys, absent):
    asked = {"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0}
    monkeypatch.setattr(sweeps.Sweep, absent, lambda self, _: self.folder / "absent" / "0")
    jobs.job(asked)
    assert "job 0: its record cannot be written: [Errno 2]" in capsys.readouterr().err


def test_a_job_refuses_another_manifest_than_was_launched(begun):
    with pytest.raises(ValueError, match="another manifest"):
        jobs.job({"sweep": str(begun.folder), "digest": "0" * 64, "job": 0})


def test_a_foreign_sweep_is_gone_on_with_only_where_it_is_trusted(begun, tmp_path, capsys):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\n")
    path = begun.folder / sweeps.MANIFEST
    content = json.loads(path.read_text())
    content["jobs"][1]["config"]["cells"] = [f"{tmp_path}/evil.py:Evil"]
    path.write_text(json.dumps(content))
    assert main(["run", f"resume={begun.folder}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "evil.py" in error and "trust=true" in error
    assert not (tmp_path / "proof").exists()


def test_changed_code_is_refused(begun, capsys):
    path = begun.folder / sweeps.MANIFEST
    content = json.loads(path.read_text())
    content["code"]["cells"] = "0" * 16
    path.write_text(json.dumps(store.manifest.sealed(content, "sweep")))
    assert main(["run", f"resume={begun.folder}"]) == 2
    assert "other code: the package cells" in capsys.readouterr().err


def test_a_case_that_failed_first_and_was_measured_later_is_no_error_of_a_carried_run(tmp_path):
    assert main(["run", "cells=[elman]", "probes=[parameters]", f"results={tmp_path}"]) == 0
    (run,) = store.runs(tmp_path)
    ok = json.loads((run / store.BLOCKS).read_text())
    crashed = ok | {"status": "crashed", "reason": "on purpose", "series": []}
    lines = [json.dumps(block) + "\n" for block in (crashed, ok | {"attempt": 1})]
    for count in (1, 2):
        (run / store.BLOCKS).write_text("".join(lines[:count]))
        assert main(["run", f"resume={run}", "hydra/launcher=basic"]) == 0
    (run / store.BLOCKS).write_text("".join(reversed(lines)))
    assert multirun._has_errors(run)  # the last end counts


def test_settings_of_the_launcher_are_given_anew_and_checked_as_in_a_first_launch(begun, monkeypatch, capsys):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launched, slurm = [], ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=batch"]
    monkeypatch.setattr(multirun.launch, "launched", lambda _, given, *__: bool(launched.append(given)))
    path = begun.folder / sweeps.MANIFEST
    content = json.loads(path.read_text())
    content["given"] += [*slurm, "hydra.launcher.timeout_min=60"]
    path.write_text(json.dumps(store.manifest.sealed(content, "sweep")))
    resumed = ["run", f"resume={begun.folder}"]
    assert main([*resumed, "hydra.launcher.timeout_min=120"]) == 130
    assert [o for o in launched[-1] if o.startswith(("hydra/launcher", "hydra.launcher"))] == [
        *slurm,
        "hydra.launcher.timeout_min=120",
    ]
    local = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"]
    assert main([*resumed, *local]) == 130
    assert [o for o in launched[-1] if o.startswith(("hydra/launcher", "hydra.launcher"))] == local
    capsys.readouterr()
    for override, words in {
        "hydra.launcher.timeout_mins=5": "did you mean 'timeout_min'?",
        "hydra.launcher.timeout_min=5,6": "hydra.launcher.timeout_min cannot be swept",
        "hydra.launcher.timeout_min=": "hydra.launcher.timeout_min is empty",
        "hydra.job.name=x": "leave out hydra.job.name=x",
        "seeds=2": "leave out seeds=2",
    }.items():
        assert main([*resumed, override]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error
    assert len(launched) == 2


def test_settings_of_a_launcher_need_one_beside_a_run_that_is_gone_on_with(tmp_path, monkeypatch, capsys):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    assert main(["run", "cells=[elman]", "probes=[parameters]", f"results={tmp_path}"]) == 0
    (run,) = store.runs(tmp_path)
    launched = []
    monkeypatch.setattr(multirun.launch, "launched", lambda _, given, *__: bool(launched.append(given)))
    setting = "hydra.launcher.timeout_min=120"
    assert main(["run", f"resume={run}", setting]) == 2
    assert "add hydra/launcher=NAME" in capsys.readouterr().err
    assert main(["run", f"resume={run}", setting, "hydra/launcher=submitit_local"]) == 130
    assert launched[0][:2] == ["hydra/launcher=submitit_local", setting]


class Passing:
    """As submitit's handler of signals is, which passes SIGTERM over."""

    def bypass(self, number, frame):
        pass


Passing.__module__ = "submitit.core.job_environment"


def test_a_job_of_submitit_in_slurm_ends_at_sigterm_and_waits_for_slurm_to_begin_it_again(begun, monkeypatch):
    finish, waited, handler = Progress.finish, [], Passing().bypass
    monkeypatch.setattr(
        Progress, "finish", lambda self, *words: finish(self, *words) or os.kill(os.getpid(), signal.SIGTERM)
    )
    monkeypatch.setattr(jobs.time, "sleep", waited.append)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    before = signal.signal(signal.SIGTERM, handler)
    try:
        jobs.job({"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder), "job": 0})
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)
    record = begun.record(0)
    assert (record.state, record.reason, record.cases) == ("stopped", "ended by SIGTERM", {"ok": 1})
    assert waited[-1:] == [jobs.LONGEST_S]


def ended_from_outside(emit):
    emit("now")
    os.kill(os.getppid(), signal.SIGTERM)  # its keeper, which ends it as a scheduler's signal to all does
    time.sleep(60)


def test_a_worker_that_a_signal_to_all_ends_before_its_command_is_no_crash():
    """Slurm sends SIGTERM to every process of a job, in no order: the case in hand is not crashed by it."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.call(
                ended_from_outside,
                on_message=lambda _: signal.setitimer(signal.ITIMER_REAL, started.SOON_S / 2),
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
