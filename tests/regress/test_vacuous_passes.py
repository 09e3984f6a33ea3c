"""Ways in which a gate could pass without a comparison: red, bad input or untold, never 0."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.processes import Processes
from support.stored_runs import KEY, a_run, broken, native, program

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.measure.pair import Trouble
from cellbench.harness.regress import judged, of_cellbench, outputs, revision
from cellbench.harness.regress.baselines import __main__ as gate
from cellbench.harness.regress.benchmarks import Comparison

SMALL = [
    "cells=[gru]",
    "direction=forward",
    "workload.steps=3",
    "workload.batch=1",
    "workload.input_size=2",
    "workload.hidden_size=3",
]


class Any(dict):
    """One plan for whatever pair is asked for."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = list(steps)

    def __missing__(self, name):
        return self.setdefault(name, list(self.steps))


@pytest.fixture
def judging(monkeypatch, tmp_path):
    """Runs `compare numba:torch` with processes that do what the plan says; returns the exit code."""

    def judge(*steps, cores=(), overrides=()):
        processes = Processes(Any(*steps), cores=dict(cores))
        monkeypatch.setattr(judged, "call", processes)
        return main(["compare", "numba:torch", *SMALL, *overrides, f"results={tmp_path / 'runs'}"])

    return judge


def test_the_plan_that_is_fine_is_green(judging):
    assert judging(0.001) == 0 and judging(-0.05) == 0


