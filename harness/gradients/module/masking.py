"""Sequences of different length side by side: padded in front, each with its first state until it begins.

So all of them end at the same step, and a read-out of the last step is that of each alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .layers import Layers


class MaskedFused:
    """Stands in for the forward of nn.RNN, GRU or LSTM. starts (B,): the step at which each begins."""

    def __init__(self, module: nn.RNNBase, starts: np.ndarray) -> None:
        self.layers, self.forward, self.starts = Layers(module), module.forward, starts

    def __call__(self, input: Any, hx: Any = None) -> Any:
        refuse_other(input, self.starts, self.layers)
        x, _ = self.layers.padded(input)
        steps, rows = len(x), torch.arange(x.shape[1])
        starts = torch.as_tensor(self.starts)
        own = torch.arange(steps)[:, None]
        moved = x[(own + starts).clamp_max(steps - 1), rows]
        packed = pack_padded_sequence(moved, steps - starts, enforce_sorted=False)
        output, state = self.forward(packed, hx)
        padded, _ = pad_packed_sequence(output, total_length=steps)
        back = padded[(own - starts).clamp_min(0), rows]
        back = torch.where((own >= starts)[..., None].to(x.device), back, torch.zeros_like(back))
        return self.layers.time_first(back), state


class MaskedCell:
    """Stands in for the forward of nn.RNNCell, GRUCell or LSTMCell, from step 0 on."""

    def __init__(self, forward: Callable, starts: np.ndarray) -> None:
        self.forward, self.starts, self.t = forward, torch.as_tensor(starts), 0

    def __call__(self, input: Tensor, hx: Any = None) -> Any:
        if input.ndim != 2 or len(input) != len(self.starts):
            raise ValueError("a cell sees other sequences than the model; they cannot be joined")
        runs = (self.t >= self.starts).to(input.device)[:, None]
        self.t += 1
        made = self.forward(input, hx)
        if isinstance(made, tuple):
            held = hx or [torch.zeros_like(m) for m in made]
            return tuple(torch.where(runs, m, h) for m, h in zip(made, held, strict=True))
        return torch.where(runs, made, torch.zeros_like(made) if hx is None else hx)


def masked(module: nn.Module, forward: Callable, starts: np.ndarray | None) -> Callable:
    """The forward of a module that is called once a step. Raises ValueError where its state is not known."""
    if starts is None:
        return forward
    if not isinstance(module, nn.RNNCellBase):
        raise ValueError("sequences of different length are joined for torch's own modules alone")
    return MaskedCell(forward, starts)


@contextmanager
def masks(parts: dict[str, nn.Module], starts: np.ndarray | None) -> Iterator[None]:
    """In place of the forward of all parts."""
    with ExitStack() as stack:
        for module in parts.values() if starts is not None else ():
            assert starts is not None
            forward = (
                MaskedFused(module, starts)
                if isinstance(module, nn.RNNBase)
                else masked(module, module.forward, starts)
            )
            stack.enter_context(in_place_of_forward(module, forward))
        yield


def refuse_other(x: Any, starts: np.ndarray | None, layers: Layers) -> None:
    """Raises ValueError for an input of other sequences, or of steps of its own, than the model's."""
    if starts is None:
        return
    if isinstance(x, PackedSequence) or x.ndim != 3:
        raise ValueError("packed sequences are not joined")
    if layers.time_first(x).shape[1] != len(starts) or len(layers.time_first(x)) <= starts.max():
        raise ValueError("a part sees other sequences than the model; they cannot be joined")


@contextmanager
def in_place_of_forward(module: nn.Module, forward: Callable) -> Iterator[None]:
    """Puts another forward in the module's place, so that its hooks and callers stay."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before
