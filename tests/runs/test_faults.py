"""What goes wrong in one case leaves every other one intact: through `cellbench run`, with cells, backends
and probes by path.
"""

import json
import multiprocessing
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cellbench import harness
from cellbench.harness import case, store
from cellbench.harness.cli import main
from cellbench.harness.store import code
from cellbench.harness.studies import kill_targets, kills

PROBE = """
import atexit, ctypes, multiprocessing, os, sys, time, unittest
from dataclasses import dataclass
import numpy as np
from cellbench.harness.case import Case
from cellbench.harness.probe import Probe, series

WAYS = WAYS_HERE


class Own(BaseException):
    pass


class Odd:
    def __reduce__(self):
        return (print_and_fail, ())


def print_and_fail():
    if multiprocessing.parent_process() is None:
        raise ImportError("only in a worker")


@dataclass(frozen=True)
class Faulty(Probe):
    def cases(self, plan):
        return [Case(self.name, "gru", variant=way, seed=k) for k, way in enumerate(WAYS)]

    def measure(self, case, emit):
        emit((case.id, [series("before", "s", [1.0])]))
        getattr(self, case.variant)(case, emit)
        return "me", [series("value", "s", [2.0])]

    def fine(self, case, emit):
        pass

    def segfault(self, case, emit):
        ctypes.string_at(0)

    def hang(self, case, emit):
        while True:
            time.sleep(1)

    def hang_in_c(self, case, emit):
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter, so that no thread of the worker runs

    def exhaust(self, case, emit):
        kept = []
        while True:
            kept.append(np.empty(1 << 30, np.uint8))

    def fail(self, case, emit):
        raise RuntimeError("on purpose")

    def garbage(self, case, emit):
        os.write(1, b"\\xff\\x00{garbage}\\n" * 1000)
        sys.stdout.write("more garbage")

    def leave(self, case, emit):
        os._exit(0)

    def leave_politely(self, case, emit):
        sys.exit(0)

    def run_tests(self, case, emit):
        unittest.main(argv=["none"], module="os")

    def raise_what_is_no_exception(self, case, emit):
        raise Own("enough")

    def go_elsewhere(self, case, emit):
        os.chdir("/")

    def stop_the_clock(self, case, emit):
        time.perf_counter = float

    def close_the_streams(self, case, emit):
        os.close(1)
        os.close(2)

    def leave_at_exit(self, case, emit):
        atexit.register(os._exit, 3)

    def close_everything(self, case, emit):
        os.closerange(3, 100)

    def hand_over_nonsense(self, case, emit):
        emit((case.id, [{"metric": "x"}]))

    def hand_over_text(self, case, emit):
        emit((case.id, [series("x", "s", []) | {"values": ["1"]}]))

    def hand_over_the_unreadable(self, case, emit):
        emit((case.id, Odd()))
"""
ENDS = {
    "segfault": ("crashed", "SIGSEGV"),
    "exhaust": ("out_of_memory", "GiB are available here: choose smaller sizes"),
    "fail": ("failed", "on purpose"),
    "garbage": ("ok", None),
    "leave": ("crashed", "exit code 0"),
    "leave_politely": ("failed", "ends the interpreter: sys.exit(0) (faulty.py:"),
    "run_tests": ("failed", "ends the interpreter: sys.exit("),
    "raise_what_is_no_exception": ("failed", "raises Own: enough (faulty.py:"),
    "go_elsewhere": ("failed", "changes the working directory"),
    "stop_the_clock": ("failed", "replaces time.perf_counter"),
    "close_the_streams": ("failed", "closes or replaces standard output"),
    "leave_at_exit": ("ok", None),
    "close_everything": ("crashed", "without a result"),
    "hand_over_nonsense": ("failed", "a series has"),
    "hand_over_text": ("failed", "numbers as values"),
    "hand_over_the_unreadable": ("failed", "only in a worker"),
}


def run_ways(tmp_path, ways, *overrides):
    (tmp_path / "faulty.py").write_text(PROBE.replace("WAYS_HERE", repr(ways)))
    code = main(
        [
            "run",
            f"results={tmp_path / 'runs'}",
            f"probes=[{tmp_path}/faulty.py:Faulty,parameters]",
            "cells=[gru]",
            *overrides,
        ]
    )
    return code, harness.load(tmp_path / "runs")


def ended(frame, seed):
    """Status and reason of a case."""
    row = frame[frame.seed == seed].iloc[-1]
    return row.status, row.reason


def test_a_case_that_breaks_its_process_leaves_every_other_one_intact(tmp_path):
    ways = ["fine"]
    for way in ENDS:
        ways += [way, "fine"]
    code, frame = run_ways(tmp_path, ways)
    assert code == 1
    for k, way in enumerate(ways):
        status, reason = ended(frame, k)
        wanted, said = ENDS.get(way, ("ok", None))
        assert status == wanted and (said is None or said in reason), (way, status, reason)
        assert (frame[frame.seed == k].metric == "before").sum() == 1, way
        assert (frame[frame.seed == k].metric == "value").sum() == (wanted == "ok"), way
    assert set(frame[frame.probe == "parameters"].status) == {"ok"}


