"""Which lags the parameter gradient is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import Reference
from cellbench.cells.display import Displayed
from cellbench.cells.programs.joint import unsupported
from cellbench.cells.programs.products import blocks_gradient

from .back import Backward, StepBack, backward
from .by_layer import LayerBackward, backwards
from .given import of_joint_state, on_arrays
from .path import norms

Arrays = dict[str, Any]


@dataclass(frozen=True, repr=False)
class LagShare(Displayed):
    """Shares of one array's gradient for a loss at the last step, by lag 0 (that step) to T - 1.

    signed        <G_k, G> / |G|^2, which sums to 1; NaN where the gradient is 0
    unsigned      |G_k| / sum |G_j|
    cancellation  |mean over samples of g_i| / mean |g_i|: 1 where all samples agree, 1/sqrt(B) for noise; NaN
                  where all are 0
    k95           the smallest lag at which the signed shares so far reach 0.95
    gradient      G itself, of the array as the step uses it (inf or 0 where float64 cannot hold it)
    log_norm      natural log of |G|, whatever its size
    """

    axes = {"lag": ("signed", "unsigned", "cancellation")}
    drawn = ("signed", "unsigned")

    parameter: str
    lag: np.ndarray
    signed: np.ndarray
    unsigned: np.ndarray
    cancellation: np.ndarray
    k95: int
    gradient: np.ndarray
    log_norm: float


@on_arrays
def lag_share(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None = None,
    d_output: Any = None,
    parameter: str | None = None,
) -> LagShare:
    """Shares of the lags in the gradient of `parameter`, for L = sum(d_output * last output).

    It is weight_hh, where the cell has one, unless given; of a stack the first layer's. x (T, B, I), state
    {name: (B, ...)}, d_output (B, O) or ones. Shares of arrays that a cell derives from stored ones are of
    the derived ones. A lag is one of the array's own layer and direction. The steps are gone through twice,
    for all G_k together are T times the array. Raises ValueError for an array that the step does not use.
    """
    share = _share_by_layer if cell.stacked else _share
    return share(cell, params, np.asarray(x), state=state, d_output=d_output, parameter=parameter)


@of_joint_state
def _share(
    cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None, d_output: Any, parameter: str | None
) -> LagShare:
    back = backward(cell, params, x, state, d_output)
    name = _chosen(cell, parameter, _arrays(cell, back))
    samples = [back]
    if _by_sample(cell, back, name):
        samples = [backward(cell, params, **one_sample(x, state, d_output, b)) for b in range(x.shape[1])]
    return _told(cell, samples, name, name)


def _share_by_layer(
    cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None, d_output: Any, parameter: str | None
) -> LagShare:
    """The same of a stack, from the adjoint of the layer and direction that the array is of."""

    def back_of(suffix: str, **given: Any) -> LayerBackward:
        return next(b for b in backwards(cell, params, **given) if b.reading.suffix == suffix)

    every = sorted(backwards(cell, params, x, state, d_output), key=lambda b: b.reading.suffix)
    known = {n + b.reading.suffix: (n, b) for b in every for n in _arrays(b.reading.cell, b)}
    name = _chosen(cell, parameter, known)
    base, back = known[name]
    if base in back.past and unsupported(cell):
        raise ValueError(
            f"parameter {name} is used past the recurrence too, at every step, so that its gradient has no"
            f" lags of its own in cell {cell.name!r} with {cell.options}"
        )
    if base in back.past:
        return _share(cell, params, x, state=state, d_output=d_output, parameter=parameter)
    samples: list[Any] = [back]
    if _by_sample(back.reading.cell, back, base):
        each = (one_sample(x, state, d_output, b, axis=1) for b in range(x.shape[1]))
        samples = [back_of(back.reading.suffix, **given) for given in each]
    return _told(back.reading.cell, samples, base, name)


def _chosen(cell: GatedCell, parameter: str | None, known: Iterable[str]) -> str:
    """The array asked for, or the first recurrent one. Raises ValueError for one that is not known."""
    name = parameter or min(known, key=lambda n: "weight_hh" not in n)
    if name not in known:
        raise ValueError(f"parameter is {name!r}; the steps of cell {cell.name!r} use {', '.join(known)}")
    return name


def _by_sample(cell: GatedCell, back: Any, name: str) -> bool:
    """Whether the array's gradient is no outer product by sample, so that each goes back by itself."""
    return not cell.pointwise or name in _projected_arrays(back) or name in back.local


def _told(cell: GatedCell, samples: list[Any], name: str, label: str) -> LagShare:
    """The shares of an array, which is called `label` to a person."""
    logs, total, top = _summed(cell, samples, name)
    square, signed, each = float(np.sum(total**2)), np.full(len(logs), np.nan), np.empty(len(logs))
    for k, gradients in enumerate(_lags(cell, samples, name)):
        share = sum(_outer(cell, name, g, top) for g in gradients)
        each[k] = np.sqrt(np.sum(share**2))
        if square:
            signed[k] = np.sum(share * total) / square
    reached = np.flatnonzero(np.cumsum(signed) >= 0.95)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return LagShare(
            parameter=label,
            lag=np.arange(len(logs)),
            signed=signed,
            unsigned=each / each.sum(),
            cancellation=each / np.exp(logs - top).sum(1),
            k95=int(reached[0]) if len(reached) else len(logs) - 1,
            gradient=np.asarray(total * np.exp(top), np.float64),
            log_norm=float(top + np.log(square) / 2),
        )


def _lags(cell: GatedCell, samples: list[Backward], name: str) -> Iterator[list[StepGradient]]:
    """The gradient of each step, last first, as one for all samples or one for each."""
    for steps in zip(*(sample.steps() for sample in samples), strict=True):
        yield [_gradient(cell, sample, step, name) for sample, step in zip(samples, steps, strict=True)]


