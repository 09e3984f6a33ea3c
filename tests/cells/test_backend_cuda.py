"""Backends that have CUDA, on a CUDA device; without one each test is skipped for the backend's reason."""

import warnings

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
from cellbench.harness import programs
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk

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


OLD = "The NVIDIA driver on your system is too old (found version 11040).\nPlease update your GPU driver"


def old_driver(*_):
    raise RuntimeError(OLD)


def warning_of_it():
    warnings.warn(f"CUDA initialization: {OLD}", stacklevel=2)
    return 0


@pytest.mark.quick
@pytest.mark.parametrize("count", [old_driver, warning_of_it])
@pytest.mark.parametrize("backend", CUDA)
def test_a_driver_that_is_too_old_is_an_unavailable_row_that_says_so(backend, count, monkeypatch):
    import torch

    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", count, raising=False)
    monkeypatch.setattr(torch.cuda, "init", old_driver)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    sizes = {"steps": 3, "batch": 2, "input_size": 5, "hidden_size": 7}
    case = Case("throughput", "lstm", backend, "cuda", "float32", **sizes, direction="forward")
    with warnings.catch_warnings(), pytest.raises(NotOk) as stopped:
        warnings.simplefilter("error")
        programs.prepare(case, cells.get("lstm").init(5, 7))
    reason = stopped.value.reason
    assert stopped.value.status == "unavailable" and "\n" not in reason
    assert reason.startswith(f"no CUDA device: torch {torch.__version__} is built for CUDA 13.0; CUDA says: ")
    assert "The NVIDIA driver on your system is too old (found version 11040). Please update" in reason