FAULTS = {
    "every process crashes": (["crashed"], 1),
    "every process hangs": (["timed_out"], 1),
    "memory runs out": ([Trouble("out_of_memory", "32 GB")], 1),
    "one side is wrong": ([Trouble("wrong", "d_x is off")], 1),
    "one side cannot be prepared": ([Trouble("failed", "KeyError")], 1),
    "one side became unsupported in the worker": ([Trouble("unsupported", "no kernel")], 3),
    "it breaks in the last process only": ([0.0, 0.0, 0.0, 0.0, "crashed"], 1),
    "every time is zero": ([-np.inf], 3),
    "every time is no number": ([np.nan], 3),
    "one process in five timed nothing": ([0.0, 0.0, np.nan, 0.0, 0.0], 3),
    "the second instance of A is off": ([(0.0, 0.05)], 3),
    "the second instance of A is off and B slower": ([(0.2, 0.05)], 3),
    "processes do not agree": ([0.05, -0.05], 3),
    "slower in all but one": ([0.05, 0.05, 0.05, 0.05, -0.05], 3),
    "slower, and confirmed": ([0.05], 1),
    "slower by a little, and confirmed": ([0.016], 1),
    "slower, and its repetition crashes": ([0.05] * 5 + ["crashed"], 1),
    "slower, and its repetition is faster": ([0.05] * 5 + [-0.05], 3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_while_timing_is_never_green(judging, fault):
    steps, expected = FAULTS[fault]
    assert judging(*steps) == expected


def test_cores_that_are_taken_away_meanwhile_are_never_green(judging):
    assert judging(0.0, cores={3: 1}) == 3


def test_a_suite_in_which_nothing_can_be_timed_is_never_green(judging):
    assert judging(0.0, overrides=["device=cuda"]) == 3
    assert outputs.exit_code(Comparison("nothing", "a", "b", ())) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "numba:numba"],
        ["compare", "numba:nmba"],
        ["compare", "gru:numba"],
        ["compare", "numba:torch", "cells=[]"],
        ["compare", "numba:torch", "threads=2"],
        ["compare", "numba:torch", "probes=[parameters]"],
        ["regress"],
        ["regress", "base="],
        ["regress", "base=no-such-revision"],
        ["regress", "base=HEAD", "probes=[parameters]"],
    ],
)
def test_a_comparison_that_is_none_is_bad_input(arguments, tmp_path, capsys):
    assert main([*arguments, f"results={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


class Editing(Processes):
    """Somebody edits the file of a side while the second process times it."""

    mine: Path

    def __call__(self, *args, **options):
        if len(self.groups) == 1:
            self.mine.write_text(self.mine.read_text() + "# edited")
        return super().__call__(*args, **options)


def test_a_file_that_is_edited_while_it_is_compared_is_never_green(monkeypatch, tmp_path):
    processes = Editing(Any(0.0))
    processes.mine = tmp_path / "mine.py"
    processes.mine.write_text("from cellbench.cells.zoo.gru import GRU\nclass Mine(GRU):\n    pass\n")
    monkeypatch.setattr(judged, "call", processes)
    arguments = [*(s for s in SMALL if "cells" not in s), "backends=[numpy]", f"results={tmp_path / 'runs'}"]
    assert main(["compare", f"{processes.mine}:Mine:gru", *arguments]) == 1
    page = next((tmp_path / "runs").rglob("regress.md")).read_text()
    assert "mine.py changed after the comparison began" in page
    assert "| Mine:gru numpy" in page and f"cellbench compare {processes.mine}:Mine:gru" in page


def test_a_cell_that_only_the_base_has_is_red(monkeypatch, tmp_path, judging):
    if revision.git(Path(of_cellbench.__file__).parent, "rev-parse", "HEAD") is None:
        pytest.skip("this is no git checkout, so there is no revision to compare with")
    monkeypatch.setattr(judged, "call", Processes(Any(0.0)))
    monkeypatch.setattr(of_cellbench, "_gone", lambda root: ["renamed"])
    monkeypatch.setattr(of_cellbench, "different_dependencies", lambda a, b: None)
    arguments = [*SMALL, "backends=[numpy]", f"results={tmp_path}", "--output", str(tmp_path / "out")]
    assert main(["regress", "base=HEAD", *arguments]) == 1
    assert "renamed" in (tmp_path / "out" / "regress.md").read_text()


STORED = {
    "a benchmark is missing": (
        [program(), native(), program("lstm"), native(cell="lstm")],
        [program(), native()],
        {},
        1,
    ),
    "a benchmark was renamed": ([program(), native()], [program("gru2"), native(cell="gru2")], {}, 1),
    "a benchmark is wrong now": ([program(), native()], [broken(program()), native()], {}, 1),
    "a benchmark is skipped now": ([program(), native()], [broken(program(), "skipped"), native()], {}, 1),
    "there is no partner": ([program(partner=False)], [program(partner=False)], {}, 3),
    "the partner is another": ([program(), native()], [program(), native(implementation="native 2")], {}, 3),
    "another machine": ([program(), native()], [program(), native()], {"key": KEY | {"cpu": "other"}}, 3),
    "another number of threads": (
        [program(), native()],
        [program(), native()],
        {"key": KEY | {"threads": 2}},
        3,
    ),
    "one process a side": (
        ([program(ratios=(1,), levels=(1,)), native(ratios=(1,), levels=(1,))],) * 2 + ({}, 3)
    ),
    "nothing was timed": ([broken(program())], [broken(program())], {}, None),
    "the run is not finished": ([program(), native()], [program(), native()], {"end": False}, 2),
}


@pytest.mark.parametrize("fault", STORED)
def test_a_fault_between_stored_runs_is_never_green(tmp_path, fault):
    old, new, how, expected = STORED[fault]
    runs = a_run(tmp_path / "a", *old), a_run(tmp_path / "b", *new, **how)
    code = main(["compare", *map(str, runs)])
    assert code == expected if expected is not None else code in (2, 3)


@pytest.mark.parametrize("name", [store.MANIFEST, store.BLOCKS])
def test_a_run_whose_file_is_damaged_is_refused(tmp_path, name):
    runs = [a_run(tmp_path / side, program(), native()) for side in "ab"]
    (runs[1] / name).write_text("{not json\n")
    assert main(["compare", *map(str, runs)]) == 2


@pytest.mark.parametrize(
    ("content", "expected"), [(None, None), ("{", 2), ("[]", 2), (json.dumps({"cell": "gru"}), 2), ("", 2)]
)
def test_exact_gates_without_a_baseline_to_hold_against_are_never_green(
    tmp_path, monkeypatch, content, expected
):
    monkeypatch.setattr(gate, "zoo", lambda: ["gru"])
    if content is not None:
        (tmp_path / "gru.json").write_text(content)
    code = gate.main(["--check", "--folder", str(tmp_path)], {"gru": {}})
    assert code == expected if content is not None else code in (1, 3)
