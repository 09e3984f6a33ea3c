"""Recurrent cells from their equations, and ways to compute them. Usable without the harness.

from cellbench import cells
cell = cells.get("lstm")
program = cells.backend("numba").prepare(cell, cell.init(16, 32), steps=100, batch=8)
out = program.forward(x)             # x (T, B, I); out.output (T, B, H), out.state {"h": (B, H), "c": ...}
grads = program.backward(d_output)   # grads.params, grads.x, grads.state
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .catalogue import backend, backend_names, get, names
from .cell import GatedCell
from .contract import Array, Arrays, Returned, Shapes, State, check_sizes, split, whole
from .drop_in import torch_module
from .exchange import (
    from_equinox,
    from_flax,
    from_keras,
    from_onnx,
    from_tensorflow,
    from_torch,
    to_equinox,
    to_flax,
    to_keras,
    to_onnx,
    to_onnx_scan,
    to_tensorflow,
    to_torch,
)
from .vocabulary.across import mean
from .vocabulary.matrices import blocks, by_head, concatenate, constant, expm, linear, skew
from .vocabulary.primitives import (
    absolute,
    cos,
    exp,
    log,
    logsigmoid,
    maximum,
    minimum,
    positive,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)

if TYPE_CHECKING:
    from .checking import Result
    from .modules.summary import Summary

__all__ = [
    "Array",
    "Arrays",
    "GatedCell",
    "Returned",
    "Shapes",
    "State",
    "absolute",
    "backend",
    "backend_names",
    "blocks",
    "by_head",
    "check",
    "check_sizes",
    "concatenate",
    "constant",
    "cos",
    "exp",
    "expm",
    "from_equinox",
    "from_flax",
    "from_keras",
    "from_onnx",
    "from_tensorflow",
    "from_torch",
    "get",
    "linear",
    "log",
    "logsigmoid",
    "maximum",
    "mean",
    "minimum",
    "names",
    "positive",
    "relu",
    "sigmoid",
    "sin",
    "skew",
    "softplus",
    "split",
    "sqrt",
    "summary",
    "tanh",
    "to_equinox",
    "to_flax",
    "to_keras",
    "to_onnx",
    "to_onnx_scan",
    "to_tensorflow",
    "to_torch",
    "torch_module",
    "whole",
]


def check(
    thing: Any, against: str | GatedCell, weights: dict[str, Any] | None = None, **options: Any
) -> Result:
    """Holds a user's own implementation against a cell, with a diagnosis.

    `cells.checking.check` says what it may be. options: input_size, hidden_size, steps, batch, dtype, seed.
    Raises ValueError for a thing that is not understood.
    """
    from .checking import check  # what it needs (SciPy's assignment, torch) takes a second to import

    return check(thing, against, weights, **options)


def summary(model: Any, *inputs: Any, batch_axis: int | None = None) -> Summary:
    """The table of a torch module: kind, output, parameters, state and FLOPs a step of each submodule.

    inputs are what its forward takes, x first: (T, B, ...), or (B, T, ...) with batch_axis 0, or packed.
    Raises ValueError, one line, for what cannot be counted; `cells.modules.summary.summary` says what counts.
    """
    from .modules.summary import summary  # which imports torch

    return summary(model, *inputs, batch_axis=batch_axis)
