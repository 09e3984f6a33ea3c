"""The step compiled by inductor, and looped in Python: compiling the unrolled loop takes minutes.

`torch.compile` gets the step as the cell's author wrote it, and must make one graph of it. Programs of the
same cell and sizes share the compiled step in a process; between processes inductor's own cache keeps it.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..cell import GatedCell
from ..contract import Arrays, State, each_output, output_and_state
from ._torch_program import Outputs, Tensors, TorchProgram

if TYPE_CHECKING:
    from torch import Tensor

Rows = tuple[Any, ...]


def lacking(device: str) -> str | None:
    """None, or what inductor lacks here."""
    if device == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError as error:
            return f"torch:mode=compile needs Triton on CUDA, which cannot be imported: {error}"
        return None
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler.split()[0] if compiler.split() else "g++") is None:
        return (
            f"torch:mode=compile needs a C++ compiler, and there is no {compiler!r}; install g++, or name a"
            " compiler in CXX"
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return (
            "torch:mode=compile needs Python's headers, and there is no Python.h; install the package"
            " python3-dev of this Python"
        )
    return None


@dataclass
class Step:
    """A compiled step: (arrays, wx or x of the step, states) -> (outputs, new states), and its graphs."""

    call: Callable[[Tensors, Rows, Rows], tuple[Rows, Rows]]
    graphs: int = field(default=0)


@lru_cache(maxsize=64)
def step_of(cell: GatedCell, *sizes: Any) -> Step:
    """The compiled step of a cell; `sizes` are all that a graph is made for."""
    import torch

    names, gates = cell.states, cell.gates

    def step(params: Tensors, inputs: Rows, states: Rows) -> tuple[Rows, Rows]:
        state = State(**dict(zip(names, states, strict=True)))
        if cell.written_out:
            output, new = cell.step(params, inputs[0], state)
        else:
            wx = State(**dict(zip(gates, inputs, strict=True)))
            unit = cell.per_unit(params)
            output, new = output_and_state(cell, cell.equations(wx, cell.recur(params, state), state, *unit))
        return each_output(output), tuple(getattr(new, name) for name in names)

    # dynamo keeps what it compiled with the code object, of which every step is to have one of its own
    own = FunctionType(
        step.__code__.replace(), step.__globals__, step.__name__, step.__defaults__, step.__closure__
    )
    return Step(torch.compile(own, fullgraph=True, dynamic=False))


class CompiledProgram(TorchProgram):
    """The steps one after the other, each a call of the compiled step."""

    def setup(self) -> None:
        import torch

        self.implementation = f"torch {torch.__version__} inductor, a step a call"
        sizes = (self.batch, self.input_size, self.hidden_size, self.dtype, self.device, self.direction)
        self.compiled = step_of(self.cell, *sizes)

    def assign(self, params: Arrays) -> None:
        super().assign(params)
        self.compile()

    def compile(self) -> None:
        """Compiles before anything is timed. Raises ValueError where it is not a single graph."""
        import numpy as np
        from torch._dynamo import utils
        from torch._dynamo.exc import TorchDynamoException

        step = f"the step of cell {self.cell.name!r}"
        before = utils.counters["stats"]["unique_graphs"]
        try:
            self.load(np.zeros((self.steps, self.batch, self.input_size)))
            self.run()
        except TorchDynamoException as error:
            first = str(error).strip().splitlines()[0]
            raise ValueError(f"torch.compile cannot compile {step}: {first}") from None
        self.compiled.graphs += utils.counters["stats"]["unique_graphs"] - before
        if self.compiled.graphs != 1:
            raise ValueError(f"torch.compile made {self.compiled.graphs} graphs of {step}; it must be one")

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        # a compiled backward writes into what the forward has kept: for another one the forward runs again
        super().run_backward(trace)

    def advancing(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        call, cell = self.compiled.call, self.cell
        by_gate = [x] if cell.written_out else list(vars(cell.project(params, x)).values())
        rows = list(zip(*(gate.unbind(0) for gate in by_gate), strict=True))
        names = cell.states

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            outputs, new = call(params, rows[t], tuple(getattr(state, name) for name in names))
            return list(outputs), State(**dict(zip(names, new, strict=True)))

        return advance
