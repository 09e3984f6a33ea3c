"""Arrays that a piece of work allocates: their number, bytes and peak, exact and the same in every process.

NumPy lets a program put its own allocator below every array (NEP 49, PyDataMem_SetHandler; NumPy's C API
alone has it, so it is called through ctypes). What is counted is array data and nothing else: no Python
object, no buffer of BLAS, and none of the small blocks that NumPy's own allocator would hand out again.
Numba's arrays are counted by its runtime.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SET_HANDLER = 304  # PyDataMem_SetHandler's place in NumPy's table of functions, part of its stable ABI
SIZE, POINTER = ctypes.c_size_t, ctypes.c_void_p
MALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, SIZE)
CALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, SIZE, SIZE)
REALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, POINTER, SIZE)
FREE = ctypes.CFUNCTYPE(None, POINTER, POINTER, SIZE)


@dataclass(frozen=True)
class Allocations:
    """Number and bytes of the arrays that NumPy allocated, and bytes of those alive at once.

    numba is what its runtime allocated: one for each array that a kernel takes, one for each that it makes.
    """

    count: int
    total_bytes: int
    peak_bytes: int
    numba: int


def allocations(work: Callable[[], object]) -> Allocations:
    """Of one call of `work`, after one that is not counted. What is alive before is no part of the peak."""
    work()
    gc.collect()  # cycles of the first call are not freed inside the second
    before = _made_by_numba()
    with _counted() as tally:
        held = work()
    del held
    return Allocations(tally.count, tally.total, tally.peak, _made_by_numba() - before)


class _Tally:
    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.count = self.total = self.live = self.peak = 0

    def add(self, address: int | None, size: int) -> int | None:
        if address:
            self.sizes[address] = size
            self.count += 1
            self.total += size
            self.live += size
            self.peak = max(self.peak, self.live)
        return address

    def remove(self, address: int) -> None:
        self.live -= self.sizes.pop(address, 0)


class _Allocator(ctypes.Structure):
    _fields_ = [
        ("context", POINTER),
        ("malloc", MALLOC),
        ("calloc", CALLOC),
        ("realloc", REALLOC),
        ("free", FREE),
    ]


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator)]


_KEPT: list[object] = []  # an array calls its handler when it is freed, whenever that is


@contextmanager
def _counted() -> Iterator[_Tally]:
    """Counts what NumPy allocates meanwhile, in this thread."""
    tally = _Tally()
    handler = _handler(tally)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [POINTER, ctypes.c_char_p, POINTER]
    _KEPT.append(handler)
    before = _set_handler()(capsule(ctypes.addressof(handler), b"mem_handler", None))
    try:
        yield tally
    finally:
        _set_handler()(before)


def _handler(tally: _Tally) -> _Handler:
    libc = ctypes.CDLL(None)
    for name in ("malloc", "calloc", "realloc"):
        getattr(libc, name).restype = POINTER

    def malloc(_, size):
        return tally.add(libc.malloc(SIZE(size)), size)

    def calloc(_, count, size):
        return tally.add(libc.calloc(SIZE(count), SIZE(size)), count * size)

    def realloc(_, address, size):
        tally.remove(address)
        return tally.add(libc.realloc(POINTER(address), SIZE(size)), size)

    def free(_, address, size):
        tally.remove(address)
        libc.free(POINTER(address))

    return _Handler(
        b"cellbench", 1, _Allocator(None, MALLOC(malloc), CALLOC(calloc), REALLOC(realloc), FREE(free))
    )


def _set_handler() -> Callable[[object], object]:
    from numpy._core._multiarray_umath import _ARRAY_API

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = POINTER, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_ARRAY_API, None), ctypes.POINTER(POINTER))
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])


def _made_by_numba() -> int:
    """Arrays that Numba's runtime has allocated in this process since the first call; 0 before Numba is
    imported.
    """
    if "numba" not in sys.modules:
        return 0
    from numba.core.runtime import _nrt_python, rtsys  # type: ignore[attr-defined]

    if not _nrt_python.memsys_stats_enabled():
        _nrt_python.memsys_enable_stats()
    return rtsys.get_allocation_stats().alloc
