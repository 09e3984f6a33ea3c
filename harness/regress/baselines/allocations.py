"""Arrays that a piece of work allocates: their number, bytes and peak, exact and the same in every process.

NumPy lets a program put its own allocator below every array (NEP 49, `handler`). That counts array data and
nothing else: no Python object, no buffer of BLAS, and none of the small blocks that NumPy's own allocator
would hand out again. Numba's arrays are counted by its runtime.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass

from .handler import counted


@dataclass(frozen=True)
class Allocations:
    """Number and bytes of the arrays that NumPy allocated, and bytes of those alive at once.

    `numba` counts what its runtime allocated: one for each array that a kernel takes or makes.
    """

    count: int
    total_bytes: int
    peak_bytes: int
    numba: int


def allocations(work: Callable[[], object]) -> Allocations:
    """Counts one call of `work`, after an uncounted one; arrays alive before are no part of the peak."""
    work()
    gc.collect()  # cycles of the first call are not freed inside the second
    before = _made_by_numba()
    with counted() as tally:
        held = work()
    del held
    return Allocations(tally.count, tally.total, tally.peak, _made_by_numba() - before)


def _made_by_numba() -> int:
    """Arrays that Numba's runtime allocated since the first call; 0 before Numba is imported."""
    if "numba" not in sys.modules:
        return 0
    from numba.core.runtime import _nrt_python, rtsys  # type: ignore[attr-defined]

    if not _nrt_python.memsys_stats_enabled():
        _nrt_python.memsys_enable_stats()
    return rtsys.get_allocation_stats().alloc
