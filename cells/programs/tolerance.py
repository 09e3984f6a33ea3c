"""How far an array may be from the float64 reference, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .formats import FORMATS

TERM_BY_TERM = 8  # times the error of sums in 64 parts
ANOTHER = 1e-3  # error from which on a result is another one, and not rounded in another way
SMALLEST = 1e-30  # that an error is relative to
LOST = 0.1  # error of plain arithmetic from which on it says nothing of an array
# inputs are moved so often; more where an error is not allowed yet: the largest of few may be small by chance
TIMES = (4, 16)
MOST = 0.5  # that is ever allowed: an array of zeros, whose error is 1, is wrong in every format


def unfit(expected: Mapping[str, np.ndarray], again: Callable[[], Mapping[str, np.ndarray]]) -> str | None:
    """Why nothing can be held against a float64 reference, or None. `again` computes it once more."""
    if name := next((name for name, array in expected.items() if not np.isfinite(array).all()), None):
        return (
            f"{name} is NaN or infinite in the float64 reference itself, so that nothing can be held against"
            " it; look for a logarithm, a root, a division or a growth without bound in the equations"
        )
    second = again()
    if name := next((n for n, a in expected.items() if not relative_error(second[n], a) < ANOTHER), None):
        return (
            f"{name} of the float64 reference is another one when it is computed once more, from the same"
            " arrays; take what is random, or is kept from call to call, out of the equations"
        )
    return None


def tolerance(dtype: str, steps: int) -> float:
    """Allowed error relative to the array's largest entry: 32 eps (1 + sqrt T).

    Rounding adds up like a random walk. In bfloat16 and float16 it is 4 eps (1 + sqrt T), at most 1/2: on
    torch's CPU kernels the zoo's cells came to 0.2 to 2 eps (1 + sqrt T) for T from 17 to 1024, but for those
    that `moved` is for.
    """
    form = FORMATS[dtype]
    return min((4 if form.narrow else 32) * form.eps * (1 + float(np.sqrt(steps))), MOST)


def moved(spread: float) -> float:
    """Allowed error where rounding the inputs by half an eps moves the float64 reference by `spread`.

    That is more than the tolerance where a unit lies near a kink, such as relu's, and goes over it.
    """
    return min(2 * spread, MOST)


def plain(errors: Sequence[float], size: float, largest: float, dtype: str) -> float:
    """Allowed error of an array that plain arithmetic of the dtype gets no better than the tolerance.

    `errors` are those of the equations as they are written, run on NumPy in the dtype on inputs that were
    moved by half an eps: they know the lengths of all sums, and units that saturate, whose derivative is what
    rounding leaves of 1 - h^2. Eight times the largest is allowed: NumPy's BLAS adds a long sum in 32 parts,
    or in 64 with AVX-512, and whoever adds it term by term is sqrt(64) times as far off. Where rounding
    leaves nothing of the array, an eps of the largest of all is allowed: one program rounds a derivative to
    0, another does not.
    """
    worst = max(errors)
    return max(
        min(TERM_BY_TERM * worst, MOST),
        FORMATS[dtype].eps * largest / max(size, SMALLEST) if not worst < LOST else 0.0,
    )


def plain_by_name(
    errors: Mapping[str, Sequence[float]], expected: Mapping[str, np.ndarray], dtype: str
) -> dict[str, float]:
    """The same of all arrays of a result, by name."""
    sizes = {name: float(np.max(np.abs(value), initial=0.0)) for name, value in expected.items()}
    largest = max(sizes.values())
    return {name: plain(errors[name], size, largest, dtype) for name, size in sizes.items()}


def when_moved(
    compute: Callable[[dict[str, np.ndarray], np.ndarray, str], Mapping[str, np.ndarray]],
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    expected: Mapping[str, np.ndarray],
    *,
    steps: int,
    dtype: str,
    times: int,
    changed: Callable[[Callable[[Any], Any]], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, float]:
    """By name, the error that is allowed where rounding may move a result by more than the tolerance.

    compute(params, x, dtype) runs the equations. In a format of few bits what is allowed is how far rounding
    moves them in float64 (`moved`), in others what they come to in the format itself (`plain`). In the last
    attempt inputs are also moved by as much as adding term by term is off: a unit may be so near to a kink.
    """
    form = FORMATS[dtype]
    within = "float64" if form.narrow else dtype

    def errors(factor: int) -> dict[str, list[float]]:
        each = moved_errors(
            lambda params, x: compute(params, x, within),
            *(params, x, expected),
            steps=steps,
            eps=factor * form.eps,
            dtype=within,
            times=times,
            changed=changed,
        )
        return {name: [one[name] for one in each] for name in expected}

    if form.narrow:
        return {name: moved(max(values)) for name, values in errors(1).items()}
    allowed = plain_by_name(errors(1), expected, dtype)
    if times < TIMES[-1]:
        return allowed
    return {name: max(allowed[name], moved(max(far))) for name, far in errors(TERM_BY_TERM).items()}


def moved_errors(
    compute: Callable[[dict[str, np.ndarray], np.ndarray], Mapping[str, np.ndarray]],
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    expected: Mapping[str, np.ndarray],
    *,
    steps: int,
    eps: float,
    dtype: str,
    times: int,
    changed: Callable[[Callable[[Any], Any]], AbstractContextManager[Any]] = nullcontext,
) -> list[dict[str, float]]:
    """Errors by name of what `compute` makes of inputs that were moved.

    All entries of the parameters and of x, in `dtype`, have moved by half an eps, up or down at random.
    So has each value of a function, within `changed` of the vocabulary, for another library's sigmoid is
    rounded otherwise: where a unit saturates, the derivative f (1 - f) is made of the last bits of f.
    """
    rng = np.random.default_rng(0)

    def off(array: np.ndarray) -> np.ndarray:
        return nudged(array, eps, rng, dtype)

    with changed(lambda value: nudged(value, eps, rng, np.asarray(value).dtype)):
        return [
            relative_errors(compute({k: off(v) for k, v in params.items()}, off(x)), expected, steps)
            for _ in range(times)
        ]


def nudged(array: np.ndarray, eps: float, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    """The array in a dtype, all entries moved by half an eps, up or down at random."""
    moved = np.asarray(array, np.float64) * (1 + eps / 2 * rng.choice([-1.0, 1.0], array.shape))
    return moved.astype(dtype)


def relative_errors(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], steps: int
) -> dict[str, float]:
    """Errors by name, relative to the array's largest expected entry, or to all arrays' where terms cancel.

    Terms cancel where the float64 reference itself is no larger than float64's own tolerance leaves of the
    largest entry.
    """
    sizes = {name: float(np.max(np.abs(value), initial=0.0)) for name, value in expected.items()}
    largest = max(sizes.values())
    cancelled = tolerance("float64", steps) * largest
    scales = {name: largest if size <= cancelled else None for name, size in sizes.items()}
    return {name: relative_error(value, expected[name], scales[name]) for name, value in arrays.items()}


def relative_error(value: np.ndarray, expected: np.ndarray, scale: float | None = None) -> float:
    """Largest absolute difference over the scale.

    The scale is the largest absolute entry expected (or 1e-30) unless given. NaN for another shape, or where
    the expected is not finite.
    """
    if value.shape != expected.shape or not np.isfinite(expected).all():
        return float("nan")
    scale = float(np.max(np.abs(expected), initial=0.0)) if scale is None else scale
    return float(np.max(np.abs(value - expected), initial=0.0) / max(scale, SMALLEST))
