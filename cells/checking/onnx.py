"""An ONNX file as an implementation, run by onnxruntime or by onnx's own reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..exchange.onnx_read import from_onnx, inputs_of
from .given import Implementation

EXTRA = "ONNX files need the packages onnx and onnxruntime: pip install 'cellbench[onnx]'"
NO_GRADIENTS = "cannot be had from an ONNX file; outputs and states are compared"


def of_file(path: str) -> Implementation:
    """The file's one recurrent node, ready to be run. Raises ValueError for a file that is no cell."""
    cell, arrays = from_onnx(path)
    inputs = inputs_of(path)
    names, dtype = (inputs.x, *inputs.states), inputs.dtype
    compute = _runner(path)

    def stateful(x: Any, state: Any = None) -> Any:
        given = list(state) if isinstance(state, tuple) else [state]
        values = [x, *(np.asarray(value) for value in given if value is not None)]
        feed = {name: value.astype(dtype) for name, value in zip(names, values, strict=False)}
        # the node's outputs have an axis of directions
        outputs = [value[:, 0] if value.ndim == 4 else value for value in compute(feed)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def stateless(x: Any) -> Any:
        return stateful(x)

    return Implementation(
        Path(path).name,
        stateful if inputs.states else stateless,
        "numpy",
        arrays,
        dtype,
        put=lambda new: new,
        made=False,
        steps=inputs.steps,
        batch=inputs.batch,
        readout=cell.readout,
        no_gradients=NO_GRADIENTS,
    )


def _runner(path: str) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda feed: list(session.run(None, feed))
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        raise ValueError(EXTRA) from None
    evaluator = ReferenceEvaluator(path)
    return lambda feed: list(evaluator.run(None, feed))
