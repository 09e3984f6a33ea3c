"""Runs as a whole: rows, statuses, a user's own cell, a kill and going on after it."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cellbench import harness
from cellbench.cells.programs.tolerance import relative_error, relative_errors, tolerance
from cellbench.harness import store
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.probe import NotOk, Probe, series
from cellbench.harness.programs import check, inputs, prepare
from cellbench.harness.runs.groups import PlannedProbe, estimate_s
from cellbench.harness.runs.progress import Progress
from cellbench.harness.runs.runner import Runner

SMALL = [
    "workload.steps=5",
    "workload.batch=2",
    "workload.input_size=3",
    "workload.hidden_size=4",
    "probe.throughput.samples=2",
]
LONG = [
    "workload.steps=4000",
    "workload.hidden_size=64",
]  # a case takes a good part of a second, so that a signal comes in time

OWN_CELL = """
from cellbench.cells import GatedCell, State, sigmoid, tanh


class Mine(GatedCell):
    '''A minimal gated unit of my own, with a constant that is an option.'''

    gates = ("f", "n")
    states = ("h",)
    leak: float = 0.5

    def equations(self, wx, wh, prev):
        f = sigmoid(wx.f + wh.f)
        n = tanh(wx.n + wh.n)
        return State(h=f * prev.h + self.leak * (1 - f) * n)
