"""A comparison that was interrupted is gone on with, and nothing that was timed is timed again."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.processes import Processes

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.regress import judged, resumed
from cellbench.harness.regress.apart.abba import Apart, Revision

SMALL = ["cells=[gru,elman]", "direction=forward", "workload.steps=3", "workload.batch=1"]
SMALL += ["workload.input_size=2", "workload.hidden_size=3"]


class Plan(dict):
    """One plan for whatever pair is asked for."""

    def __missing__(self, name):
        return self.setdefault(name, [0.001])


class Until(Processes):
    """Interrupts in the middle of the process of that number; counts what each timed."""

    stop = 10**9

    def __call__(self, function, pairs, seed, effort, *, on_message, **more):
        def message(content):
            on_message(content)
            if len(self.groups) == self.stop and content is not None:
                raise KeyboardInterrupt

        return super().__call__(function, pairs, seed, effort, on_message=message, **more)


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """Runs `compare`, stopped in a process where one is given: (exit code, names timed by each process)."""

    def run(*arguments, stop=10**9):
        processes = Until(Plan())
        processes.stop = stop
        monkeypatch.setattr(judged, "call", processes)
        return main(["compare", *arguments]), processes.groups

    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_an_interrupted_comparison_times_only_what_was_left(compare, capsys, stop):
    code, first = compare("numba:torch", *SMALL, "results=runs", stop=stop)
    (run,) = store.runs(Path("runs"))
    assert code == 130 and f"cellbench compare resume={run}" in capsys.readouterr().err
    timed = Counter(name for group in first[:-1] for name in group)
    timed[first[-1][0]] += 1  # whose message came
    code, rest = compare(f"resume={run}")
    both = timed + Counter(name for group in rest for name in group)
    assert code == 0 and set(both.values()) == {5} and len(both) == 2
    frame = harness.load(run)
    seconds = frame[frame.metric == "seconds_a_first"]
    assert set(seconds.groupby("case").process.nunique()) == {5} and set(frame.status) == {"ok"}
    assert compare(f"resume={run}") == (0, [])  # all of it is there: it is told again


def test_a_killed_writer_loses_no_process_that_was_timed(compare):
    assert compare("numba:torch", *SMALL, "results=runs")[0] == 0
    (run,) = store.runs(Path("runs"))
    lines = (run / store.BLOCKS).read_bytes().splitlines(keepends=True)
    for kept in (0, 1, 4, len(lines) - 1):
        (run / store.BLOCKS).write_bytes(b"".join(lines[:kept]))
        code, rest = compare(f"resume={run}")
        assert code == 0 and sum(map(len, rest)) == max(0, 10 - kept)


def test_only_a_comparison_of_ones_own_is_gone_on_with(compare, capsys):
    assert compare("numba:torch", *SMALL, "results=runs")[0] == 0
    (run,) = store.runs(Path("runs"))
    path = run / store.MANIFEST
    found = json.loads(path.read_text())
    assert compare(f"resume={run}", "threads=1")[0] == 2
    assert main(["regress", f"resume={run}"]) == 2 and "made by cellbench compare" in capsys.readouterr().err
    assert main(["run", f"resume={run}"]) == 2 and "compare resume=" in capsys.readouterr().err
    found["again"]["given"] = "evil.py:Evil:gru"
    path.write_text(json.dumps(found))
    assert compare(f"resume={run}")[0] == 2 and "not made by you" in capsys.readouterr().err


def test_sides_that_ran_apart_are_taken_over_line_by_line(tmp_path):
    line = {"status": "ok", "benchmark": [[1.0, 2.0]], "anchor": [[0.5, 0.25]], "implementation": "x"}
    ran = []

    class Fake(Apart):
        def process(self, cases, revision):
            ran.append(sorted(cases))
            return [{**line, "name": name} for name in cases]

    known = {"a": {("first", "a", 0): line, ("first", "b", 0): line}, "b": {("first", "a", 0): line}}
    cases = dict.fromkeys("ab")
    how = Fake(np.random.default_rng(0), processes=2, build=lambda root: Revision(root, None), known=known)
    how.judge(cases, tmp_path, tmp_path)
    assert Counter(map(tuple, ran[:3])) == {("b",): 1, ("a", "b"): 2}


def test_conditions_come_back_as_they_were(compare):
    assert compare("numba:torch", *SMALL, "results=runs")[0] == 0
    (run,) = store.runs(Path("runs"))
    timings = [t for known in resumed.timings(run).values() for t in known.values()]
    assert len(timings) == 10 and {t.conditions.cores for t in timings} == {2}
    assert {t.conditions.mhz for t in timings} == {None} and {t.loops for t in timings} == {1}
