"""`cellbench check CELL --kernel`: a cell's kernels against its own equations."""

import dataclasses
from pathlib import Path

import pytest

from cellbench import cells
from cellbench.cells.checking.kernels import check
from cellbench.cells.checking.kernels.check import KernelResult, Way, fitting
from cellbench.cells.kernels.triton.resources import missing
from cellbench.harness.cli import main

OWN = Path(__file__).parents[1] / "support" / "kernel_cells.py"
SMALL = ("--steps", "2", "--hidden-size", "5", "--batch", "2")


@pytest.mark.quick
def test_numba_s_kernels_are_right_in_both_formats_over_all_steps_and_one(capsys):
    assert main(["check", "elman", "--kernel", "numba", *SMALL]) == 0
    first, *ways = capsys.readouterr().out.splitlines()
    assert first == "numba kernels of elman against its equations: right"
    sizes = [f"{dtype}, T={steps} B=2 I=7 H=5: right" for steps in (2, 1) for dtype in ("float64", "float32")]
    assert all(size in way for size, way in zip(sizes, ways, strict=True))


UNFIT = """
import numpy as np
from cellbench.cells import GatedCell, State, log, tanh

class Logs(GatedCell):
    gates, states = ("n",), ("h",)

    def equations(self, wx, wh, prev):
        return State(h=log(wx.n + wh.n))
"""


@pytest.mark.quick
def test_equations_that_are_not_finite_are_told_apart_from_wrong_kernels(capfd, tmp_path):
    path = tmp_path / "logs.py"
    path.write_text(UNFIT)
    assert main(["check", f"{path}:Logs", "--kernel", "numba", *SMALL]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "is NaN or infinite in the float64 reference itself" in error


@pytest.mark.skipif(
    missing() is not None, reason="triton is not installed; it is in the extra test, on Linux"
)
def test_triton_s_kernels_of_a_cell_in_a_file_are_right(capsys):
    assert main(["check", f"{OWN}:Places", "--kernel", "triton", *SMALL]) == 0
    out = capsys.readouterr().out
    assert out.count("right, largest error") == 12 and "float32, T=1 B=2 I=7 H=5, a product a gate" in out
    assert all(f"T=2 B=2 I=7 H=5, a product a gate, compiled for sm_{n}: right" in out for n in (80, 90))
    for form in ("grid", "a launch a step"):
        assert f"float64, T=2 B=2 I=7 H=5, {form}: right" in out
        assert f"float32, T=2 B=2 I=7 H=5, {form}, compiled for sm_90: right" in out


@pytest.mark.quick
def test_a_kernel_that_is_wrong_is_told_with_the_array(monkeypatch, capsys):
    computed = check.computed

    def off(problem, backend, dtype):
        arrays = computed(problem, backend, dtype)
        return arrays | {"d_x": arrays["d_x"] * 1.001} if backend.name == "numba" else arrays

    monkeypatch.setattr(check, "computed", off)
    assert main(["check", "elman", "--kernel", "numba", *SMALL]) == 1
    assert "float64, T=2 B=2 I=7 H=5: wrong, largest error 0.001 of d_x" in capsys.readouterr().out


RATIO = """
from cellbench.cells import GatedCell, State, exp, sigmoid, tanh

class Ratio(GatedCell):
    gates = ("a", "b", "k")
    states = ("h", "w")

    def equations(self, wx, wh, prev):
        w = sigmoid(wx.k + wh.k) * prev.w + exp(tanh(wx.b))  # near 0 for some first states
        return State(h=tanh(wx.a + wh.a) / (wx.b * wx.b + w), w=w)
"""


@pytest.mark.quick
def test_a_division_by_almost_nothing_allows_what_plain_arithmetic_makes_of_it_and_no_more(tmp_path):
    (tmp_path / "ratio.py").write_text(RATIO)
    spec = f"{tmp_path / 'ratio.py'}:Ratio"
    result = check.check_kernel(spec, "numba", steps=1)
    allowing = [way for way in result.ways if way.plain]
    assert result.ok and "float32" in {way.name.split(",")[0] for way in allowing}
    for way in allowing:
        (name, *_) = [name for name, error in way.errors.items() if error > way.allowed]
        wrong = dataclasses.replace(way, errors=way.errors | {name: 10 * way.limit(name)})
        assert not wrong.right and wrong.worst == name and way.limit(name) < 1e-2


@pytest.mark.quick
def test_nan_ten_tolerances_and_a_failure_are_wrong():
    right = Way("float64", 1e-14, {"output": 1e-15, "d_x": 0.0})
    assert KernelResult("a", (right,)).ok
    for error in (1e-13, float("nan")):
        way = dataclasses.replace(right, errors={"d_x": error, "output": 1e-15})
        assert not way.right and way.worst == "d_x" and not KernelResult("a", (right, way)).ok
    failed = dataclasses.replace(right, errors={}, failed="Fault: a line stores twice")
    assert not KernelResult("a", (right, failed)).ok and "stores twice" in str(KernelResult("a", (failed,)))


@pytest.mark.quick
def test_a_state_that_is_a_gate_s_product_keeps_the_recurrent_one_apart():
    derivation = cells.get(f"{OWN}:Places").derivation()
    assert derivation.separate("a") and not cells.get("elman").derivation().separate("h")


@pytest.mark.quick
def test_sizes_are_the_smallest_odd_ones_that_the_cell_can_have():
    assert fitting(cells.get("gru"), None, None) == (7, 33)
    assert fitting(cells.get("slstm:heads=4"), None, None) == (7, 36)
    assert fitting(cells.get("mamba"), None, None) == (33, 33)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("check gru", "--against CELL, for an implementation of yours, or --kernel KIND"),
        ("check gru --against gru --kernel numba", "--against CELL, for an implementation of yours, or"),
        ("check mlstm --kernel numba", "writes out its step, so it has no kernel"),
        ("check gru:layers=2 --kernel numba", "is a stack, whose layers have kernels; check a single layer"),
        ("check gru --kernel cuda", "values: numba, triton"),
        ("check gru --kernel numba --dtype float32", "--dtype is of --against"),
        ("check slstm:heads=2 --kernel numba --hidden-size 5", "2 heads"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words, says, capsys):
    assert main(words.split()) == 2
    error = capsys.readouterr().err.strip()
    assert says in error and "\n" not in error
