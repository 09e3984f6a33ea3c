"""Kernels of steps that multiply or average values of their own: see `kernels.phased`."""

from __future__ import annotations

import numpy as np

from ..contract import Arrays
from ..kernels import panels, phased
from ..kernels.chunks import most_threads
from ..kernels.compiling import compile_for
from ..kernels.division import Division
from ..kernels.segments import steps_of
from ..kernels.trajectory import Trajectory
from ..programs.inner import Inner
from ..programs.products import Products
from ..vocabulary.matrices import by_head
from ._numba_program import SegmentedProgram


class PhasedProgram(SegmentedProgram):
    """The steps one after the other, each phase by phase.

    `width` is that of the states which are fed back, and of the products with the cell's matrices, where
    these are padded with zeros; None where they are as wide as the units.
    """

    width: int | None = None

    def setup(self) -> None:
        import numba

        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        alone = "a step joins its units" if most_threads() > 1 else ""
        self.implementation = f"numba {numba.__version__}{Division([(0, batch)], [(0, units)], alone)}"
        self.module, self.kernels = phased.module(cell, self.dtype), phased.Kernels(cell)
        kernels, fed, panel = self.kernels, len(cell.fed_gates), self.module.PANEL
        self.hold_states(kernels.output_states, keeping=self.direction == "backward")
        self.gates, width = len(cell.gates), units // cell.heads
        self.segment = steps_of(self)
        self.wx = self.empty(self.segment, batch, self.gates, units)
        self.wh = self.empty(batch, panels.whole(fed * units, panel))
        self.apart = [self.empty(steps, batch, units) for _ in kernels.apart]
        kept = steps if self.keeping else 1
        self.keep = self.empty(kept, len(kernels.keeps), batch, units)
        self.operands = self.empty(kept, len(kernels.d.products), batch, units)
        self.means = self.empty(kept, len(kernels.means), batch)
        # of one head: its units and its gates, of which one is read and the other written, as whole panels
        self.part = self.empty(batch, width)
        self.rows = self.empty(batch, panels.whole(max(fed, 1) * width, panel))
        self.buffers = self.scratch(kernels.plans[self.keeping])
        if self.keeping:
            self.d_wh = self.empty(self.segment, batch, fed, units)
            self.d_part = np.zeros((batch, len(self.rows[0])), self.dtype)
            self.d_rows = self.empty(batch, fed * width)
            self.d_products = self.empty(self.segment, len(kernels.d.products), batch, units)
            plan = kernels.back
            self.d_operands = self.empty(1, len(plan.products), batch, units)
            self.d_buffers = self.scratch(plan)
            self.d_means = self.empty(len(plan.means), batch)
        self.compile()

    def scratch(self, plan: phased.Plan) -> list[np.ndarray]:
        """Of one step: results of products, values held for later phases, rows to be averaged."""
        wide = panels.whole(self.units, self.module.PANEL)
        return [
            np.zeros((len(plan.products), self.batch, wide), self.dtype),  # a narrow product leaves the rest
            self.empty(len(plan.held), self.batch, self.units),
            self.empty(len(plan.means), self.units),
        ]

    def compile(self) -> None:
        self.kernel = self.module.forward_keeping if self.keeping else self.module.forward
        flat, cube, packed = (self.empty(*[1] * axes) for axes in (2, 3, 4))
        states, kernels = [cube] * len(self.states), self.kernels
        matrices = [packed] * len(kernels.matrices)
        kinds = [self.wx, self.wh, packed, flat, self.part, self.rows, *states, *[cube] * len(self.apart)]
        kinds += [self.keep, flat, self.operands, *self.buffers, *matrices, self.means]
        compile_for(self.kernel, kinds)
        if self.keeping:
            self.backward_kernel = self.module.backward
            kinds = [
                self.keep,
                *states,
                *[cube] * len(kernels.output_states),
                *states,
                self.wx,
                self.d_wh,
            ]
            kinds += [packed, self.part, self.rows, self.d_part, self.d_rows, flat]
            kinds += [np.empty((1, 1)), self.d_operands, *self.d_buffers, *matrices]
            kinds += [self.means, self.d_products, self.d_means]
            compile_for(self.backward_kernel, kinds)

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.keeping, self.replays.anew())
        cell, used, panel = self.cell, self.products.used, self.module.PANEL
        self.inner = Inner(cell, used)
        vectors = self.inner.unit()
        self.vectors = np.stack(vectors) if vectors else self.empty(0, self.units)
        weight, transposed = self.empty(0, 1, 1), self.empty(0, 1, 1)
        if cell.fed_gates:
            rows = cell.recurrent_rows(used, "weight_hh", cell.fed_gates)
            count = len(cell.fed_gates)
            weight = (
                by_head(rows, cell.heads, count)
                if cell.heads > 1
                else np.stack(np.split(rows, len(cell.fed_back), axis=1))
            )
            weight = weight[..., : self.width]
            transposed = weight.swapaxes(1, 2)
        self.weight, self.transposed = panels.packed(weight, panel), panels.packed(transposed, panel)
        of_heads = [by_head(m[: self.width], self.inner.heads[n], 1) for n, m in self.inner.matrices.items()]
        self.matrices = [panels.packed(m, panel) for m in of_heads]
        self.matrices_transposed = [panels.packed(m.swapaxes(1, 2), panel) for m in of_heads]
        recurrent = (len(cell.recurrent), self.units)
        self.bias_hh = used.get("bias_hh", np.zeros(recurrent, self.dtype)).reshape(recurrent)
        # of gates whose two products are used in one sum; the kernel adds it to the others' products
        self.bias = np.zeros((self.gates, self.units), self.dtype)
        for gate in self.kernels.summed:
            self.bias[cell.gates.index(gate)] = self.bias_hh[cell.recurrent.index(gate)]

    def push_segment(self, segment: slice) -> None:
        count = segment.stop - segment.start
        wx, rows = self.wx[:count], segment if self.keeping else slice(None)
        self.products.project(self._x[segment], wx, self.bias.ravel(), segment.start)
        self.kernel(
            wx,
            self.wh,
            self.weight,
            self.bias_hh,
            self.part,
            self.rows,
            *(trajectory.of(segment) for trajectory in self.states),
            *(array[segment] for array in self.apart),
            self.keep[rows],
            self.vectors,
            self.operands[rows],
            *self.buffers,
            *self.matrices,
            self.means[rows],
        )

    def sums(self) -> np.ndarray:
        return np.zeros(self.vectors.shape)

    def of_vectors(self, sums: np.ndarray) -> np.ndarray:
        return sums[: len(self.cell.vectors)]

    def pull_segment(
        self,
        segment: slice,
        d_outputs: list[np.ndarray],
        d_states: list[Trajectory],
        sums: np.ndarray,
        d_x: np.ndarray,
    ) -> None:
        count = segment.stop - segment.start
        states = [trajectory.of(segment) for trajectory in self.states]
        d_wx, d_wh, d_products = self.wx[:count], self.d_wh[:count], self.d_products[:count]
        self.backward_kernel(
            self.keep[segment],
            *states,
            *(d[segment] for d in d_outputs),
            *(d.of(segment) for d in d_states),
            d_wx,
            d_wh,
            self.transposed,
            self.part,
            self.rows,
            self.d_part,
            self.d_rows,
            self.vectors,
            sums,
            self.d_operands,
            *self.d_buffers,
            *self.matrices_transposed,
            self.means[segment],
            d_products,
            self.d_means,
        )
        if not self.states_only:
            # these are sums over all steps, which are complete after the first segment
            d_biases = sums[len(self.cell.vectors) :] if segment.start == 0 else sums[:0]
            self.add_products(segment, states, list(d_biases.astype(self.dtype)))
            d_x[segment] = self.products.pull_project(self._x[segment], d_wx, segment.start)

    def add_products(self, segment: slice, states: list[np.ndarray], d_biases: list[np.ndarray]) -> None:
        """Adds a segment's share of the gradients of weight_hh, bias_hh and the matrices."""
        cell, count = self.cell, segment.stop - segment.start
        if not (cell.recurrent or self.kernels.matrices):
            return
        rows = count * self.batch
        fed = [
            states[cell.states.index(name)][:-1].reshape(rows, -1)[:, : self.width] for name in cell.fed_back
        ]
        operands = self.operands[segment]
        shares = [
            (
                node.value,
                self.d_products[:count, k].reshape(rows, -1)[:, : self.width],
                operands[:, k].reshape(rows, -1),
            )
            for k, node in enumerate(self.kernels.d.products)
        ]
        joint, d_wh = np.concatenate(fed, 1), self.d_wh[:count].reshape(rows, -1)
        self.products.add(self.inner.gradients(d_wh, joint, d_biases, shares))
