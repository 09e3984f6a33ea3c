"""Cases that other jobs of a sweep disturbed: skipped with their values kept, and measured again."""

import io
import os
import socket
from dataclasses import dataclass
from typing import ClassVar

import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.probe import Probe, series
from cellbench.harness.runs import beside, multirun
from cellbench.harness.runs import job as jobs
from cellbench.harness.runs.beside import Beside, Look
from cellbench.harness.runs.groups import PlannedProbe
from cellbench.harness.runs.progress import Progress
from cellbench.harness.runs.runner import Runner
from cellbench.harness.store import lock, sweeps
from cellbench.harness.store.sweeps import Record

SMALL = ["cells=[elman]", "backends=[numpy]", "probes=[throughput]", "probe.throughput.processes=2"]
SIZES = ["workload.steps=5", "workload.batch=2", "workload.input_size=3", "workload.hidden_size=4,5,6"]
REASON = "other jobs of the sweep disturbed it: 3.0 threads of theirs and 1 of its own on 2 cores"


@pytest.fixture
def begun(tmp_path):
    return multirun.begin([*SMALL, *SIZES, f"results={tmp_path}", "hydra/launcher=joblib"], "cellbench run")


@pytest.fixture
def there(begun, monkeypatch):
    """The other jobs, as {number: (state, host, process, its cores)}; this process has cores 0 and 1."""

    def made(others, wanting=3, quota=None):
        cores = {0: {0, 1}, **{process: cores for _, _, process, cores in others.values()}}
        for number, (state, host, process, _) in others.items():
            begun.write(number, Record(state, host=host, process=process))
        monkeypatch.setattr(lock, "is_held", lambda path: True)
        monkeypatch.setattr(beside.os, "sched_getaffinity", lambda process: cores[process], raising=False)
        monkeypatch.setattr(beside, "wanting", lambda processes: wanting * len(processes))
        monkeypatch.setattr(beside, "quota", lambda: quota)
        return Beside(begun, 0)

    return made


HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("others", "wanting", "cores"),
    [
        ({1: ("running", HERE, 71, {0, 1}), 2: ("running", HERE, 72, {1})}, 6, 2),
        ({1: ("running", HERE, 71, {1, 2, 3})}, 3, 4),  # they have cores beside the shared one
        ({1: ("running", HERE, 71, {2, 3})}, 0, 2),  # cores of their own
        ({1: ("running", "elsewhere", 71, {0, 1}), 2: ("done", HERE, 72, {0, 1})}, 0, 2),
        ({1: ("stopped", HERE, 71, {0, 1}), 2: ("running", HERE, os.getpid(), {0, 1})}, 0, 2),
        ({}, 0, 2),
    ],
    ids=["shared", "partly", "own cores", "elsewhere or done", "stopped, or this number", "none"],
)
def test_jobs_count_that_run_on_the_machine_and_may_use_the_same_cores(there, others, wanting, cores):
    one = there(others)
    look = one.look()
    assert (look.wanting, look.cores) == (wanting, cores)
    assert {n for n, (state, *_) in others.items() if state == "done"}.isdisjoint(one.others)


def test_a_damaged_record_of_another_job_is_passed_over(there, begun):
    one = there({1: ("running", HERE, 71, {0, 1})})
    (begun.folder / "jobs" / "2.json").write_text("{")
    assert one.look().wanting == 3


def test_a_control_groups_share_is_all_that_jobs_have(there):
    assert there({1: ("running", HERE, 71, {0, 1})}, quota=1.5).look().cores == 1


@pytest.mark.parametrize(
    ("looks", "threads", "says"),
    [
        ([(3, 2), (3, 2)], 1, REASON),
        ([(1, 2), (1, 2)], 1, None),  # each has a core
        ([(3, 2), (0, 2), (1, 2)], 1, None),  # on average
        ([(2, 4)], 3, "2.0 threads of theirs and 3 of its own on 4 cores"),
        ([(1, 2)], 4, "1.0 threads of theirs and 4 of its own on 2 cores"),
        ([(0, 2)], 4, None),  # its own threads are too many, which is nobody else's doing
    ],
)
def test_a_case_is_disturbed_where_others_want_more_cores_than_it_leaves(there, looks, threads, says):
    one = there({})
    one.looks.extend(Look(one.since + k, *look) for k, look in enumerate(looks))
    reason = one.over("what", "case", threads)
    assert (says in reason) if says else reason is None
    assert one.cases == ({"case"} if says else set())


def test_cases_that_are_timed_in_turns_are_judged_together_and_those_after_them_apart(there):
    one = there({})
    one.looks.append(Look(one.since, 3, 2))
    assert one.over("together", "a", 1) and one.over("together", "b", 1) and one.cases == {"a", "b"}
    assert one.over("next", "c", 1) is None  # looks of now, at which nobody is there
    one.begin()
    assert one.over("together", "d", 1) is None and one.cases == {"a", "b"}


@dataclass(frozen=True)
class Twice(Probe):
    """Two processes time all cases in turns, or the first pass times each."""

    second: bool = True

    @property
    def repeats(self):
        return 2 if self.second else 0

    def comparisons(self, cases):
        return [[case] for case in cases]

    def compare(self, cases, process, emit):
        emit((cases[0].id, []))
        emit((cases[0].id, [series("seconds", "s", [1.0 + process], process=process)]))

    def measure(self, case, emit):
        return "me", [series("first", "s", 0.5)]


