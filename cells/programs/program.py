"""The contract of a program, which is a cell made ready on a backend.

    program.forward(x, state)   program.backward(d_output, d_state, trace)   with checks and copies
    program.load(...) run() sync() read()                                    of which run and sync are timed

x is (T, B, I), the output (T, B, O) with O = H for most cells or the size of the read-out, every state (B,
units), units = H for most; of a cell of several layers or both directions (layers * directions, B, units).

With `lengths` the sequences of the batch end at their own length: the last state is the one there (a reverse
direction starts there), outputs beyond it are zeros, and x and d_output beyond it have no influence, whatever
they hold.

What `forward`, `backward` and `read` return are NumPy arrays in the program's dtype; for bfloat16, which
NumPy has not, float32 arrays that hold its numbers exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays, check_sizes, real_floating
from . import formats
from .stream import Stream

DEVICES = ("cpu", "cuda")
DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class Forward:
    """output (T, B, O) and the last states {name: (B, H)}."""

    output: Any
    state: Arrays


@dataclass(frozen=True)
class Gradients:
    """d_ of the parameters, of x and of the initial state; a trajectory {name: (T+1, B, H)} on demand.

    trajectory[name][t] is dL/d state_t of the joint state: h_t and c_t count as independent, each acts
    through the output at t (if it is the output) and through step t + 1.
    """

    params: Arrays
    x: Any
    state: Arrays
    trajectory: Arrays | None = None


class Program:
    """A cell made ready.

    Subclasses set arrays in `assign` and `place`, and compute in `run_forward` and `run_backward`. After
    run_forward there are `output` and `last` {state: array}; after run_backward `gradients`, all in the
    backend's own arrays. `implementation` says what really runs.
    """

    implementation: str = ""
    states_only = False  # whether a backward may leave out the gradients of the arrays and of x
    on_views = False  # whether its inputs may be NumPy arrays of somebody else, which it only reads
    params: Arrays
    output: Any
    last: Arrays
    gradients: Gradients
    _steps: Stream | None = None

    def __init__(
        self,
        cell: GatedCell,
        params: Arrays,
        steps: int,
        batch: int,
        dtype: str,
        device: str,
        direction: str,
        **options: Any,
    ) -> None:
        vars(self).update(options)  # of the backend's own
        check_sizes(steps=steps, batch=batch)
        self.cell, self.steps, self.batch = cell, steps, batch
        self.dtype, self.device, self.direction = dtype, device, direction
        self.input_size, self.hidden_size = cell.sizes(params)
        self.units = cell.units(self.hidden_size)
        self.output_size = cell.output_size(self.input_size, self.hidden_size)
        # whether there is a forward to go back through, and how many there were
        self.ran, self.count = False, 0
        self.setup()
        self.assign(params)

    # what a backend writes

    def setup(self) -> None:
        """Allocates and compiles what does not depend on the parameters."""

    def assign(self, params: Arrays) -> None:
        """Takes new parameters of the same shapes."""
        raise NotImplementedError

    def place(self, array: Any) -> Any:
        """A copy of the array in the program's dtype, on its device."""
        if hasattr(array, "detach"):
            array = array.detach().cpu().double().numpy()
        return formats.rounded(array, self.dtype)

    def run_forward(self) -> None:
        """Computes `output` and `last` of what was loaded."""
        raise NotImplementedError

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        """Computes `gradients`; `again` keeps what another backward of the same forward needs."""
        raise NotImplementedError

    def host(self, array: Any) -> np.ndarray:
        """A copy as a NumPy array."""
        return np.array(array)

    def sync(self) -> None:
        """Waits until all that was started is done."""

    # what everybody uses

    def forward(self, x: Any, state: Arrays | None = None) -> Forward:
        """Output and last state. state is {name: (B, H)}, zeros where it is None.

        Raises ValueError for an x that is not (T, B, I) of real floating numbers, or a state of another name
        or shape.
        """
        self.start(x, state)
        self.sync()
        return self._read_forward()

    def backward(self, d_output: Any, d_state: Arrays | None = None, trace: bool = False) -> Gradients:
        """Gradients of the last forward for the cotangents d_output (T, B, O) and d_state (zeros where None).

        Raises ValueError before a forward, for other shapes, and for a program that was prepared for forward
        only.
        """
        if trace and (reason := self.untraceable()):
            raise ValueError(reason)
        self.pull_back(d_output, d_state, trace, again=True)
        self.sync()
        return self._read_gradients()

    def pull_back(
        self, d_output: Any, d_state: Arrays | None = None, trace: bool = False, again: bool = False
    ) -> Gradients:
        """The same without the copies: the backend's own arrays, which its next run may overwrite."""
        if self.direction != "backward":
            raise ValueError(
                "this program was prepared with direction='forward' and saved nothing; prepare it with"
                " 'backward'"
            )
        if not self.ran:
            raise ValueError("backward needs a forward before it")
        self._d_output = self._checked("d_output", d_output, (self.steps, self.batch, self.output_size))
        self._d_state = self._states("d_state", d_state)
        self.run_backward(trace, again)
        return self.gradients

    def untraceable(self) -> str | None:
        """None, or the reason why there is no trajectory."""
        return None

    def mismatch(self) -> str | None:
        """None, or why what runs is not what was asked for."""
        return None

    def load(self, x: Any, state: Arrays | None = None, d_output: Any = None) -> None:
        """Puts the inputs of run where run reads them. d_output is ones where it is None."""
        self._load_inputs(x, state)
        self._d_state = self._states("d_state", None)
        if self.direction == "backward":
            shape = (self.steps, self.batch, self.output_size)
            self._d_output = (
                self.place(np.ones(shape)) if d_output is None else self._checked("d_output", d_output, shape)
            )

    def start(self, x: Any, state: Arrays | None = None) -> None:
        """The same as forward without the copies: `output` and `last` are the backend's own arrays."""
        self._load_inputs(x, state)
        self.advance()

    def start_on(self, x: Any, states: Sequence[Any] = ()) -> None:
        """The same of torch tensors of the program's shapes, dtype and layout, without checks.

        The states are in the cell's order, zeros where there are none. x and they have no graph, and must
        not change before the backward.
        """
        if not self.on_views:
            return self.start(x, dict(zip(self.cell.states, states, strict=True)) if states else None)
        self._x = x.numpy()
        if states:
            self._state = {n: s.numpy() for n, s in zip(self.cell.states, states, strict=True)}
        else:
            self._state = self._zeros
        return self.advance()

    def pull_back_from(self, d_output: Any, d_state: Arrays) -> Gradients:
        """The same as pull_back, of torch tensors as start_on takes them."""
        if not self.on_views:
            return self.pull_back(d_output, d_state, again=True)
        self._d_output = d_output.contiguous().numpy()
        self._d_state = {name: value.contiguous().numpy() for name, value in d_state.items()}
        self.run_backward(again=True)
        return self.gradients

    def advance(self) -> None:
        """The forward alone, of what was loaded."""
        self.run_forward()
        self.ran = True
        self.count += 1

    def step(self, x: Any) -> np.ndarray:
        """Output (B, O) of one more step on x (B, I), from the state that the step before it left.

        The first is from zeros; `reset` starts anew, and `stream_state` has the state. Steps are apart from
        `forward` and `backward`, which they leave as they were. Raises ValueError for an x of another shape,
        and for both directions, of which one begins at the end.
        """
        return self._stream().step(x)

    def reset(self, state: Arrays | None = None) -> None:
        """Has the next step go on from this state {name: (B, H)}, zeros where it is None."""
        self._stream().reset(state)

    def stream_state(self) -> Arrays:
        """The state {name: (B, H)} that the next step goes on from."""
        return self._host(self._stream().state)

    def of_one_step(self, **options: Any) -> Program:
        """A program of the same cell and arrays for the forward of a single step."""
        sizes = 1, self.batch, self.dtype, self.device, "forward"
        return type(self)(self.cell, self.params, *sizes, **options)

    def _stream(self) -> Stream:
        if self._steps is None:
            self._steps = Stream(self)
        return self._steps

    def step_from(self, x: Any, state: Arrays) -> None:
        """A forward on arrays as `place` makes them, which it only reads."""
        self._x, self._state = x, state
        self.advance()
        self.sync()

    def placed_step(self, x: Any) -> Any:
        """x (B, I) of a step as this program, of one step, takes it. Raises ValueError for another shape."""
        given = real_floating("x", x)
        if tuple(given.shape) != (self.batch, self.input_size):
            raise ValueError(
                f"x is {tuple(given.shape)}; a step of this program takes"
                f" {(self.batch, self.input_size)} (B, I)"
            )
        return self.place(given[None])

    def placed_state(self, state: Arrays | None) -> Arrays:
        """A state as `place` makes it, zeros where it is None."""
        return self._states("state", state)

    def run(self) -> None:
        """Forward, or forward and backward, of what was loaded; a GPU may not be done before `sync`."""
        self.advance()
        if self.direction == "backward":
            self.run_backward()

    def read(self) -> tuple[Forward, Gradients | None]:
        """Copies of what the last run computed."""
        self.sync()
        return self._read_forward(), self._read_gradients() if self.direction == "backward" else None

    # for this class alone

    @cached_property
    def _zeros(self) -> Arrays:
        return self._states("state", None)

    def _load_inputs(self, x: Any, state: Arrays | None) -> None:
        self.ran = False
        self._x = self._checked("x", x, (self.steps, self.batch, self.input_size))
        self._state = self._states("state", state)

    def _checked(self, what: str, array: Any, shape: tuple[int, ...]) -> Any:
        given = real_floating(what, array)
        if tuple(given.shape) != shape:
            kind = what.split()[0]
            axes = (
                "(layers * directions, B, H)" if self.cell.stacked and kind.endswith("state") else _AXES[kind]
            )
            raise ValueError(f"{what} is {tuple(given.shape)}; this program takes {shape} {axes}")
        return self.place(given)

    def _states(self, what: str, given: Arrays | None) -> Arrays:
        shapes = self.cell.state_shapes(self.batch, self.hidden_size)
        if given is None:
            return {name: self.place(np.zeros(shape)) for name, shape in shapes.items()}
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{what} is of type {type(given).__name__}; it must be a dict with {', '.join(shapes)}"
            )
        if set(given) != set(shapes):
            raise ValueError(
                f"{what} has {', '.join(given) or 'nothing'}; cell {self.cell.name!r} has the states"
                f" {', '.join(shapes)}"
            )
        return {name: self._checked(f"{what} {name}", given[name], shape) for name, shape in shapes.items()}

    def _read_forward(self) -> Forward:
        return Forward(self.host(self.output), self._host(self.last))

    def _read_gradients(self) -> Gradients:
        g = self.gradients
        return Gradients(
            self._host(g.params),
            self.host(g.x),
            self._host(g.state),
            g.trajectory and self._host(g.trajectory),
        )

    def _host(self, arrays: Arrays) -> Arrays:
        return {name: self.host(a) for name, a in arrays.items()}


_AXES = {"x": "(T, B, I)", "d_output": "(T, B, O)", "state": "(B, H)", "d_state": "(B, H)"}
