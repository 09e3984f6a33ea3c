"""How kernels are compiled: so that LLVM vectorises loops over many arrays, and checks few for overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def compile_for(kernel: Any, arguments: Iterable[Any], shared: bool = False) -> None:
    """Compiles a kernel for arguments of these types, or reads what an earlier process compiled.

    LLVM is told that no two of its arrays overlap, unless both are only read, and so has no checks to write:
    they are half of a backward's code, and a third of the time. Not so where arrays are `shared` with threads
    that write to them, for then a store could be moved past the barrier.
    """
    import numba

    if not shared:
        kernel._compiler._customize_flags = _without_overlap
    with many_arrays():
        kernel.compile(tuple(map(numba.typeof, arguments)))


def _without_overlap(flags: Any) -> Any:
    flags.noalias = True
    return flags


@contextmanager
def many_arrays() -> Iterator[None]:
    """Lets LLVM vectorise a loop over more arrays than its default allows, while kernels are compiled.

    A step reads and writes 10 to 30 arrays; the default gives up at 8 pairs that must be checked for overlap,
    and the LSTM forward then takes 28 ns an element instead of 3. Those are arrays that kernels share with
    other threads, and rows of one array.
    """
    from llvmlite import binding

    names, defaults = ("runtime-memory-check-threshold", "vectorize-memory-check-threshold"), (8, 128)
    for name in names:
        binding.set_option("", f"-{name}=2000")
    try:
        yield
    finally:
        for name, value in zip(names, defaults, strict=True):
            binding.set_option("", f"-{name}={value}")
