"""How a sweep stands while it runs, from any terminal, and how what still runs is cancelled."""

import io
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from cellbench.harness.cli import main
from cellbench.harness.runs import cancel, live
from cellbench.harness.store import lock, sweeps
from cellbench.harness.store.files import ResultsError
from cellbench.harness.store.sweeps import Record, launches, slurm

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(state, began_s=None, ended_s=None, before_s=0.0):
    """A record that was begun last, and ended, so many seconds before NOW."""
    texts = [s if s is None else (NOW - timedelta(seconds=s)).isoformat() for s in (began_s, ended_s)]
    return Record(state, began=texts[0], ended=texts[1], before_s=before_s)


@pytest.fixture
def begun(tmp_path):
    """A sweep of two jobs on disk, carried by Slurm."""
    jobs = [{"id": f"{n}" * 12, "overrides": [f"seeds={n}"], "config": {}} for n in range(2)]
    described = dict.fromkeys(("created", "command"), "") | {"primary": "config", "sweeper": "basic"}
    sweep = sweeps.create(tmp_path, described | {"swept": ["seeds"], "given": [], "jobs": jobs})
    launches.add(sweep.folder, launches.SLURM, [0, 1])
    return sweep


LEFT = {
    "as estimated": ([record("queued"), record("queued")], [10, 20], 30),
    "a job took twice as long": ([record("done", 50, 30), record("queued")], [10, 20], 40),
    "a job was gone on with": ([record("done", 35, 30, 15), record("running", 1, None, 9)], [10, 20], 30),
    "two at a time": ([record("running", 4), record("running", 1), record("queued")], [10, 10, 7], 11),
    "the longest is alone": ([record("running", 0), record("running", 9)], [100, 10], 100),
    "later than estimated": ([record("running", 99)], [10], None),
    "all are done": ([record("done", 9, 8)], [10], None),
    "a sweep of an older version": ([record("queued")], None, None),
    "a search, whose jobs were unknown": ([record("running", 3)], [], None),
}


@pytest.mark.parametrize("case", LEFT)
def test_the_time_left_is_that_of_the_jobs_left_at_the_pace_of_those_that_are_done(case):
    records, estimates, seconds = LEFT[case]
    assert live.remaining_s(records, estimates, NOW) == seconds


def test_a_sweep_is_watched_from_another_terminal_until_its_jobs_have_ended(begun, monkeypatch, capsys):
    monkeypatch.setattr(live, "LOOK_S", 0.01)
    looked = threading.Event()
    monkeypatch.setattr(live, "remaining_s", lambda *_: looked.set() or 7.0)

    def work():
        with begun.launching(), begun.working(0):
            begun.write(0, Record("running"))
            ready.set()
            assert looked.wait(20)
            looked.clear()
            begun.write(0, Record("done"))
            assert looked.wait(20)
            begun.write(1, Record("done"))

    ready = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    name = ["sweeps", begun.folder.name, "--results", str(begun.results)]
    assert main([*name, "--watch"]) == 0
    thread.join()
    written = capsys.readouterr()
    lines = written.err.splitlines()
    assert lines[0] == f"sweep {begun.folder.name}: 1 queued, 1 running; about 7 s left"
    assert lines[-1].startswith(f"sweep {begun.folder.name}: 2 done") and len(lines) == len(set(lines))
    assert "page: cellbench report" in written.out
    assert main(["sweeps", "--watch"]) == 2
    assert "--watch needs the sweep" in capsys.readouterr().err


