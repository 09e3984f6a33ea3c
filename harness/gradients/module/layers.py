"""The step of torch.nn.RNN, GRU and LSTM, and of cells.torch_module: the zoo's equations, layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from cellbench.cells import GatedCell, State
from cellbench.cells.contract import split
from cellbench.cells.derived.layers import single
from cellbench.cells.drop_in.gated import Gated
from cellbench.cells.zoo.elman import Elman
from cellbench.cells.zoo.gru import GRU
from cellbench.cells.zoo.lstm import LSTM

CHANGE = {torch.float64: 1e-6}  # of a step's arguments, large enough to be seen beside their rounding
CHANGE_NARROW = 1e-2
FLAT = 1e-3  # a unit counts as saturated where no pre-activation moves its state faster than this
FUSED = (nn.RNNBase, Gated)  # modules that hide their steps
CELLS = {"RNN_TANH": Elman(), "RNN_RELU": Elman(activation="relu"), "GRU": GRU(), "LSTM": LSTM()}  # by mode


class Layers:
    """The layers of a fused module.

    Its states are one tensor (B, H) a layer and direction, for an LSTM h and c of each in turn.
    """

    def __init__(self, module: nn.RNNBase) -> None:
        self.module: Any = module
        self.cell: GatedCell = CELLS[module.mode]
        self.directions = 2 if module.bidirectional else 1

    def padded(self, x: Any) -> tuple[Tensor, Tensor | None]:
        """(T, B, I), and the lengths (B,) of a packed sequence. Raises ValueError for anything else."""
        if isinstance(x, PackedSequence):
            return pad_packed_sequence(x)
        if isinstance(x, Tensor) and x.ndim == 2:  # a single sequence (T, I)
            return x[:, None], None
        if not isinstance(x, Tensor) or x.ndim != 3:
            what = f"of {x.ndim} axes" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(
                f"the input of the recurrent module is {what}; diagnose takes padded batches (T, B, I) or (B,"
                " T, I), or a packed sequence; x[None] makes a batch of a single sequence"
            )
        return self.time_first(x), None

    def like(self, outputs: Tensor, x: Any) -> Any:
        """Outputs (T, B, H) in the form of the module's input."""
        if isinstance(x, Tensor):
            return outputs[:, 0] if x.ndim == 2 else self.time_first(outputs)
        _, lengths = pad_packed_sequence(x)
        if x.sorted_indices is not None:
            outputs, lengths = outputs[:, x.sorted_indices], lengths[x.sorted_indices.cpu()]
        data = pack_padded_sequence(outputs, lengths).data
        return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)

    def packing(self, x: Any) -> Tensor | None:
        """(2, N): sample and step of each row of a packed sequence; None of anything else."""
        if not isinstance(x, PackedSequence):
            return None
        sizes = x.batch_sizes.tolist()
        sample = torch.cat([torch.arange(n) for n in sizes])
        if x.sorted_indices is not None:
            sample = x.sorted_indices.cpu()[sample]
        return torch.stack([sample, torch.repeat_interleave(torch.arange(len(sizes)), x.batch_sizes)])

    def time_first(self, x: Tensor) -> Tensor:
        """Between the module's own order of axes and (T, B, ...), both ways."""
        return x.transpose(0, 1) if self.module.batch_first else x

    def unpacked(self, hx: Any, x: Tensor) -> list[Tensor]:
        """States by layer and direction from the module's own first state, zeros where there is none."""
        if hx is None:
            # a projection narrows the output, which is the first state, and leaves c at its full width
            widths = [self.module.proj_size or self.module.hidden_size, self.module.hidden_size]
            sizes = widths[: len(self.cell.states)] * self.module.num_layers * self.directions
            return [x.new_zeros(x.shape[1], n) for n in sizes]
        if len(self.cell.states) == 1:
            return list(hx[:, None] if hx.ndim == 2 else hx)
        hx = [s[:, None] if s.ndim == 2 else s for s in hx]
        return [s for layer in zip(*hx, strict=True) for s in layer]

    def packed(self, state: list[Tensor], x: Any) -> Any:
        """The reverse, for an input x."""
        count = len(self.cell.states)
        stacked = tuple(torch.stack(state[k::count]) for k in range(count))
        if isinstance(x, Tensor) and x.ndim == 2:
            stacked = tuple(s[:, 0] for s in stacked)
        return stacked if count > 1 else stacked[0]

    def step(
        self, x: Tensor, state: list[Tensor], names: list[str], run: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor, float]:
        """The new states of some layers, one upon the other, and the last one's output.

        The third is the share of (unit, sample) saturated.

        names are the ends of the weights' names; run (B,) is False where a sequence is over.
        """
        new: list[Tensor] = []
        steepest: list[Tensor] = []
        count = len(self.cell.states)
        for k, name in enumerate(names):
            held = state[count * k :][:count]
            before = State(**dict(zip(self.cell.states, held, strict=False)))
            wx, wh = self._product(name, x, "ih"), self._product(name, before.h, "hh")
            after = self.cell.equations(wx, wh, before)
            assert isinstance(after, State)
            steepest.append(_steepest(self.cell, wx, wh, before))
            x = self._projected(name, after.h)
            made = [x, *(getattr(after, s) for s in self.cell.states[1:])]
            if run is not None:
                made = [torch.where(run[:, None], m, h) for m, h in zip(made, held, strict=True)]
                x = made[0]
            new += made
        slopes = torch.cat(steepest, 1)
        return new, x, float(((slopes if run is None else slopes[run]) < FLAT).double().mean())

    def _product(self, name: str, rows: Tensor, side: str) -> State:
        """One of the products by gate, each (B, H)."""
        weight = getattr(self.module, f"weight_{side}_{name}")
        bias = getattr(self.module, f"bias_{side}_{name}", None)  # none where the module has bias=False
        return split(self.cell.gates, linear(rows, weight, bias))

    def _projected(self, name: str, h: Tensor) -> Tensor:
        return linear(h, getattr(self.module, f"weight_hr_{name}")) if self.module.proj_size else h