def _summed(cell: GatedCell, samples: list[Backward], name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """(logs (T, B) of each sample's and lag's norm, the sum of all over exp(top), the largest log, top)."""
    logs, total, top = [], np.zeros(()), -1e300  # below any logarithm, but finite
    for gradients in _lags(cell, samples, name):
        logs.append(np.concatenate([_log_sizes(cell, name, g) for g in gradients]))
        largest = float(logs[-1].max())
        if np.isfinite(largest) and largest > top:
            total, top = total * np.exp(top - largest), largest
        total = total + sum(_outer(cell, name, g, top) for g in gradients)
    return np.stack(logs).astype(np.float64), total, top


@dataclass(frozen=True)
class StepGradient:
    """The gradient of one step, to be multiplied by exp(log_scale), (B,).

    It is left (B, ...), or outer products of left (B, N) and right (B, K). Both are of norm 1 a sample, or 0.
    """

    left: np.ndarray
    right: np.ndarray | None
    log_scale: np.ndarray


def _projected_arrays(back: Any) -> Arrays:
    """The arrays that a cell's own projection uses, none where it writes none."""
    program = back.program
    return _projected(program, program.steps - 1, None) if program.products.projects else {}


def _arrays(cell: GatedCell, back: Any) -> list[str]:
    """The arrays whose share can be told, the recurrent ones first."""
    used, projected = back.program.products.used, _projected_arrays(back)
    if not cell.pointwise:
        names = [n for n in used if not n.endswith("_out")]
        return sorted(names, key=lambda n: "weight_hh" not in n)
    names = ["weight_hh"] if cell.recurrent else []
    names += [*cell.vectors, *(projected or ["weight_ih"])]
    return names + [n for n in ("bias_ih", "bias_hh") if n in used and n not in names]


def one_sample(x: np.ndarray, state: Arrays | None, d_output: Any, b: int, axis: int = 0) -> Arrays:
    """The arguments x, state and d_output of sample b alone; axis is that of the batch in a state."""
    one = slice(b, b + 1)
    of_state = (slice(None),) * axis + (one,)
    return {
        "x": x[:, one],
        "state": None if state is None else {k: np.asarray(v)[of_state] for k, v in state.items()},
        "d_output": None if d_output is None else np.asarray(d_output)[one],
    }


def _projected(program: Reference, t: int, d_wx: list[np.ndarray] | None) -> Arrays:
    """Gradients of the arrays that a cell's own projection of step t uses, from d_wx (ones where None)."""
    products = program.products
    x = program._x[t : t + 1]
    wx = np.empty((1, program.batch, len(program.cell.gates), program.units), program.dtype)
    products.grads = {}
    products.project(x, wx, key="step")
    products.pull_project(x, np.ones_like(wx) if d_wx is None else np.stack(d_wx, 1)[None], key="step")
    return products.grads


def _gradient(cell: GatedCell, back: Backward, step: StepBack, name: str) -> StepGradient:
    left, right = _factors(cell, back, step, name)
    if step.t == back.program.steps - 1 and name in back.local:
        left = left + back.local[name]
    left, log_scale = _unit(left, step.log_scale)
    if right is not None:
        right, log_scale = _unit(right, log_scale)
    return StepGradient(left, right, log_scale)


def _unit(rows: np.ndarray, log_scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (B, ...) over their norms, whose logs are added to the scale."""
    size = norms(rows.reshape(len(rows), -1))
    unit = rows / np.where(size > 0, size, 1).reshape(-1, *[1] * (rows.ndim - 1))
    with np.errstate(divide="ignore"):
        return unit, log_scale + np.log(size)


def _factors(
    cell: GatedCell, back: Backward, step: StepBack, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradient of one step as left and right; right is None where it is no outer product."""
    if step.d_matrices is not None:
        return step.d_matrices[name][None], None
    if name in cell.vectors:
        return step.d_unit[cell.vectors.index(name)], None
    if back.program.products.projects and not name.endswith("_hh"):
        projected = _projected(back.program, step.t, step.d_wx)
        return projected.get(name, np.zeros_like(back.program.products.used[name]))[None], None
    left = np.concatenate(step.d_wh if name.endswith("_hh") else step.d_wx, axis=1)
    if name.startswith("bias"):
        return left, None
    if name == "weight_ih":
        return left, np.asarray(back.program._x[step.t])
    fed = [back.path[cell.states.index(s)][step.t] for s in cell.fed_back]
    return left, np.concatenate(fed, axis=1)


def _outer(cell: GatedCell, name: str, gradient: StepGradient, top: float) -> np.ndarray:
    """The gradient of one step, summed over samples, over exp(top)."""
    left, right = gradient.left, gradient.right
    scaled = (left * np.exp(gradient.log_scale - top).reshape(-1, *[1] * (left.ndim - 1))).astype(np.float64)
    if right is None:
        return scaled.sum(0)
    if name == "weight_hh":
        return blocks_gradient(scaled, right, cell.heads, len(cell.recurrent))
    return scaled.T @ right


def _log_sizes(cell: GatedCell, name: str, gradient: StepGradient) -> np.ndarray:
    """(B,): log of the norm of each sample's gradient of one step."""
    left, right = gradient.left, gradient.right
    if right is None or name != "weight_hh" or cell.heads == 1:
        return gradient.log_scale
    by_gate = left.reshape(len(left), len(cell.recurrent), cell.heads, -1)
    by_head = right.reshape(len(left), cell.heads, -1)
    with np.errstate(divide="ignore"):
        return gradient.log_scale + 0.5 * np.log(((by_gate**2).sum((1, 3)) * (by_head**2).sum(2)).sum(1))
