"""Programs of one layer for calls of any length and batch, kept for the next call of the same shape.

A program holds one forward. So a call whose gradient is to come keeps its program until its backward, or
until its graph is gone. Where MOST_KEPT of one shape are kept, the one that was kept longest is used again;
the call that it belonged to then computes its forward once more in its backward.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..cell import GatedCell
from .autograd import copied, pulled
from .program import Program
from .weights import DTYPES, Copies, Weights

MOST_KEPT = 8  # programs of one shape
MOST_BYTES = 256 * 2**20  # of the buffers of a layer's programs, unless those of one shape alone are more
LONG = 16  # rows from which on comparing all weights takes a small part of a call

Shape = tuple[Any, Any, str]  # of x, its dtype, direction


class Maker(Protocol):
    """What makes programs: a backend, which this file does not import."""

    def prepare(self, *arguments: Any, **options: Any) -> Program: ...


class Slot:
    """A program, the weights that it has taken, and the call that it is kept for."""

    def __init__(self, program: Program, copies: Copies) -> None:
        self.program, self.copies = program, copies
        self.lock = Lock()
        self.thorough = program.steps * program.batch >= LONG
        self.bytes = held_bytes(program)
        self.call: weakref.ref[Call] | None = None

    @property
    def kept(self) -> bool:
        return self.call is not None and self.call() is not None

    def has(self, weights: Sequence[Tensor]) -> bool:
        """Whether the program has taken these weights, as they are now; see `Weights`."""
        copies = self.copies
        try:
            return copies.alike(weights) and not (self.thorough and not copies.same())
        except RuntimeError:  # a tensor without a version
            return False

    def forward(self, copies: Copies, x: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        """Output and last states."""
        program = self.program
        if self.copies is not copies:
            program.assign(copies.arrays)
            self.copies = copies
        program.start_on(x.detach() if x.requires_grad else x, states and [s.detach() for s in states])
        last = program.last
        return [copied(program.output), *(copied(last[name]) for name in program.cell.states)]


class Call:
    """A call that waits for its backward, and the program that is kept for it."""

    def __init__(self, slot: Slot) -> None:
        self.slot, self.count = slot, 0


class Pool:
    """The programs of one layer. Threads may call it at the same time."""

    def __init__(self, backend: Maker, cell: GatedCell, input_size: int, hidden_size: int) -> None:
        self.backend, self.cell = backend, cell
        self.weights = Weights(cell, input_size, hidden_size)
        self.slots: OrderedDict[Shape, list[Slot]] = OrderedDict()
        self.again: Any = None  # what the caller keeps for the next call, gone where another shape is used
        self.lock = Lock()

    def forward(self, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        """Output and last states, with nothing kept for a backward."""
        slot = self._slot((x.shape, x.dtype, "forward"), params)
        copies = self.weights.current(params, slot.thorough)
        with slot.lock:
            return slot.forward(copies, x, states)

    def begin(
        self, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[Call, list[Tensor]]:
        """The same with a program that is kept; see `autograd.Runs`."""
        call = self._call((x.shape, x.dtype, "backward"), params)
        copies = self.weights.current(params, call.slot.thorough)
        with call.slot.lock:
            tensors = call.slot.forward(copies, x, states)
            call.count = call.slot.program.count
        return call, tensors

    def pull(
        self, call: Call, inputs: Sequence[Tensor], states: int, d_output: Tensor, d_last: Sequence[Tensor]
    ) -> list[Tensor]:
        """Gradients of that call; its program is free afterwards. See `autograd.Runs`."""
        slot = call.slot
        with slot.lock:
            if slot.program.count != call.count:
                copies = self.weights.current(inputs[1 + states :], True)
                slot.forward(copies, inputs[0], inputs[1 : 1 + states])
                call.count = slot.program.count
            gradients = pulled(slot.program, states, self.weights.names, d_output, d_last)
        with self.lock:
            if slot.call is not None and slot.call() is call:
                slot.call = None
        return gradients

    def _call(self, shape: Shape, params: Sequence[Tensor]) -> Call:
        """A call with a program of this shape that nobody else needs, or the one that was kept longest."""
        with self.lock:
            slots = self.slots.get(shape, [])
            slot = next((s for s in slots if not s.kept), None)
            if slot is None and len(slots) == MOST_KEPT:
                slot = slots.pop(0)
                slots.append(slot)
            call = Call(slot or self._made(shape, params))
            call.slot.call = weakref.ref(call)
            self._used(shape)
            return call

    def _slot(self, shape: Shape, params: Sequence[Tensor]) -> Slot:
        """A program of this shape of which nothing is kept."""
        with self.lock:
            slot = self.slots[shape][0] if shape in self.slots else self._made(shape, params)
            self._used(shape)
            return slot

    def _used(self, shape: Shape) -> None:
        self.slots.move_to_end(shape)
        self.again = None

    def _made(self, shape: Shape, params: Sequence[Tensor]) -> Slot:
        (steps, batch, _), dtype, direction = shape
        copies = self.weights.current(params, False)
        program = self.backend.prepare(
            self.cell, copies.arrays, steps=steps, batch=batch, dtype=DTYPES[dtype], direction=direction
        )
        slot = Slot(program, copies)
        self.slots.setdefault(shape, []).append(slot)
        self._forget(shape)
        return slot

    def _forget(self, newest: Shape) -> None:
        """Lets go of the shapes used longest ago, until the buffers of all but the newest are few enough."""
        while len(self.slots) > 1 and sum(s.bytes for each in self.slots.values() for s in each) > MOST_BYTES:
            oldest = next(shape for shape in self.slots if shape != newest)
            del self.slots[oldest]


def held_bytes(holder: Any) -> int:
    """Bytes of the arrays that a program holds, those of its trajectories too."""
    total = 0
    for value in vars(holder).values():
        for each in value if isinstance(value, list) else [value]:
            rows = getattr(each, "rows", each)  # of a trajectory
            total += rows.nbytes if isinstance(rows, np.ndarray) else 0
    return total
