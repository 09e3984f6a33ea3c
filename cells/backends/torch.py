"""The equations on tensors, stepped in Python; autograd gives the backward.

In the mode scan all steps of an affine recurrence are computed at once, in chunks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..cell import GatedCell
from ..contract import State
from ..derived import affine
from ..programs.backend import Backend
from ..programs.formats import FORMATS, TF32
from ..programs.program import Program
from ._torch_compile import CompiledProgram, lacking
from ._torch_graph import GraphProgram
from ._torch_program import Outputs, TensorProgram, Tensors, TorchProgram

if TYPE_CHECKING:  # without torch there are still the other backends
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class TorchBackend(Backend):
    """PyTorch on the CPU or CUDA.

    mode is sequential, which is eager, compile, which has the step compiled by inductor, graph, which replays
    a CUDA graph of all steps, or scan for affine recurrences.
    """

    devices = ("cpu", "cuda")
    library = "torch"
    dtypes = tuple(FORMATS)
    mode: str = "sequential"

    def __post_init__(self) -> None:
        affine.check_mode(self.mode, ("compile", "graph"))

    def unavailable(self, device: str = "cpu") -> str | None:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            return f"torch cannot be imported: {error}"
        reason = super().unavailable(device)
        return lacking(device) if reason is None and self.mode == "compile" else reason

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        reason = super().unsupported(cell, dtype, device, direction)
        if reason is None and cell.library and self.mode == "compile":
            return f"{cell.name} is a module of its own; torch:mode=compile compiles the step of equations"
        if reason is None and self.mode == "graph" and device != "cuda":
            return f"backend {self.name} has no device {device}; it has cuda"
        if reason is None and (dtype, device) == (TF32, "cpu"):
            return f"backend {self.name} has no dtype {TF32} on cpu; matrix units of a GPU compute in it"
        return reason or (affine.unsupported(cell) if self.mode == "scan" else None)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        if self.mode == "graph":
            return GraphProgram(cell, *arguments, make=EAGER.program)
        if cell.library:
            return ModuleProgram(cell, *arguments)
        programs = {"scan": ScanProgram, "compile": CompiledProgram}
        return programs.get(self.mode, TorchProgram)(cell, *arguments)

    def composed(self, arguments: tuple[Any, ...], lengths: np.ndarray | None) -> Program:
        if self.mode != "graph":
            return super().composed(arguments, lengths)

        def make(*eager: Any) -> Program:
            return EAGER.composed(eager, lengths)

        return GraphProgram(*arguments, make=make, lengths=lengths)


EAGER = TorchBackend()


class ModuleProgram(TorchProgram):
    """As the module computes it; where every state is asked for, a call for each step."""

    cell: Any

    def setup(self) -> None:
        import torch

        self.implementation = (
            f"torch {torch.__version__} module {self.cell.name} in eval mode, held against a float64 copy of"
            " itself"
        )
        module = self.cell.build(self.input_size, self.hidden_size)
        self.module = copy.deepcopy(module).to(self.device, self.kind)

    def untraceable(self) -> str | None:
        if not self.cell.states:
            return f"{self.cell.name} takes no state, so that none can be followed"
        if not self.cell.stepwise:
            return f"{self.cell.name} gives something else step by step, so that no state can be followed"
        return None

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        if steps is not None:
            return super().compute(x, state, steps)
        output, last = self.cell.run(self.params, x, State(**state), self.module)
        return output, dict(vars(last))

    def written(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        from ..modules.recorded import itself

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            output, new = self.cell.run(params, x[t : t + 1], state, self.module)
            return [itself(output[0], new)], new

        return advance


class ScanProgram(TensorProgram):
    """J and c of all steps at once, from them the states by chunks, then the outputs of all steps at once."""

    def setup(self) -> None:
        import torch

        self.implementation = f"torch {torch.__version__} eager scan"

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        import torch

        from ..kernels import tensors

        cell, params = self.cell, self.cell.effective(self.params)
        derivation, recurrence = cell.derivation(), affine.recurrence(cell)
        known = {f"wx_{gate}": rows for gate, rows in vars(cell.project(params, x)).items()}
        known |= {f"unit_{name}": params[name] for name in cell.vectors}
        values = {node: known[name] for name, node in derivation.inputs.items() if name in known}
        affine.evaluate([*recurrence.jacobian.values(), *recurrence.constant.values()], values)
        shape, at = (self.steps, self.batch, self.units), cell.states.index
        jacobian = {
            (at(a), at(b)): wide(values[node], x, shape) for (a, b), node in recurrence.jacobian.items()
        }
        constant = [
            wide(values[recurrence.constant[s]] if s in recurrence.constant else 0, x, shape)
            for s in cell.states
        ]
        if steps is not None:  # what reaches a state's share of c is what reaches the state
            steps += [
                {s: torch.zeros_like(state[s], requires_grad=True) for s in cell.states}
                for _ in range(self.steps)
            ]
            constant = [
                c + torch.stack([now[s] for now in steps]) for s, c in zip(cell.states, constant, strict=True)
            ]
        states = dict(zip(cell.states, tensors.scan(jacobian, constant, list(state.values())), strict=True))
        before = {s: torch.cat([state[s][None], v[:-1]]) for s, v in states.items()}
        values |= {derivation.inputs[f"prev_{s}"]: v for s, v in before.items()}
        outputs = list(zip(derivation.outputs, derivation.output_states, strict=True))
        affine.evaluate([node for node, s in outputs if s is None], values)
        every = [states[s] if s else values[node] for node, s in outputs]
        output = cell.emit(params, x, tuple(every) if derivation.several else every[0])
        return self.read_out(output), {s: v[-1] for s, v in states.items()}


def wide(value: Any, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A number or a tensor as a tensor of this shape, without memory for what it repeats."""
    import torch

    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(shape)
