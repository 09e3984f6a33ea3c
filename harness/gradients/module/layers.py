"""The step of torch.nn.RNN, GRU and LSTM, of any number of layers, written out from their own parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

FLAT = 1e-3  # a unit counts as saturated where no pre-activation moves its state faster than this


class Layers:
    """The layers of a fused module. Its states are one tensor (B, H) a layer, for an LSTM h and c of each in
    turn.
    """

    def __init__(self, module: nn.RNNBase) -> None:
        if module.bidirectional:
            raise ValueError(
                "a bidirectional module has no state after step t of which the end is a function; diagnose"
                " one direction"
            )
        self.module, self.lstm = module, module.mode == "LSTM"

    def check(self, x: Any) -> None:
        """Raises ValueError unless x is a padded batch."""
        if not isinstance(x, Tensor) or x.ndim != 3:
            what = f"of {x.ndim} axes" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(
                f"the input of the recurrent module is {what}; diagnose takes padded batches (T, B, I) or (B,"
                " T, I)"
            )

    def time_first(self, x: Tensor) -> Tensor:
        """Between the module's own order of axes and (T, B, ...), both ways."""
        return x.transpose(0, 1) if self.module.batch_first else x

    def unpacked(self, hx: Any, x: Tensor) -> list[Tensor]:
        """States by layer from the module's own first state, zeros where there is none; x is (T, B, I)."""
        if hx is None:
            width, layers = self.module.proj_size or self.module.hidden_size, range(self.module.num_layers)
            sizes = [n for _ in layers for n in ((width, self.module.hidden_size) if self.lstm else (width,))]
            return [x.new_zeros(x.shape[1], n) for n in sizes]
        return [s for pair in zip(*hx, strict=True) for s in pair] if self.lstm else list(hx)

    def packed(self, state: list[Tensor]) -> Any:
        """The reverse."""
        return (torch.stack(state[::2]), torch.stack(state[1::2])) if self.lstm else torch.stack(state)

    def output(self, state: list[Tensor]) -> Tensor:
        """What the module emits: h of the last layer."""
        return state[-2] if self.lstm else state[-1]

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[list[Tensor], float]:
        """The new states, and the share of (unit, sample) that is saturated."""
        new: list[Tensor] = []
        steepest: list[Tensor] = []
        each = 2 if self.lstm else 1
        for layer in range(self.module.num_layers):
            before = state[each * layer : each * (layer + 1)]
            after, slopes = getattr(self, f"_{self.module.mode.split('_')[0].lower()}")(layer, x, *before)
            new += after
            steepest.append(torch.stack(slopes).abs().amax(0))
            x = after[0]
        return new, float((torch.cat(steepest) < FLAT).double().mean())

    def _products(self, layer: int, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        def named(kind: str) -> Any:
            return getattr(self.module, f"{kind}_l{layer}", None)

        return linear(x, named("weight_ih"), named("bias_ih")), linear(
            h, named("weight_hh"), named("bias_hh")
        )

    def _rnn(self, layer: int, x: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        a = torch.add(*self._products(layer, x, h))
        new = torch.relu(a) if self.module.mode == "RNN_RELU" else torch.tanh(a)
        return [new], [(a > 0).to(a) if self.module.mode == "RNN_RELU" else 1 / torch.cosh(a.detach()) ** 2]

    def _gru(self, layer: int, x: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        (r, z, n), (wr, wz, wn) = (part.chunk(3, 1) for part in self._products(layer, x, h))
        r, z = torch.sigmoid(r + wr), torch.sigmoid(z + wz)
        n = torch.tanh(n + r * wn)
        with torch.no_grad():
            d_n = (1 - z) * (1 - n**2)
            slopes = [d_n, (h - n) * z * (1 - z), d_n * wn * r * (1 - r)]
        return [(1 - z) * n + z * h], slopes

    def _lstm(self, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        i, f, g, o = torch.add(*self._products(layer, x, h)).chunk(4, 1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        new = f * c + i * g
        with torch.no_grad():
            slopes = [g * i * (1 - i), c * f * (1 - f), i * (1 - g**2), torch.tanh(new) * o * (1 - o)]
        emitted = o * torch.tanh(new)
        if self.module.proj_size:
            emitted = linear(emitted, getattr(self.module, f"weight_hr_l{layer}"))
        return [emitted, new], slopes