def test_a_case_that_hangs_ends_and_the_next_one_runs(tmp_path):
    ways = ["fine", "hang", "fine", "hang_in_c", "fine"]
    code, frame = run_ways(tmp_path, ways, "case_timeout_s=4")
    assert code == 1
    assert [ended(frame, k)[0] for k in range(5)] == ["ok", "timed_out", "ok", "timed_out", "ok"]
    assert "case_timeout_s" in ended(frame, 1)[1] and not multiprocessing.active_children()


def test_no_worker_outlives_a_run_that_is_killed_not_even_one_that_holds_the_interpreter(tmp_path):
    (tmp_path / "faulty.py").write_text(PROBE.replace("WAYS_HERE", repr(["fine", "hang_in_c"])))
    arguments = [sys.executable, "-m", "cellbench.harness.cli", "run", f"results={tmp_path / 'runs'}"]
    arguments += [f"probes=[{tmp_path}/faulty.py:Faulty]", "cells=[gru]"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while (
        sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("runs/*/cases.jsonl")) < 3
    ):  # the second case is in hand
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert kills.outliving(process, []) == 0
    assert ended(harness.load(tmp_path / "runs"), 0) == ("ok", None)


IN_A_WORKER = "import ctypes, multiprocessing\nworker = multiprocessing.parent_process() is not None\n"
CELL = """
from cellbench.cells import GatedCell, State, tanh

if worker:
    ctypes.string_at(0)


class Mine(GatedCell):
    '''Breaks whoever imports it to measure it.'''

    gates = ("n",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.n + wh.n))
"""
BACKEND = """
from cellbench.cells.backends.numpy import NumpyBackend


class Broken(NumpyBackend):
    def program(self, cell, *arguments, **options):
        if worker:
            ctypes.string_at(0)
        return super().program(cell, *arguments, **options)
"""


def test_a_users_cell_or_backend_that_crashes_takes_no_other_along(tmp_path):
    (tmp_path / "mine.py").write_text(IN_A_WORKER + CELL)
    (tmp_path / "broken.py").write_text(IN_A_WORKER + BACKEND)
    code = main(
        [
            "run",
            f"results={tmp_path / 'runs'}",
            f"cells=[elman,{tmp_path}/mine.py:Mine]",
            "direction=[forward]",
            f"backends=[numpy,{tmp_path}/broken.py:Broken]",
            "probes=[throughput]",
            "probe.throughput.processes=1",
            "workload.steps=4",
            "workload.hidden_size=4",
            "probe.throughput.samples=2",
        ]
    )
    frame = harness.load(tmp_path / "runs")
    ends = {
        (c, b.rpartition("/")[2]): s for c, b, s in zip(frame.cell, frame.backend, frame.status, strict=True)
    }
    assert code == 1
    assert ends == {
        ("elman", "numpy"): "ok",
        ("elman", "broken.py:Broken"): "crashed",
        ("Mine", "numpy"): "crashed",
        ("Mine", "broken.py:Broken"): "crashed",
    }
    assert (frame[frame.status == "ok"].metric == "seconds").sum() == 2


def test_kills_at_random_instants_lose_nothing_and_leave_nothing(tmp_path, capsys):
    targets = ["--only", "run", "import"]
    assert kills.main(["--kills", "3", "--seed", "3", "--results", str(tmp_path), *targets]) == 0, (
        capsys.readouterr()
    )
    found = json.loads((tmp_path / "kills.json").read_text())["summary"]
    assert [row["command"] for row in found[:-1]] and found[-1]["kills"] >= 2


TICKS = ["cells=[gru]", f"probes=[{kill_targets.PROBE}:Ticks]", "seeds=2"]


def test_what_the_study_of_kills_writes_down_names_no_place_on_a_machine(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "said").write_text(f"run: {tmp_path}/runs/1")
    target = SimpleNamespace(finished=lambda place: {}, codes=(0,), whole=lambda place: False)
    found = kills.Round("run")
    kills.judge(found, target, tmp_path, [])
    assert "run: ./runs/1" in found.said and str(tmp_path) not in found.said


def test_commands_that_are_not_killed_again_keep_what_was_written_of_them(tmp_path):
    first = [kills.Round("run", seed=1, whole=True), kills.Round("check", seed=1, whole=True)]
    kills.write(tmp_path, first)
    kills.write(tmp_path, [kills.Round("check", seed=2, said="it `hung`")], kills.known(tmp_path))
    text = (tmp_path / "kills.md").read_text()
    assert [(one.command, one.seed) for one in kills.known(tmp_path)] == [("run", 1), ("check", 2)]
    assert "Seed 1: run.\n" in text and "Seed 2: check.\n" in text and "`check`: `it hung`" in text
    assert "Not killed: claims," in text


