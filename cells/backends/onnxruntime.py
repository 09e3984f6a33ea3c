"""ONNX Runtime's recurrent kernels on the CPU, with the same weights: inference, so forward alone.

The session has as many threads as OMP_NUM_THREADS says, one where that is not set. `implementation` has the
number of threads that the process really gained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..derived import layers
from ..exchange.layouts import ONNX, layout
from ..exchange.optional import NotInstalled, package
from ..programs.backend import Backend
from ..programs.program import Program
from ._onnx_model import Model

TASKS = Path("/proc/self/task")  # a folder for each thread of this process, on Linux


@dataclass(frozen=True)
class OnnxruntimeBackend(Backend):
    """ONNX Runtime (extra `onnx`)."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)  # in which its recurrent kernels are written
    directions: ClassVar[tuple[str, ...]] = ("forward",)

    def unavailable(self, device: str = "cpu") -> str | None:
        if reason := super().unavailable(device):
            return reason
        try:
            package("onnx")
            package("onnxruntime")
        except NotInstalled as error:
            return str(error)
        except ImportError as error:
            return f"onnxruntime cannot be imported: {error}"
        return None

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        if cell.library is None:
            try:
                layout(layers.single(cell), ONNX, "ONNX")
            except ValueError as error:
                return str(error)
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return OnnxruntimeProgram(cell, *arguments)

    def composed(self, arguments: tuple[Any, ...], lengths: np.ndarray | None) -> Program:
        return OnnxruntimeProgram(*arguments, lengths=lengths)


class OnnxruntimeProgram(Program):
    """A session whose inputs and outputs are bound to NumPy arrays; it computes stacks and lengths itself."""

    lengths: np.ndarray | None = None
    held: tuple[np.ndarray, Arrays] | None = None  # x and the states of steps one by one

    def setup(self) -> None:
        cell = self.cell
        self.model = Model(cell, (self.input_size, self.hidden_size), self.steps, self.batch, self.lengths)
        self.output = np.zeros((self.steps, self.batch, self.output_size), np.float32)
        shapes = cell.state_shapes(self.batch, self.hidden_size)
        self.last = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def assign(self, params: Arrays) -> None:
        self.params = {name: self.place(value) for name, value in params.items()}
        # weights are constants of the model, which the session lays out for its kernels once
        runtime, before, threads = package("onnxruntime"), _tasks(), _threads()
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what goes wrong is raised
        session = runtime.InferenceSession(
            self.model.written(self.params),
            options,
            providers=["CPUExecutionProvider"],
        )
        counted = "not counted" if before is None else str((_tasks() or 0) - before + 1)
        self.implementation = f"onnxruntime {runtime.__version__} {self.model.form.kind}, threads: {counted}"
        self.binding, self.bound = session.io_binding(), None
        self.infer = session.run_with_iobinding

    def bind(self) -> None:
        """Lets the session read and write where the program's arrays lie."""
        self.bound = self._x
        at = {"x": self._x.ctypes.data, "y": self.output.ctypes.data}
        for which, arrays in (("first", self._state), ("last", self.last)):
            for name, state, k in self.model.states(which):
                array = arrays[state]
                at[name] = array.ctypes.data + k * (array.nbytes // self.cell.layers)
        for bind, described in (
            (self.binding.bind_input, self.model.inputs()),
            (self.binding.bind_output, self.model.outputs()),
        ):
            for name, _, shape in described:
                bind(name, "cpu", 0, np.float32, shape, at[name])

    def step_from(self, x: np.ndarray, state: Arrays) -> None:
        """By arrays that stay bound, into which the step is copied: binding anew takes longer than that."""
        if self.held is None:
            self.held = np.array(x), {name: np.array(s) for name, s in state.items()}
        self._x, self._state = self.held
        self._x[...] = x
        for name, array in self._state.items():
            array[...] = state[name]
        self.advance()

    def run_forward(self) -> None:
        if self.bound is not self._x:
            self.bind()
        self.infer(self.binding)


def _threads() -> int:
    """As many as the libraries of OpenMP take; one where they are told nothing."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else 1


def _tasks() -> int | None:
    """Threads of this process; None where the system does not show them."""
    return len(list(TASKS.iterdir())) if TASKS.is_dir() else None
