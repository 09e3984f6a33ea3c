"""What the tests of cells share: which cells and backends there are, random inputs, one comparison."""

import os
from functools import cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cellbench import cells
from cellbench.cells.vocabulary.across import joins

ODD = Path(__file__).with_name("odd_cells.py")
OPTIONS = ["elman:activation=relu", "elman:activation=identity", "lstm:proj_size=3"]
CELLS = [
    *cells.names(),
    *OPTIONS,
    *(f"{ODD}:{name}" for name in ("Oscillator", "Apart", "Heads", "Pair", "Written")),
]
# kernels compile for seconds: here every third cell and those of torch.nn in float32 too, others in float64
# alone; `nox -s laws` takes all, and `nox -s baselines` holds the float32 errors of every cell
WHOLE = os.environ.get("CELLBENCH_LAWS") == "all"
# each cell with a read-out; every second one without a bias or with two, in turn
ARRAYS = [f"{name}:biases=1:readout=2" for name in cells.names()]
ARRAYS += [
    f"{name}:biases={count}"
    for k, name in enumerate(cells.names())
    for count in (0, 2)
    if WHOLE or k % 4 == count
]
# a cell that every backend has
PLAIN = next(name for name in cells.names() if cells.get(name).torch_module())
DTYPES = ["float64", "float32"]


def computes_all(name):
    """Whether a backend is here, and computes on the CPU, in both formats, forward and backward."""
    backend = cells.backend(name)
    able = "cpu" in backend.devices and set(DTYPES) <= set(backend.dtypes)
    return able and "backward" in backend.directions and backend.unavailable() is None


BACKENDS = list(filter(computes_all, cells.backend_names()))
assert {"numpy", "numba", "torch", "native"} <= set(BACKENDS)
SIZES = [  # T, B, I, H
    (1, 1, 1, 1),
    (17, 3, 5, 7),
    (17, 1, 5, 33),
    (1, 3, 1, 33),
    (17, 3, 1, 1),
    (1, 1, 5, 7),
]


@cache
def supports(backend, spec, dtype="float64", device="cpu"):
    """Whether the backend is installed and can compute the cell, by what it says itself."""
    one = cells.backend(backend)
    return one.unavailable() is None and one.unsupported(cells.get(spec), dtype, device) is None


@cache
def in_format(spec, dtype):
    """Whether the ordinary tests take a cell in a format."""
    name = spec if spec in CELLS else str(spec).partition(":")[0]
    few = {*CELLS[::3], *(n for n in cells.names() if cells.get(n).torch_module())}
    return WHOLE or dtype != "float32" or name in few or name not in CELLS


def combined(specs, dtypes=None, backends=BACKENDS, device="cpu"):
    """(spec, backend), or (spec, backend, dtype), of those that a backend can compute, with their labels."""
    every = product(specs, backends, dtypes or DTYPES[:1])
    asked = [each for each in every if not dtypes or in_format(each[0], each[2])]
    able = [each for each in asked if supports(each[1], each[0], each[2], device)]
    values = able if dtypes else [each[:2] for each in able]
    return values, ["-".join(map(label, value)) for value in values]


def on_backends(argument, specs, **more):
    """Parametrises a test by `argument` and `backend`: every spec on every backend that can compute it."""
    values, ids = combined(specs, **more)
    return pytest.mark.parametrize((argument, "backend"), values, ids=ids)


def having(array, specs=CELLS):
    """Those of the cells that have an array of this name."""
    return [
        spec for spec in specs if array in cells.get(spec).parameter_shapes(*fitting(cells.get(spec), 5, 7))
    ]


def label(value):
    """A value as it stands in a test's name: of a path, the file's name alone."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value).rpartition("/")[2]


def tolerance(dtype, steps):
    """Largest error allowed, relative to the array's largest value: 16 units of rounding, 4 more a step."""
    return float(np.finfo(dtype).eps) * (16 + 4 * steps)


