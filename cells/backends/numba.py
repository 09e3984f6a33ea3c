"""Fused CPU kernels: the cell's printed expressions inside one compiled loop over the steps.

The inputs' product is made a few steps ahead, while a cache holds it; each weight gradient is one product.
Threads share out the sequences. In the mode scan the steps of an affine recurrence are cut into chunks, which
threads compute side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..derived import affine
from ..kernels import fused, panels
from ..kernels.chunks import most_threads, together
from ..kernels.segments import steps_ahead, steps_of
from ..kernels.step import step
from ..kernels.trajectory import Trajectory
from ..programs.backend import Backend, without_equations
from ..programs.products import Products, blocks_gradient, column_sums
from ..programs.program import Program
from ..vocabulary.matrices import by_head
from ._numba_phases import PhasedProgram
from ._numba_program import SegmentedProgram
from ._numba_scan import ScanProgram

OF_A_THREAD = 1 << 20  # multiplications: for fewer, handing them over takes longer than doing them


@dataclass(frozen=True)
class NumbaBackend(Backend):
    """Numba on the CPU. mode is sequential, or scan for affine recurrences."""

    mode: str = "sequential"

    def __post_init__(self) -> None:
        affine.check_mode(self.mode)

    def unavailable(self, device: str = "cpu") -> str | None:
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"numba cannot be imported: {error}"
        return super().unavailable(device)

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        if reason := without_equations(cell, "a fused kernel is printed from equations"):
            return reason
        if self.mode == "scan" and (reason := affine.unsupported(cell)):
            return reason
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        if self.mode == "scan":
            return ScanProgram(cell, *arguments)
        return (NumbaProgram if cell.pointwise else PhasedProgram)(cell, *arguments)


class NumbaProgram(SegmentedProgram):
    """One kernel over all steps of a segment."""

    on_views = True

    def setup(self) -> None:
        import numba

        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.gates = len(cell.gates)
        work = steps * batch * self.gates * units * (self.input_size + units)
        self.threads = max(1, min(most_threads(), batch, work // OF_A_THREAD))
        edges = [batch * k // self.threads for k in range(self.threads + 1)]
        self.shares = list(pairwise(edges))
        self.implementation = f"numba {numba.__version__}" + f", {self.threads} threads" * (self.threads > 1)
        self.source = step(cell)
        self.one_product = fused.all_summed(cell, self.source)
        self.in_place = fused.in_place(cell, self.source)
        row = batch * self.gates * units * np.dtype(self.dtype).itemsize
        self.segment, self.ahead = steps_of(row, steps), steps_ahead(row, steps, batch)
        self.hold_states(self.source.output_states, keeping=self.direction == "backward")
        self.module = fused.module(cell, self.dtype)
        recurrent = len(cell.recurrent)
        # the backward writes d_wx there; a projection of the cell's own comes as a whole
        whole = self.keeping or cell.writes("project")
        self.wx = self.empty(self.segment if whole else self.ahead, batch, self.gates, units)
        self.wh = self.empty(0 if self.in_place else batch, recurrent, units)
        self.apart = [self.empty(steps, batch, units) for _ in fused.outputs_apart(self.source)]
        self.keep = self.empty(steps if self.keeping else 1, len(self.source.keeps), batch, units)
        if self.keeping:
            self.d_wh = self.empty(0 if self.one_product else self.segment, batch, recurrent, units)
        self.compile()

    def compile(self) -> None:
        """Compiles for the types of the arrays, or reads what an earlier process compiled."""
        import numba

        self.kernel = self.module.forward_keeping if self.keeping else self.module.forward
        row, flat, cube, panels, packed = (self.empty(*[1] * axes) for axes in (1, 2, 3, 3, 4))
        states, units = [cube] * len(self.states), [row] * len(self.cell.vectors)
        apart = [cube] * len(self.apart)
        kinds = [1, 1, 1, cube, panels, flat, self.wx, self.wh, packed, cube]
        kinds += [*states, *apart, self.keep, *units]
        with fused.many_arrays():
            self.kernel.compile(tuple(map(numba.typeof, kinds)))
            if self.keeping:
                self.backward_kernel = self.module.backward
                d_outputs, sums = [cube] * len(self.source.outputs), [np.empty(1)] * len(units)
                kinds = [1, 1, 1, self.keep, *states, *d_outputs, *states, self.wx, self.d_wh]
                kinds += [packed, panels, cube, *units, *sums]
                self.backward_kernel.compile(tuple(map(numba.typeof, kinds)))

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.keeping)
        cell, used = self.cell, self.products.used
        weight = split_weight(cell, used["weight_hh"]) if cell.recurrent else self.empty(0, 1, 1)
        panel = self.module.PANEL
        self.weight = panels.packed(weight, panel)
        self.transposed = panels.packed(weight.swapaxes(1, 2), panel) if self.keeping else weight
        recurrent, gates = (1, len(cell.recurrent), self.units), (1, self.gates * self.units)
        self.bias_hh = used.get("bias_hh", np.zeros(recurrent, self.dtype)).reshape(recurrent)
        own = self.products.projects
        bias = np.zeros(gates, self.dtype) if own else used.get("bias_ih", np.zeros(gates, self.dtype))
        # where the states' products are added to the inputs', one bias starts both
        self.bias = bias.reshape(gates) + (self.bias_hh.reshape(gates) if self.in_place else 0)
        inputs = self.empty(0, 1, 1) if own else used["weight_ih"]
        self.inputs = self.turned = self.empty(0, 1, panel)
        if not own:
            (self.inputs,) = panels.packed(inputs[None], panel)
            if self.keeping:
                (self.turned,) = panels.packed(inputs.T[None], panel)

        # made once, for this is a good part of the time of a short call
        self.bias_row = self.bias.ravel()
        self.arguments = {segment.start: self.arguments_of(segment) for segment in self.segments()}

    def arguments_of(self, segment: slice) -> tuple[np.ndarray, ...]:
        """What the kernel takes for a segment of the steps, after its inputs."""
        return (
            self.inputs,
            self.bias,
            self.wx,
            self.wh,
            self.weight,
            self.bias_hh,
            *(trajectory.of(segment) for trajectory in self.states),
            *(array[segment] for array in self.apart),
            self.keep[segment] if self.keeping else self.keep,
            *self.products.unit,
        )

    def push_segment(self, segment: slice) -> None:
        x, arguments = self._x[segment], self.arguments[segment.start]
        if self.products.projects:
            wx, bias = self.wx[: segment.stop - segment.start], self.bias_row if self.in_place else None
            self.products.project(x, wx, bias, segment.start)
        if self.threads == 1:
            self.kernel(0, self.batch, self.ahead, x, *arguments)
            return
        calls = (partial(self.kernel, *share, self.ahead, x, *arguments) for share in self.shares)
        together(calls, self.threads)

    def sums(self) -> list[np.ndarray]:
        return [np.zeros((self.threads, self.units)) for _ in self.cell.vectors]  # each thread has its own

    def of_vectors(self, sums: list[np.ndarray]) -> list[np.ndarray]:
        return [d.sum(0) for d in sums]

    def pull_segment(
        self,
        segment: slice,
        d_outputs: list[np.ndarray],
        d_states: list[Trajectory],
        sums: list[np.ndarray],
        d_x: np.ndarray,
    ) -> None:
        count = segment.stop - segment.start
        states = [trajectory.of(segment) for trajectory in self.states]
        d_wx, d_wh = self.wx[:count], self.d_wh[:count]
        arrays = [self.keep[segment], *states, *(d[segment] for d in d_outputs)]
        arrays += [*(d.of(segment) for d in d_states), d_wx, d_wh, self.transposed]
        arrays += [self.turned[: 0 if self.states_only else None], d_x[segment], *self.products.unit]
        calls = (
            partial(self.backward_kernel, *share, self.ahead, *arrays, *(d[k] for d in sums))
            for k, share in enumerate(self.shares)
        )
        together(calls, self.threads)
        if self.states_only:
            return
        self.add_recurrent(states, (d_wx if self.one_product else d_wh).reshape(count * self.batch, -1))
        if self.products.projects:
            d_x[segment] = self.products.pull_project(self._x[segment], d_wx, segment.start)
        else:
            self.products.add_inputs(self._x[segment], d_wx)

    def add_recurrent(self, states: list[np.ndarray], d_wh: np.ndarray) -> None:
        """Adds a segment's share of the recurrent arrays' gradients; d_wh is (T * B, G * units)."""
        cell = self.cell
        if not cell.recurrent:
            return
        fed = [states[cell.states.index(name)][:-1].reshape(len(d_wh), -1) for name in cell.fed_back]
        joint = fed[0] if len(fed) == 1 else np.concatenate(fed, 1)
        self.products.add({"weight_hh": blocks_gradient(d_wh, joint, cell.heads, len(cell.recurrent))})
        if "bias_hh" in self.params:
            self.products.add({"bias_hh": column_sums(d_wh)})


def split_weight(cell: GatedCell, weight: np.ndarray) -> np.ndarray:
    """weight_hh as (N, rows, K), of N states that are fed back, or of each gate of each head."""
    if cell.heads > 1:
        of_head = by_head(weight, cell.heads, len(cell.recurrent))
        return np.ascontiguousarray(of_head).reshape(-1, of_head.shape[-1], of_head.shape[-1])
    return np.stack(np.split(weight, len(cell.fed_back), axis=1))
