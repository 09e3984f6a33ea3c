"""A recurrent module's forward with inputs exchanged between the samples of a batch at some steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .layers import Layers
from .states import leaves, mapped


class SwappedForward:
    """Stands in for the forward of the examined part.

    Steps are counted over all calls, from t on; in a packed sequence from each one's own end where from_end.
    """

    def __init__(self, module: nn.Module, swap: dict[int, Tensor], from_end: bool, t: int = 0) -> None:
        self.module, self.swap, self.from_end, self.t = module, swap, from_end, t
        self.forward = module.forward
        self.layers = Layers(module) if isinstance(module, nn.RNNBase) else None

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self.layers is None:
            x = leaves((args, more))[0]
            if self.t in self.swap:
                moved = x[self.swap[self.t]]
                args, more = mapped((args, more), lambda t: moved if t is x else t)
            self.t += 1
            return self.forward(*args, **more)
        given, rest = (args[0], args[1:]) if args else (more.pop("input"), ())
        x, lengths = self.layers.padded(given)
        here = {t - self.t: order for t, order in self.swap.items() if 0 <= t - self.t < len(x)}
        self.t += len(x)
        if here:
            x = x.clone()
            for t, order in here.items():
                if lengths is None:
                    x[t] = x[t][order]
                else:
                    _exchange(
                        x, lengths.to(x.device), len(x) - 1 - t if self.from_end else t, order, self.from_end
                    )
        if isinstance(given, PackedSequence) or here:
            given = self.layers.like(x, given)
        return self.forward(given, *rest, **more)


def _exchange(x: Tensor, lengths: Tensor, at: int, order: Tensor, from_end: bool) -> None:
    """In place: the inputs at this lag (or step) between samples that both have one there."""
    own = lengths - 1 - at if from_end else torch.full_like(lengths, at)
    both = (own >= 0) & (own < lengths)
    both = both & both[order]
    rows = torch.arange(len(own), device=x.device)[both]
    x[own[rows], rows] = x[own[order[rows]], order[rows]].clone()
