"""What measures no time waits until nothing is timed any more, and then runs side by side."""

import io
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import ClassVar

import pytest

from cellbench import harness
from cellbench.harness import probe as probes
from cellbench.harness import store
from cellbench.harness.case import Case
from cellbench.harness.measure import forked
from cellbench.harness.probe import Probe, series
from cellbench.harness.runs import runner
from cellbench.harness.runs.groups import PlannedProbe
from cellbench.harness.runs.progress import Progress
from cellbench.harness.runs.runner import Runner


def wrote(folder, kind, case):
    """Keeps the core for a moment, and writes when."""
    began = time.monotonic()
    time.sleep(0.1)
    with (Path(folder) / "spans").open("a") as file:
        file.write(json.dumps([kind, case.seed, began, time.monotonic()]) + "\n")


@dataclass(frozen=True)
class PartlyTimed(Probe):
    """The first half of a case is timed; the seed says how the second half ends."""

    folder: str = ""
    kept: str = ""

    def kept_in(self, folder):
        return {"kept": folder}

    def measure(self, case, emit):
        kept = Path(self.kept) / f"{case.seed}"
        if not kept.exists():
            wrote(self.folder, "timed", case)
            kept.parent.mkdir(exist_ok=True)
            kept.touch()
        emit((case.id, [series("seconds", "s", 1.0)]))

        def rest():
            wrote(self.folder, "rest", case)
            if case.seed == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return [series("verdict", "1", 2.0)], f"line {case.seed}"

        return "me", rest


@dataclass(frozen=True)
class Untimed(Probe):
    """Nothing is timed."""

    timed: ClassVar[bool] = False
    folder: str = ""

    def measure(self, case, emit):
        wrote(self.folder, "untimed", case)
        return "me", [series("value", "1", 3.0)]


@dataclass(frozen=True)
class Short(Probe):
    """Takes no time and no backend; the case of seed 2 ends its process."""

    timed: ClassVar[bool] = False
    folder: str = ""

    def measure(self, case, emit):
        with (Path(self.folder) / "spans").open("a") as file:
            own = multiprocessing.current_process()
            file.write(json.dumps([case.hidden_size, os.getpid(), own.name.partition("-")[0]]) + "\n")
        if case.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return "me", [series("value", "1", 3.0)]

    def estimate_s(self, case):
        return 0.01


def short(folder, cases):
    options = {"folder": str(folder)}
    return PlannedProbe(f"{__file__}:Short", options, Short(**options), cases)


def asked(kind, folder, seeds):
    options = {"folder": str(folder)}
    # of other steps each, so that each has a process of its own
    cases = [Case(kind.__name__, "gru", "numpy", "cpu", "float32", 1, steps=9 + k, seed=k) for k in seeds]
    return PlannedProbe(f"{__file__}:{kind.__name__}", options, kind(**options), cases)


def ran(folder, probes, **more):
    """The spans [kind, seed, began, ended] of a run, and its rows."""
    writer = store.create(folder / "runs", {})
    Runner(writer, Progress(1.0, stream=io.StringIO()), case_timeout_s=30, **more).run(probes)
    writer.close()
    spans = [json.loads(line) for line in (folder / "spans").read_text().splitlines()]
    return spans, harness.load(folder / "runs")


@pytest.mark.quick
def test_nothing_runs_beside_what_is_timed_and_the_rest_runs_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "cores", lambda: 2)
    monkeypatch.setattr(runner, "IMPORTED", ("json",))  # a server that is there at once
    probes = [
        asked(Untimed, tmp_path, [6]),
        asked(PartlyTimed, tmp_path, range(3)),
        asked(Untimed, tmp_path, [7, 8]),
    ]
    spans, rows = ran(tmp_path, probes)
    timed = [span for span in spans if span[0] == "timed"]
    others = [span for span in spans if span[0] != "timed"]
    assert [span[1] for span in timed] == [0, 1, 2] and len(others) == 6
    for one in timed:
        assert all(other[3] < one[2] or other[2] > one[3] for other in spans if other is not one)
    late = [span for span in others if span[2] > timed[-1][3]]
    expected = [("rest", 0), ("rest", 1), ("rest", 2), ("untimed", 7), ("untimed", 8)]
    assert sorted((kind, seed) for kind, seed, *_ in late) == expected
    assert any(one is not two and one[2] < two[3] and two[2] < one[3] for one in late for two in late)
    # a crash in what is not timed costs its own case alone, and keeps what was timed
    ends = rows.groupby("seed")["status"].agg(set)
    assert ends[1] == {"crashed"} and all(ends[seed] == {"ok"} for seed in (0, 2, 7, 8))
    assert (rows["metric"] == "seconds").sum() == 3 and (rows["metric"] == "verdict").sum() == 2
    assert set(rows[(rows["metric"] == "verdict")]["reason"]) == {"line 0", "line 2"}


