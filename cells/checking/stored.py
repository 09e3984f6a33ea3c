"""Files that say which cell they hold, held against the cell that was asked for.

An ONNX file is run. A file of Keras or flax holds arrays. Where its library is not installed, so that it
cannot be run, its cell is computed from the equations. So are variables of TensorFlow's old cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..exchange import flax, from_flax, from_keras, from_tensorflow, tensorflow
from ..exchange.onnx_read import read
from ..exchange.optional import is_installed
from ..exchange.stack import spec
from ..exchange.trees import flat
from ..programs.tolerance import relative_error, tolerance
from .compare import First, Result, Row
from .onnx import of_reading

Arrays = dict[str, np.ndarray]
READERS: dict[str, Callable[..., tuple[GatedCell, Arrays]]] = {
    ".keras": from_keras,
    ".h5": from_keras,
    ".msgpack": from_flax,
    ".npz": from_tensorflow,
}
LIBRARIES = {".keras": "keras", ".h5": "keras", ".msgpack": "flax", ".npz": "TensorFlow"}
OF_ARRAYS = "the file holds arrays and no equations: it is computed as {}; what {} computes is not compared"


@dataclass(frozen=True)
class Stored:
    """A file's cell and arrays. compute takes x and the first states, and returns outputs and last states.

    steps and batch are what the file fixes.
    """

    cell: GatedCell
    params: Arrays
    compute: Callable[..., Any]
    dtype: str
    notes: tuple[str, ...]
    steps: int | None = None
    batch: int | None = None


def stored(path: Path, cell: GatedCell) -> Stored | None:
    """What a file says that it holds; None for what the check of a port takes.

    That is one layer in ONNX, and a file that its library, which is installed, can build.
    """
    if path.suffix == ".onnx":
        reading = read(path)
        own = reading.cell
        if not (own.stacked or cell.stacked):
            return None
        run = of_reading(str(path), reading)
        notes = (f"gradients: {run.no_gradients}", *run.remarks)
        own = own if reading.readout else replace(own, readout=0)
        return Stored(own, run.arrays, run.function, "float32", notes, run.steps, run.batch)
    alone = path.name.endswith(".weights.h5")  # such a file does not say its cell: no library builds it
    if path.suffix == ".npz":
        if not _is_of_tensorflow(path):
            return None
    elif not alone and is_installed(LIBRARIES[path.suffix]):
        return None
    own, params = READERS[path.suffix](*((cell.name, path) if alone else (path,)))

    def compute(x: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        output, last = _reference(own, params, x, dict(zip(own.states, state, strict=True)))
        return output, *last.values()

    return Stored(own, params, compute, "float64", (OF_ARRAYS.format(spec(own), LIBRARIES[path.suffix]),))


def _is_of_tensorflow(path: Path) -> bool:
    """Whether a file has variables of tf.nn.rnn_cell; a part of a flax model may be named as one of these."""
    arrays = flat(path)
    return bool(tensorflow.groups_of(arrays)) and not flax.groups_of(arrays)


def checked(
    path: Path, held: Stored, cell: GatedCell, name: str, steps: int, batch: int, seed: int
) -> Result:
    """Outputs and last states of the file against the float64 reference of the cell, with the file's arrays.

    Raises ValueError where the cell has other arrays, so that there is nothing to compare.
    """
    own, steps, batch = held.cell, held.steps or steps, held.batch or batch
    asked = replace(cell, biases=own.biases, readout=cell.readout or own.readout)
    inputs, hidden = own.sizes(held.params)
    if asked.unfit(inputs, hidden) or asked.parameter_shapes(inputs, hidden) != own.parameter_shapes(
        inputs, hidden
    ):
        raise ValueError(
            f"{path.name} holds {spec(own)}, whose arrays are not those of {name}; check it with --against"
            f" {spec(own)}"
        )
    rng = np.random.default_rng(seed)
    rows = (own.layers * own.directions,) if own.stacked else ()
    x = _exact(rng.standard_normal((steps, batch, inputs)))
    state = {s: _exact(0.5 * rng.standard_normal((*rows, batch, hidden))) for s in own.states}
    output, last = _reference(asked, held.params, x, state)
    want = {"output": output} | {f"state {s}": value for s, value in last.items()}
    have = dict(zip(want, held.compute(x, tuple(state.values())), strict=True))
    allowed = tolerance(held.dtype, steps)
    errors = {k: relative_error(np.asarray(have[k], np.float64), want[k]) for k in want}
    compared = tuple(Row(k, error, allowed, bool(error <= allowed)) for k, error in errors.items())
    bad = next((row for row in compared if not row.ok), None)
    first = None if bad is None else First(None, bad.name, None, bad.error, allowed)
    return Result(
        path.name, name, bad is None, _sentence(path, own, asked, name, compared), compared, first, held.notes
    )


def _sentence(path: Path, own: GatedCell, asked: GatedCell, name: str, rows: tuple[Row, ...]) -> str:
    if all(row.ok for row in rows):
        largest = max(row.error for row in rows)
        return (
            f"right: outputs and states of {path.name} equal the float64 reference {name}"
            f" (largest difference {largest:.1e} of the largest entry)."
        )
    if own != asked:
        return f"{path.name} holds {spec(own)}, not {name}: the same arrays in other equations."
    wrong = ", ".join(row.name for row in rows if not row.ok)
    return f"{path.name} deviates from the float64 reference {name} in {wrong}."


def _exact(values: np.ndarray) -> np.ndarray:
    """Values that float32 holds exactly."""
    return values.astype(np.float32).astype(np.float64)


def _reference(cell: GatedCell, params: Arrays, x: np.ndarray, state: Arrays) -> tuple[np.ndarray, Arrays]:
    from ..catalogue import backend

    program = backend("numpy").prepare(
        cell, params, steps=len(x), batch=x.shape[1], dtype="float64", direction="forward"
    )
    returned = program.forward(x, state)
    return returned.output, returned.state
