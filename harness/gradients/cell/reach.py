"""How far back the gradient of the input reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.display import Displayed

from .back import backward
from .by_layer import backwards
from .given import on_arrays
from .path import finite, norms

Arrays = dict[str, Any]


@dataclass(frozen=True, repr=False)
class InputReach(Displayed):
    """log_norm (T, B): natural log of |dL/dx_{T-k}| by lag k = 0 (the last input) to T - 1."""

    axes = {"lag": ("log_norm",)}

    lag: np.ndarray
    log_norm: np.ndarray


@on_arrays
def input_reach(
    cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None = None, d_output: Any = None
) -> InputReach:
    """How far back the inputs reach the last output: norms of dL/dx_t, L = sum(d_output * last output).

    In a bidirectional cell L is on each direction's output at its own end, and lag k is x k steps before it.
    """
    if cell.stacked:
        return _by_layer(cell, params, x, state, d_output)
    back = backward(cell, params, x, state, d_output)
    program, scales = back.program, np.empty((back.program.steps, back.program.batch))
    d_wx = np.empty((*scales.shape, len(cell.gates), program.units), program.dtype)
    d_x = np.empty((*scales.shape, program.input_size), program.dtype)
    for step in back.steps():
        scales[step.t] = step.log_scale
        if step.d_x is None:
            d_wx[step.t] = np.stack(step.d_wx, 1)
        else:
            d_x[step.t] = step.d_x
    if cell.pointwise:  # the input's gradient is linear in its step's d_wx, so it may carry that scale
        d_x = program.products.pull_project(program._x, d_wx)
    d_x[-1] += back.d_x_last
    with np.errstate(divide="ignore"):
        logs = scales + np.log(norms(d_x.reshape(-1, d_x.shape[-1]))).reshape(scales.shape)
    logs[:, ~finite(back.path)] = np.nan
    return InputReach(np.arange(len(logs)), logs[::-1])


def _by_layer(cell: GatedCell, params: Arrays, x: Any, state: Arrays | None, d_output: Any) -> InputReach:
    """The reach of a stack, from the adjoint of the first layer in each direction."""
    every = list(backwards(cell, params, x, state, d_output))
    # rows are of norm 1, but where the projection's and the output's shares were added
    logs = [back.d_x.scaled().log for back in every[-cell.directions :]]
    total = 0.5 * np.logaddexp.reduce([2 * each for each in logs])
    total[:, ~np.logical_and.reduce([back.held for back in every])] = np.nan
    return InputReach(np.arange(len(total)), total[::-1])
