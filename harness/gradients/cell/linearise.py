"""A cell's Jacobians along a trajectory: those of its equations elementwise, a written step's off the tape.

Derivatives are taken from pre-activations, not from values: 1 - tanh(a)^2 rounds to 0 from |a| = 19 on, and
sech^2(a) does not. Where float64 cannot hold that either (|a| > 354), coefficients are long doubles, and
everything computed with them is slow and right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cellbench.cells import GatedCell, State
from cellbench.cells.backends.numpy import NumpyProgram, Reference, WrittenProgram
from cellbench.cells.kernels import arrays
from cellbench.cells.programs.inner import Inner
from cellbench.cells.vocabulary.tape import Value, array_of, gradients, recorded

from .joined import Joined
from .linear import Dense, Elementwise, Jacobians, is_wide, joint, split_joint
from .path import WIDE

Arrays = dict[str, Any]
SQUASHING = ("tanh", "sigmoid", "exp", "softplus", "logsigmoid")
FAR = 50.0  # |a| from which several such derivatives together may leave float64's range
BLOCK = 128  # steps that are looked at together
LEAST = 1e-290  # of an entry in float64, so that there is room for a product


def linearise(cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray]) -> Jacobians:
    """The Jacobians along a trajectory: x (T, B, I), path the states (T + 1, B, ...), one array a state."""
    narrow, far = _jacobians(cell, params, x, path, "float64")
    if not far:
        return narrow
    wide, _ = _jacobians(cell, params, x, path, WIDE)
    return wide if _beyond_float64(wide) else narrow


def underflows(
    cell: GatedCell, params: Arrays, x: np.ndarray, program: Reference, path: list[np.ndarray]
) -> bool:
    """Whether some derivative of a program's forward may be too small for float64."""
    if isinstance(program, NumpyProgram):
        parts = (slice(t, t + BLOCK) for t in range(0, len(x), BLOCK))
        return any(
            is_wide(linearise(cell, params, x[p], [s[p.start : p.stop + 1] for s in path])) for p in parts
        )
    assert isinstance(program, WrittenProgram)
    return any(_far_on_tape([*ends.values()]) for *_, ends in program.records)


def _jacobians(
    cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray], dtype: str
) -> tuple[Elementwise | Dense | Joined, bool]:
    """In this dtype, and whether the argument of a squashing function is far out."""
    used = {
        k: np.asarray(v, dtype)
        for k, v in cell.effective({k: np.asarray(v, dtype) for k, v in params.items()}).items()
    }
    x, path = np.asarray(x, dtype), [np.asarray(s, dtype) for s in path]
    if cell.written_out:
        steps = [_dense(cell, used, x[t], [s[t] for s in path]) for t in range(len(x))]
        return Dense(np.stack([matrix for matrix, _ in steps])), any(far for _, far in steps)
    prev, new = tuple(s[:-1] for s in path), tuple(s[1:] for s in path)
    wx, wh = cell.project(used, x), cell.recur(used, State(**dict(zip(cell.states, prev, strict=True))))
    step, inner = arrays.module(cell, unsaturated=True), Inner(cell, used)
    _, _, keeps = step.forward(
        tuple(getattr(wx, g) for g in cell.gates),
        tuple(getattr(wh, g) for g in cell.fed_gates),
        prev,
        inner.unit(),
        *([inner.products()] if inner.names else []),
    )
    squashes = any(node.op in SQUASHING for node in cell.derivation().forward)
    far = squashes and any(np.abs(k).max(initial=0) > FAR for k in keeps)
    if cell.pointwise:
        return _elementwise(cell, used, step, (keeps, prev, new, inner.unit())), far
    return Joined(cell, used, inner, step, keeps, prev, new), far


def _elementwise(cell: GatedCell, used: Arrays, step: Any, known: tuple[Any, ...]) -> Elementwise:
    """The coefficients, from what the printed backward of a step takes beside cotangents."""
    prev = known[1]
    silent = [np.zeros(())] * len(cell.derivation().outputs)
    shape, states, gates = prev[0].shape, len(cell.states), len(cell.recurrent)
    direct = np.empty((shape[0], states, states, *shape[1:]), prev[0].dtype)
    through = np.empty((shape[0], states, gates, *shape[1:]), prev[0].dtype)
    for s in range(states):
        seed = tuple(np.full(shape, k == s, direct.dtype) for k in range(states))
        _, d_wh, d_prev, _ = step.backward(*known, silent, seed)
        for coefficients, cotangents in ((direct, d_prev), (through, d_wh)):
            for k, d in enumerate(cotangents):
                coefficients[:, s, k] = d
    return Elementwise(cell, used.get("weight_hh") if cell.recurrent else None, direct, through)


def _dense(cell: GatedCell, used: Arrays, x: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, bool]:
    """(B, n, n) of one step, and whether it is far out.

    Each sample is run n times over, each copy pulled back from one unit of the new state.
    """
    batch = len(x)
    size = sum(s[0].size for s in state)
    copies = [Value(np.repeat(s, size, axis=0)) for s in state]
    _, new = cell.step(used, np.repeat(x, size, axis=0), State(**dict(zip(cell.states, copies, strict=True))))
    ends = [getattr(new, name) for name in cell.states]
    seeds = split_joint(np.tile(np.eye(size, dtype=x.dtype), (batch, 1)), [s.shape[1:] for s in state])
    # a state that does not depend on the one before is an array, and its rows are 0
    seeded = [(v, d) for v, d in zip(ends, seeds, strict=True) if isinstance(v, Value)]
    rows = gradients([v for v, _ in seeded], [d for _, d in seeded], copies, unsaturated=True)
    return joint(rows).reshape(batch, size, size), _far_on_tape(ends)


def _far_on_tape(ends: list[Any]) -> bool:
    """Whether the argument of a squashing function is far out, in a step on the tape."""
    values = recorded([v for v in ends if isinstance(v, Value)])
    return any(np.abs(array_of(v.args[0])).max(initial=0) > FAR for v in values if v.op in SQUASHING)


def _beyond_float64(wide: Elementwise | Dense | Joined) -> bool:
    entries: Iterable[np.ndarray]
    if isinstance(wide, Joined):
        entries = (wide.matrices_of(slice(t, t + 1)) for t in range(wide.steps))
    else:
        entries = (wide.direct, wide.through) if isinstance(wide, Elementwise) else (wide.matrices,)
    return any(bool(((np.abs(a) < LEAST) & (a != 0)).any()) for a in entries)
