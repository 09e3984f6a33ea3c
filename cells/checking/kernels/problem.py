"""Random arrays of a cell, and all that a program computes of them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...cell import GatedCell
from ...contract import Arrays
from ...programs.backend import Backend


@dataclass(frozen=True)
class Sizes:
    """T, B, I and H."""

    steps: int
    batch: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return f"T={self.steps} B={self.batch} I={self.input_size} H={self.hidden_size}"


@dataclass(frozen=True)
class Problem:
    """A cell's parameters, inputs, first states and cotangents, which float32 holds exactly."""

    cell: GatedCell
    sizes: Sizes
    params: Arrays
    x: np.ndarray
    state: Arrays
    d_output: np.ndarray
    d_state: Arrays
    lengths: Sequence[int] | None = None


def drawn(cell: GatedCell, sizes: Sizes, seed: int = 0, lengths: Sequence[int] | None = None) -> Problem:
    """A problem of normally distributed numbers, with parameters as they are initialised."""
    rng = np.random.default_rng(seed)

    def short(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32).astype(np.float64)

    inputs, hidden, shape = sizes.input_size, sizes.hidden_size, (sizes.steps, sizes.batch)
    states = cell.state_shapes(sizes.batch, hidden)
    return Problem(
        cell,
        sizes,
        params={name: short(a) for name, a in cell.init(inputs, hidden, seed=seed).items()},
        x=short(rng.standard_normal((*shape, inputs))),
        state={name: short(rng.standard_normal(s)) for name, s in states.items()},
        d_output=short(rng.standard_normal((*shape, cell.output_size(inputs, hidden)))),
        d_state={name: short(rng.standard_normal(s)) for name, s in states.items()},
        lengths=lengths,
    )


def computed(problem: Problem, backend: Backend, dtype: str) -> dict[str, np.ndarray]:
    """Output, last states and every gradient, by name; of several steps every step's state cotangents too.

    A program for the forward alone, which has kernels of its own, computes output and states once more.
    """
    alone, program = (
        backend.prepare(
            problem.cell,
            problem.params,
            steps=problem.sizes.steps,
            batch=problem.sizes.batch,
            dtype=dtype,
            direction=direction,
            lengths=problem.lengths,
        )
        for direction in ("forward", "backward")
    )
    arrays: dict[str, np.ndarray] = {}
    for each, name in ((alone, " of the forward alone"), (program, "")):
        out = each.forward(problem.x, problem.state)
        arrays |= {f"output{name}": out.output} | {f"state {k}{name}": v for k, v in out.state.items()}
    trace = problem.sizes.steps > 1 and program.untraceable() is None
    gradients = program.backward(problem.d_output, problem.d_state, trace=trace)
    arrays |= {f"d_{k}": v for k, v in gradients.params.items()} | {"d_x": gradients.x}
    arrays |= {f"d_state {k}": v for k, v in gradients.state.items()}
    return arrays | {f"trajectory {k}": v for k, v in (gradients.trajectory or {}).items()}