def test_a_case_that_did_not_end_ok_is_measured_again_and_said_so_beside_its_partner(tmp_path, capsys):
    assert main(["run", f"results={tmp_path}", *TICKS]) == 0
    folder = store.runs(tmp_path)[0]
    path = folder / store.BLOCKS
    blocks = [json.loads(line) for line in path.read_text().splitlines()]
    bad = next(b["case"] for b in blocks if b["definition"]["variant"] == "b")
    for block in blocks:
        if block["case"] == bad and block["done"]:
            block |= {"status": "crashed", "reason": "SIGSEGV"}
    path.write_text("".join(json.dumps(block) + "\n" for block in blocks))
    capsys.readouterr()
    assert main(["run", f"resume={folder}"]) == 0
    assert "3 of 4 cases are done; again: 1 crashed; 0 left" in capsys.readouterr().out
    after = [json.loads(line) for line in path.read_text().splitlines()][len(blocks) :]
    assert {block["case"] for block in after} == {bad}
    frame = harness.load(tmp_path)
    assert set(frame.status) == {"ok"} and (frame[frame.case == bad].metric == "ratio").sum() == 2


def test_a_second_pass_that_was_interrupted_is_measured_again_and_nothing_counts_twice(tmp_path):
    assert main(["run", f"results={tmp_path}", *TICKS]) == 0
    folder = store.runs(tmp_path)[0]
    path = folder / store.BLOCKS
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(k for k, line in enumerate(lines) if b'"process": 1' in line)
    path.write_bytes(b"".join(lines[: first + 1]))  # one case of four has both processes, none is done
    assert main(["run", f"resume={folder}"]) == 0
    frame = harness.load(tmp_path)
    assert set(frame.status) == {"ok"} and set(frame[frame.metric == "ratio"].groupby("case").size()) == {2}
    assert set(frame[frame.metric == "seconds"].groupby(["case", "process"]).size()) == {200}


def test_a_run_whose_cells_file_has_changed_is_not_gone_on_with(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(CELL.replace("if worker:", "if False:"))
    arguments = [f"results={tmp_path / 'runs'}", f"cells=[{tmp_path}/mine.py:Mine]", "probes=[parameters]"]
    assert main(["run", *arguments]) == 0
    (tmp_path / "mine.py").write_text(CELL.replace("if worker:", "if False:") + "# changed\n")
    find_again()
    assert main(["run", f"resume={store.runs(tmp_path / 'runs')[0]}"]) == 2
    assert "file changed" in capsys.readouterr().err


EDITING = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from cellbench.harness.case import Case
from cellbench.harness.probe import Probe, series

MINE = Path({mine!r})


@dataclass(frozen=True)
class Editing(Probe):
    '''Does a case see the file that the run began with?'''

    repeats: ClassVar[int] = 2

    def cases(self, spaces):
        return [Case("Editing", f"{{MINE}}:Mine", variant=str(n)) for n in range(2)]

    def measure(self, case, emit):
        return "x", [series("one", "1", 1.0)]

    def comparisons(self, cases):
        return [cases]

    def compare(self, cases, process, emit):
        for case in cases:
            if process == {at}:
                MINE.write_text(MINE.read_text() + "# edited")
            emit((case.id, [series("two", "1", 2.0, process=process)]))
"""


@pytest.mark.parametrize("at", [0, 1])
def test_a_cells_file_that_is_edited_while_the_run_goes_on_fails_what_comes_after(tmp_path, at, capsys):
    mine, probe = tmp_path / "mine.py", tmp_path / "editing.py"
    mine.write_text(CELL.replace("if worker:", "if False:"))
    probe.write_text(EDITING.format(mine=str(mine), at=at))
    runs = tmp_path / "runs"
    assert main(["run", f"cells=[{mine}:Mine]", f"probes=[{probe}:Editing]", f"results={runs}"]) == 1
    frame = store.load(runs)
    assert (
        set(frame.status) == {"failed"}
        and frame.reason.str.contains("mine.py changed after the run began").all()
    )
    assert set(frame[frame.metric == "two"].process.dropna()) == set(range(at))
    find_again()
    assert main(["run", f"resume={store.runs(runs)[0]}"]) == 2  # it is still another file
    capsys.readouterr()


def test_a_file_that_is_written_again_as_it_was_is_no_other(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("x = 1")
    watch = code.Watch([f"{mine}:Mine"])
    assert watch.changed() == []
    mine.write_text("x = 1")
    assert watch.changed() == []
    mine.write_text("x = 2")
    assert watch.changed() == [str(mine)]
    mine.unlink()
    assert watch.changed() == [str(mine)]
    mine.write_text("x = 1")
    assert watch.changed() == []


def find_again():
    """As in a new process: what a file held is remembered for as long as this one lives."""
    case._source.cache_clear()
