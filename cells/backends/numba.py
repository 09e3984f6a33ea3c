"""Fused CPU kernels: the cell's printed expressions inside one compiled loop over the steps.

One product for the inputs of all steps (of a segment, when they are many), one for each weight gradient.
"""

from __future__ import annotations

import numpy as np

from ..kernels import fused
from ..kernels.step import step
from ..matrices import by_head
from ..program import Backend, Gradients, Program
from ..sides import Sides, blocks_gradient

SEGMENT_BYTES = 4 << 20  # of one buffer of gate values: what a core's cache holds a good part of


class NumbaBackend(Backend):
    """Numba on the CPU."""

    def unavailable(self, device="cpu"):
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"numba cannot be imported: {error}"
        return super().unavailable(device)

    def unsupported(self, cell, dtype="float32", device="cpu", direction="backward"):
        if cell.written_out:
            return f"cell {cell.name!r} writes out its step; a fused kernel needs pointwise equations around products"
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell, *arguments):
        return NumbaProgram(cell, *arguments)


class NumbaProgram(Program):
    def setup(self):
        import numba

        self.implementation = f"numba {numba.__version__}"
        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.gates = len(cell.gates)
        self.source = step(cell)
        self.one_product = fused.all_summed(cell, self.source)
        self.segment = max(1, min(steps, SEGMENT_BYTES // (batch * self.gates * units * np.dtype(self.dtype).itemsize)))
        self.keeping = self.direction == "backward"
        self.wx = self.empty(self.segment, batch, self.gates, units)
        self.wh = self.empty(batch, len(cell.recurrent), units)
        outputs = [own for own in self.source.output_states if own]
        rows = [steps + 1 if self.keeping or s in outputs or s in cell.fed_back else 2 for s in cell.states]
        self.states = [self.empty(n, batch, units) for n in rows]
        self.in_turn = [n < steps + 1 for n in rows]  # two rows, not one for each step
        self.apart = [self.empty(steps, batch, units) for _ in fused.outputs_apart(self.source)]
        self.keep = self.empty(steps if self.keeping else 1, len(self.source.keeps), batch, units)
        width = units // cell.heads
        self.part, self.rows = self.empty(batch, width), self.empty(batch, len(cell.recurrent) * width)
        if self.keeping:
            self.d_wh = self.wx if self.one_product else self.empty(self.segment, *self.wh.shape)
        self.compile()

    def empty(self, *shape):
        return np.empty(shape, self.dtype)

    def compile(self):
        """Compiles for the types of the arrays that will be used, or reads what an earlier process compiled."""
        import numba

        module = fused.module(self.cell, self.dtype)
        self.kernel = module.forward_keeping if self.keeping else module.forward
        row, flat, cube = self.empty(1), self.empty(1, 1), self.empty(1, 1, 1)
        units = [row] * len(self.cell.vectors)
        kinds = [self.wx, self.wh, cube, flat, self.part, self.rows, *self.states, *self.apart, self.keep, *units]
        with fused.many_arrays():
            self.kernel.compile(tuple(map(numba.typeof, kinds)))
            if self.keeping:
                self.backward_kernel = module.backward
                d_outputs, sums = [cube] * len(self.source.outputs), [np.empty(1)] * len(units)
                kinds = [self.keep, *self.states, *d_outputs, *[cube] * len(self.states), self.wx, self.d_wh]
                kinds += [cube, self.part, self.rows, *units, *sums]
                self.backward_kernel.compile(tuple(map(numba.typeof, kinds)))

    def assign(self, params):
        self.params = {k: self.place(v) for k, v in params.items()}
        self.sides = Sides(self.cell, self.params, self.keeping)
        cell, used = self.cell, self.sides.used
        self.by_part = by_part(cell, used["weight_hh"]) if cell.recurrent else self.empty(0, 1, 1)
        self.transposed = np.ascontiguousarray(self.by_part.swapaxes(1, 2))
        self.bias_hh = used.get("bias_hh", np.zeros(self.wh[0].size, self.dtype)).reshape(len(cell.recurrent), self.units)
        self.bias = np.zeros((self.gates, self.units), self.dtype)  # of gates whose two products are used in one sum
        for gate in self.source.summed:
            self.bias[cell.gates.index(gate)] = self.bias_hh[cell.recurrent.index(gate)]

    def segments(self):
        """Slices of the steps, each as long as the buffers of gate values."""
        return [slice(t, min(t + self.segment, self.steps)) for t in range(0, self.steps, self.segment)]

    def run_forward(self):
        for array, name in zip(self.states, self.cell.states, strict=True):
            array[0] = self._state[name]
        for part in self.segments():
            count = part.stop - part.start
            wx = self.wx[:count]
            self.sides.project(self._x[part], wx, self.bias.ravel(), part.start)
            states = [a if two else a[part.start : part.stop + 1] for a, two in zip(self.states, self.in_turn, strict=True)]
            keep = self.keep[part] if self.keeping else self.keep
            apart = [a[part] for a in self.apart]
            self.kernel(wx, self.wh, self.transposed, self.bias_hh, self.part, self.rows, *states, *apart, keep, *self.sides.unit)
            for array, two in zip(self.states, self.in_turn, strict=True):
                if two:
                    array[0] = array[count % 2]
        ends = [a[0] if two else a[-1] for a, two in zip(self.states, self.in_turn, strict=True)]
        self.last = dict(zip(self.cell.states, ends, strict=True))
        apart, at = iter(self.apart), self.cell.states.index
        outputs = [self.states[at(own)][1:] if own else next(apart) for own in self.source.output_states]
        self.output = self.sides.emit(self._x, outputs)

    def run_backward(self, trace=False, again=False):
        cell = self.cell
        d_outputs, d_x_emitted = self.sides.pull_emit(self._d_output)
        d_outputs = [np.ascontiguousarray(d) for d in d_outputs]
        shape = (self.steps + 1 if trace else 2, self.batch, self.units)
        d_states = [self.empty(*shape) for _ in cell.states]
        d_unit = [np.zeros(self.units) for _ in cell.vectors]  # float64: sums over all steps and sequences
        d_x = np.empty_like(self._x)
        last = True
        for part in reversed(self.segments()):
            count = part.stop - part.start
            views = [d[part.start : part.stop + 1] for d in d_states] if trace else d_states
            for d, name in zip(views, cell.states, strict=True):
                if last:
                    d[count % len(d)] = self._d_state[name]
                elif not trace:
                    d[count % 2] = d[0]
            states = [a[part.start : part.stop + 1] for a in self.states]
            d_wx, d_wh = self.wx[:count], self.d_wh[:count]
            self.backward_kernel(
                self.keep[part], *states, *(d[part] for d in d_outputs), *views, d_wx, d_wh,
                self.by_part, self.part, self.rows, *self.sides.unit, *d_unit,
            )  # fmt: skip
            self.add_recurrent(states, d_wh.reshape(count * self.batch, -1))
            d_x[part] = self.sides.pull_project(self._x[part], d_wx, part.start)
            last = False
        d_x += d_x_emitted
        self.sides.add({v: d.astype(self.dtype) for v, d in zip(cell.vectors, d_unit, strict=True)})
        d_state = {name: d[0] for name, d in zip(cell.states, d_states, strict=True)}
        path = dict(zip(cell.states, d_states, strict=True)) if trace else None
        self.gradients = Gradients(self.sides.finish(), d_x, d_state, path)

    def add_recurrent(self, states, d_wh):
        """Adds a segment's share of the recurrent arrays' gradients, one product a weight; d_wh (T * B, G * units)."""
        cell = self.cell
        if not cell.recurrent:
            return
        fed = [states[cell.states.index(name)][:-1].reshape(len(d_wh), -1) for name in cell.fed_back]
        joint = fed[0] if len(fed) == 1 else np.concatenate(fed, 1)
        self.sides.add({"weight_hh": blocks_gradient(d_wh, joint, cell.heads, len(cell.recurrent))})
        if "bias_hh" in self.params:
            self.sides.add({"bias_hh": d_wh.sum(0)})


def by_part(cell, weight):
    """weight_hh as (parts, rows, K / parts): a part for each head, or for each state that is fed back."""
    if cell.heads > 1:
        return np.ascontiguousarray(by_head(weight, cell.heads, len(cell.recurrent)))
    return np.stack(np.split(weight, len(cell.fed_back), axis=1))