"""


def run(folder, *overrides):
    code = main(["run", f"results={folder}", *SMALL, *overrides])
    return code, harness.load(folder)


def test_a_users_own_cell_runs_by_path_on_every_backend_and_stands_in_the_report(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN_CELL)
    mine, backward = f"{tmp_path}/mine.py:Mine", "direction=[backward]"
    # the option on one backend: of the others each takes another process and kernel
    option = [f"cells=[{mine}:leak=0.9]", "backends=[numpy]", "probes=[throughput]", backward]
    assert run(tmp_path / "runs", *option, "probe.throughput.processes=1")[0] == 0
    code, frame = run(
        tmp_path / "runs",
        f"cells=[{mine},gru]",
        "backends=[numpy,numba,torch,native]",
        "probes=[parameters,throughput,gradient_decay]",
        "probe.throughput.processes=1",
        "seeds=1",
        backward,
    )
    assert code == 0
    timed = frame[(frame.probe == "throughput") & (frame.metric == "seconds")]
    assert set(timed[timed.cell == "Mine"].backend) == {"numpy", "numba", "torch"}
    assert set(timed[timed.cell == "Mine"].options.dropna()) == {"leak=0.9"}
    assert timed[(timed.cell == "Mine") & (timed.backend == "numba")].options.isna().all()
    refused = frame[frame.status == "unsupported"]
    assert (
        set(refused.backend) == {"native"} and refused.reason.str.contains("no module for cell 'Mine'").all()
    )
    assert timed.groupby(["cell", "backend", "direction", "process"]).size().min() >= 2
    ratios = frame[frame.metric == "ratio_to_native"]
    assert set(ratios.cell) == {"gru"} and (ratios[ratios.backend == "native"].value == 1).all()
    assert main(["report", str(tmp_path / "runs"), "--output", str(tmp_path / "page")]) == 0
    assert (
        "Mine" in capsys.readouterr().out
        and "Mine:leak=0.9" in (tmp_path / "page" / "index.html").read_text()
    )


def test_cuda_without_a_gpu_is_unavailable_rows_and_exit_code_0(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    code, frame = run(tmp_path, "cells=[gru]", "probes=[throughput]", "device=cuda", "direction=[backward]")
    assert code == 0 and set(frame.status) == {"unavailable"} and len(frame) == 4
    assert frame.reason.str.contains("no CUDA device").all()


def wait_for_blocks(folder, count, process):
    """Until the run in the folder has written so many."""
    while sum(path.read_bytes().count(b"\n") for path in folder.glob("*/cases.jsonl")) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_killed_run_is_readable_and_goes_on_where_it_stopped(tmp_path):
    command = [
        sys.executable,
        "-m",
        "cellbench.harness.cli",
        "run",
        f"results={tmp_path}",
        *SMALL,
        "cells=[elman,lstm,gru]",
        "probes=[parameters,gradient_decay]",
        "seeds=2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_blocks(tmp_path, 4, process)
    process.kill()
    process.wait()
    folder = store.runs(tmp_path)[0]
    before = harness.load(folder)
    assert before.case.nunique() >= 3
    kept = (folder / store.BLOCKS).read_text().splitlines()
    assert main(["run", f"resume={folder}"]) == 0
    after = (folder / store.BLOCKS).read_text().splitlines()
    assert after[: len(kept)] == kept  # nothing was measured again
    assert harness.load(folder).case.nunique() == 3 + 6


def test_an_interrupt_before_the_first_case_does_not_say_that_all_was_measured(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    assert main(["run", f"results={tmp_path}", *SMALL, "probes=[parameters]"]) == 130
    said = capsys.readouterr()
    assert "nothing was measured" in said.out and "nothing left" not in said.out + said.err
    assert "go on with: cellbench run resume=" in said.err


def test_an_interrupt_leaves_a_readable_run_and_prints_how_to_go_on(tmp_path):
    command = [
        sys.executable,
        "-m",
        "cellbench.harness.cli",
        "run",
        f"results={tmp_path}",
        *SMALL,
        "probes=[gradient_decay]",
        "seeds=500",
        *LONG,
    ]
    heeding = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # what runs behind a shell's & begins by ignoring it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, start_new_session=True, preexec_fn=heeding)
    wait_for_blocks(tmp_path, 1, process)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and f"resume={store.runs(tmp_path)[0]}" in error
        and "Traceback" not in error
    )
    assert (store.runs(tmp_path)[0] / store.TABLE).exists() and len(harness.load(tmp_path))


def test_resume_refuses_other_overrides(tmp_path, capsys):
    run(tmp_path, "cells=[elman]", "probes=[parameters]")
    folder = store.runs(tmp_path)[0]
    assert main(["run", f"resume={folder}", "seeds=3"]) == 2
    assert "leave out" in capsys.readouterr().err


@dataclass(frozen=True)
class Misbehaving(Probe):
    """A probe whose cases end in every way there is; the variant says how. A comparison is of one seed."""

    together: bool = False

    @property
    def repeats(self):
        return 2 if self.together else 0

    def comparisons(self, cases):
        return [[case] for case in cases]

    def compare(self, cases, process, emit):
        if cases[0].variant == "dies later" and process == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        emit((cases[0].id, [series("seconds", "s", [1.0], process=process)]))

    def measure(self, case, emit):
        emit((case.id, [series("before", "s", [1.0])]))
        if case.variant in ("ok", "dies later"):
            return "me", [series("value", "s", 3.0)]
        if case.variant == "crashed":
            os.kill(os.getpid(), signal.SIGKILL)
        if case.variant == "timed_out":
            time.sleep(60)
        if case.variant == "out_of_memory":
            np.ones(1 << 46, np.uint8)
        if case.variant == "failed":
            raise ZeroDivisionError("on purpose")
        raise NotOk(case.variant, "on purpose")


ENDS = [
    "ok",
    "wrong",
    "failed",
    "crashed",
    "timed_out",
    "out_of_memory",
    "mismatch",
    "skipped",
    "diverged",
    "unsupported",
    "ok",
]


def test_every_way_to_end_is_a_row_and_takes_nothing_along(tmp_path):
    spec = f"{__file__}:Misbehaving"
    cases = [Case("Misbehaving", "gru", variant=end, seed=k) for k, end in enumerate(ENDS)]
    writer = store.create(tmp_path, {})
    progress = Progress(1.0, stream=io.StringIO())
    assert Runner(writer, progress, case_timeout_s=6).run([PlannedProbe(spec, {}, Misbehaving(), cases)]) == 1
    writer.close()
    frame = harness.load(tmp_path)
    for k, end in enumerate(ENDS):
        rows = frame[frame.seed == k]
        assert end in set(rows.status), (end, rows)
        assert (rows.metric == "before").sum() == 1  # what was measured before the end is kept
        assert end == "ok" or rows[rows.status == end].reason.notna().all()
    assert (frame.metric == "value").sum() == 2


@pytest.mark.quick
def test_a_crash_in_the_second_pass_takes_no_other_comparison_along(tmp_path):
    variants = ["ok", "dies later", "ok"]
    cases = [Case("Misbehaving", "gru", variant=v, seed=k) for k, v in enumerate(variants)]
    writer = store.create(tmp_path, {})
    runner = Runner(writer, Progress(1.0, stream=io.StringIO()), case_timeout_s=30)
    asked = PlannedProbe(f"{__file__}:Misbehaving", {"together": True}, Misbehaving(True), cases)
    assert runner.run([asked]) == 1
    writer.close()
    frame = harness.load(tmp_path)
    seconds = frame[frame.metric == "seconds"].groupby("seed").process.apply(sorted)
    assert seconds.to_dict() == {0: [0, 1], 1: [0], 2: [0, 1]}  # each once, none lost, none twice
    assert [runner.statuses[c.id] for c in cases] == ["ok", "crashed", "ok"]


@dataclass(frozen=True)
class Costly(Misbehaving):
    """One whose second pass is said to take far longer than the first."""

    def estimate_repeat_s(self, case):
        return 100.0


@pytest.mark.quick
def test_no_time_is_left_for_the_second_pass_of_what_failed(tmp_path):
    cases = [
        Case("Costly", "gru", variant=v, seed=k) for k, v in enumerate(("unsupported", "dies later", "ok"))
    ]
    probes = [PlannedProbe(f"{__file__}:Costly", {"together": True}, Costly(True), cases)]
    for some in (cases[:1], cases):
        planned = [replace(probes[0], cases=some)]
        writer = store.create(tmp_path, {})
        progress = Progress(estimate_s(planned), stream=io.StringIO())
        Runner(writer, progress, case_timeout_s=30).run(planned)
        writer.close()
        assert progress.total_s > 200 and progress.remaining() == "about 0 s left"


@dataclass(frozen=True)
class KilledOnce(Probe):
    """Its first process of the second pass is killed. A comparison says how many cases it had."""

    marker: str = ""

    @property
    def repeats(self):
        return 2

    def comparisons(self, cases):
        return [cases]

    def compare(self, cases, process, emit):
        if not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for case in cases:
            emit((case.id, [series("together", "1", [float(len(cases))], process=process)]))

    def measure(self, case, emit):
        return "me", []


def test_a_comparison_whose_process_was_killed_is_measured_together_again(tmp_path):
    options = {"marker": str(tmp_path / "killed")}
    cases = [Case("KilledOnce", "gru", seed=k) for k in range(2)]
    writer = store.create(tmp_path / "run", {})
    runner = Runner(writer, Progress(1.0, stream=io.StringIO()), case_timeout_s=30)
    asked = PlannedProbe(f"{__file__}:KilledOnce", options, KilledOnce(**options), cases)
    assert runner.run([asked]) == 0
    writer.close()
    frame = harness.load(tmp_path / "run")
    together = frame[frame.metric == "together"]
    assert sorted(zip(together.seed, together.process, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert set(together.value) == {2.0}


def test_what_is_left_when_the_budget_is_used_up_is_skipped(tmp_path):
    cases = [Case("Misbehaving", "gru", variant="ok", seed=k) for k in range(3)]
    writer = store.create(tmp_path, {})
    progress = Progress(1.0, stream=io.StringIO())
    runner = Runner(writer, progress, case_timeout_s=30, budget_s=0.01)
    assert runner.run([PlannedProbe(f"{__file__}:Misbehaving", {}, Misbehaving(), cases)]) == 0
    assert list(runner.statuses.values())[1:] == ["skipped", "skipped"]


@pytest.mark.quick
def test_a_wrong_program_is_named_and_a_nan_is_wrong_too():
    case = Case(
        "throughput",
        "gru",
        "numpy",
        "cpu",
        "float32",
        steps=4,
        batch=2,
        input_size=3,
        hidden_size=4,
        direction="backward",
    )
    given = inputs(case)
    program = prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    program.run()
    out, grads = program.read()
    assert check((out, grads), given, case)[0] < tolerance("float32", 4)
    for poison in (10 * tolerance("float32", 4) * np.abs(grads.params["weight_hh"]).max(), np.nan):
        grads.params["weight_hh"][0, 0] += poison
        with pytest.raises(NotOk, match="d_weight_hh"):
            check((out, grads), given, case)


NO_REFERENCE = """
import numpy as np
from cellbench.cells import GatedCell, State, log, tanh

