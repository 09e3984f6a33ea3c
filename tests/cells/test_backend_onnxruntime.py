"""ONNX Runtime as a backend: held against the float64 reference, and what it says where it cannot run."""

import sys

import numpy as np
import pytest
from support.comparison import ARRAYS, CELLS, compare, named, prepare, problem, tolerance

from cellbench import cells

BACKEND = cells.backend("onnxruntime")
STACKS = ["lstm:layers=2:bidirectional=True:readout=3", "gru:layers=3", "elman:bidirectional=True"]


def able(spec):
    return BACKEND.unsupported(cells.get(spec), direction="forward") is None


ABLE = [spec for spec in [*CELLS, *ARRAYS, *STACKS] if able(spec)]


def expected(case, state, lengths=None):
    return named(prepare("numpy", case, direction="forward", lengths=lengths).forward(case.x, state))


def forward(case, **more):
    return prepare("onnxruntime", case, "float32", "forward", **more)


def test_it_has_what_onnx_has_an_operator_for():
    names = {"elman", "gru", "gru_reset_before", "lstm", "cifg", "peephole_lstm"}
    assert {name for name in cells.names() if able(name)} == names


@pytest.mark.parametrize("spec", ABLE)
@pytest.mark.parametrize("sizes", [(17, 3, 5, 7), (1, 1, 1, 33)])
def test_forward_matches_the_float64_reference(spec, sizes):
    case = problem(cells.get(spec), *sizes)
    program = forward(case)
    for state in (case.state, None):
        have = named(program.forward(case.x, state))
        compare(have, expected(case, state), tolerance("float32", case.steps))


@pytest.mark.parametrize("spec", ["lstm", "gru:readout=2", STACKS[0], "gru_reset_before:bidirectional=True"])
def test_lengths_match_the_float64_reference_and_padding_has_no_influence(spec):
    case = problem(cells.get(spec), 9)
    want = expected(case, case.state, [9, 1, 4])
    case.x[4:, 2] = np.nan
    have = named(forward(case, lengths=[9, 1, 4]).forward(case.x, case.state))
    compare(have, want, tolerance("float32", 9))


def test_new_parameters_and_new_inputs_are_what_is_computed():
    case, other = (problem(cells.get("lstm"), seed=seed) for seed in (0, 1))
    program = forward(case)
    program.forward(case.x, case.state)
    program.assign(other.params)
    compare(
        named(program.forward(other.x, other.state)), expected(other, other.state), tolerance("float32", 17)
    )


def test_a_run_reads_what_was_loaded_and_leaves_it_as_it_was():
    case = problem(cells.get("gru"))
    x, program = case.x.copy(), forward(case)
    program.load(case.x, case.state)
    for _ in range(2):
        program.run()
        compare(named(program.read()[0]), expected(case, case.state), tolerance("float32", 17))
    np.testing.assert_array_equal(case.x, x)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_process_gains_as_many_threads_as_are_asked_for(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    assert forward(problem(cells.get("gru"))).implementation.endswith(f"threads: {threads}")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_what_installs_it(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert BACKEND.unavailable() == f"package {package} is not installed; pip install 'cellbench[onnx]'"


@pytest.mark.parametrize(
    "spec, asked, words",
    [
        ("mgu", {}, "ONNX has no layer that computes cell 'mgu'"),
        ("lstm:proj_size=3", {}, "has a projection, which no LSTM of ONNX has"),
        ("lstm", {"direction": "backward"}, "has no direction backward; it has forward"),
        ("lstm", {"dtype": "float64"}, "has no dtype float64; it has float32"),
        ("lstm", {"device": "cuda"}, "has no device cuda; it has cpu"),
    ],
)
def test_what_it_cannot_do_is_said_by_name(spec, asked, words):
    assert words in BACKEND.unsupported(cells.get(spec), **{"direction": "forward"} | asked)


def test_parameters_that_no_onnx_file_holds_are_said_in_one_line(monkeypatch):
    monkeypatch.setattr(sys.modules["cellbench.cells.backends._onnx_model"], "LARGEST", 100)
    with pytest.raises(ValueError, match="an ONNX model holds at most 100: take a smaller hidden_size"):
        forward(problem(cells.get("gru")))


@pytest.mark.parametrize("spec", ["lstm", "gru:readout=2", "lstm:layers=3", "peephole_lstm"])
def test_steps_one_by_one_match_the_float64_reference(spec):
    case = problem(cells.get(spec), steps=5)
    program = forward(case)
    for state in (case.state, None):
        program.reset(state)
        have = {"output": np.stack([program.step(x) for x in case.x])}
        have |= {f"state.{name}": value for name, value in program.stream_state().items()}
        compare(have, expected(case, state), tolerance("float32", 5))
