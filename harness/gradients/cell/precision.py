"""A gradient in a number format on its way back: where it underflows, sticks, overflows, or is off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.display import ByName, Displayed
from cellbench.cells.programs.formats import FORMATS, Format

from ..rate import fit
from .back import backward
from .given import of_joint_state
from .linearise import linearise
from .path import check, norms

Arrays = dict[str, Any]
OFF = 0.1  # relative error from which a norm counts as wrong
STILL = 3  # steps without a change after which a value counts as stuck


@dataclass(frozen=True, repr=False)
class Precision(Displayed):
    """Lags at which one sample's plain adjoint in one format fails; None where it does not within T.

    first_subnormal  the largest entry is below the format's smallest normal number
    first_zero       every entry is 0 though the gradient is not
    stuck            from here on nothing changes any more, though the gradient does
    off              the norm is more than 10 % off the float64 log-domain reference
    overflow         an entry is infinite
    stored_rate      nats a step of the Jacobians as the format stores them, multiplied exactly: the change by
                     rounding the Jacobians alone
    log_norm         (T,): natural log of the norm at lags 1 to T, as the format has it
    """

    axes = {"lag": ("log_norm",)}

    first_subnormal: int | None
    first_zero: int | None
    stuck: int | None
    off: int | None
    overflow: int | None
    stored_rate: float
    log_norm: np.ndarray

    @property
    def lag(self) -> np.ndarray:
        """1 to T."""
        return np.arange(1, len(self.log_norm) + 1)


@of_joint_state
def precision(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None = None,
    d_output: Any = None,
    dtypes: Iterable[str] = ("float64", "float32", "bfloat16", "float16"),
    flush_subnormals: bool = False,
) -> ByName[Precision]:
    """dL/d(state) by lag as each format computes it; L = sum(d_output * last output), x (T, 1, I).

    The step's Jacobian is stored in the format, its product with the gradient is summed in float32 (float64
    in float64) and rounded to the format, as matrix units do. Raises ValueError for a batch, or an unknown
    format.
    """
    check(cell, params, x)
    if x.shape[1] != 1:
        raise ValueError(
            f"x is {tuple(x.shape)}; precision follows one sequence, so it must be (T, 1, I): take x[:, :1]"
        )
    names = list(dtypes)
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"dtypes has {name!r}; it may have {', '.join(FORMATS)}")
    back = backward(cell, params, x, state, d_output)
    first = back.first()[0].astype(np.float64)
    matrices = linearise(cell, params, np.asarray(x), back.path).matrices_of(slice(None))[:-1, 0]
    reference = _logs(matrices, first)
    followed = {name: _follow(matrices, first, reference, FORMATS[name], flush_subnormals) for name in names}
    return ByName(followed)


def _logs(matrices: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Log norms of the gradient by lag, from lag 1, in float64 scaled at every step."""
    logs, d, scale = [], first[None], 0.0
    for matrix in [None, *matrices[::-1]]:
        d = d if matrix is None else d @ matrix
        norm = norms(d)[0]
        with np.errstate(divide="ignore"):
            logs.append(scale + float(np.log(norm)))
        unit = norm if norm > 0 and np.isfinite(norm) else 1.0
        d, scale = d / unit, scale + float(np.log(unit))
    return np.array(logs)


def _follow(
    matrices: np.ndarray, first: np.ndarray, reference: np.ndarray, form: Format, flush: bool
) -> Precision:
    """The plain adjoint in one format, against the log norms of the exact one."""
    stored, d, path = form.round(matrices), form.round(first), []
    for matrix in [None, *stored[::-1]]:
        if matrix is not None:
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                d = form.round((d.astype(form.sums) @ matrix.astype(form.sums)).astype(np.float64))
        if flush:
            d = np.where(np.abs(d) < form.tiny, 0.0, d)
        path.append(d)
    values = np.stack(path)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logs = np.log(norms(values))
        wrong = np.abs(np.expm1(logs - reference)) > OFF
        moves = np.abs(np.diff(reference)) > 0
    largest, alive = np.abs(values).max(1), np.isfinite(reference)
    same = (values[1:] == values[:-1]).all(1) & moves
    # the first lag at the final value
    still = len(values) - 1 - int(np.argmin(same[::-1])) if not same.all() else 0
    return Precision(
        first_subnormal=_first((largest < form.tiny) & (largest > 0)),
        first_zero=_first((largest == 0) & alive),
        stuck=still + 1 if len(values) - still > STILL and largest[-1] > 0 else None,
        off=_first(wrong & alive),
        overflow=_first(~np.isfinite(largest)),
        stored_rate=fit(_logs(stored, first)[:, None]).value,
        log_norm=logs,
    )


def _first(holds: np.ndarray) -> int | None:
    """The first lag at which it holds, counted from lag 1."""
    at = np.flatnonzero(holds)
    return int(at[0]) + 1 if len(at) else None
