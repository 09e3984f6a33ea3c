"""An ONNX file as an implementation, run by onnxruntime or by onnx's own reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..exchange.onnx_read import Inputs, from_onnx, inputs_of
from .given import Arrays, Implementation

EXTRA = "ONNX files need the packages onnx and onnxruntime: pip install 'cellbench[onnx]'"
NO_GRADIENTS = "cannot be had from an ONNX file; outputs and states are compared"


@dataclass
class _Model:
    """A file's model, as a function of x and of the initial states, where it takes some.

    Raises ValueError where nothing is installed that runs it.
    """

    path: str
    inputs: Inputs
    compute: Callable[[Arrays], list[np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        try:
            import onnxruntime

            session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
            self.compute = lambda feed: list(session.run(None, feed))
        except ImportError:
            try:
                from onnx.reference import ReferenceEvaluator
            except ImportError:
                raise ValueError(EXTRA) from None
            evaluator = ReferenceEvaluator(self.path)
            self.compute = lambda feed: list(evaluator.run(None, feed))

    def stateful(self, x: Any, state: Any = None) -> Any:
        given = list(state) if isinstance(state, tuple) else [state]
        values = [x, *(np.asarray(value) for value in given if value is not None)]
        names = (self.inputs.x, *self.inputs.states)
        feed = {n: value.astype(self.inputs.dtype) for n, value in zip(names, values, strict=False)}
        # the node's output has an axis of directions
        outputs = [value[:, 0] if value.ndim == 4 else value for value in self.compute(feed)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def stateless(self, x: Any) -> Any:
        return self.stateful(x)


def of_file(path: str) -> Implementation:
    """The file's one recurrent node, ready to be run. Raises ValueError for a file that is no cell."""
    cell, arrays = from_onnx(path)
    inputs = inputs_of(path)
    model = _Model(path, inputs)
    function = model.stateful if inputs.states else model.stateless
    implementation = Implementation(
        Path(path).name, function, "numpy", arrays, inputs.dtype, put=lambda new: new, made=False
    )
    implementation.steps, implementation.batch = inputs.steps, inputs.batch
    implementation.readout, implementation.no_gradients = cell.readout, NO_GRADIENTS
    return implementation