def test_with_a_budget_each_case_is_done_before_the_next_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "cores", lambda: 2)
    monkeypatch.setattr(runner, "IMPORTED", ("json",))
    spans, _ = ran(tmp_path, [asked(PartlyTimed, tmp_path, range(3))], budget_s=60.0)
    assert [(kind, seed) for kind, seed, *_ in spans] == [
        (kind, k) for k in range(3) for kind in ("timed", "rest")
    ]


def test_short_cases_of_all_sizes_share_a_process_and_a_crash_costs_its_own_alone(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("from cellbench.cells.zoo.gru import GRU\n\n\nclass Mine(GRU):\n    pass\n")
    cells = ["gru", "elman", "gru", "lstm", "gru", f"{own}:Mine"]
    cases = [Case("Short", cell, hidden_size=4 + k, seed=k) for k, cell in enumerate(cells)]
    seen, rows = ran(tmp_path, [short(tmp_path, cases)])
    processes = {size: process for size, process, _ in seen}
    assert len(seen) == len(cases) and processes[4] == processes[5] == processes[6]
    assert processes[7] == processes[8] != processes[6] and processes[9] not in (processes[6], processes[7])
    ends = rows.set_index("hidden_size")["status"]
    assert ends[6] == "crashed" and all(ends[size] == "ok" for size in (4, 5, 7, 8, 9))


def test_what_needs_no_backend_is_forked_once_a_server_has_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "IMPORTED", ("json",))
    forkserver._forkserver._stop()  # that of another test has other surroundings, and is not used
    cases = [Case("Short", "gru", hidden_size=4, seed=k) for k in range(2)]
    monkeypatch.setattr(forked, "_ANSWERED", threading.Event())
    spawned, _ = ran(tmp_path, [short(tmp_path, cases[:1])])
    assert [name for *_, name in spawned] == ["SpawnProcess"]
    seen, _ = ran(tmp_path, [short(tmp_path, [replace(cases[0], device="cpu")]), short(tmp_path, cases[1:])])
    assert [name for *_, name in seen[1:]] == ["ForkServerProcess"] * 2


class Interrupted(Progress):
    """Ends the run when its second case begins, while the first waits with its verdict."""

    def start(self, what, about_s):
        if "seed 2" in what:
            raise KeyboardInterrupt
        super().start(what, about_s)


def test_what_was_timed_is_kept_where_a_run_ends_before_its_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "IMPORTED", ("json",))
    planned = asked(PartlyTimed, tmp_path, [0, 2])
    writer = store.create(tmp_path / "runs", {})
    with pytest.raises(KeyboardInterrupt):
        Runner(writer, Interrupted(1.0, stream=io.StringIO()), case_timeout_s=30).run([planned])
    writer.release()
    assert [path.name for path in writer.kept.iterdir()] == ["0"]

    writer, ended = store.reopen(writer.folder)
    again = Runner(writer, Progress(1.0, stream=io.StringIO()), case_timeout_s=30)
    assert not ended and again.run([planned]) == 0
    writer.close()
    spans = [json.loads(line)[:2] for line in (tmp_path / "spans").read_text().splitlines()]
    assert sorted(spans) == [["rest", 0], ["rest", 2], ["timed", 0], ["timed", 2]]
    rows = harness.load(tmp_path / "runs")
    assert (rows["metric"] == "seconds").sum() == (rows["metric"] == "verdict").sum() == 2


def test_a_training_keeps_its_checkpoints_in_its_run_unless_it_is_told_where():
    pytest.importorskip("safetensors")
    assert probes.get("training").kept_in("run/kept") == {"checkpoints": "run/kept"}
    assert probes.get("training", {"checkpoints": "mine"}).kept_in("run/kept") == {}
