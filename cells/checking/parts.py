"""The recurrent layers of other software run one after another, as one function of a sequence and states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..exchange.stack import Model, Part, joined, spec
from .implementation import Arrays, Implementation

# one layer in one direction: outputs (T, B, H) and last states by name, of x (T, B, I) and first states
Runner = Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays]]
NO_GRADIENTS = "cannot be had from a file of arrays; outputs and states are compared"


def run_together(
    label: str,
    model: Model,
    read: Callable[[Part], tuple[GatedCell, Arrays]],
    runners: Sequence[Sequence[Runner]],
    made_of: str,
) -> Implementation:
    """The layers as an implementation; each runs over time as it stands in x, a backward one from the end."""
    cell, params = joined(Model(model.layers), read)

    def sequence(x: Any, state: Any) -> tuple[np.ndarray, ...]:
        if np.ndim(x) != 3:
            raise ValueError(f"x is {np.shape(x)}; {label} takes sequences (T, B, I)")
        values = state if isinstance(state, tuple) else (state,)
        given = {
            name: np.asarray(v, np.float32)[() if cell.stacked else None]
            for name, v in zip(cell.states, values, strict=True)
        }
        hidden, ends, k = np.asarray(x, np.float32), list[Arrays](), 0
        for depth in runners:
            sides = []
            for backward, run in enumerate(depth):
                turn = slice(None, None, -1 if backward else 1)
                output, last = run(hidden[turn], {name: v[k] for name, v in given.items()})
                sides.append(output[turn])
                ends.append(last)
                k += 1
            hidden = np.concatenate(sides, -1)
        lasts = [np.stack([end[name] for end in ends]) for name in cell.states]
        return hidden, *(last if cell.stacked else last[0] for last in lasts)

    implementation = Implementation(
        label, sequence, "numpy", params, "float32", put=lambda new: new, made=False
    )
    implementation.no_gradients, implementation.holds = NO_GRADIENTS, spec(cell).replace("True", "true")
    implementation.remarks.append(f"arrays without code: run as {made_of}")
    return implementation