class Logs(GatedCell):
    gates, states = ("n",), ("h",)

    def equations(self, wx, wh, prev):
        return State(h=log(wx.n + wh.n))

class Draws(GatedCell):
    gates, states = ("n",), ("h",)

    def step(self, params, x, state):
        h = tanh(x @ params["weight_ih"].T) * np.random.rand()
        return h, State(h=h)
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Logs", "is NaN or infinite in the float64 reference itself"),
        ("Draws", "another one when it is computed once"),
    ],
)
def test_a_reference_that_nothing_can_be_held_against_is_said_without_a_warning(name, words, tmp_path, capfd):
    path = tmp_path / "cells_of_mine.py"
    path.write_text(NO_REFERENCE)
    asked = [f"cells=[{path}:{name}]", "backends=[torch]", "probes=[throughput]", "direction=forward"]
    sizes = ["workload.steps=3", "workload.batch=2", "workload.input_size=3", "workload.hidden_size=4"]
    assert main(["run", *asked, *sizes, f"results={tmp_path}"]) == 1
    said = capfd.readouterr()
    assert words in said.out + said.err and "RuntimeWarning" not in said.out + said.err


def test_an_error_of_nan_is_no_number_below_a_tolerance():
    assert not relative_error(np.array([np.nan]), np.array([1.0])) <= 1
    assert not relative_error(np.array([1.0]), np.array([np.inf])) <= 1


def test_an_array_that_cancels_to_zero_is_measured_against_the_others():
    expected = {"d_a": np.array([1.0]), "d_zero": np.array([1e-16]), "d_small": np.array([1e-9])}
    errors = relative_errors(
        {"d_a": np.array([1.0]), "d_zero": np.array([1e-8]), "d_small": np.array([2e-9])}, expected, 16
    )
    assert (
        errors["d_zero"] == pytest.approx(1e-8)
        and errors["d_small"] == pytest.approx(1.0)
        and errors["d_a"] == 0
    )


def test_what_this_repository_holds_names_no_place_on_a_machine():
    root = Path(__file__).parents[2]
    for path in [*root.glob("harness/**/*.py"), *root.glob("cells/**/*.py"), root / "README.md"]:
        assert not any(f"/{home}/" in path.read_text() for home in ("home", "root")), path
