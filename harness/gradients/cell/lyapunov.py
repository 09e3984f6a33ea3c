"""The Lyapunov spectrum of a cell along its input: growth of small differences of the joint state."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.contract import whole
from cellbench.cells.display import Displayed

from .given import of_joint_state
from .linear import Elementwise, Jacobians, dense
from .linearise import linearise
from .path import check, finite, states_of
from .tangents import Tangents

Arrays = dict[str, Any]
BLOCK = 512  # steps that are kept at once
MATRICES = 2**27  # bytes of whole Jacobians that are kept at once
BATCHES = 20  # of steps, for standard errors
ROWS = 8_000  # of growth that are kept for them; beyond, means of neighbours are


@dataclass(frozen=True, repr=False)
class Spectrum(Displayed):
    """Exponents in nats a step, largest first; -inf where a direction dies (det J = 0).

    standard_error   of each, by the means of 20 batches of steps
    kaplan_yorke     dimension of the attractor; None where the exponents do not add up to less than 0
    entropy_rate     sum of the positive exponents, nats a step (Pesin)
    sum_residual     sum of all exponents minus mean log |det J|: rounding alone; None where only some were
                     computed, or det J is 0
    steps            that the averages are taken over, after the transient
    """

    axes = {"exponent": ("exponents", "standard_error")}
    drawn = ("exponents",)

    exponents: np.ndarray
    standard_error: np.ndarray
    kaplan_yorke: float | None
    entropy_rate: float
    sum_residual: float | None
    steps: int


@of_joint_state
def lyapunov_spectrum(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None = None,
    k: int | None = None,
    transient: int = 200,
) -> Spectrum:
    """The k largest exponents (all where None) of the joint state driven by x.

    x is (T, 1, I), an array or an iterable of such blocks. Tangents are pushed forward by J_t and made
    orthonormal by QR (Benettin et al. 1980), before they have grown 10 nats apart; the memory does not grow
    with T. The first `transient` steps count for the state and the tangents alone. NaN where the forward
    overflows. Raises ValueError for a batch, or too few steps.
    """
    if not whole(transient) or transient < 0:
        raise ValueError(f"transient is {transient!r}; it must be a whole number of steps, 0 or more")
    blocks = _blocks(x, transient, _kept(cell, params))
    first = next(blocks, None)
    if first is None:
        raise ValueError("x has no steps; it must be (T, 1, I), or an iterable of such blocks")
    check(cell, params, first, least=1)
    if first.shape[1] != 1:
        raise ValueError(
            f"x is {first.shape}; a spectrum is of one sequence, so it must be (T, 1, I): take x[:, :1]"
        )
    growth, dets, tangents = Means(transient), Means(transient), None
    for block in chain([first], blocks):
        path = states_of(cell, params, block, state)
        state = {name: values[-1] for name, values in zip(cell.states, path, strict=True)}
        jacobians = linearise(cell, params, block, path)
        if tangents is None:
            tangents = Tangents(jacobians.size, _count(cell, k, jacobians.size))
        grown = tangents.through(cell, jacobians)
        growth.add(grown if finite(path).all() else np.full_like(grown, np.nan))
        if tangents.count == jacobians.size:
            dets.add(log_determinants(jacobians)[:, None])
    if growth.count < BATCHES:
        raise ValueError(
            f"x has {growth.seen} steps and transient is {transient}; at least {BATCHES} must be left to"
            " average over"
        )
    return _spectrum(growth, dets)


def _kept(cell: GatedCell, params: Arrays) -> int:
    """Steps whose Jacobians are kept at once; those of a written step are whole matrices."""
    if not cell.written_out:
        return BLOCK
    size = sum(math.prod(shape) for shape in cell.state_shapes(1, cell.sizes(params)[1]).values())
    return min(BLOCK, max(1, MATRICES // (8 * max(size, 1) ** 2)))


def _count(cell: GatedCell, k: int | None, size: int) -> int:
    if k is None:
        return size
    if not whole(k) or not 1 <= k <= size:
        raise ValueError(
            f"k is {k!r}; cell {cell.name!r} has {size} exponents at this size, so it must be from 1 to"
            f" {size}"
        )
    return int(k)


class Means:
    """The mean over steps, and those of 20 batches of them, of rows that come in blocks.

    The first `skip` rows do not count.
    """

    def __init__(self, skip: int) -> None:
        self.skip, self.seen, self.count, self.each = skip, 0, 0, 1
        self.total: Any = 0.0
        self.rows: list[np.ndarray] = []  # means of `each` steps

    def add(self, block: np.ndarray) -> None:
        counted = block[max(self.skip - self.seen, 0) :]
        self.seen, self.count = self.seen + len(block), self.count + len(counted)
        self.total = self.total + counted.sum(0)
        groups = len(counted) // self.each
        self.rows += list(counted[: groups * self.each].reshape(groups, self.each, counted.shape[1]).mean(1))
        if len(self.rows) > ROWS and self.each < BLOCK:
            self.rows = [(a + b) / 2 for a, b in zip(self.rows[::2], self.rows[1::2], strict=False)]
            self.each *= 2

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count

    @property
    def standard_error(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # of -inf
            batches = np.stack([batch.mean(0) for batch in np.array_split(np.stack(self.rows), BATCHES)])
            return batches.std(0, ddof=1) / np.sqrt(BATCHES)


def _spectrum(growth: Means, dets: Means) -> Spectrum:
    mean = growth.mean
    order = np.argsort(-mean, kind="stable")
    exponents = mean[order]
    summed = dets.count and not np.isneginf(exponents).any() and np.isfinite(dets.mean[0])
    finite_forward = not np.isnan(exponents).any()
    return Spectrum(
        exponents=exponents,
        standard_error=growth.standard_error[order],
        kaplan_yorke=kaplan_yorke(exponents) if finite_forward else None,
        entropy_rate=float(exponents[exponents > 0].sum()) if finite_forward else float("nan"),
        sum_residual=float(mean.sum() - dets.mean[0]) if summed else None,
        steps=growth.count,
    )


def kaplan_yorke(exponents: np.ndarray) -> float | None:
    """j + (sum of the first j) / |the next|, j the most whose sum is not negative; 0 where the first is."""
    sums = np.cumsum(exponents)
    above = np.flatnonzero(sums >= 0)
    if exponents[0] < 0:
        return 0.0
    count = int(above[-1]) + 1
    return None if count == len(exponents) else float(count + sums[count - 1] / abs(exponents[count]))


def log_determinants(jacobians: Jacobians) -> np.ndarray:
    """log |det J_t| of every step of one sample.

    Rows and columns are scaled to 1 first: saturated units would make the determinant underflow.
    """
    if (
        isinstance(jacobians, Elementwise)
        and jacobians.through.shape[1:3] == (1, 1)
        and not jacobians.direct.any()
    ):
        assert jacobians.weight is not None  # J = diag(through) W, so that one determinant serves all steps
        with np.errstate(divide="ignore"):
            logs = np.log(np.abs(jacobians.through[:, 0, 0, 0])).sum(1)
        of_weight = np.linalg.slogdet(dense(jacobians.cell, jacobians.weight).astype(np.float64))[1]
        return (logs + of_weight).astype(np.float64)
    matrices, logs = jacobians.matrices_of(slice(None))[:, 0], np.zeros(jacobians.steps)
    for axis in (2, 1):
        scale = np.abs(matrices).max(axis, keepdims=True)
        scale = np.where(scale > 0, scale, 1.0)
        matrices, logs = matrices / scale, logs + np.log(scale).sum((1, 2))
    return (logs + np.linalg.slogdet(matrices.astype(np.float64))[1]).astype(np.float64)


def _blocks(x: Any, transient: int, most: int) -> Iterator[np.ndarray]:
    """x in short blocks, one of which ends with the transient.

    Growth is spread evenly over the steps between two times of making tangents orthonormal, and none of it
    may be spread over the transient's end.
    """
    seen = 0
    for array in [x] if hasattr(x, "shape") else x:
        at = 0
        while at < len(array):
            stop = at + min(most, transient - seen if seen < transient else most, len(array) - at)
            yield np.asarray(array[at:stop])
            seen, at = seen + stop - at, stop
