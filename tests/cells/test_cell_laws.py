"""What holds of every cell on every backend, against float64 autograd."""

import numpy as np
import pytest
from support.comparison import (
    ARRAYS,
    CELLS,
    bitwise,
    compare,
    computed,
    having,
    named,
    on_backends,
    prepare,
    problem,
    slack,
    supports,
    tolerance,
    traceable,
)
from support.oracle import equal_torch, float64_autograd, saved_by_torch

from cellbench import cells


def test_every_gradient_matches_float64_autograd(spec, backend, dtype, sizes):
    case = problem(cells.get(spec), *sizes)
    program = prepare(backend, case, dtype)
    trace = traceable(program)
    allowed = slack(case.cell, case.cell.sizes(case.params)[1]) * tolerance(dtype, case.steps)
    compare(computed(program, case, trace=trace), float64_autograd(case, trace=trace), allowed)


def test_biases_and_read_out_match_float64_autograd(arrays, backend):
    case = problem(cells.get(arrays))
    program = prepare(backend, case)
    trace = traceable(program)
    allowed = slack(case.cell) * tolerance("float64", case.steps)
    compare(computed(program, case, trace=trace), float64_autograd(case, trace=trace), allowed)


def test_a_state_that_is_not_given_is_zero(spec, backend, dtype):
    case = problem(cells.get(spec))
    allowed = slack(case.cell) * tolerance(dtype, 17)
    compare(
        computed(prepare(backend, case, dtype), case, given=False),
        float64_autograd(case, given=False),
        allowed,
    )


def test_forward_only_gives_the_outputs_of_backward(spec, backend, dtype):
    case = problem(cells.get(spec))
    both = prepare(backend, case, dtype).forward(case.x, case.state)
    alone = prepare(backend, case, dtype, direction="forward").forward(case.x, case.state)
    compare(named(alone), named(both), tolerance(dtype, case.steps))


def test_load_run_read_equals_forward_backward(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype)
    want = named(program.forward(case.x, case.state), program.backward(case.d_output))
    for _ in range(2):
        program.load(case.x, case.state, case.d_output)
        program.run()
        program.sync()
        compare(named(*program.read()), want, tolerance(dtype, case.steps))


def test_backward_follows_run(spec, backend):
    case = problem(cells.get(spec))
    program = prepare(backend, case)
    want = computed(program, case)
    program.load(case.x, case.state, case.d_output)
    program.run()
    compare(
        named(program.read()[0], program.backward(case.d_output, case.d_state)),
        want,
        tolerance("float64", case.steps),
    )


def test_backward_twice_after_one_forward_gives_the_same(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype)
    out = program.forward(case.x, case.state)
    other = program.backward(2 * case.d_output, None, trace=traceable(program))
    first = program.backward(case.d_output, case.d_state)
    bitwise(named(out, program.backward(case.d_output, case.d_state)), named(out, first))
    compare(named(out, first), float64_autograd(case), slack(case.cell) * tolerance(dtype, case.steps))
    assert not np.array_equal(other.x, first.x)


def test_two_runs_give_the_same_bits(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype)
    first = computed(program, case)
    program.forward(case.x[::-1], None)
    bitwise(computed(program, case), first)
    bitwise(computed(prepare(backend, case, dtype), case), first)


def test_results_are_copies_in_the_program_s_dtype(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype)
    first = computed(program, case)
    kept = {k: v.copy() for k, v in first.items()}
    assert {k: str(v.dtype) for k, v in first.items()} == dict.fromkeys(first, dtype)
    computed(program, problem(case.cell, seed=1))
    bitwise(first, kept)


def test_gradients_come_in_the_order_of_the_parameters(arrays, backend):
    case = problem(cells.get(arrays))
    program = prepare(backend, case)
    program.forward(case.x)
    assert list(program.backward(case.d_output).params) == list(case.params)


def test_inputs_and_parameters_are_left_untouched(spec, backend, dtype):
    case, same = problem(cells.get(spec)), problem(cells.get(spec))
    for part in ("params", "state", "d_state"):
        setattr(case, part, {k: v.astype(dtype) for k, v in getattr(case, part).items()})
    case.x, case.d_output = case.x.astype(dtype), case.d_output.astype(dtype)
    program = prepare(backend, case, dtype)
    computed(program, case, trace=traceable(program))
    computed(program, case)
    for part in ("params", "state", "d_state"):
        bitwise(getattr(case, part), {k: v.astype(dtype) for k, v in getattr(same, part).items()})
    bitwise(
        {"x": case.x, "d_output": case.d_output},
        {"x": same.x.astype(dtype), "d_output": same.d_output.astype(dtype)},
    )


@pytest.mark.parametrize("spec", [spec for spec in CELLS if equal_torch(spec)])
def test_parameters_load_into_torch_nn(spec, dtype):
    case = problem(cells.get(spec))
    want = saved_by_torch(case, dtype)
    allowed = {"float32": 1e-5, "float64": 1e-10}[dtype]
    for backend in filter(lambda name: supports(name, spec, dtype), cells.backend_names()):
        program = cells.backend(backend).prepare(
            case.cell, case.params, steps=case.steps, batch=case.batch, dtype=dtype
        )
        compare(named(program.forward(case.x, case.state)), want, allowed)


@on_backends("arrays", [spec for spec in having("bias_hh", ARRAYS) if not cells.get(spec).written_out])
def test_two_biases_in_one_sum_have_equal_gradients(arrays, backend):
    case = problem(cells.get(arrays))
    program = prepare(backend, case)
    grads, units = computed(program, case), case.cell.units(7)
    for gate in case.cell.recurrent:
        if not case.cell.derivation().separate(gate):
            rows = {"bias_ih": case.cell.gates.index(gate), "bias_hh": case.cell.recurrent.index(gate)}
            ih, hh = (grads[f"d_{name}"][k * units : (k + 1) * units] for name, k in rows.items())
            compare({gate: hh}, {gate: ih}, tolerance("float64", case.steps))
