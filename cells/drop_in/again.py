"""A call that is as the one before it: what that one checked and found is used again.

Of a step of few sequences the kernel takes two microseconds, and checks and look-ups took twenty times that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, from_numpy

from ..programs.pool import Pool, Slot

Taken = Callable[[Any], Sequence[Tensor]]  # takes a layer's weights out of a module's parameters


class Again:
    """Calls without a graph of a single layer in one direction, with an input of one shape and dtype."""

    def __init__(self, slot: Slot, weights: Taken, x: Tensor, batch_first: bool) -> None:
        """x is a call's input: (T, B, I), (T, I), or (B, T, I) where the batch comes first."""
        program = slot.program
        self.slot, self.weights = slot, weights
        self.shape, self.dtype, self.batched = x.shape, x.dtype, x.dim() == 3
        self.batch_first = batch_first and self.batched
        self.names = program.cell.states
        shapes = program.cell.state_shapes(program.batch, program.hidden_size).items()
        self.state_shapes = [(n, (1, *(shape if self.batched else shape[1:]))) for n, shape in shapes]
        self.zeros = program.placed_state(None)
        self.output: Any = None
        self.last: Any = None

    def __call__(self, parameters: Any, x: Any, hx: Any) -> tuple[Tensor, Any] | None:
        """What the module returns for input x and states hx, or None where this call is another one."""
        if type(x) is not Tensor or x.shape != self.shape or x.dtype is not self.dtype or not x.is_cpu:
            return None
        if x.is_neg():
            return None
        state = self.zeros if hx is None else self._state(hx)
        try:
            weights = self.weights(parameters)
        except KeyError:
            return None
        slot = self.slot
        with slot.lock:
            if state is None or not slot.has(weights):
                return None
            array = (x.detach() if x.requires_grad else x).numpy()
            if self.batch_first:
                array = array.swapaxes(0, 1)
            elif not self.batched:
                array = array[:, None]
            if not array.flags.c_contiguous:
                array = np.ascontiguousarray(array)
            slot.program.step_from(array, state)
            return self._results()

    def _state(self, hx: Any) -> dict[str, np.ndarray] | None:
        given = (hx,) if len(self.names) == 1 else hx
        if type(given) not in (tuple, list) or len(given) != len(self.names):
            return None
        state, dtype = {}, self.dtype
        for tensor, (name, shape) in zip(given, self.state_shapes, strict=True):
            if type(tensor) is not Tensor or tensor.shape != shape or tensor.dtype is not dtype:
                return None
            if not tensor.is_cpu or tensor.is_neg():
                return None
            # its first axis, of the one layer, is nothing to a program that copies it into rows of its own
            state[name] = (tensor.detach() if tensor.requires_grad else tensor).numpy()
        return state

    def _results(self) -> tuple[Tensor, Any]:
        """Copies of the program's arrays, as the module returns them."""
        program = self.slot.program
        if self.output is not program.output or self.last is not program.last:
            self.output, self.last = program.output, program.last
            self.ends = [self.last[name][None] for name in self.names]
            self.view = self.output
            if not self.batched:
                self.view, self.ends = self.output[:, 0], [end[:, 0] for end in self.ends]
            elif self.batch_first:
                self.view = self.output.swapaxes(0, 1)
        output, ends = from_numpy(self.view.copy("K")), self.ends
        if len(ends) == 1:
            return output, from_numpy(ends[0].copy())
        return output, tuple([from_numpy(end.copy()) for end in ends])


def keep(pool: Pool, weights: Taken, input: Tensor, x: Tensor, batch_first: bool) -> None:
    """Has the next call be computed as this one, whose input is x (T, B, I) for the pool."""
    slot = pool.slots.get((x.shape, x.dtype, "forward"), [None])[0]
    if slot is not None and slot.program.on_views:
        pool.again = Again(slot, weights, input, batch_first)
