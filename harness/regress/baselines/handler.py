"""A memory handler of NumPy's that counts: below every array that is allocated meanwhile, in this thread.

NEP 49 gives a program PyDataMem_SetHandler, which NumPy has in its C API alone: a table of function pointers,
reached through ctypes. A handler is a capsule around a C struct: a name, a version, and four functions that
take a context first (malloc, calloc, realloc, free). Each of ours notes sizes and calls the C library's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SET_HANDLER = 304  # PyDataMem_SetHandler's place in NumPy's table of functions, part of its stable ABI
CAPSULE = b"mem_handler"  # the name that NumPy asks of a handler's capsule
SIZE, POINTER = ctypes.c_size_t, ctypes.c_void_p
MALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, SIZE)
CALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, SIZE, SIZE)
REALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, POINTER, SIZE)
FREE = ctypes.CFUNCTYPE(None, POINTER, POINTER, SIZE)
# Handlers are never let go: an array calls the one that allocated it when it is freed, whenever that is.
_HANDLERS: list[object] = []


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


class Tally:
    """Sizes of the blocks that are alive, by address, and the sums over all of them."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.count = self.total = self.live = self.peak = 0

    def add(self, address: int | None, size: int) -> int | None:
        if address:  # None: the C library had no memory, which NumPy raises
            self.sizes[address] = size
            self.count += 1
            self.total += size
            self.live += size
            self.peak = max(self.peak, self.live)
        return address

    def remove(self, address: int | None) -> None:
        # a block of another handler may be freed by way of this one: it was never counted
        self.live -= self.sizes.pop(address, 0) if address else 0


@contextmanager
def counted() -> Iterator[Tally]:
    """Counts what NumPy allocates meanwhile, in this thread."""
    tally = Tally()
    handler = _handler(tally)
    _HANDLERS.append(handler)
    set_handler = _set_handler()
    before = set_handler(_capsule(handler))
    try:
        yield tally
    finally:
        set_handler(before)


def _handler(tally: Tally) -> _Handler:
    """The four functions as NEP 49 wants them; NumPy's context, the first argument, is not used."""
    libc = ctypes.CDLL(None)
    for name in ("malloc", "calloc", "realloc"):
        getattr(libc, name).restype = POINTER  # else an address is cut to the 32 bits of an int

    def malloc(_: int | None, size: int) -> int | None:
        return tally.add(libc.malloc(SIZE(size)), size)

    def calloc(_: int | None, count: int, size: int) -> int | None:
        return tally.add(libc.calloc(SIZE(count), SIZE(size)), count * size)

    def realloc(_: int | None, address: int | None, size: int) -> int | None:
        tally.remove(address)
        return tally.add(libc.realloc(POINTER(address), SIZE(size)), size)

    def free(_: int | None, address: int | None, size: int) -> None:
        tally.remove(address)
        libc.free(POINTER(address))

    functions = MALLOC(malloc), CALLOC(calloc), REALLOC(realloc), FREE(free)
    return _Handler(b"cellbench", 1, _Allocator(None, *functions))


def _capsule(handler: _Handler) -> object:
    """The handler as NumPy takes it: a capsule that points at it, without a destructor."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [POINTER, ctypes.c_char_p, POINTER]
    return new(ctypes.addressof(handler), CAPSULE, None)


def _set_handler() -> Callable[[object], object]:
    """PyDataMem_SetHandler from NumPy's table of C functions: takes a capsule, returns the one before.

    NumPy publishes the table's address as a capsule, `_ARRAY_API`, which C extensions import the same way.
    """
    from numpy._core._multiarray_umath import _ARRAY_API

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = POINTER, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_ARRAY_API, None), ctypes.POINTER(POINTER))
    # PYFUNCTYPE keeps the interpreter's lock, which the function needs, as CFUNCTYPE does not
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])
