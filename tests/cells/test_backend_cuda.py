"""Backends that have CUDA, on a CUDA device; without one each test is skipped for the backend's reason."""

import pytest
from support.comparison import (
    BACKENDS,
    CELLS,
    DTYPES,
    PLAIN,
    combined,
    compare,
    computed,
    named,
    on_backends,
    prepare,
    problem,
    tolerance,
    traceable,
)
from support.oracle import float64_autograd

from cellbench import cells

CUDA = [name for name in BACKENDS if "cuda" in cells.backend(name).devices]
every_cell, LABELS = combined(CELLS, DTYPES, CUDA, "cuda")


@pytest.mark.parametrize(("spec", "backend", "dtype"), every_cell, ids=LABELS)
def test_every_gradient_on_cuda_matches_float64_autograd(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype, device="cuda")
    trace = traceable(program)
    compare(
        computed(program, case, trace=trace),
        float64_autograd(case, trace=trace),
        tolerance(dtype, case.steps),
    )


@on_backends("spec", CELLS, backends=CUDA, device="cuda")
def test_forward_only_on_cuda_gives_the_outputs_of_backward(spec, backend):
    case = problem(cells.get(spec))
    both = prepare(backend, case, device="cuda").forward(case.x, case.state)
    alone = prepare(backend, case, device="cuda", direction="forward").forward(case.x, case.state)
    compare(named(alone), named(both), tolerance("float64", case.steps))


@on_backends("spec", CELLS, backends=CUDA, device="cuda")
def test_load_run_read_on_cuda_equals_forward_backward(spec, backend):
    case = problem(cells.get(spec))
    program = prepare(backend, case, device="cuda")
    want = named(program.forward(case.x, case.state), program.backward(case.d_output))
    program.load(case.x, case.state, case.d_output)
    program.run()
    program.sync()
    compare(named(*program.read()), want, tolerance("float64", case.steps))


def test_cuda_without_a_device_is_unavailable_with_the_reason(backend):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    case = problem(cells.get(PLAIN))
    assert "CUDA" in cells.backend(backend).unavailable("cuda")
    with pytest.raises(ValueError, match="CUDA"):
        cells.backend(backend).prepare(case.cell, case.params, steps=17, batch=3, device="cuda")
