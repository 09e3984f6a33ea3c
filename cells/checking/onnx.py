"""An ONNX file as an implementation: a copy of its model, run by onnxruntime or by onnx's own reference.

The copy computes in float32, which is what onnxruntime has recurrent nodes in. Its first states are inputs,
and its outputs are those of the recurrent nodes and of the read-out, so that axes and moves are no matter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..exchange.onnx_chain import Part
from ..exchange.onnx_file import one_line
from ..exchange.onnx_read import Reading, read
from ..exchange.optional import package
from .implementation import Arrays, Implementation
from .onnx_copy import runnable

EXTRA = "ONNX files need the packages onnx and onnxruntime: pip install 'cellbench[onnx]'"
NO_GRADIENTS = "cannot be had from an ONNX file; outputs and states are compared"


def of_file(path: str) -> Implementation:
    """The file's recurrent nodes, ready to be run. Raises ValueError for a file that is no cell."""
    return of_reading(path, read(path))


def of_reading(path: str, reading: Reading) -> Implementation:
    """The recurrent nodes of a file that was read."""
    # a read-out of the last step alone has no output for every step
    arrays = {k: v for k, v in reading.params.items() if reading.readout or not k.endswith("_out")}
    model = _Model(path, reading)
    implementation = Implementation(
        Path(path).name, model.sequence, "numpy", arrays, "float32", put=lambda new: new, made=False
    )
    implementation.steps, implementation.batch = reading.steps, reading.batch
    implementation.readout = reading.cell.readout if reading.readout else 0
    implementation.no_gradients = NO_GRADIENTS
    implementation.remarks += _left_aside(reading)
    return implementation


def _left_aside(reading: Reading) -> list[str]:
    """What the file has beside a cell, and is not compared."""
    start = reading.start
    return [
        words
        for there, words in (
            (start.state is not None, "the file's own first state is not compared: others are given"),
            (start.lengths is not None, "the file's own lengths are not compared: sequences are whole"),
            (
                reading.cell.readout and reading.readout is None,
                "the file's read-out takes not every step, and is not compared",
            ),
        )
        if there
    ]


class _Model:
    """A file's model as a function of x (T, B, I) and first states.

    States are (B, H), or (layers * directions, B, H) of a stack.
    """

    def __init__(self, path: str, reading: Reading) -> None:
        self.path, self.cell = path, reading.cell
        self.compute = _runner(path, runnable(reading))
        # where numbers lie in the model depends on the steps and the batch
        self.at = lru_cache(maxsize=4)(partial(read, path))

    def sequence(self, x: Any, state: Any) -> tuple[np.ndarray, ...]:
        """The output of every step, and the last states."""
        if np.ndim(x) != 3:
            raise ValueError(f"x is {np.shape(x)}; {self.path} takes sequences (T, B, I)")
        values = state if isinstance(state, tuple) else (state,)
        stacked = [np.asarray(v, np.float32)[() if self.cell.stacked else None] for v in values]
        reading = self.at(*x.shape[:2])
        found = self.compute(_feed(reading, x, dict(zip(self.cell.states, stacked, strict=True))))
        return _output(reading, found), *(self._last(reading, found, s) for s in self.cell.states)

    def _last(self, reading: Reading, found: Arrays, state: str) -> np.ndarray:
        ends = [found[f"last_{state}_{_node(reading, p)}"][p.direction] for p in reading.chain.parts]
        return np.stack(ends) if self.cell.stacked else ends[0]


def _node(reading: Reading, part: Part) -> int:
    """The number of a part's node in the graph."""
    return reading.traced.layers.index(part.layer)


def _feed(reading: Reading, x: np.ndarray, state: Arrays) -> Arrays:
    """x with its axes where the model has them, and the first state of every node.

    Lengths that are an input are the steps; a first state that was an input is read by no node any more.
    """
    chain, traced = reading.chain, reading.traced
    feed = {}
    for given in reading.model.graph.input:
        if (ids := traced.inputs.get(given.name)) is not None:
            kind = package("onnx.helper").tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
            whole = np.dtype(kind).kind in "iu"
            feed[given.name] = np.full(ids.shape, len(x) if whole else 0, kind if whole else np.float32)
    turned = x.transpose(np.argsort(chain.axes)) if len(chain.axes) == 3 else x[:, 0]
    feed[chain.x] = turned.astype(np.float32)
    for k, layer in enumerate(traced.layers):
        # forward comes first in a node of both directions, and in a stack
        rows = [row for row, part in enumerate(chain.parts) if part.layer is layer]
        feed |= {f"first_{name}_{k}": value[rows] for name, value in state.items()}
    return feed


def _output(reading: Reading, found: Arrays) -> np.ndarray:
    """(T, B, O) of the read-out, or of the last layer."""
    if reading.readout is not None:
        linear, ids = reading.readout
        return found[linear.output].reshape(-1)[ids - linear.ids.flat[0]]
    parts = reading.chain.depths[-1]
    outputs = [found[f"all_{_node(reading, p)}"][:, p.direction][:: -1 if p.flipped else 1] for p in parts]
    return np.concatenate(outputs, axis=-1)


def _runner(path: str, model: Any) -> Callable[[Arrays], Arrays]:
    """What computes the model's outputs by name. Raises ValueError where nothing installed runs it."""
    names = [output.name for output in model.graph.output]
    try:
        import onnxruntime
    except ImportError:
        try:
            from onnx.reference import ReferenceEvaluator
        except ImportError:
            raise ValueError(EXTRA) from None
        compute = ReferenceEvaluator(model).run
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it says of a file is said below, in one line
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own, of many kinds
            raise ValueError(f"onnxruntime does not run {path}: {one_line(error)}") from None
        compute = session.run
    return lambda feed: dict(zip(names, compute(names, feed), strict=True))
