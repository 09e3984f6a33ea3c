"""The model's own input by step, looked at where a recurrent part does not show its input or its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .inputs import Inputs
from .parts import depth
from .recording import Recording
from .swapped import exchange


@dataclass
class Surface:
    """Where the sequence comes in: the model's first input, or what an embedding makes of it.

    time, batch   axes of the model's first input
    """

    model: nn.Module
    time: int
    batch: int

    def steps(self, inputs: Inputs) -> int:
        return inputs.first.shape[self.time]

    @contextmanager
    def swapped(self, inputs: Inputs, swap: dict[int, Tensor], ends: np.ndarray | None) -> Iterator[Inputs]:
        """The inputs with the steps in `swap` permuted over the batch; ends (B,) as in SwappedForward."""
        x = inputs.first
        moved = self._time_first(x).clone()
        for t, order in swap.items():
            exchange(moved, t, order, ends)
        yield inputs.replaced(x, self._as_given(moved))

    @contextmanager
    def recorded(self, inputs: Inputs, recording: Recording) -> Iterator[Inputs]:
        """The inputs with a node of their own in the recording."""
        x = inputs.first
        recording.seen = list(self._time_first(x).detach())
        if x.is_floating_point():
            leaf = self._enter(recording, x)
            yield inputs.replaced(x, leaf)
            return
        handles = [
            m.register_forward_hook(self._hook(recording, x)) for m in self.model.modules() if _embeds(m)
        ]
        try:
            yield inputs
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, recording: Recording, x: Tensor) -> Callable:
        def enter(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
            # the sequence's own embedding: of the same axes, and the first
            if recording.surface is not None or output.shape[: x.ndim] != x.shape:
                return None
            return self._enter(recording, output)

        return enter

    def _enter(self, recording: Recording, x: Tensor) -> Tensor:
        rows = x.movedim(self.batch, 0)
        number = recording.cut.add([rows], len(rows), [], apart=True)
        recording.cut.nodes[number].time = 1
        recording.surface = number
        return recording.cut.nodes[number].kept[0].movedim(0, self.batch).clone()

    def only(self, recording: Recording) -> None:
        """A chain of the inputs alone, where no state is to be seen."""
        assert recording.seen is not None
        chain = recording.chain(type(self.model).__name__, "forward")
        chain.inputs = recording.seen

    def _time_first(self, x: Tensor) -> Tensor:
        return x.movedim((self.time, self.batch), (0, 1))

    def _as_given(self, x: Tensor) -> Tensor:
        return x.movedim((0, 1), (self.time, self.batch))


def _embeds(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding)


def find_surface(
    model: nn.Module, inputs: Inputs, drive: Callable[[Inputs], Tensor], batch_axis: int | None, sure: bool
) -> Surface:
    """Raises ValueError where x has no steps, or the model does not loop over them, unless it is sure to."""
    x = inputs.first
    if x.ndim < 2:
        raise ValueError(
            f"x is of shape {tuple(x.shape)}; it must have an axis of steps and one of samples, (T, B, ...)"
        )
    batch = _batch_axis(inputs, drive) if batch_axis is None else batch_axis
    surface = Surface(model, 1 - batch, batch)
    if not sure and not _deepens(inputs, drive, surface):
        with torch.no_grad():
            shapes = f"{tuple(x.shape)} to {tuple(drive(inputs).shape)}"
        raise ValueError(
            f"{type(model).__name__} takes x of shape {shapes} without a recurrence: it holds no recurrent"
            " module of torch, calls no module of its own once a step, and does not loop over x; give a"
            " model with torch.nn.RNN, GRU, LSTM, one of their cells, or a module that maps (x_t, state) to"
            " (output, state), or name that part with recurrent="
        )
    return surface


def _batch_axis(inputs: Inputs, drive: Callable[[Inputs], Tensor]) -> int:
    """The axis along which the last entry alone gives what it gives among the others; 0 where both do."""
    x = inputs.first
    with torch.no_grad():
        whole = drive(inputs)
        for axis in (0, 1):
            n = x.shape[axis]
            cut = inputs.mapped(partial(_last, n=n, axis=axis))
            try:
                alone = drive(cut)
            except ValueError:
                continue
            for k in range(whole.ndim):
                if whole.shape[k] == n and alone.shape[k : k + 1] == (1,):
                    last = whole.narrow(k, n - 1, 1)
                    if alone.shape == last.shape and torch.allclose(alone, last, rtol=1e-4, atol=1e-6):
                        return axis
    return 0


def _last(tensor: Tensor, n: int, axis: int) -> Tensor:
    """The last entry, of a tensor that has this axis; of lengths along axis 0."""
    at = axis if tensor.ndim > axis else 0
    return tensor.narrow(at, n - 1, 1) if tensor.shape[at] == n else tensor


def _deepens(inputs: Inputs, drive: Callable[[Inputs], Tensor], surface: Surface) -> bool:
    """Whether the output's graph gets deeper with more steps."""
    steps = surface.steps(inputs)
    if steps < 2:
        return False
    with torch.enable_grad():
        whole = depth(drive(inputs))
        fewer = inputs.first.narrow(surface.time, 0, max(steps // 2, 1))
        try:
            return whole > depth(drive(inputs.replaced(inputs.first, fewer)))
        except ValueError:  # a loop of a fixed length, if it is one
            return whole > 2 * steps
