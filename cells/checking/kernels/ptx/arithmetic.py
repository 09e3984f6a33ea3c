"""What instructions of one thread compute, on numbers: floating kinds in float64, whole ones in int64."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[..., Any]


def _either_nan(a: Any, b: Any) -> Any:
    return np.isnan(a) | np.isnan(b)


FLOATING: dict[str, Function] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "fma": lambda a, b, c: a * b + c,
    "div": operator.truediv,
    "neg": operator.neg,
    "abs": np.abs,
    "ex2": np.exp2,
    "lg2": np.log2,
    "sqrt": np.sqrt,
    "rcp": lambda a: 1 / a,
    "max": np.fmax,
    "min": np.fmin,
}
WITH_NAN: dict[str, Function] = {"max": np.maximum, "min": np.minimum}
WHOLE: dict[str, Function] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "mad": lambda a, b, c: a * b + c,
    "neg": operator.neg,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "not": operator.invert,
    "shl": operator.lshift,
    "shr": operator.rshift,
    "max": np.maximum,
    "min": np.minimum,
    "abs": np.abs,
}
LOGICAL: dict[str, Function] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "not": np.logical_not,
}
COMPARED: dict[str, Function] = {
    "eq": operator.eq,
    "ne": lambda a, b: (a != b) & ~_either_nan(a, b),
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "neu": operator.ne,
    "equ": lambda a, b: (a == b) | _either_nan(a, b),
    "num": lambda a, b: ~_either_nan(a, b),
    "nan": _either_nan,
}


def extracted(signed: bool, bits: Any, start: Any, count: Any) -> Any:
    """`count` bits from `start` on, the highest of them the sign where it is signed."""
    whole = np.int64(1) << count
    field = (bits >> start) & (whole - 1)
    return np.where(signed & (field >= whole // 2), field - whole, field)


def upper_half(signed: bool, a: Any, b: Any) -> np.ndarray:
    """The upper 64 bits of a product of 128, as a signed number that has them."""
    whole = [np.asarray(v, object) if signed else np.asarray(v, object) % 2**64 for v in (a, b)]
    upper = (whole[0] * whole[1]) >> 64
    return np.asarray((upper + 2**63) % 2**64 - 2**63).astype(np.int64)
