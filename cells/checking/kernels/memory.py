"""Every access of an interpreted Triton kernel to memory, checked: bounds, races of threads and programs.

Triton's interpreter runs a program's lines as if it had one thread, and the programs one after the other. On
a GPU nothing of that holds. So an element that is stored may be touched once more only by the same program,
and after a barrier. What a kernel does wrong is found whatever it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NOBODY = -1
SEVERAL = -2


class Fault(AssertionError):
    """An access that a GPU may answer with anything; the message names the array and the element."""


@dataclass
class Array:
    """An array's place in memory, and of each element which program stored or loaded it last, and when."""

    name: str
    start: int
    count: int
    size: int
    stored: tuple[np.ndarray, np.ndarray] = field(init=False)
    loaded: tuple[np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.stored, self.loaded = (
            (np.full(self.count, NOBODY), np.zeros(self.count, np.int64)) for _ in range(2)
        )


class Memory:
    """The arrays of a kernel, {name: tensor on the CPU}, while it runs."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self.arrays = [Array(n, t.data_ptr(), t.numel(), t.element_size()) for n, t in tensors.items()]
        self.barriers = 0

    def load(self, program: int, pointers: np.ndarray, mask: np.ndarray) -> None:
        """Raises Fault unless the elements may be loaded."""
        for array, at in self.elements("loads", pointers, mask):
            self.ordered("loads", array, at, program, array.stored)
            who, when = array.loaded
            who[at] = np.where((who[at] == NOBODY) | (who[at] == program), program, SEVERAL)
            when[at] = self.barriers

    def store(self, program: int, pointers: np.ndarray, mask: np.ndarray) -> None:
        """Raises Fault unless the elements may be stored."""
        for array, at in self.elements("stores", pointers, mask):
            if len(np.unique(at)) < len(at):
                raise Fault(f"one line stores an element of {array.name} twice")
            for before in (array.stored, array.loaded):
                self.ordered("stores", array, at, program, before)
            array.stored[0][at], array.stored[1][at] = program, self.barriers

    def barrier(self, program: int) -> None:
        """All that the program's threads did before is done."""
        self.barriers += 1

    def atomic(self, program: int, pointer: int, order: str, changes: bool) -> None:
        """A counter that all programs may touch; it orders nothing where they run one after the other."""

    def turn(self) -> None:
        """Called before every access."""

    def elements(
        self, what: str, pointers: np.ndarray, mask: np.ndarray
    ) -> Iterator[tuple[Array, np.ndarray]]:
        """The array that the pointers lead into, with the elements' numbers."""
        places = np.broadcast_to(pointers, np.broadcast_shapes(pointers.shape, mask.shape))
        places = places[np.broadcast_to(mask, places.shape)].astype(np.int64)
        if not len(places):
            return
        first = int(places.min())
        array = next((a for a in self.arrays if a.start <= first < a.start + a.count * a.size), None)
        if array is None:
            raise Fault(f"a line {what} what is before or beyond every array")
        at = (places - array.start) // array.size
        if at.max() >= array.count:
            raise Fault(f"a line {what} element {at.max()} of {array.name}, which has {array.count}")
        yield array, at

    def ordered(
        self, what: str, array: Array, at: np.ndarray, program: int, before: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Raises Fault where others, or this program since its last barrier, touched the elements before."""
        who, when = before[0][at], before[1][at]
        others = (who != NOBODY) & (who != program)
        own = (who == program) & (when == self.barriers)
        did = "stored" if before is array.stored else "loaded"
        for wrong, reason in ((others, "another program"), (own, "it, without a barrier between,")):
            if wrong.any():
                element = at[np.flatnonzero(wrong)[0]]
                raise Fault(
                    f"program {program} {what} element {element} of {array.name}, which {reason} {did}"
                )


@contextmanager
def watched(memory: Memory) -> Iterator[None]:
    """Lets the memory see what the interpreter accesses."""
    from triton.runtime import interpreter

    builder: Any = interpreter.interpreter_builder
    load, store, rmw = builder.create_masked_load, builder.create_masked_store, builder.create_atomic_rmw

    def program() -> int:
        (x, y, z), (_, columns, layers) = builder.grid_idx, builder.grid_dim
        return (x * columns + y) * layers + z

    def watched_load(pointers: Any, mask: Any, *rest: Any) -> Any:
        memory.turn()
        memory.load(program(), pointers.data, mask.data)
        return load(pointers, mask, *rest)

    def watched_store(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        memory.turn()
        memory.store(program(), pointers.data, mask.data)
        return store(pointers, value, mask, *rest)

    def watched_atomic(kind: Any, pointer: Any, value: Any, mask: Any, order: Any, scope: Any) -> Any:
        memory.turn()
        memory.atomic(program(), int(pointer.data.item()), order.name.lower(), bool(value.data.any()))
        return rmw(kind, pointer, value, mask, order, scope)

    watch = {
        "create_masked_load": watched_load,
        "create_masked_store": watched_store,
        "create_atomic_rmw": watched_atomic,
        "create_barrier": lambda: memory.barrier(program()),
    }
    vars(builder).update(watch)
    try:
        yield
    finally:
        for name in watch:
            delattr(builder, name)
