"""All steps captured in a CUDA graph, and replayed: the device does not wait for Python to launch them.

There are two graphs on one pool of memory, as `torch.cuda.make_graphed_callables` has them: of the forward,
and of the backward, which reads what the forward saved. Both read fixed buffers, which `load` copies into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Arrays
from ..derived import layers
from ..programs.backend import Unsupported
from ..programs.program import Program
from ..programs.stack import StackProgram
from ._torch_program import TensorProgram

if TYPE_CHECKING:
    from torch import Tensor

WARM_UP = 3  # runs before the capture, in which libraries choose kernels and take memory


class GraphProgram(TensorProgram):
    """Replays what `eager`, the program that it is made of, does in a run.

    `make` makes that program of a cell and the other arguments of Program, whose forward and backward are
    captured.
    """

    make: Callable[..., Program]
    eager: Program | None = None
    lengths: np.ndarray | None = None

    def setup(self) -> None:
        import torch

        self.implementation = f"torch {torch.__version__} CUDA graph of the eager steps"

    def untraceable(self) -> str | None:
        return (
            "backend torch:mode=graph has no trajectory: a replay computes what was captured; torch has one"
        )

    def assign(self, params: Arrays) -> None:
        """Captures before anything is timed. Raises Unsupported where a graph cannot hold the cell."""
        super().assign(params)
        if self.eager is not None:
            return refill(self.eager, self.params)
        arguments = (self.steps, self.batch, self.dtype, self.device, self.direction)
        eager = self.make(self.cell, self.params, *arguments)
        eager.load(np.zeros((self.steps, self.batch, self.input_size)))  # its copies are the buffers
        try:
            self.capture(eager)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[0]
            raise Unsupported(
                f"the steps of cell {self.cell.name!r} cannot be captured in a CUDA graph: {first}"
            ) from None
        self.eager = eager
        return self.load(eager._x)

    def of_one_step(self, **options: Any) -> Program:
        return super().of_one_step(make=self.make)

    def capture(self, eager: Program) -> None:
        """Makes the graphs; `output`, `last` and `gradients` are from now on what every replay writes."""
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                eager.run()
        torch.cuda.current_stream().wait_stream(side)
        pool = torch.cuda.graph_pool_handle()
        self.graph, self.back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            eager.advance()
        self.output, self.last = eager.output, eager.last
        if self.direction == "backward":
            with torch.cuda.graph(self.back, pool=pool):
                # `again`: what the forward saved must outlive the backward, as the next replay reads it
                eager.run_backward(again=True)
            self.gradients = eager.gradients

    def inputs(self, program: Program) -> dict[str, Tensor]:
        """All that a run of the program reads, by name."""
        given: dict[str, Any] = {"x": program._x, **program._state}
        if self.direction == "backward":
            given |= {"d_output": program._d_output}
            given |= {f"d_{name}": value for name, value in program._d_state.items()}
        return given

    def feed(self) -> None:
        """Copies what was loaded into the buffers that the graphs read; nothing where it is there already."""
        import torch

        eager: Any = self.eager
        buffers = self.inputs(eager)
        with torch.no_grad():
            for name, value in self.inputs(self).items():
                if value is not buffers[name]:
                    buffers[name].copy_(value)
        self._x, self._state = eager._x, eager._state
        if self.direction == "backward":
            self._d_output, self._d_state = eager._d_output, eager._d_state

    def load(self, x: Any, state: Arrays | None = None, d_output: Any = None) -> None:
        super().load(x, state, d_output)
        self.feed()

    def run_forward(self) -> None:
        self.feed()  # of `forward` and `step`; after `load` there is nothing to copy
        self.graph.replay()

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        self.feed()
        self.back.replay()


def refill(program: Program, params: Arrays) -> None:
    """Copies new parameters into the arrays that the program has, which a graph reads."""
    import torch

    if isinstance(program, StackProgram):
        for layer, each in zip(program.layers, program.programs, strict=True):
            refill(each, layers.arrays_of(layer, params, program.names))
        own = program.read_out
    else:
        own = program.params
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(params[name])