def test_a_damaged_record_is_a_line_beside_a_launch_and_ends_a_watch(begun, monkeypatch, capsys):
    monkeypatch.setattr(live, "LOOK_S", 0.01)
    for number, damage in enumerate(({"ended": "yesterday"}, {"began": "2026-01-02T03:04:05"})):
        begun.write(number, record("done", 9, 8))
        path = begun.folder / "jobs" / f"{number}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        ((name, value),) = damage.items()
        words = f"{path} is damaged: its {name} is {value!r}, and no time"
        with live.told(begun, True):
            pass
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
        assert main(["sweeps", str(begun.folder), "--watch"]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
        begun.write(number, record("done", 9, 8))


def looked_at(path):
    """A look at a lock that takes a while: its handle, which a timer closes."""
    handle = lock.opened(path)
    lock.take(handle, lock.fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, [handle]).start()


def test_a_launch_waits_for_who_only_looks_and_not_for_another_launch(begun, monkeypatch):
    looked_at(begun.folder / sweeps.LAUNCH)
    assert lock.is_held(begun.folder / sweeps.LAUNCH) is False  # two may look at a time
    with begun.launching():
        monkeypatch.setattr(lock, "PATIENCE_S", 0.1)
        assert lock.is_held(begun.folder / sweeps.LAUNCH)
        with pytest.raises(ResultsError, match="under way in another command"), begun.launching():
            pass


def test_on_a_terminal_the_line_takes_the_place_of_the_one_before(begun, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    line = live._Line(terminal)
    line.show("1 queued; about 9 s left", "1 queued")
    line.show("1 queued; about 8 s left\x1b[31m", "1 queued")
    line.close()
    clear = "\r\x1b[2K"
    assert (
        terminal.getvalue()
        == f"{clear}1 queued; about 9 s left{clear}1 queued; about 8 s left\\x1b[31m{clear}"
    )


@pytest.fixture
def submitted(begun, tmp_path, monkeypatch):
    """The sweep with what submitit leaves of an array in Slurm, and a scancel that writes its words."""
    for number, text in (("17", "#SBATCH --array=0-1"), ("4711", "#!/bin/sh"), ("-u", "#SBATCH")):
        folder = begun.folder / "hydra" / ".submitit" / number
        folder.mkdir(parents=True)
        (folder / f"{number}_submission.sh").write_text(text)
    program = tmp_path / "bin" / "scancel"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/cancelled\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "has", lambda numbers: frozenset({"17_0", "17_1"}))
    return begun


@pytest.mark.parametrize("again", [True, False], ids=["a second Ctrl-C", "one Ctrl-C"])
def test_a_sweep_that_is_interrupted_says_how_to_cancel_what_slurm_has_and_a_second_ctrl_c_does(
    submitted, tmp_path, monkeypatch, capsys, again
):
    def wait(seconds):
        if again:
            raise KeyboardInterrupt

    monkeypatch.setattr(cancel.time, "sleep", wait)
    with submitted.launching():
        cancel.offer(submitted)
    error = capsys.readouterr().err
    assert "cancel them with: scancel 17, or with Ctrl-C" in error
    assert (tmp_path / "cancelled").exists() == again
    if again:
        assert (tmp_path / "cancelled").read_text() == "17\n" and "scancel 17: cancelled" in error


def test_nothing_is_cancelled_of_a_sweep_that_has_ended_or_that_an_earlier_command_launched(
    submitted, capsys
):
    launches.add(submitted.folder, launches.SLURM, [0, 1])
    with submitted.launching():
        cancel.offer(submitted)
    (submitted.folder / launches.FILE).unlink()
    launches.add(submitted.folder, "basic", [0, 1])
    for number in range(2):
        submitted.write(number, Record("done"))
    cancel.offer(submitted)
    assert capsys.readouterr().err == ""


WORK = """
import signal, sys, time
from pathlib import Path
from cellbench.harness.store import sweeps
from cellbench.harness.store.sweeps import Record
import os
sweep = sweeps.read(Path(sys.argv[1]))
with sweep.working(0):
    sweep.write(0, Record("running", process=os.getpid()))
    print(flush=True)
    signal.sigwait({signal.SIGTERM})
    sweep.write(0, Record("stopped", process=os.getpid()))
"""


def test_jobs_in_processes_of_ones_own_end_with_their_record_and_others_are_left_alone(begun, monkeypatch):
    monkeypatch.setattr(cancel, "GRACE_S", 0.05)
    monkeypatch.setattr(cancel, "END_S", 30.0)
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
    command = [sys.executable, "-c", f"{block}\n{WORK}", str(begun.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child, begun.working(1):
        child.stdout.readline()
        begun.write(1, Record("running", process=os.getppid()))  # a record may name any process
        monkeypatch.setattr(cancel.time, "sleep", lambda _: None)
        cancel.end_below(begun)
        assert child.wait(20) == 0
    assert [r.state for r in begun.records()] == ["stopped", "lost"]


def test_a_process_that_is_started_meanwhile_does_not_see_ctrl_c():
    asked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    command = [sys.executable, "-c", asked]
    for wanted in (True, False):
        with cancel.shielded(wanted):
            assert subprocess.check_output(command, text=True) == f"{wanted}\n"
