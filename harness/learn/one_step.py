"""A cell and a linear read-out as a torch module that is called once a step: for diagnoses, not for speed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cellbench.cells import GatedCell, State
from cellbench.cells.contract import output_and_state
from cellbench.cells.programs.joint import joint

from .arrays import Arrays


def unsteppable(cell: GatedCell) -> str | None:
    """None, or the reason why the cell cannot be called step by step."""
    overridden = [
        name for name in ("project", "emit") if getattr(type(cell), name) is not getattr(GatedCell, name)
    ]
    if not cell.states:
        return f"{cell.name} takes no state; a verdict calls one step at a time, with the state of the last"
    if not cell.stepwise:
        return (
            f"{cell.name} gives something else where it is called one step at a time, as a verdict calls it"
        )
    if cell.bidirectional:
        return f"cell {cell.name!r} has {cell.options}; a verdict follows one direction, so leave that out"
    if overridden and not cell.stacked:  # a stack is stepped as one cell, whose step is written out
        return (
            f"cell {cell.name!r} has {' and '.join(overridden)} over the whole sequence; a verdict calls one"
            " step at a time"
        )
    return None


class CellStep(nn.Module):
    """(x (B, I), state or None) -> (answer (B, K), state {name: (B, units)}), by a cell and a linear head.

    It holds copies of the parameters, as the cell names them. squashed puts the answer through a sigmoid.
    """

    def __init__(
        self, cell: GatedCell, params: dict[str, Any], weight: Tensor, bias: Tensor, squashed: bool = False
    ) -> None:
        super().__init__()
        self.equations, self.squashed = joint(cell) if cell.stacked else cell, squashed
        self.hidden_size = cell.sizes(params)[1]
        self.cell = Arrays({k: torch.as_tensor(v).detach().clone() for k, v in params.items()})
        self.weight, self.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor, state: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        cell = self.equations
        if state is None:
            state = {
                k: x.new_zeros(shape) for k, shape in cell.state_shapes(len(x), self.hidden_size).items()
            }
        params, before = cell.effective(dict(self.cell.items())), State(**state)
        if cell.written_out:
            output, after = cell.step(params, x, before)
        else:
            wx = State(**{gate: rows[0] for gate, rows in vars(cell.project(params, x[None])).items()})
            result = cell.equations(wx, cell.recur(params, before), before, *cell.per_unit(params))
            output, after = output_and_state(cell, result)
        if cell.readout:
            output = nn.functional.linear(output, params["weight_out"], params["bias_out"])
        answer = nn.functional.linear(output, self.weight, self.bias)
        return torch.sigmoid(answer) if self.squashed else answer, {
            name: getattr(after, name) for name in cell.states
        }


class EncoderDecoderStep(nn.Module):
    """Encoder and decoder as one recurrence: (x (B, I + 1), state or None) -> as CellStep.

    x ends in 0 at the encoder's steps and in 1 at the decoder's, which goes on from the encoder's last state.
    All sequences of a batch are at the same of the two.
    """

    def __init__(self, encoder: CellStep, decoder: CellStep) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor, state: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        step = self.decoder if x[0, -1] > 0.5 else self.encoder
        return step(x[:, :-1], state)
