"""JAX as a backend: held against the float64 reference, and what it says where it cannot run."""

import sys

import numpy as np
import pytest
from support.comparison import CELLS, compare, computed, named, prepare, problem, slack, tolerance

from cellbench import cells
from cellbench.cells.backends import jax as backend

BACKEND = cells.backend("jax")
ABLE = [spec for spec in CELLS if BACKEND.unsupported(cells.get(spec)) is None]
MORE = ["slstm:heads=3", "gru:layers=2:bidirectional=True:readout=3", "elman:activation=relu:biases=1"]


@pytest.mark.parametrize("spec", [*ABLE, *MORE])
def test_forward_and_backward_match_the_float64_reference(spec):
    case = problem(cells.get(spec))
    program, expected = prepare("jax", case), computed(prepare("numpy", case), case)
    for _ in range(2):
        compare(computed(program, case), expected, tolerance("float64", case.steps) * slack(case.cell))
    assert "lax.scan, threads: " in program.implementation


@pytest.mark.parametrize("spec", ["gru", "cornn"])
def test_a_timed_run_computes_the_same_in_float32(spec):
    case = problem(cells.get(spec))
    program, reference = prepare("jax", case, "float32"), prepare("numpy", case)
    for each in (program, reference):
        each.load(case.x, case.state, case.d_output)
        each.run()
        each.sync()
    compare(named(*program.read()), named(*reference.read()), tolerance("float32", case.steps))


def test_lengths_match_the_float64_reference_and_padding_has_no_influence():
    case = problem(cells.get("lstm"), 9)
    expected = computed(prepare("numpy", case, lengths=[9, 1, 4]), case)
    case.x[4:, 2] = np.nan
    compare(computed(prepare("jax", case, lengths=[9, 1, 4]), case), expected, tolerance("float64", 9))


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    backend.started.cache_clear()
    try:
        reason = BACKEND.unavailable()
    finally:
        backend.started.cache_clear()
    assert reason == "package jax is not installed; pip install 'cellbench[peers]'"


@pytest.mark.parametrize(
    "spec, asked, words",
    [
        ("mlstm", {}, "cell 'mlstm' writes out its step; backend jax computes recorded equations"),
        ("lstm", {"dtype": "bfloat16"}, "has no dtype bfloat16; it has float32, float64"),
        ("lstm", {"device": "cuda"}, "has no device cuda; it has cpu"),
    ],
)
def test_what_it_cannot_do_is_said_by_name(spec, asked, words):
    assert words in BACKEND.unsupported(cells.get(spec), **asked)


def test_what_jax_cannot_trace_is_unsupported():
    if reason := BACKEND.unavailable():
        pytest.skip(reason)
    assert "cell 'exprnn' writes effective itself" in BACKEND.unsupported(cells.get("exprnn"))
