"""Fused CPU kernels: the cell's printed expressions inside one compiled loop over the steps.

The inputs' product is made a few steps ahead, while a cache holds it; each weight gradient is one product.
Threads share out the sequences, or the units where these are few. In the mode scan the steps of an affine
recurrence are cut into chunks, which threads compute side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..derived import affine
from ..kernels import fused, panels
from ..kernels.chunks import has_a_core_each, most_threads, together
from ..kernels.compiling import compile_for
from ..kernels.division import Range, division
from ..kernels.gang import at_once, new_barrier
from ..kernels.segments import steps_ahead, steps_of
from ..kernels.step import step
from ..kernels.trajectory import Trajectory
from ..programs.backend import Backend, without_equations
from ..programs.products import Products, blocks_gradient, column_sums
from ..programs.program import Program
from ._numba_phases import PhasedProgram
from ._numba_program import SegmentedProgram
from ._numba_projected import ProjectedProgram
from ._numba_scan import ScanProgram
from ._numba_weights import packed_weights


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
        needed = "a fused kernel is printed from equations"
        if not cell.printable and (reason := without_equations(cell, needed)):
            return reason
        if self.mode == "scan" and (reason := affine.unsupported(cell)):
            return reason
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        if self.mode == "scan":
            return ScanProgram(cell, *arguments)
        if cell.widened():
            return ProjectedProgram(cell, *arguments)
        return (NumbaProgram if cell.pointwise else PhasedProgram)(cell, *arguments)


class NumbaProgram(SegmentedProgram):
    """One kernel over all steps of a segment."""

    on_views = True

    def setup(self) -> None:
        import numba

        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.gates, recurrent = len(cell.gates), len(cell.recurrent)
        work = steps * batch * self.gates * units * (self.input_size + units)
        shared = cell.heads == 1 and has_a_core_each()
        of_step = batch * recurrent * units * len(cell.fed_back) * units if shared else 0
        self.division = division(most_threads(), batch, units, work, of_step)
        self.threads, self.shares = self.division.threads, self.division.shares
        self.implementation = f"numba {numba.__version__}{self.division}"
        self.source = step(cell)
        self.one_product = fused.all_summed(cell, self.source)
        self.in_place = fused.in_place(cell, self.source)
        size = np.dtype(self.dtype).itemsize
        row, read = batch * self.gates * units * size, batch * self.input_size * size
        self.segment = steps_of(self)
        self.ahead = steps_ahead(row + read, steps, batch)
        self.hold_states(self.source.output_states, keeping=self.direction == "backward")
        self.module = fused.module(cell, self.dtype, self.division.of_units)
        # the backward writes d_wx there; a projection of the cell's own comes as a whole
        projects = cell.writes("project")
        rows = self.segment if self.keeping or projects else self.ahead
        self.wx = self.empty(rows, batch, self.gates, units)
        self.apart = [self.empty(steps, batch, units) for _ in fused.outputs_apart(self.source)]
        self.keep = self.empty(steps if self.keeping else 1, len(self.source.keeps), batch, units)
        if self.keeping:
            self.d_wh = self.empty(0 if self.one_product else self.segment, batch, recurrent, units)
        # of each block of units, of which one is the whole
        self.widths = [high - low for low, high in self.division.blocks]
        self.own_wx = [self.wx]
        if self.division.of_units:
            rows = self.segment if projects else self.ahead
            self.own_wx = [self.empty(rows, batch, self.gates, width) for width in self.widths]
        self.own_wh = [self.empty(0 if self.in_place else batch, recurrent, width) for width in self.widths]
        self.compile()

    def compile(self) -> None:
        """Compiles for the types of the arrays, or reads what an earlier process compiled."""
        self.kernel = self.module.forward_keeping if self.keeping else self.module.forward
        row, flat, cube, panels, packed = (self.empty(*[1] * axes) for axes in (1, 2, 3, 3, 4))
        states, units = [cube] * len(self.states), [row] * len(self.cell.vectors)
        apart = [cube] * len(self.apart)
        of_block = [*self.place_of(0), new_barrier()] if self.division.of_units else []
        kinds = [1, 1, 1, cube, panels, flat, self.wx, self.own_wh[0], packed, cube]
        kinds += [*states, *apart, self.keep, *units, *of_block]
        compile_for(self.kernel, kinds, self.division.of_units)
        if self.keeping:
            self.backward_kernel = self.module.backward
            d_outputs, sums = [cube] * len(self.source.outputs), [np.empty(1)] * len(units)
            kinds = [1, 1, 1, self.keep, *states, *d_outputs, *states, self.wx, self.d_wh]
            kinds += [packed, panels, cube, *units, *sums, *of_block]
            compile_for(self.backward_kernel, kinds, self.division.of_units)

    def place_of(self, thread: int) -> tuple[Any, ...]:
        """What a kernel takes to find a thread's units; unsigned, so that it checks for no negative index."""
        if not self.division.of_units:
            return ()
        low, high = self.division.blocks[thread]
        return np.uint64(low), np.uint64(high), thread, self.threads

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.keeping, self.replays.anew())
        cell, used, panel = self.cell, self.products.used, self.module.PANEL
        own = self.products.projects
        zeros = np.zeros(self.gates * self.units, self.dtype)
        bias = zeros if own else used.get("bias_ih", zeros)
        # where the states' products are added to the inputs', one bias starts both
        self.bias_row = bias + used["bias_hh"] if self.in_place and "bias_hh" in used else bias
        self.weights = [
            packed_weights(cell, used, self.bias_row, block, self.units, self.keeping, panel)
            for block in self.division.blocks
        ]
        self.turned = self.empty(0, 1, panel)
        if self.keeping and not own:
            (self.turned,) = panels.packed(used["weight_ih"].T[None], panel)
        # made once, for this is a good part of the time of a short call
        blocks = range(len(self.weights))
        self.arguments = {s.start: [self.arguments_of(s, block) for block in blocks] for s in self.segments()}

    def arguments_of(self, segment: slice, block: int) -> tuple[Any, ...]:
        """What the kernel takes for a segment of the steps, after its inputs."""
        weights = self.weights[block]
        return (
            weights.inputs,
            weights.bias,
            self.own_wx[block],
            self.own_wh[block],
            weights.recurrent,
            weights.bias_hh,
            *(trajectory.of(segment) for trajectory in self.states),
            *(array[segment] for array in self.apart),
            self.keep[segment] if self.keeping else self.keep,
            *self.products.unit,
            *self.place_of(block),
        )

    def push_segment(self, segment: slice) -> None:
        x, (arguments, *others) = self._x[segment], self.arguments[segment.start]
        if self.products.projects:
            wx, bias = self.wx[: segment.stop - segment.start], self.bias_row if self.in_place else None
            self.products.project(x, wx, bias, segment.start)
            if others:
                for own, (low, high) in zip(self.own_wx, self.division.blocks, strict=True):
                    own[: len(wx)] = wx[..., low:high]
        if self.threads == 1:
            self.kernel(0, self.batch, self.ahead, x, *arguments)
        elif others:
            every = (arguments, *others)
            at_once([partial(self.kernel, 0, self.batch, self.ahead, x, *each) for each in every])
        else:
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
        arrays += [*(d.of(segment) for d in d_states), d_wx, d_wh]
        after = [self.turned[: 0 if self.states_only else None], d_x[segment], *self.products.unit]

        def call(thread: int, share: Range, block: int) -> Callable[..., None]:
            mine = [self.weights[block].transposed, *after, *(d[thread] for d in sums)]
            return partial(self.backward_kernel, *share, self.ahead, *arrays, *mine, *self.place_of(block))

        if self.division.of_units:
            at_once([call(k, (0, self.batch), k) for k in range(self.threads)])
        else:
            together([call(k, share, 0) for k, share in enumerate(self.shares)], self.threads)
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
