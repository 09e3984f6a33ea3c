"""The layers of a module, each with its programs: what runs in a call on x (T, B, I)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import catalogue
from ..cell import GatedCell
from ..contract import Shapes
from ..derived import layers
from ..programs import autograd, ragged
from ..programs.pool import Pool

States = tuple[Tensor, ...]  # in the cell's order; of all layers (layers * directions, B, units)


class Layers:
    """A cell's layers on a backend, for calls of any length and batch."""

    def __init__(self, cell: GatedCell, input_size: int, hidden_size: int, backend: str) -> None:
        self.cell, self.hidden_size = cell, hidden_size
        self.backend = catalogue.backend(backend)
        self.parts = layers.of(cell, input_size, hidden_size)
        single = layers.single(cell)
        if reason := unsupported(single, backend):
            raise ValueError(reason)
        self.names = [suffixed(single, part, hidden_size) for part in self.parts]
        self.getters = [getter(names) for names in self.names]
        self.pools = self._pools(single, 0)
        # the programs of a single layer in one direction
        self.alone = self.pools[0] if len(self.pools) == 1 else None
        self.ragged: list[Pool] = []

    def _pools(self, single: GatedCell, columns: int) -> list[Pool]:
        sizes = [part.input_size + columns for part in self.parts]
        return [Pool(self.backend, single, size, self.hidden_size) for size in sizes]

    def state_shapes(self, batch: int) -> Shapes:
        """Shapes of the first and last states of a call, (layers * directions, B, units) for most."""
        of_layer = layers.single(self.cell).state_shapes(1, self.hidden_size)
        return {name: (len(self.parts), batch, *shape[1:]) for name, shape in of_layer.items()}

    def pools_of(self, ends: Ends | None) -> list[Pool]:
        if ends is None:
            return self.pools
        if not self.ragged:
            self.ragged = self._pools(ragged.stopping(layers.single(self.cell)), 1)
        return self.ragged

    def run(
        self,
        x: Tensor,
        states: States | None,
        weights: Sequence[Sequence[Tensor]],
        ends: Ends | None = None,
        dropout: float = 0.0,
    ) -> tuple[Tensor, States]:
        """Output (T, B, D * units) and the last states. dropout is between layers, 0 for none."""
        pools, directions = self.pools_of(ends), self.cell.directions
        last: list[States] = []
        for depth in range(0, len(self.parts), directions):
            if depth and dropout:
                x = functional.dropout(x, dropout)
            outputs = []
            for k in range(depth, depth + directions):
                own = () if states is None else tuple(state[k] for state in states)
                given = turned(x, ends, k > depth)
                if ends is not None:
                    given = torch.cat([given, ends.within], -1)
                output, *after = one(pools[k], given, own, weights[k])
                outputs.append(turned(output, ends, True) if k > depth else output)
                last.append(tuple(after))
            x = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        if len(last) == 1:
            return x, tuple(state.unsqueeze(0) for state in last[0])
        return x, tuple(torch.stack(each) for each in zip(*last, strict=True))


class Ends:
    """Lengths (B,) of sequences that are padded to `steps`, as the layers need them."""

    def __init__(self, lengths: Tensor, steps: int, dtype: torch.dtype) -> None:
        t = torch.arange(steps)[:, None]
        # the column that `ragged.stopping` appends to x
        self.within = (t < lengths).to(dtype)[:, :, None]
        self.backwards = (lengths - 1 - t).clamp_(min=0)[:, :, None]


def turned(x: Tensor, ends: Ends | None, reverse: bool) -> Tensor:
    """x (T, B, ...) in the order in which a direction reads it, and its output back in the order of time."""
    if not reverse:
        return x
    return x.flip(0) if ends is None else x.gather(0, ends.backwards.expand(-1, -1, x.shape[2]))


def one(pool: Pool, x: Tensor, states: States, weights: Sequence[Tensor]) -> Sequence[Tensor]:
    """Output and last states of a layer in one direction."""
    x, states = x.contiguous(), tuple(state.contiguous() for state in states)
    if graph_of(x, states, weights):
        return autograd.run(pool, x, states, weights)
    return pool.forward(x, states, weights)


def graph_of(x: Tensor, states: States, weights: Sequence[Tensor]) -> bool:
    """Whether a call is to have a gradient."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in (x, *states, *weights))


def getter(names: list[str]) -> Callable[[Any], Sequence[Tensor]]:
    """What takes the arrays of these names out of a dict, in one call."""
    return itemgetter(*names) if len(names) > 1 else lambda held: [held[name] for name in names]


def suffixed(single: GatedCell, part: layers.Layer, hidden_size: int) -> list[str]:
    """Names of a layer's arrays in the module: _l0 is written for a single layer too, as torch.nn does."""
    names = single.parameter_shapes(part.input_size, hidden_size)
    return [name + (part.suffix or "_l0") for name in names]


def unsupported(cell: GatedCell, backend: str) -> str | None:
    """None, or why the backend cannot compute a module of the cell."""
    chosen = catalogue.backend(backend)
    if reason := chosen.unavailable() or chosen.unsupported(cell, "float32", "cpu", "backward"):
        return reason
    return f"cell {cell.name!r} is a torch module already" if cell.library else None
