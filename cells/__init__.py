"""Recurrent cells from their equations, and ways to compute them. Usable without the harness.

from cellbench import cells
cell = cells.get("lstm")
program = cells.backend("numba").prepare(cell, cell.init(16, 32), steps=100, batch=8)
out = program.forward(x)                     # x (T, B, I); out.output (T, B, H), out.state {"h": (B, H), "c": ...}
grads = program.backward(d_output)           # grads.params, grads.x, grads.state
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import find
from .contract import GatedCell, State
from .exchange import from_keras, from_onnx, from_torch, to_keras, to_onnx, to_torch
from .vocabulary.primitives import (
    absolute,
    cos,
    exp,
    log,
    logsigmoid,
    maximum,
    minimum,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)

if TYPE_CHECKING:
    from .checking import Result
    from .programs.program import Backend

__all__ = [
    "GatedCell",
    "State",
    "absolute",
    "backend",
    "backend_names",
    "check",
    "cos",
    "exp",
    "from_keras",
    "from_onnx",
    "from_torch",
    "get",
    "log",
    "logsigmoid",
    "maximum",
    "minimum",
    "names",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
    "to_keras",
    "to_onnx",
    "to_torch",
]


def names() -> list[str]:
    """Every cell in the zoo and of installed packages (entry points `cellbench.cells`)."""
    return find.names(f"{__name__}.zoo", "cellbench.cells")


def get(spec: str, **options) -> GatedCell:
    """The cell that a spec names: 'lstm', 'elman:activation=relu', 'path/to/file.py:Name'; options may be
    keywords too.

    Raises ValueError for an unknown cell or option, EquationError for equations that cannot be recorded.
    """
    cell = find.member(spec, GatedCell, f"{__name__}.zoo", "cellbench.cells", options)
    cell.verify()
    return cell


def backend_names() -> list[str]:
    """Every backend, of installed packages too (entry points `cellbench.backends`)."""
    return find.names(f"{__name__}.backends", "cellbench.backends")


def backend(spec: str) -> Backend:
    """The backend that a name or path/to/file.py:Name names. Raises ValueError for an unknown one."""
    from .programs.program import Backend

    return find.member(spec, Backend, f"{__name__}.backends", "cellbench.backends")


def check(
    thing: Any, against: str | GatedCell, weights: dict[str, Any] | None = None, **options: Any
) -> Result:
    """Holds a user's own implementation against a cell, with a diagnosis: see `cells.checking.check` for what
    it may be.

    options: input_size, hidden_size, steps, batch, dtype, seed. Raises ValueError for a thing that is not
    understood.
    """
    from .checking import check

    return check(thing, against, weights, **options)
