"""program.step: steps taken one by one are what a whole run computes, and its state goes where it is told."""

import numpy as np
import pytest
import torch
from support.comparison import PLAIN, compare, prepare, problem, tolerance

from cellbench import cells


def stepped(program, x):
    """The outputs of all steps (T, B, O), and the state after them, by name."""
    outputs = np.stack([program.step(x_t) for x_t in x])
    return {"output": outputs} | {f"state.{k}": v for k, v in program.stream_state().items()}


def whole(program, x, state=None):
    out = program.forward(x, state)
    return {"output": out.output} | {f"state.{k}": v for k, v in out.state.items()}


def test_steps_are_a_whole_run(spec, backend):
    case = problem(cells.get(spec), steps=5)
    program = prepare(backend, case)
    allowed = tolerance("float64", case.steps)
    program.reset(case.state)
    compare(stepped(program, case.x), whole(program, case.x, case.state), allowed)
    program.reset()
    compare(stepped(program, case.x[:3]), whole_of(backend, case, case.x[:3]), allowed)


def whole_of(backend, case, x):
    """A whole run from zeros of these steps."""
    sizes = {"steps": len(x), "batch": x.shape[1], "dtype": "float64"}
    return whole(cells.backend(backend).prepare(case.cell, case.params, **sizes), x)


@pytest.mark.parametrize("options", [{"layers": 3}, {"layers": 2, "readout": 2}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_a_stack_are_a_whole_run(backend, options, dtype):
    cell = cells.get("lstm", **options)
    params = cell.init(3, 5)
    program = cells.backend(backend).prepare(cell, params, steps=6, batch=2, dtype=dtype)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 2, 3)).astype(dtype)
    state = {k: rng.standard_normal(s).astype(dtype) for k, s in cell.state_shapes(2, 5).items()}
    for start in (None, state):
        program.reset(start)
        got = stepped(program, x)
        assert got["output"].dtype == dtype
        compare(got, whole(program, x, start), tolerance(dtype, 6))


def test_steps_leave_a_forward_and_its_backward_alone(backend):
    case = problem(cells.get(PLAIN))
    one, other = prepare(backend, case), prepare(backend, case)
    for program in (one, other):
        program.forward(case.x, case.state)
    stepped(one, case.x)
    got, want = (p.backward(case.d_output, case.d_state) for p in (one, other))
    compare({"x": got.x, **got.params}, {"x": want.x, **want.params}, 0)


def test_new_weights_are_those_of_the_next_step(backend):
    case = problem(cells.get(PLAIN))
    program, zeros = prepare(backend, case), {k: 0 * v for k, v in case.params.items()}
    program.step(case.x[0])
    before = program.stream_state()
    program.assign(zeros)
    got = program.step(case.x[1])
    fresh = cells.backend(backend).prepare(case.cell, zeros, steps=1, batch=case.batch, dtype="float64")
    compare({"output": got}, {"output": fresh.forward(case.x[1:2], before).output[0]}, 1e-14)


def test_an_output_is_the_caller_s_own_and_inputs_may_be_lists_tensors_or_views(backend):
    case = problem(cells.get(PLAIN))
    program = prepare(backend, case)
    first = program.step(case.x[0])
    kept = first.copy()
    program.step(np.asfortranarray(case.x[1]))
    state = program.stream_state()
    program.step(torch.from_numpy(case.x[2]))
    program.reset(state)
    again = program.step(case.x[2].tolist())
    assert (first == kept).all() and again.shape == first.shape
    program.reset(state)
    state["h"][:] = 7
    assert (program.step(case.x[2].astype(np.float32)) - again).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "lengths", "message"),
    [({"bidirectional": True}, None, "is bidirectional"), ({}, [4, 2], "prepared with lengths")],
)
def test_what_cannot_be_streamed_is_said_in_one_line(backend, options, lengths, message):
    cell = cells.get("lstm", **options)
    program = cells.backend(backend).prepare(cell, cell.init(3, 5), steps=4, batch=2, lengths=lengths)
    for ask in (lambda: program.step(np.zeros((2, 3))), program.reset, program.stream_state):
        with pytest.raises(ValueError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 3)), r"x is \(3, 3\); a step of this program takes \(2, 3\) \(B, I\)"),
        (np.zeros((1, 2, 3)), r"x is \(1, 2, 3\)"),
        (np.zeros((2, 3), int), "x is of dtype int64"),
    ],
)
def test_a_bad_step_is_said_in_one_line(backend, x, message):
    cell = cells.get(PLAIN)
    program = cells.backend(backend).prepare(cell, cell.init(3, 5), steps=4, batch=2)
    with pytest.raises(ValueError, match=message):
        program.step(x)
    with pytest.raises(ValueError, match="state h is"):
        program.reset({"h": np.zeros((2, 6))})