class CellLayers(Layers):
    """The layers of a module of cells.torch_module, whose step is the cell's own.

    Its states are those of the cell, in its order, a layer and direction.
    """

    def __init__(self, module: Gated) -> None:
        self.module, self.cell = module, single(module.cell())
        self.directions = module.cell().directions

    def unpacked(self, hx: Any, x: Tensor) -> list[Tensor]:
        shapes = list(self.cell.state_shapes(x.shape[1], self.module.hidden_size).values())
        count = self.module.num_layers * self.directions
        if hx is None:
            return [x.new_zeros(shape) for _ in range(count) for shape in shapes]
        given = hx if len(shapes) > 1 else [hx]
        batched = [h[:, None] if h.ndim == len(s) else h for h, s in zip(given, shapes, strict=True)]
        return [state for layer in zip(*batched, strict=True) for state in layer]

    def step(
        self, x: Tensor, state: list[Tensor], names: list[str], run: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor, float]:
        new: list[Tensor] = []
        slopes: list[Tensor] = []
        count = len(self.cell.states)
        for k, name in enumerate(names):
            held = state[count * k :][:count]
            params = self.cell.effective(self._arrays(name))
            output, made = self._stepped(params, x, held)
            slopes.append(self._slopes(params, x, held, made))
            kept = [m if run is None else _where(run, m, h) for m, h in zip(made, held, strict=True)]
            x = next((k for k, m in zip(kept, made, strict=True) if m is output), output)
            new += kept
        every = torch.cat(slopes, 1)
        return new, x, float(((every if run is None else every[run]) < FLAT).double().mean())

    def _arrays(self, name: str) -> dict[str, Tensor]:
        stored = self.cell.shapes(self.module.input_size, self.module.hidden_size)
        return {array: getattr(self.module, f"{array}_{name}") for array in stored}

    def _stepped(self, params: Any, x: Tensor, held: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The output, and the new states in the cell's order."""
        output, new = self.cell.step(params, x, State(**dict(zip(self.cell.states, held, strict=True))))
        return output, [getattr(new, name) for name in self.cell.states]

    def _slopes(self, params: Any, x: Tensor, held: list[Tensor], made: list[Tensor]) -> Tensor:
        """(B, units of all states): how fast each moves with the step's arguments.

        A step may multiply inside, so that no pre-activation is a unit's own: as for a module of unknown
        form it is the rms over four small random changes of them all.
        """
        generator, change = torch.Generator().manual_seed(0), change_of(x.dtype)

        def moved(t: Tensor) -> Tensor:
            return t + change * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)

        with torch.no_grad():
            tries = [self._stepped(params, moved(x), [*map(moved, held)])[1] for _ in range(4)]
            rises = [torch.stack(after) - before for before, *after in zip(made, *tries, strict=True)]
            return torch.cat([(r / change).square().mean(0).sqrt().flatten(1) for r in rises], 1)


def change_of(dtype: torch.dtype) -> float:
    """How much arguments of this dtype are changed, to see how fast a step moves with them."""
    return CHANGE.get(dtype, CHANGE_NARROW)


def layers_of(module: nn.RNNBase | Gated) -> Layers:
    """The layers of a module that hides its steps."""
    return CellLayers(module) if isinstance(module, Gated) else Layers(module)


def _where(run: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(run.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _steepest(cell: GatedCell, wx: State, wh: State, before: State) -> Tensor:
    """(B, H): the largest slope of any of a unit's states in any of its pre-activations."""
    with torch.enable_grad():
        leaves = {gate: value.detach().requires_grad_() for gate, value in vars(wx).items()}
        fixed = [State(**{k: v.detach() for k, v in vars(held).items()}) for held in (wh, before)]
        after = cell.equations(State(**leaves), *fixed)
        # the equations are pointwise, so that the gradient of a sum holds each unit's own slope
        slopes = [
            slope
            for value in vars(after).values()
            for slope in torch.autograd.grad(
                value.sum(), list(leaves.values()), retain_graph=True, allow_unused=True
            )
            if slope is not None
        ]
    return torch.stack(slopes).abs().amax(0)