@dataclass(frozen=True)
class Trains(Twice):
    times_alone: ClassVar[bool] = False


class Planted:
    """In place of Beside: the cases of some seeds are disturbed."""

    def __init__(self, *seeds):
        self.cases, self.seeds = set(), seeds
        self.ids = {Case("Twice", "gru", seed=seed).id for seed in seeds}

    def begin(self):
        self.what = None

    def over(self, what, case, threads):
        assert threads == 1
        return f"{REASON}; measure it again" if case in self.ids else None


def work(folder, second, planted, done=(), reopen=None, kind=Twice):
    writer = store.reopen(reopen)[0] if reopen else store.create(folder, {})
    cases = [Case("Twice", "gru", seed=k) for k in range(3)]
    runner = Runner(writer, Progress(1.0, stream=io.StringIO()), case_timeout_s=60, done=done, beside=planted)
    asked = PlannedProbe(f"{__file__}:{kind.__name__}", {"second": second}, kind(second), cases)
    assert runner.run([asked]) == 0  # which is no error
    writer.close()
    return [runner.statuses.get(case.id) for case in cases], writer.folder, harness.load(writer.folder)


@pytest.mark.parametrize("second", [True, False], ids=["second pass", "first pass"])
def test_a_disturbed_case_is_skipped_with_its_values_and_measured_again(tmp_path, second):
    statuses, folder, frame = work(tmp_path, second, Planted(1))
    assert statuses == ["ok", "skipped", "ok"]
    metric = "seconds" if second else "first"
    rows = frame[(frame.seed == 1) & (frame.metric == metric)]
    assert len(rows) == 1 and set(rows.status) == {"skipped"} and rows.reason.str.startswith(REASON).all()
    kept = (folder / store.BLOCKS).read_bytes()
    done = [Case("Twice", "gru", seed=k).id for k in (0, 2)]
    statuses, _, frame = work(tmp_path, second, Planted(), done, folder)
    assert statuses[1] == "ok" and set(frame.status) == {"ok"}
    assert (frame[frame.metric == metric].groupby("seed").size() == (2 if second else 1)).all()
    assert (folder / store.BLOCKS).read_bytes().startswith(kept)


@pytest.mark.parametrize("second", [True, False], ids=["second pass", "first pass"])
def test_what_has_more_results_than_times_and_a_run_outside_a_sweep_keep_their_status(tmp_path, second):
    assert work(tmp_path, second, Planted(0, 1, 2), kind=Trains)[0] == ["ok"] * 3
    assert work(tmp_path, second, None)[0] == ["ok"] * 3


def test_a_process_that_was_disturbed_before_a_kill_is_not_taken_over(tmp_path):
    writer = store.create(tmp_path, {})
    case = Case("Twice", "gru", seed=0)
    writer.append(case.id, case.definition, "ok", implementation="me")
    for process, status in enumerate(["ok", "skipped", "ok"]):
        one = [series("seconds", "s", [1.0], process=process)]
        writer.append(case.id, case.definition, status, series=one, implementation="me")
    other = Case("Twice", "gru", seed=1)
    writer.append(other.id, other.definition, "ok", implementation="me")
    writer.release()
    again = store.reopen(writer.folder)[0]
    assert set(again.begun[case.id].repeated) == {0, 2}
    again.release()


def test_a_job_with_disturbed_cases_is_disturbed_until_resume_has_measured_them(begun, monkeypatch, capsys):
    asked = {"sweep": str(begun.folder), "digest": sweeps.digest(begun.folder)}
    monkeypatch.setattr(Beside, "look", lambda self: Look(self.since, 3, 2))
    for number in range(3):
        jobs.job(asked | {"job": number})
    monkeypatch.undo()
    record = begun.record(0)
    assert record.state == "disturbed" and record.cases == {"skipped": 2}
    assert "wanted the cores on which 2 cases ran" in record.reason
    assert multirun.exit_code(begun) == 1
    assert main(["sweeps", str(begun.folder)]) == 0
    out = capsys.readouterr().out
    assert "job 0 was disturbed: other jobs" in out and f"resume={begun.folder}" in out
    runs = {run.name: (run / store.BLOCKS).read_bytes() for run in store.runs(begun.results)}
    assert main(["run", f"resume={begun.folder}", "hydra/launcher=basic"]) == 0
    assert [(r.state, r.cases) for r in begun.records()] == [("done", {"ok": 2})] * 3
    for run in store.runs(begun.results):
        assert (run / store.BLOCKS).read_bytes().startswith(runs.pop(run.name))
    assert not runs and set(harness.load(begun.results).status) == {"ok"}


def test_jobs_one_after_the_other_and_those_of_a_search_are_not_judged(begun, monkeypatch):
    def refused(*given):
        raise AssertionError("it looks at other jobs")

    monkeypatch.setattr(jobs, "Beside", refused)
    monkeypatch.setattr(jobs, "_measure", lambda sweep, number, run, named, beside: int(beside is not None))
    monkeypatch.setattr(jobs, "in_launcher", True)
    assert jobs._work(begun, 0, None) is None and begun.record(0).state == "done"
    monkeypatch.setattr(jobs, "in_launcher", False)
    monkeypatch.setattr(type(begun), "searched", True)
    assert jobs._work(begun, 1, None) is None and begun.record(1).state == "done"
