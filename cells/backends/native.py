"""torch.nn.RNN, LSTM and GRU with the same weights; `implementation` says which library computes.

That is oneDNN or ATen on the CPU, and cuDNN on CUDA.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..programs.program import Program
from . import _cudnn
from .torch import TensorProgram, Tensors, TorchBackend

if TYPE_CHECKING:  # as in the backend torch
    from torch import Tensor


@dataclass(frozen=True)
class NativeBackend(TorchBackend):
    """What PyTorch ships for the cells that it has."""

    mode: ClassVar[str] = "sequential"  # type: ignore[misc]  # no option here

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        module = cell.torch_module()
        if cell.library:
            return (
                f"{cell.name} is a module of its own, which backend torch runs; native has those of torch.nn"
            )
        if module is None:
            return f"torch.nn has no module for cell {cell.name!r}" + (
                f" with {cell.options}" if cell.options else ""
            )
        if cell.biases == 1:
            return f"torch.nn.{module[0]} has two biases or none, cell {cell.name!r} has one here"
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return NativeProgram(cell, *arguments)

    def composed(self, arguments: tuple[Any, ...], lengths: np.ndarray | None) -> Program:
        return NativeProgram(*arguments, lengths=lengths)


class NativeProgram(TensorProgram):
    """A module of torch.nn, which computes stacks and ragged sequences itself."""

    lengths: np.ndarray | None = None

    def setup(self) -> None:
        import torch

        if self.lengths is not None:
            beyond = np.arange(self.steps)[:, None] >= self.lengths
            self.beyond = torch.from_numpy(beyond[:, :, None]).to(self.device)
        kind, options = self.cell.torch_module() or ("", {})  # there is one, or the cell is unsupported
        with torch.random.fork_rng(devices=[]):
            self.module = getattr(torch.nn, kind)(
                self.input_size,
                self.hidden_size,
                bias=self.cell.biases == 2,
                device=self.device,
                dtype=self.kind,
                num_layers=self.cell.layers,
                bidirectional=self.cell.bidirectional,
                **options,
            )
            if options.get("proj_size"):
                self.forewarn()

    def forewarn(self) -> None:
        """Takes PyTorch's only warning that oneDNN has no projection; `implementation` says what runs."""
        import torch

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\S+ with projections is not supported with oneDNN")
            self.module(torch.zeros(1, 1, self.input_size, device=self.device, dtype=self.kind))

    def assign(self, params: Arrays) -> None:
        import torch

        self.params = {}
        with torch.no_grad():
            for name, value in params.items():
                weight = getattr(self.module, name if self.cell.stacked else f"{name}_l0", None)
                given = self.place(value)
                self.params[name] = given if weight is None else weight.copy_(given)

    def untraceable(self) -> str | None:
        return (
            "backend native has no trajectory: torch.nn's kernels are fused over time; numpy, numba and torch"
            " have one"
        )

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        import torch

        values = tuple(v if self.cell.stacked else v.unsqueeze(0) for v in state.values())
        output, last = self.module(self.packed(x, self.lengths), values if len(values) > 1 else values[0])
        last = last if isinstance(last, tuple) else (last,)
        last = {
            s: v if self.cell.stacked else v.squeeze(0) for s, v in zip(self.cell.states, last, strict=True)
        }
        if self.lengths is None:
            return self.read_out(output), last
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=self.steps)
        return self.read_out(output).masked_fill(self.beyond, 0) if self.cell.readout else output, last

    def packed(self, x: Tensor, lengths: np.ndarray | None) -> Any:
        """x as torch.nn takes it: packed where sequences have lengths of their own."""
        import torch

        if lengths is None:
            return x
        return torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(lengths), enforce_sorted=False)

    def step_from(self, x: Tensor, state: Arrays) -> None:
        """By what torch.nn's cells call, for one layer: faster than a sequence of one."""
        if self.one_step is None:
            return super().step_from(x, state)
        values = tuple(state.values())
        new = self.one_step(x[0], values if len(values) > 1 else values[0])
        new = new if isinstance(new, tuple) else (new,)
        self.last = dict(zip(self.cell.states, new, strict=True))
        self.output = new[0][None]
        return None

    @cached_property
    def one_step(self) -> Callable[..., Any] | None:
        """The step x (B, I), states (B, H) -> new states; None where torch.nn has no cell for it."""
        import torch

        kind, options = self.cell.torch_module() or ("", {})
        if self.cell.stacked or self.cell.readout or options.get("proj_size"):
            return None
        name = f"rnn_{options['nonlinearity']}" if "nonlinearity" in options else kind.lower()
        step, weights = getattr(torch, f"{name}_cell"), list(self.module.parameters())
        return torch.no_grad()(lambda x, states: step(x, states, *weights))

    @cached_property
    def called(self) -> set[str]:
        """Operations of a forward of this module: no attribute says which library PyTorch will pick."""
        import torch

        x = torch.zeros(2, self.batch, self.input_size, device=self.device, dtype=self.kind)
        lengths = None if self.lengths is None else self.lengths.clip(max=2)
        with torch.set_grad_enabled(self.direction == "backward"):
            return _cudnn.operations(lambda: self.module(self.packed(x, lengths)))

    def mismatch(self) -> str | None:
        if self.device != "cuda" or self.by_cudnn:
            return None
        return (
            f"native on CUDA is cuDNN, and torch.nn leaves it for cell {self.cell.name!r} here; backend torch"
            " computes it without cuDNN"
        )

    @property
    def by_cudnn(self) -> bool:
        return any("cudnn_rnn" in name for name in self.called)

    @cached_property
    def implementation(self) -> str:  # type: ignore[override]  # found on demand: it takes a forward
        """The library that a forward of this module really calls; of cuDNN the algorithm of a run."""
        import torch

        if not self.by_cudnn:
            mkldnn = any("mkldnn_rnn" in name for name in self.called)
            return f"torch {torch.__version__} {'oneDNN' if mkldnn else 'ATen'}"
        sizes = (self.steps, self.batch, self.dtype, self.device, self.direction)
        other = type(self)(self.cell, self.params, *sizes, lengths=self.lengths)
        other.load(np.zeros((self.steps, self.batch, self.input_size)))  # what this one computed stays
        layers = self.cell.layers * self.cell.directions
        algorithm = _cudnn.algorithm(_cudnn.launches(other.run), self.steps, layers)
        return f"cuDNN {torch.backends.cudnn.version()}, {algorithm}"
