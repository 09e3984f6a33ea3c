"""What a person gives, as the NumPy arrays that the gradient functions compute on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.programs.joint import JointCell, joint, states_by_layer

Measure = TypeVar("Measure", bound=Callable[..., Any])  # decorated, a function keeps its signature
Arrays = dict[str, Any]
BLOCK_AXES = 3  # of a block of x: (T, B, I)


def on_arrays(function: Measure) -> Measure:
    """The function (cell, params, x, ...) for tensors and lists too; state and d_output are given by name."""
    return _taking(function, None)


def of_joint_state(function: Measure) -> Measure:
    """The same of a function that follows the joint state, which takes a stack as one cell of all layers."""
    return _taking(function, joint)


def _taking(function: Measure, as_one: Callable[[GatedCell], JointCell] | None) -> Measure:
    @wraps(function)
    def taking(cell: GatedCell, params: Arrays, x: Any, *args: Any, **options: Any) -> Any:
        for what, value in options.items():
            if what == "state" and isinstance(value, dict):
                options[what] = {name: host(f"state {name}", v) for name, v in value.items()}
            elif what == "d_output" and value is not None:
                options[what] = host(what, value)
        params = {name: host(name, value) for name, value in params.items()}
        x = blocks(x)
        if as_one and cell.stacked:
            if isinstance(options.get("state"), dict):
                options["state"] = states_by_layer(cell, options["state"])
            cell = as_one(cell)
            x = _in_turn(cell, x)
        return function(cell, params, x, *args, **options)

    return cast(Measure, taking)


def _in_turn(cell: JointCell, x: Any) -> Any:
    """x as the steps of a stack read it; the blocks of an iterator are joined where its end is read first."""
    if not cell.cell.bidirectional:
        return x
    x = x if hasattr(x, "shape") else np.concatenate(list(x))
    return cell.in_turn(x) if len(x.shape) == BLOCK_AXES else x


def blocks(x: Any) -> Any:
    """x as an array; of an iterable of blocks of x, each block. A list of blocks is joined."""
    if isinstance(x, Iterable) and not hasattr(x, "shape") and not isinstance(x, (list, tuple, str)):
        return (host("x", block) for block in x)
    if isinstance(x, (list, tuple)) and any(len(getattr(block, "shape", ())) == BLOCK_AXES for block in x):
        return np.concatenate([host("x", block) for block in x])
    array = host("x", x)
    if not array.shape:
        raise ValueError(f"x is {x!r}; it must be an array (T, B, I)")
    return array


def host(what: str, value: Any) -> Any:
    """A tensor as NumPy array, without its graph, bfloat16 as float32; a list as array; an array as it is.

    Raises ValueError for a tensor without values (device meta), and a list of unequal lengths.
    """
    if hasattr(value, "detach"):
        tensor = value.detach()
        if tensor.is_meta:
            raise ValueError(f"{what} is on the device meta and has no values; give it values first")
        tensor = (tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()).cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    if hasattr(value, "shape"):
        return value
    try:
        parts = [host(what, part) for part in value] if isinstance(value, (list, tuple)) else value
        return np.asarray(parts)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            f"{what} is a {type(value).__name__} of parts of unequal shape; give one array"
        ) from None
