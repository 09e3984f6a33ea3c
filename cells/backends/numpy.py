"""The reference: equations as written, on NumPy arrays, and backpropagation through time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays, State, each_output, output_and_state
from ..derived.inner import inner_biases
from ..kernels import arrays
from ..programs.backend import Backend
from ..programs.inner import Inner
from ..programs.products import Products, pull_blocks
from ..programs.program import Gradients, Program
from ..vocabulary.tape import Value, array_of, gradients

Row = tuple[np.ndarray, ...]  # of one step: an array for each state, gate or output, in the cell's order


class NumpyBackend(Backend):
    """NumPy on the CPU, in float64 (against which everything is held) or float32."""

    def program(self, cell: GatedCell, *arguments: Any, **options: Any) -> Program:
        return (WrittenProgram if cell.written_out else NumpyProgram)(cell, *arguments, **options)


class Reference(Program):
    """Backpropagation through time, last step first.

    Subclasses write how the outputs and one step are pulled back. With `unsaturated` the derivatives use
    pre-activations, so that a saturated unit's does not round to zero.
    """

    implementation = f"numpy {np.__version__}"
    unsaturated = False

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.direction == "backward")

    def pull_outputs(self, d_y: np.ndarray) -> tuple[list[np.ndarray], Any]:
        """(cotangents of the steps' outputs, each (T, B, ...); what x gets beside the steps)."""
        raise NotImplementedError

    def with_outputs(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> Row:
        """The cotangents of the joint state after step t, with those of its outputs that are states."""
        raise NotImplementedError

    def pull_step(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> tuple[Row, Any]:
        """The cotangents of the joint state before step t, and what else the step's backward leaves."""
        raise NotImplementedError

    def collect(self, t: int, rest: Any) -> None:
        """Takes what else pull_step left."""
        raise NotImplementedError

    def finish(self) -> Any:
        """d_x, after the gradients of the arrays were added up."""
        raise NotImplementedError

    def path(self) -> list[np.ndarray]:
        """The states of the last forward, one array (T + 1, B, ...) for each, in their order."""
        raise NotImplementedError

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        cell = self.cell
        d_outputs, d_x = self.pull_outputs(self._d_output)
        d_state: Row = tuple(self._d_state[s] for s in cell.states)
        trajectory = []
        for t in reversed(range(self.steps)):
            now = [d[t] for d in d_outputs]
            d_state = self.with_outputs(t, now, d_state)
            trajectory.append(d_state)
            d_state, rest = self.pull_step(t, now, d_state)
            self.collect(t, rest)
        trajectory.append(d_state)
        d_x = self.finish() + d_x
        path = (
            {s: np.stack([d[k] for d in reversed(trajectory)]) for k, s in enumerate(cell.states)}
            if trace
            else None
        )
        self.gradients = Gradients(
            self.products.finish(), d_x, dict(zip(cell.states, d_state, strict=True)), path
        )


class NumpyProgram(Reference):
    """Cells that are pointwise around products."""

    def setup(self) -> None:
        if self.direction == "backward":
            cell = self.cell
            self.printed = arrays.module(cell, self.unsaturated)
            self.multiplied = [node.value for node in cell.derivation().products]
            widths = [len(cell.gates), len(cell.fed_gates), *[len(self.multiplied)] * 2]
            self.d_wx, self.d_wh, self.d_products, self.operands = (
                np.empty((self.steps, self.batch, n, self.units), self.dtype) for n in widths
            )
            self.d_unit = np.zeros((len(cell.vectors) + len(inner_biases(cell)), self.units), self.dtype)

    def assign(self, params: Arrays) -> None:
        super().assign(params)
        self.inner = Inner(self.cell, self.products.used)
        self.unit, names = self.inner.unit(), self.inner.names
        # further arguments of the printed functions, which take none where the cell has no inner matrix
        self.times = (self.inner.products(),) if names else ()
        self.transposed = (self.inner.transposed(),) if names else ()

    def run_forward(self) -> None:
        cell, units = self.cell, self.units
        wx = np.empty((self.steps, self.batch, len(cell.gates), units), self.dtype)
        self.products.project(self._x, wx)
        outputs = [np.empty((self.steps, self.batch, units), self.dtype) for _ in cell.derivation().outputs]
        self.history: list[Row] = [tuple(self._state[s] for s in cell.states)]
        self.keeps: list[Row] = []
        advance = self.step_keeping if self.direction == "backward" else self.step_as_written
        for t in range(self.steps):
            wh = cell.recur(
                self.products.used, State(**dict(zip(cell.states, self.history[-1], strict=True)))
            )
            now = advance(tuple(wx[t, :, g] for g in range(len(cell.gates))), wh)
            for array, value in zip(outputs, now, strict=True):
                array[t] = value
        self.last = dict(zip(cell.states, self.history[-1], strict=True))
        self.output = self.products.emit(self._x, outputs)

    def step_as_written(self, wx: Row, wh: State) -> Row:
        """Outputs of one step by the cell's own function; only the last state is held."""
        cell = self.cell
        unit, prev = (
            cell.per_unit(self.products.used),
            State(**dict(zip(cell.states, self.history[-1], strict=True))),
        )
        result = cell.equations(State(**dict(zip(cell.gates, wx, strict=True))), wh, prev, *unit)
        output, state = output_and_state(cell, result)
        self.history = [tuple(getattr(state, s) for s in cell.states)]
        return each_output(output)

    def step_keeping(self, wx: Row, wh: State) -> Row:
        """The same by the printed function, keeping every state and what the backward needs."""
        of_state = tuple(getattr(wh, gate) for gate in self.cell.fed_gates)
        outputs, state, keeps = self.printed.forward(wx, of_state, self.history[-1], self.unit, *self.times)
        self.history.append(state)
        self.keeps.append(keeps)
        return outputs

    def path(self) -> list[np.ndarray]:
        return [np.stack([states[k] for states in self.history]) for k in range(len(self.cell.states))]

    def pull_outputs(self, d_y: np.ndarray) -> tuple[list[np.ndarray], Any]:
        return self.products.pull_emit(d_y)

    def with_outputs(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> Row:
        d_states = list(d_state)
        for d, state in zip(d_outputs, self.cell.derivation().output_states, strict=True):
            if state is not None:
                k = self.cell.states.index(state)
                d_states[k] = d_states[k] + d
        return tuple(d_states)

    def pull_step(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> tuple[Row, Any]:
        cell, shape, path = self.cell, (self.batch, self.units), self.history
        d = self.printed.backward(
            self.keeps[t], path[t], path[t + 1], self.unit, d_outputs, d_state, *self.transposed
        )
        d_wx, d_wh, before, d_unit, *inner = (
            [np.broadcast_to(np.asarray(v, self.dtype), shape) for v in group] for group in d
        )
        if cell.fed_gates:
            weight = cell.recurrent_rows(self.products.used, "weight_hh", cell.fed_gates)
            through = pull_blocks(np.stack(d_wh, 1), weight, cell.heads)
            for name, share in zip(cell.fed_back, np.split(through, len(cell.fed_back), axis=1), strict=True):
                at = cell.states.index(name)
                before[at] = before[at] + share
        return tuple(before), (d_wx, d_wh, d_unit, *inner)

    def collect(self, t: int, rest: Any) -> None:
        d_wx, d_wh, d_unit, *inner = rest
        kept = self.d_wx, self.d_wh, self.d_products, self.operands
        for every_step, gates in zip(kept, (d_wx, d_wh, *inner), strict=False):
            for k, gate in enumerate(gates):
                every_step[t, :, k] = gate
        for k, share in enumerate(d_unit):
            self.d_unit[k] += share.sum(0)

    def finish(self) -> Any:
        count, d_unit = len(self.cell.vectors), self.d_unit.copy()
        self.products.add(dict(zip(self.cell.vectors, d_unit[:count], strict=True)))
        self.d_unit[:] = 0
        self.add_recurrent(d_unit[count:])
        return self.products.pull_project(self._x, self.d_wx)

    def add_recurrent(self, d_biases: np.ndarray) -> None:
        """Gradients of the recurrent arrays and of the other inner matrices."""
        if not (self.cell.recurrent or self.multiplied):
            return
        count = self.steps * self.batch
        at = [self.cell.states.index(name) for name in self.cell.fed_back]
        fed = np.concatenate([np.concatenate([state[k] for k in at], 1) for state in self.history[:-1]])
        shares = [
            (name, self.d_products[:, :, k].reshape(count, -1), self.operands[:, :, k].reshape(count, -1))
            for k, name in enumerate(self.multiplied)
        ]
        self.products.add(self.inner.gradients(self.d_wh.reshape(count, -1), fed, list(d_biases), shares))


class WrittenProgram(Reference):
    """Cells that write out their step: it is recorded as it runs, and pulled back."""

    def run_forward(self) -> None:
        keeping, cell = self.direction == "backward", self.cell
        self.matrices = (
            {k: Value(v) for k, v in self.products.used.items()} if keeping else self.products.used
        )
        state, outputs = self._state, []
        self.records: list[
            tuple[Any, Arrays, Any, Arrays]
        ] = []  # of a step: x, states before, output, states
        for x in self._x:
            leaves = {k: Value(v) for k, v in state.items()} if keeping else state
            x_t = Value(x) if keeping else x
            output, new = cell.step(self.matrices, x_t, State(**leaves))
            ends = {s: getattr(new, s) for s in cell.states}
            if keeping:
                self.records.append((x_t, leaves, output, ends))
            state = {s: array_of(v) for s, v in ends.items()}
            outputs.append(array_of(output))
        self.last = state
        self.output = self.products.read_out(np.stack(outputs))

    def path(self) -> list[np.ndarray]:
        starts = [[leaves[s].array for _, leaves, _, _ in self.records] for s in self.cell.states]
        return [np.stack([*before, self.last[s]]) for s, before in zip(self.cell.states, starts, strict=True)]

    def pull_outputs(self, d_y: np.ndarray) -> tuple[list[np.ndarray], Any]:
        self.d_x = np.empty_like(self._x)
        return [self.products.pull_read_out(d_y)], 0

    def with_outputs(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> Row:
        _, _, output, ends = self.records[t]
        return tuple(
            d + d_outputs[0] if v is output else d for v, d in zip(ends.values(), d_state, strict=True)
        )

    def pull_step(self, t: int, d_outputs: list[np.ndarray], d_state: Row) -> tuple[Row, Any]:
        x_t, leaves, output, ends = self.records[t]
        seeds = list(zip(ends.values(), d_state, strict=True))
        if not any(v is output for v in ends.values()):
            seeds.append((output, d_outputs[0]))
        wanted = [*leaves.values(), x_t, *self.matrices.values()]
        d = gradients([v for v, _ in seeds], [g for _, g in seeds], wanted, unsaturated=self.unsaturated)
        return tuple(d[: len(leaves)]), d[len(leaves) :]

    def collect(self, t: int, rest: Any) -> None:
        self.d_x[t] = rest[0]
        self.products.add(dict(zip(self.matrices, rest[1:], strict=True)))

    def finish(self) -> Any:
        return self.d_x
