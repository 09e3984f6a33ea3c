"""FlashRNN with the same weights (NX-AI, Pöppel et al. 2024, arXiv 2412.07752).

On CUDA its fused kernels compute, which nvcc compiles when a program first runs, and on the CPU its loop of
PyTorch operations, which it calls vanilla. `implementation` says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..cell import GatedCell
from ..exchange.flashrnn_gates import FUNCTIONS
from ..exchange.optional import NotInstalled, package
from ..programs.backend import Backend
from ..programs.formats import DTYPES
from ..programs.program import Program
from ._torch_program import TensorProgram, Tensors

if TYPE_CHECKING:  # as in the backend torch
    from torch import Tensor

KERNELS = {"cuda": "cuda_fused", "cpu": "vanilla"}  # FlashRNN's own names
CAPABLE = (8, 0)  # compute capability from which on its kernels run


@dataclass(frozen=True)
class FlashrnnBackend(Backend):
    """FlashRNN (extra `flashrnn`)."""

    devices = ("cpu", "cuda")
    dtypes = DTYPES

    def unavailable(self, device: str = "cpu") -> str | None:
        if reason := super().unavailable(device):
            return reason
        compiler = uncompiled() if device == "cuda" else None
        try:
            package("flashrnn", "flashrnn")
        except NotInstalled as error:
            return str(error)
        except (ImportError, OSError) as error:  # beside a device its import looks for nvcc
            return compiler or f"flashrnn cannot be imported: {' '.join(str(error).split())}"
        return compiler

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        if cell.library is None and (reason := unknown(cell)):
            return reason
        if (dtype, device) == ("float64", "cuda"):
            return "FlashRNN's kernels have no dtype float64; they have float32, bfloat16 and float16"
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return FlashrnnProgram(cell, *arguments)


def uncompiled() -> str | None:
    """Why FlashRNN cannot compile its kernels for the device of this machine, or None."""
    import torch
    from torch.utils import cpp_extension

    if cpp_extension.CUDA_HOME is None:
        return "FlashRNN compiles its kernels with nvcc, which is not found; CUDA_HOME names its folder"
    if (have := torch.cuda.get_device_capability()) < CAPABLE:
        return "FlashRNN's kernels need compute capability {}.{}; this device has {}.{}".format(
            *CAPABLE, *have
        )
    return None


def unknown(cell: GatedCell) -> str | None:
    """Why FlashRNN has no function that computes the cell, or None."""
    there = f"FlashRNN has no function that computes cell {cell.name!r}"
    if cell.name not in FUNCTIONS:
        return f"{there}; it has {', '.join(FUNCTIONS)}"
    if getattr(cell, "activation", "tanh") != "tanh" or getattr(cell, "proj_size", 0):
        return f"{there} with {cell.options}"
    return None


class FlashrnnProgram(TensorProgram):
    """A call of FlashRNN's function; the inputs' product is torch's, and autograd goes through both.

    Weights are laid out as FlashRNN has them in every run. sLSTM's normaliser n is at least 1 there, as it is
    in every state that a run reaches from zeros.
    """

    product_apart = True

    def setup(self) -> None:
        flashrnn = package("flashrnn", "flashrnn")
        self.function, self.gates = flashrnn.flashrnn, FUNCTIONS[self.cell.name]
        self.heads = self.cell.heads
        self.config = flashrnn.FlashRNNConfig(
            backend=KERNELS[self.device],
            function=self.cell.name,
            num_heads=self.heads,
            hidden_dim=self.hidden_size,
            batch_size=self.batch,
            dtype=self.dtype,
            input_shape="TBGHD",
            output_shape="STBHD",
        )
        # FlashRNN itself takes other kernels than it was asked for where it has none: for gru
        self.implementation = f"flashrnn {metadata.version('flashrnn')} {self.config.backend}"

    def untraceable(self) -> str | None:
        return (
            "backend flashrnn has no trajectory: its kernels are fused over time; numpy, numba and torch have"
            " one"
        )

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        return self.recur(self.params, self.product(self.params, x), x, state)

    def arrays(self) -> Tensors:
        return self.params

    @property
    def by_head(self) -> tuple[int, int]:
        """(heads, units of each)."""
        return self.heads, self.hidden_size // self.heads

    def product(self, params: Tensors, x: Tensor) -> Tensor:
        """(T, B, gates, heads, units of a head)."""
        import torch

        weight_ih = self.rows(params["weight_ih"], self.gates.inputs)
        product = torch.nn.functional.linear(x, torch.cat(weight_ih))
        return product.unflatten(-1, (len(weight_ih), *self.by_head))

    def recur(self, params: Tensors, wx: Tensor, x: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        import torch

        shape = self.by_head
        recurrent = torch.stack(self.rows(params["weight_hh"], self.gates.recurrent))
        first = torch.stack([value.unflatten(-1, shape) for value in emptied(state)])[:, None]
        states, last = self.function(
            wx, recurrent.unflatten(1, shape), self.biases(x).unflatten(-1, shape), first, config=self.config
        )
        return self.read_out(states[0].flatten(-2)), {
            name: value.flatten(-2) for name, value in zip(self.cell.states, last[:, 0], strict=True)
        }

    def rows(self, array: Tensor, gates: Iterable[str]) -> list[Tensor]:
        """An array's blocks of rows, in the order of these gates."""
        blocks = dict(zip(self.cell.gates, array.chunk(len(self.cell.gates)), strict=True))
        return [blocks[gate] for gate in gates]

    def biases(self, x: Tensor) -> Tensor:
        """(gates, H) as FlashRNN adds them; zeros where the cell has none."""
        import torch

        def of(gate: str, names: tuple[str, ...]) -> Any:
            given = [self.rows(self.params[name], (gate,))[0] for name in names if name in self.params]
            return sum(given) if given else x.new_zeros(self.hidden_size)

        return torch.stack([of(gate, names) for gate, names in self.gates.biases])


def emptied(state: Tensors) -> list[Tensor]:
    """The first states; those of sLSTM without c and n where nothing is written yet, as n = 0 says.

    Else FlashRNN's gradient would reach them there, and the cell's does not: its forget gate is 0.
    """
    if "n" not in state:
        return list(state.values())
    written = state["n"].detach() != 0
    return [value * written if name in ("c", "n") else value for name, value in state.items()]
