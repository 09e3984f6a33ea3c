"""An ONNX file as a thing to check: run by onnxruntime, or by onnx's own reference; its arrays are read from
the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..exchange.onnx_read import _load, _recurrent, from_onnx
from .things import Thing

EXTRA = "ONNX files need the packages onnx and onnxruntime: pip install 'cellbench[onnx]'"


def of_file(path: str) -> tuple[Thing, tuple[int | None, int | None], int]:
    """The thing, (T, B) where the file fixes them, and the size of its read-out. Raises ValueError for a file
    that is no cell.
    """
    cell, arrays = from_onnx(path)
    graph = _load(path).graph
    node = _recurrent(graph, path)
    compute = _runner(path)
    given = {
        i.name: i.type.tensor_type for i in graph.input if i.name not in {t.name for t in graph.initializer}
    }
    first = [name for name in node.input[5:7] if name in given]
    inputs = [name for name in given if name not in first]
    if len(inputs) != 1:
        raise ValueError(
            f"{path} has the inputs {', '.join(given)}; it must have x, and the initial states at most"
        )
    names, single = inputs + first, given[inputs[0]].elem_type == 1

    def call(x: Any, state: Any = None) -> Any:
        held = list(state) if isinstance(state, tuple) else [state]
        values = [x, *(np.asarray(s) for s in held if s is not None)]
        made = compute(
            {n: v.astype(np.float32 if single else np.float64) for n, v in zip(names, values, strict=False)}
        )
        made = [m[:, 0] if m.ndim == 4 else m for m in made]
        return made[0] if len(made) == 1 else (made[0], *made[1:])

    def stateless(x: Any) -> Any:
        return call(x)

    dims = [d.dim_value or None for d in given[inputs[0]].shape.dim]
    sizes = (dims[0], dims[1]) if len(dims) == 3 else (None, None)
    function = call if first else stateless
    thing = Thing(
        Path(path).name, function, "numpy", arrays, "float32" if single else "float64", lambda new: new, False
    )
    return thing, sizes, cell.readout


def _runner(path: str) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda given: list(session.run(None, given))
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        raise ValueError(EXTRA) from None
    evaluator = ReferenceEvaluator(path)
    return lambda given: list(evaluator.run(None, given))
