"""Every cell on every backend, at random sizes and options, is held against float64 and is not wrong.

CELLBENCH_PARITY is the number of configurations (24; `nox -s parity` runs 500), CELLBENCH_SEED where they
begin. Fused kernels compile for seconds each, so that few of them are Numba's.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from support.configurations import drawn, fitted

from cellbench.cells.programs import tolerance
from cellbench.harness import programs
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk
from cellbench.harness.studies.cpu_kernels import points

COUNT = int(os.environ.get("CELLBENCH_PARITY", 24))
SEED = int(os.environ.get("CELLBENCH_SEED", 0))
LARGEST = 4e8  # numbers of weights, states and steps together that a test of an ordinary run computes with


def result_of(case):
    given = programs.inputs(case)
    program = programs.prepare(case, given.params)
    program.load(given.x, None, given.d_output if case.direction == "backward" else None)
    program.run()
    program.sync()
    return program.read(), given


def configurations():
    seeds, few = iter(range(SEED, SEED + 50 * COUNT)), COUNT <= 24
    fused = 0
    cases = []
    while len(cases) < COUNT:
        case = drawn(np.random.default_rng(next(seeds)))
        if case.steps * case.batch * case.hidden_size * (case.input_size + case.hidden_size) > LARGEST:
            continue
        fused += case.backend == "numba"
        if not (few and case.backend == "numba" and fused > 3):
            cases.append(case)
    return cases


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", points.CELLS)
def test_every_shape_of_the_grid_of_kernels_is_not_wrong(cell, dtype):
    grid = points.Grid([cell], steps=3).points()
    assert len(grid) == 2 * len(points.BATCHES) * len(points.SIZES)
    for case in [replace(p.case("numba"), dtype=dtype) for p in grid if p.direction == "backward"]:
        result, given = result_of(case)
        programs.check(result, given, case)


@pytest.mark.parametrize("case", configurations(), ids=str)
def test_a_random_configuration_is_not_wrong(case):
    result, given = result_of(case)
    try:
        programs.check(result, given, case)
    except NotOk as error:
        assert error.status == "unsupported", error
        pytest.skip(str(error))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("dtype", "steps", "status"),
    [("float32", 109, "unsupported"), ("float32", 40, None), ("float64", 109, None)],
)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_cell_that_grows_beyond_its_format_is_not_wrong_but_cannot_be_run_in_it(
    backend, dtype, steps, status
):
    # s5's modes may grow; found by `nox -s parity`
    sizes = {"steps": steps, "batch": 1, "input_size": 3, "hidden_size": 3}
    case = fitted("s5:layers=2", sizes, backend, dtype, "backward")
    (out, grads), given = result_of(case)
    if status is None:
        programs.check((out, grads), given, case)
    else:
        with pytest.raises(
            NotOk, match=r"in float64, and the largest number of float32 is 3.4e\+38"
        ) as caught:
            programs.check((out, grads), given, case)
        assert caught.value.status == status
    off = out.output.copy()
    off[0, 0, 0] = np.nan
    if status is None:  # what the format can hold, and is not there, is wrong
        with pytest.raises(NotOk) as caught:
            programs.check((type(out)(off, out.state), grads), given, case)
        assert caught.value.status == "wrong"


@pytest.mark.parametrize(
    ("which", "sizes"),
    [
        ("sru", {"steps": 5, "batch": 2, "input_size": 511, "hidden_size": 1}),
        ("mgu", {"steps": 6, "batch": 2, "input_size": 4097, "hidden_size": 1}),
    ],
)
def test_a_gate_that_saturates_may_round_as_another_library_s_does(which, sizes):
    # of `nox -s parity`: f (1 - f), where f is the last number before 1, is as far off as f's last bit
    case = fitted(which, sizes, "numba", "float64", "backward")
    result, given = result_of(case)
    programs.check(result, given, case)


WIDE = {"steps": 5, "batch": 3, "input_size": 4097, "hidden_size": 1}


@pytest.mark.quick
@pytest.mark.parametrize("which", ["elman", "lstm", "gru", "slstm", "janet", "ugrnn"])
@pytest.mark.parametrize("backend", ["native", "torch", "numpy"])
def test_long_sums_and_saturated_units_are_not_wrong(which, backend):
    case = fitted(which, WIDE, backend, "float32", "backward")
    if case is None:
        pytest.skip(f"{backend} cannot run {which}")
    result, given = result_of(case)
    programs.check(result, given, case)


def test_a_sum_that_is_added_term_by_term_is_within_what_is_allowed_beyond_blas():
    # of `nox -s parity`: Numba adds 4,097 terms one by one
    rng, off = np.random.default_rng(0), {"term by term": [], "BLAS": []}
    for _ in range(200):
        weights, x = rng.standard_normal((2, 4097)).astype("float32")
        exact = weights.astype(float) @ x.astype(float)
        off["term by term"].append(np.cumsum(weights * x, dtype="float32")[-1] - exact)
        off["BLAS"].append(weights @ x - exact)
    by_term, by_blas = (np.sqrt(np.mean(np.square(errors))) for errors in off.values())
    assert 1 < by_term / by_blas < tolerance.TERM_BY_TERM


@pytest.mark.parametrize(("eps_from_the_kink", "may_go_over"), [(2, True), (1000, False)])
def test_a_unit_may_go_over_a_kink_that_is_as_near_as_adding_term_by_term_is_off(
    eps_from_the_kink, may_go_over
):
    sizes = {"steps": 1, "batch": 1, "input_size": 2, "hidden_size": 1}
    case = Case(
        "", "elman:activation=relu:biases=0", "numpy", "cpu", "float32", **sizes, direction="backward"
    )
    near = 1 - eps_from_the_kink * np.finfo(np.float32).eps
    one, weights = np.ones((1, 1, 1), np.float32), np.array([[1, -near]], np.float32)
    given = programs.Inputs({"weight_ih": weights, "weight_hh": one[0]}, np.repeat(one, 2, 2), one)
    how = programs.reference(given, case), given, case
    few, many = (programs.allowed_when_moved(*how, times)["d_weight_ih"] for times in tolerance.TIMES)
    assert few < tolerance.MOST and (many == tolerance.MOST) == may_go_over


@pytest.mark.parametrize("which", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("sizes", [WIDE, {"steps": 17, "batch": 3, "input_size": 5, "hidden_size": 7}])
def test_an_error_of_ten_tolerances_and_a_nan_are_wrong_at_those_sizes_too(which, sizes):
    case = fitted(which, sizes, "torch", "float32", "backward")
    (out, grads), given = result_of(case)
    _, allowed = programs.check((out, grads), given, case)
    for poison in (10 * max(allowed, 1e-4) * np.abs(out.output).max(), np.nan):
        off = out.output.copy()
        off[0, 0, 0] += poison
        with pytest.raises(NotOk):
            programs.check((type(out)(off, out.state), grads), given, case)


def test_a_gate_that_is_swapped_is_wrong_though_units_saturate():
    case = fitted("gru", WIDE, "torch", "float32", "backward")
    result, given = result_of(case)
    swapped = {k: np.concatenate(np.split(v, 3)[::-1]) for k, v in given.params.items()}
    with pytest.raises(NotOk):
        programs.check(result, programs.Inputs(swapped, given.x, given.d_output), case)
