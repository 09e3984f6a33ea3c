# mypy: allow-untyped-defs, allow-incomplete-defs
# All from the first function on is printed into kernels, where Numba finds the types.
"""The mean of a row, summed in parts side by side: not from left to right, but in the same order each time.

Printed kernels put their own dtype's constants before this text; the import makes it readable and checkable
by itself, in float32.
"""

from .float32 import OPTIONS, ZERO, njit, real


@njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}})
def row_mean(row):
    total = ZERO
    for j in range(len(row)):
        total += row[j]
    return total / real(len(row))
