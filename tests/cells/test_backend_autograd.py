"""A program as a node of torch's autograd has the gradients of the oracle: every cell, every backend."""

import torch
from support.comparison import PLAIN, compare, prepare, problem, tolerance
from support.oracle import float64_autograd

from cellbench import cells
from cellbench.cells.programs import autograd


def test_autograd_through_a_program_matches_float64_autograd(spec, backend):
    case = problem(cells.get(spec))
    program = prepare(backend, case)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in case.params.items()}
    x = torch.tensor(case.x, requires_grad=True)
    case.state = {k: 0 * v for k, v in case.state.items()}
    case.d_state = {k: 0 * v for k, v in case.d_state.items()}
    want = float64_autograd(case)
    for _ in range(2):
        output = autograd.apply(program, params, x)
        found = torch.autograd.grad(output, [*params.values(), x], torch.tensor(case.d_output))
        got = dict(zip([*(f"d_{k}" for k in params), "d_x"], found, strict=True)) | {
            "output": output.detach()
        }
        compare(got, {k: want[k] for k in got}, tolerance("float64", case.steps))


def test_a_second_use_before_the_backward_is_refused_or_right(backend):
    """A program keeps one forward; an earlier one's gradient must not come out of what a later one left."""
    case = problem(cells.get(PLAIN))
    program = prepare(backend, case)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in case.params.items()}
    first, second = torch.tensor(case.x), torch.tensor(case.x[::-1].copy())
    wanted = torch.autograd.grad(autograd.apply(program, params, first).sum(), params["weight_ih"])
    output = autograd.apply(program, params, first)
    autograd.apply(program, params, second)
    try:
        found = torch.autograd.grad(output.sum(), params["weight_ih"])
    except (RuntimeError, ValueError) as error:
        assert "forward" in str(error)
    else:
        compare({"d_weight_ih": found[0]}, {"d_weight_ih": wanted[0]}, tolerance("float64", case.steps))
