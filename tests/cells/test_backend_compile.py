"""torch:mode=compile: the step is one graph, right forward and backward, and what it lacks is said."""

import sys

import pytest
from support.comparison import compare, computed, prepare, problem, tolerance
from support.stopping_cell import Stopping

from cellbench import cells

COMPILED = "torch:mode=compile"
BACKEND = cells.backend(COMPILED)


def test_a_compiled_step_is_one_graph_and_matches_the_float64_reference():
    case = problem(cells.get("elman"))
    program, expected = prepare(COMPILED, case, "float32"), computed(prepare("numpy", case), case, trace=True)
    for _ in range(2):
        compare(computed(program, case, trace=True), expected, tolerance("float32", case.steps))
    program.load(case.x, case.state, case.d_output)
    program.run()
    program.run()
    assert program.compiled.graphs == 1 and "inductor" in program.implementation
    # of other lengths and parameters: the step is the same, and nothing is compiled again
    other = problem(cells.get("elman"), steps=5, seed=1)
    again = prepare(COMPILED, other, "float32")
    assert again.compiled is program.compiled and again.compiled.graphs == 1
    compare(computed(again, other), computed(prepare("numpy", other), other), tolerance("float32", 5))


def test_a_step_that_is_no_single_graph_is_refused_in_one_line():
    cell = Stopping(biases=0)
    if reason := BACKEND.unavailable():
        pytest.skip(reason)
    with pytest.raises(ValueError, match=r"torch\.compile cannot compile the step of cell") as refused:
        BACKEND.prepare(cell, cell.init(2, 3), steps=2, batch=2, direction="forward")
    assert "\n" not in str(refused.value)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "needs a C++ compiler, and there is no 'no-such-compiler'; install g++" in BACKEND.unavailable()


def test_missing_headers_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "there is no Python.h" in BACKEND.unavailable()


def test_it_is_a_mode_of_torch_alone():
    with pytest.raises(ValueError, match="it must be one of sequential, scan, compile"):
        cells.backend("torch:mode=compiled")
    with pytest.raises(ValueError, match=r"it must be one of sequential, scan$"):
        cells.backend("numba:mode=compile")
