"""The exact facts of a cell: the same wherever and however often they are computed.

`differences.DEPEND_ON` names the groups that hold for some versions of libraries alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.kernels import printed
from cellbench.cells.programs.program import Program

from ... import programs
from ...case import Case
from ...gradients import lag_profile
from .allocations import allocations
from .curve import losses

SIZES = ((3, 8), (16, 16), (32, 64))  # (I, H) of the counts; some cells want I = H
SIZE = (16, 16)  # of all else
STEPS, BATCH = 20, 4
LAGS, SAMPLES = 64, 2
Facts = dict[str, Any]


def facts(spec: str) -> dict[str, Facts]:
    """What is recorded, by group: numbers, curves, shapes, or a reason where there is no number.

    Raises NotOk for a program that is off the float64 reference: such a thing is never recorded.
    """
    cell = cells.get(spec)
    return {
        "counts": {f"I={i} H={h}": counts(cell, i, h) for i, h in SIZES},
        "allocations": {name: of_run(spec, name) for name in ("numpy", "numba")},
        "error": {name: error(spec, name) for name in cells.backend_names()},
        "rate": rate(cell),
        "loss": {"updates": losses(spec)},
        "kernel": {dtype: kernel(cell, dtype) for dtype in ("float32", "float64")},
    }


def counts(cell: GatedCell, input_size: int, hidden_size: int) -> Facts | str:
    """Parameters and their shapes, values of each state, and FLOPs of one step of one sequence."""
    if reason := cell.unfit(input_size, hidden_size):
        return f"unfit: {reason}"
    shapes = cell.parameter_shapes(input_size, hidden_size)
    operations = cell.operations(input_size, hidden_size)
    return {
        "parameters": cell.parameter_count(input_size, hidden_size),
        "shapes": {name: "x".join(map(str, shape)) for name, shape in shapes.items()},
        "state": {name: int(np.prod(shape)) for name, shape in cell.state_shapes(1, hidden_size).items()},
        "forward_flop": operations.forward,
        "backward_flop": operations.backward,
    }


def of_run(spec: str, backend: str) -> Facts | str:
    """Arrays allocated in one run, forward and backward in float32."""
    case = at_size(spec, backend)
    return cannot(case) or asdict(allocations(loaded(case)[1].run))


def error(spec: str, backend: str) -> float | str:
    """The largest relative error in float32, over output, states and gradients where it has them."""
    case = at_size(spec, backend)
    if word := cannot(case):
        return word
    given, program = loaded(case)
    program.run()
    return programs.check(program.read(), given, case)[0]


def loaded(case: Case) -> tuple[programs.Inputs, Program]:
    """The case's program, ready to run, and what it was loaded with."""
    given = programs.inputs(case)
    program = programs.prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    return given, program


def rate(cell: GatedCell) -> Facts:
    """Growth of the gradient's norm in nats a step, from the float64 adjoint, and its form.

    The cell is initialised as torch does.
    """
    rng = np.random.default_rng(0)
    rate = lag_profile(cell, cell.init(*SIZE, seed=0), rng.standard_normal((LAGS, SAMPLES, SIZE[0]))).rate
    return {"value": rate.value, "model": rate.model}


def kernel(cell: GatedCell, dtype: str) -> str:
    """Twelve digits of the printed kernel's hash."""
    return hashlib.sha256(printed.text(cell, dtype).encode()).hexdigest()[:12] if cell.printable else "none"


def at_size(spec: str, backend: str) -> Case:
    return Case(
        "baselines",
        spec,
        backend,
        "cpu",
        "float32",
        steps=STEPS,
        batch=BATCH,
        input_size=SIZE[0],
        hidden_size=SIZE[1],
        direction=cells.backend(backend).directions[-1],
    )


def cannot(case: Case) -> str | None:
    """The status of a case that cannot run: its reason names versions, so it is not recorded."""
    backend = cells.backend(case.backend)
    if backend.unavailable(case.device):
        return "unavailable"
    return (
        "unsupported"
        if backend.unsupported(cells.get(case.spec), case.dtype, case.device, case.direction)
        else None
    )
