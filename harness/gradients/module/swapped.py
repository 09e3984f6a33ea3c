"""A recurrent module's forward with inputs exchanged between the samples of a batch at some steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .layers import FUSED, layers_of
from .states import leaves, mapped


class SwappedForward:
    """Stands in for the forward of the examined part.

    Steps are counted over all calls, from t on. Where sequences end at different steps, ends (B,), those
    exchanged have the same lag.
    """

    def __init__(
        self,
        module: nn.Module,
        swap: dict[int, Tensor],
        ends: np.ndarray | None,
        t: int = 0,
        starts: np.ndarray | None = None,
    ) -> None:
        self.starts = starts
        self.module, self.swap, self.ends, self.t = module, swap, ends, t
        self.forward = module.forward
        self.layers = layers_of(module) if isinstance(module, FUSED) else None

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self.layers is None:
            x = leaves((args, more))[0]
            if self.t in self.swap:
                moved = x[None].clone()
                exchange(moved, 0, self.swap[self.t], None, starts=self._left())
                moved = moved[0]
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
                within = None if lengths is None else lengths.numpy()
                exchange(x, t, order, self.ends, within, self.starts)
        if isinstance(given, PackedSequence) or here:
            given = self.layers.like(x, given)
        return self.forward(given, *rest, **more)

    def _left(self) -> np.ndarray | None:
        """(B,): steps until each sequence begins."""
        return None if self.starts is None else self.starts - self.t


def exchange(
    x: Tensor,
    t: int,
    order: Tensor,
    ends: np.ndarray | None,
    lengths: np.ndarray | None = None,
    starts: np.ndarray | None = None,
) -> None:
    """In place, of x (T, B, ...): the inputs at this step between samples; with ends (B,) at its lag instead.

    Step t has the lag that it has in the longest. A sample without such a step keeps what it has.
    """
    count = x.shape[1]
    own = np.full(count, t) if ends is None else ends - (ends.max() - t)
    last = np.full(count, len(x) - 1) if lengths is None else lengths - 1
    has = (own >= (0 if starts is None else np.maximum(starts, 0))) & (own <= last)
    partners = order.cpu().numpy()
    rows = np.flatnonzero(has & has[partners])
    at, other = torch.as_tensor(own), order.to(x.device)
    x[at[rows].to(x.device), rows] = x[at[partners[rows]].to(x.device), other[rows]].clone()
