"""Recurrent modules for torch that compute on the CPU through cellbench's kernels: made, or swapped in.

gru = cells.torch_module("gru", 16, 32, num_layers=2)      # called as torch.nn.GRU is
model = cells.torch_module.replace(model)                  # torch.nn's modules inside, swapped in place
model = cells.torch_module.restore(model)                  # and back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..cell import GatedCell

if TYPE_CHECKING:  # importing torch takes a second
    import torch

Model = TypeVar("Model", bound="torch.nn.Module")


class TorchModule:
    """Makes a torch.nn.Module of a cell; `replace` and `restore` swap those of a model."""

    def __call__(
        self,
        cell: str | GatedCell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        backend: str = "numba",
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> torch.nn.Module:
        """A module that is called, trained and stored as torch.nn.GRU is, computed by a backend on the CPU.

        cell is a cell's name with its options ('gru', 'elman:activation=relu'; options may be keywords too).
        For elman, lstm and gru it is a torch.nn.RNN, LSTM or GRU with another forward, so that its state_dict
        is theirs. For other cells the arrays are named as the cell names them, with _l0, _l0_reverse, _l1
        ... behind; several states are a tuple in the cell's order. bias=False means biases=0.

        Raises ValueError, one line, for a cell that the backend has no kernel for, and for bad arguments.
        """
        from .make import make

        layout: dict[str, Any] = {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias}
        layout |= {"batch_first": batch_first, "dropout": dropout, "device": device, "dtype": dtype}
        return make(cell, input_size, hidden_size, layout, backend, options)

    def replace(self, model: Model, backend: str = "numba") -> Model:
        """The model, whose torch.nn.RNN, LSTM and GRU compute through the backend from now on.

        They are changed in place and stay what they were: parameters, hooks, mode and every other reference
        to them go on. A UserWarning names each that was left, and why. Raises ValueError where there is none.
        """
        from .swap import replace

        return replace(model, backend)

    def restore(self, model: Model) -> Model:
        """The model, whose modules that `replace` changed are torch.nn's again."""
        from .swap import restore

        return restore(model)


torch_module = TorchModule()
