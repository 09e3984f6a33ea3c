"""A module of any cell, which torch.nn need not have: its arrays are parameters of torch."""

from __future__ import annotations

import torch
from torch import nn

from ..cell import GatedCell
from ..contract import check_sizes
from .forward import Computed


class Gated(Computed, nn.Module):
    """Layers of a cell, with the attributes and calls of torch.nn.GRU.

    Parameters are the cell's arrays of each layer, in the cell's order: weight_ih_l0, weight_hh_l0,
    bias_ih_l0, weight_ih_l0_reverse, weight_ih_l1 ... They are drawn as the cell draws them.
    """

    def __init__(
        self,
        cell: GatedCell,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool,
        batch_first: bool,
        dropout: float,
        dtype: torch.dtype | None,
        backend: str,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self._cell, self.mode, self.backend = cell, cell.name, backend
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bidirectional = cell.layers, cell.bidirectional
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        drawn = cell.init(input_size, hidden_size, seed=int(torch.randint(2**31, ())))
        for name, array in drawn.items():
            tensor = torch.from_numpy(array).to(dtype or torch.get_default_dtype())
            setattr(self, name if cell.stacked else f"{name}_l0", nn.Parameter(tensor))

    def cell(self) -> GatedCell:
        return self._cell

    def reset_parameters(self) -> None:
        """Draws the parameters anew, from torch's random numbers."""
        drawn = self._cell.init(self.input_size, self.hidden_size, seed=int(torch.randint(2**31, ())))
        with torch.no_grad():
            for parameter, array in zip(self.parameters(), drawn.values(), strict=True):
                parameter.copy_(torch.from_numpy(array))

    def flatten_parameters(self) -> None:
        """Nothing: it is there because models call torch.nn's."""

    def extra_repr(self) -> str:
        texts = [self.mode, str(self.input_size), str(self.hidden_size)]
        texts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        texts += ["batch_first=True"] if self.batch_first else []
        texts += [f"dropout={self.dropout}"] if self.dropout else []
        texts += ["bidirectional=True"] if self.bidirectional else []
        return ", ".join([*texts, f"backend={self.backend}"])