def compare(actual, expected, tolerance):
    """Fails, naming every array and its largest error, unless all are equal within `tolerance`.

    That is relative to the largest value of the array.

    Names and shapes must agree, and a NaN or an infinity on either side fails. Values below 1/8 count as 1/8:
    inputs and cotangents are about 1, so that what is smaller may be left over from terms that cancel.
    """
    assert set(actual) == set(expected), f"arrays are {', '.join(actual)}; must be {', '.join(expected)}"
    wrong = []
    for name, want in expected.items():
        have, want = np.asarray(actual[name], np.float64), np.asarray(want, np.float64)
        assert have.shape == want.shape, f"{name} is {have.shape}, must be {want.shape}"
        scale = float(np.max(np.abs(want), initial=1 / 8))
        with np.errstate(invalid="ignore"):
            error = float(np.max(np.abs(have - want), initial=0)) / scale
        if not (error <= tolerance and np.isfinite(scale)):
            wrong.append(f"{name}: largest error {error:.3g} of {scale:.3g}, allowed {tolerance:.3g}")
    assert not wrong, "; ".join(wrong)


def slack(cell, hidden=None):
    """Some tolerances more for cells whose arrays are made by a series.

    torch's matrix exponential is off by 1e-14 at n = 33. A layer norm of two units is nearly 1 and -1
    whatever they are, so that its gradient is what remains of terms that cancel: over six seeds d_x was off
    by up to 10 tolerances of its own largest entry at H = 2, and by 0.4 at most at H = 7 and 33.
    """
    if not cell.written_out and joins(cell.derivation().results, "mean"):
        return 2 if hidden == 2 else 1
    return 16 if type(cell).effective is not cells.GatedCell.effective else 1


def named(out, grads=None):
    """All arrays of a forward and its gradients in one dict by name."""
    arrays = {"output": out.output} | {f"state.{k}": v for k, v in out.state.items()}
    if grads is not None:
        arrays |= {f"d_{k}": v for k, v in grads.params.items()} | {"d_x": grads.x}
        arrays |= {f"d_state.{k}": v for k, v in grads.state.items()}
        arrays |= {f"trajectory.{k}": v for k, v in (grads.trajectory or {}).items()}
    return arrays


def bitwise(actual, expected):
    """Fails with the names of the arrays that differ in any bit."""
    differ = [k for k in expected if np.asarray(actual[k]).tobytes() != np.asarray(expected[k]).tobytes()]
    assert set(actual) == set(expected) and not differ, f"not bitwise equal: {', '.join(differ)}"


def problem(cell, steps=17, batch=3, inputs=5, hidden=7, seed=0):
    """Random parameters, inputs, states and cotangents that float32 holds exactly."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32).astype(np.float64)

    inputs, hidden = fitting(cell, inputs, hidden)
    params = {
        k: v.astype(np.float32).astype(np.float64) for k, v in cell.init(inputs, hidden, seed=seed).items()
    }
    shapes = cell.state_shapes(batch, hidden)
    return SimpleNamespace(
        cell=cell,
        params=params,
        steps=steps,
        batch=batch,
        x=draw(steps, batch, inputs),
        state={k: draw(*shape) for k, shape in shapes.items()},
        d_output=draw(steps, batch, cell.output_size(inputs, hidden)),
        d_state={k: draw(*shape) for k, shape in shapes.items()},
    )


def fitting(cell, inputs, hidden):
    """The sizes, or the nearest that the cell can have.

    Some want inputs as wide as the state, some a multiple of heads.
    """
    sizes = [(i, h) for h in range(hidden, 2 * hidden + 9) for i in (inputs, h)]
    return next((i, h) for i, h in sizes if cell.unfit(i, h) is None)


def prepare(backend, case, dtype="float64", direction="backward", device="cpu", **sizes):
    """The program of a problem, or a skip with the reason why this machine cannot run the backend."""
    backend = cells.backend(backend)
    if reason := backend.unavailable(device):
        pytest.skip(reason)
    sizes = {"steps": case.steps, "batch": case.batch} | sizes
    return backend.prepare(case.cell, case.params, dtype=dtype, device=device, direction=direction, **sizes)


def traceable(program):
    return program.untraceable() is None


def computed(program, case, given=True, trace=False):
    """Everything that a program computes of a problem, by name; zero states unless `given`."""
    out = program.forward(case.x, case.state if given else None)
    return named(out, program.backward(case.d_output, case.d_state if given else None, trace=trace))
