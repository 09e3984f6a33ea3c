"""Number formats: what each holds, how values are rounded to it, and the NumPy dtype that carries them.

NumPy has no bfloat16. Its numbers are carried as float32, which holds each of them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Format:
    """A number format, and how float64 is rounded to it.

    bits        of the significand, the leading one included
    exponents   of the smallest normal number and of the largest, powers of 2
    sums        dtype in which matrix units add products up
    carrier     NumPy dtype that holds its numbers exactly
    size        bytes of a number
    """

    bits: int
    exponents: tuple[int, int]
    sums: Any
    carrier: Any
    size: int

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** self.exponents[0]

    @property
    def largest(self) -> float:
        return (2 - self.eps) * 2.0 ** self.exponents[1]

    @property
    def eps(self) -> float:
        """From 1 to the next larger number."""
        return 2.0 ** (1 - self.bits)

    @property
    def narrow(self) -> bool:
        """Whether it has fewer bits than float32."""
        return self.bits < FORMATS["float32"].bits

    def round(self, values: Any) -> np.ndarray:
        """To the nearest number of the format, ties to even; subnormals kept, too large ones infinite."""
        values = np.asarray(values, np.float64)
        _, power = np.frexp(values)
        unit = np.ldexp(1.0, np.maximum(power - self.bits, self.exponents[0] - self.bits + 1))
        rounded = np.round(values / unit) * unit
        return np.where(
            np.ldexp(np.abs(rounded), -self.exponents[1]) >= 2, np.copysign(np.inf, values), rounded
        )


TF32 = "tf32"  # what matrix units make of operands in float32
FORMATS = {
    "float64": Format(53, (-1022, 1023), np.float64, np.float64, 8),
    "float32": Format(24, (-126, 127), np.float32, np.float32, 4),
    TF32: Format(11, (-126, 127), np.float32, np.float32, 4),
    "bfloat16": Format(8, (-126, 127), np.float32, np.float32, 2),
    "float16": Format(11, (-14, 15), np.float32, np.float16, 2),
}
DTYPES = tuple(name for name in FORMATS if name != TF32)  # that arrays are stored in
NUMPY = ("float32", "float64")  # in which NumPy and Numba compute


def stored(dtype: str) -> str:
    """The dtype of arrays whose products are computed in this format."""
    return "float32" if dtype == TF32 else dtype


def rounded(array: Any, dtype: str) -> np.ndarray:
    """A copy of a NumPy array or a list, rounded to the format, in the dtype that carries it.

    dtype may also be one of NumPy's own, such as longdouble.
    """
    form = FORMATS.get(dtype)
    if form is None or not form.narrow:
        return np.array(array, dtype, order="C")
    return np.array(form.round(array), form.carrier, order="C")
