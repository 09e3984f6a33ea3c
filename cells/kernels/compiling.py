"""How kernels are compiled: so that LLVM vectorises loops over many arrays, and checks few for overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
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
        with _whole_registers():
            yield
    finally:
        for name, value in zip(names, defaults, strict=True):
            binding.set_option("", f"-{name}={value}")


@contextmanager
def _whole_registers() -> Iterator[None]:
    """Has Numba use registers of 64 bytes, where a processor has them.

    Of Intel's, LLVM takes half of each of its own accord, for with whole ones some run slower. Those do so
    anyway, for the product has whole ones.
    """
    from llvmlite import binding
    from numba.core.registry import cpu_target

    context: Any = cpu_target.target_context
    before = context._internal_codegen
    if binding.get_host_cpu_features().get("avx512f"):
        context._internal_codegen = _of_whole_registers()
    try:
        yield
    finally:
        context._internal_codegen = before


@lru_cache
def _of_whole_registers() -> Any:
    """What Numba makes machine code with. Its features are part of the key of what is kept on disk."""
    from numba.core.codegen import JITCPUCodegen

    class WholeRegisters(JITCPUCodegen):
        def _customize_tm_features(self) -> str:
            return f"{super()._customize_tm_features()},-prefer-256-bit"

    return WholeRegisters("cellbench.exec")
