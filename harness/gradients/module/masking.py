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

from .layers import FUSED, Layers, layers_of
from .states import leaves, mapped


class MaskedFused:
    """In place of the forward of a module that hides its steps. starts (B,): where each begins."""

    def __init__(self, module: Any, starts: np.ndarray) -> None:
        self.layers, self.forward, self.starts = layers_of(module), module.forward, starts

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


class MaskedStep:
    """Stands in for the forward of a module that is called once a step, from step 0 on.

    Before a sequence begins its state stays as it is given, or zero where none is.
    """

    def __init__(self, forward: Callable, starts: np.ndarray) -> None:
        self.forward, self.starts, self.t = forward, torch.as_tensor(starts), 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        runs = self.t >= self.starts
        self.t += 1
        made = self.forward(*args, **more)
        if bool(runs.all()):  # as it is, so that an output computed from a state depends on that very tensor
            return made
        given = [t for t in leaves((args, more))[1:] if t.is_floating_point()]
        held = {id(new): old for new, old in _pairs(made, given)}
        return mapped(made, lambda t: _where(runs, t, held[id(t)]) if id(t) in held else t)


def _pairs(made: Any, given: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each new state with the one before it. Raises ValueError where they do not tell."""
    for states in (leaves(made), leaves(made[1]) if isinstance(made, tuple) and len(made) == 2 else []):
        if not given or [t.shape for t in states] == [t.shape for t in given]:
            before = given or [torch.zeros_like(t) for t in states]
            return list(zip(states, before, strict=True))
    raise ValueError("the states of a step are not known, so that sequences cannot be joined")


def _where(runs: Tensor, new: Tensor, old: Tensor) -> Tensor:
    if len(runs) not in new.shape:
        raise ValueError("a step sees other sequences than the model; they cannot be joined")
    axis = new.shape.index(len(runs))
    return torch.where(runs.to(new.device).reshape(-1, *[1] * (new.ndim - 1 - axis)), new, old)


def masked(forward: Callable, starts: np.ndarray | None) -> Callable:
    """The forward of a module that is called once a step."""
    return forward if starts is None else MaskedStep(forward, starts)


@contextmanager
def masks(parts: dict[str, nn.Module], starts: np.ndarray | None) -> Iterator[None]:
    """In place of the forward of all parts."""
    with ExitStack() as stack:
        for module in parts.values() if starts is not None else ():
            assert starts is not None
            forward = (
                MaskedFused(module, starts) if isinstance(module, FUSED) else masked(module.forward, starts)
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
