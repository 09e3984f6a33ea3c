"""Fused CPU kernels: the cell's printed expressions inside one compiled loop over the steps.

One product for the inputs of all steps (of a segment, when they are many), one for each weight gradient. In
the mode scan the steps of an affine recurrence are cut into chunks, which threads compute side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..derived import affine as scan
from ..kernels import fused
from ..kernels import scan as scanning
from ..kernels.chunks import chunks, together
from ..kernels.step import step
from ..programs.backend import Backend
from ..programs.products import Products, blocks_gradient, column_sums
from ..programs.program import Gradients, Program
from ..vocabulary.matrices import by_head

SEGMENT_BYTES = 4 << 20  # of one buffer of gate values: what a core's cache holds a good part of


@dataclass(frozen=True)
class NumbaBackend(Backend):
    """Numba on the CPU. mode is sequential, or scan for affine recurrences."""

    mode: str = "sequential"

    def __post_init__(self):
        scan.check_mode(self.mode)

    def unavailable(self, device="cpu"):
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"numba cannot be imported: {error}"
        return super().unavailable(device)

    def unsupported(self, cell, dtype="float32", device="cpu", direction="backward"):
        if cell.written_out:
            return (
                f"cell {cell.name!r} writes out its step; a fused kernel needs pointwise equations around"
                " products"
            )
        if self.mode == "scan" and (reason := scan.unsupported(cell)):
            return reason
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell, *arguments):
        return (ScanProgram if self.mode == "scan" else NumbaProgram)(cell, *arguments)


class NumbaProgram(Program):
    def setup(self):
        import numba

        self.implementation = f"numba {numba.__version__}"
        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.gates = len(cell.gates)
        self.source = step(cell)
        self.one_product = fused.all_summed(cell, self.source)
        self.segment = max(
            1, min(steps, SEGMENT_BYTES // (batch * self.gates * units * np.dtype(self.dtype).itemsize))
        )
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
        kinds = [
            self.wx,
            self.wh,
            cube,
            flat,
            self.part,
            self.rows,
            *self.states,
            *self.apart,
            self.keep,
            *units,
        ]
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
        self.products = Products(self.cell, self.params, self.keeping)
        cell, used = self.cell, self.products.used
        self.by_part = by_part(cell, used["weight_hh"]) if cell.recurrent else self.empty(0, 1, 1)
        self.transposed = np.ascontiguousarray(self.by_part.swapaxes(1, 2))
        self.bias_hh = used.get("bias_hh", np.zeros(self.wh[0].size, self.dtype)).reshape(
            len(cell.recurrent), self.units
        )
        self.bias = np.zeros(
            (self.gates, self.units), self.dtype
        )  # of gates whose two products are used in one sum
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
            self.products.project(self._x[part], wx, self.bias.ravel(), part.start)
            states = [
                a if two else a[part.start : part.stop + 1]
                for a, two in zip(self.states, self.in_turn, strict=True)
            ]
            keep = self.keep[part] if self.keeping else self.keep
            apart = [a[part] for a in self.apart]
            self.kernel(
                wx,
                self.wh,
                self.transposed,
                self.bias_hh,
                self.part,
                self.rows,
                *states,
                *apart,
                keep,
                *self.products.unit,
            )
            for array, two in zip(self.states, self.in_turn, strict=True):
                if two:
                    array[0] = array[count % 2]
        ends = [a[0] if two else a[-1] for a, two in zip(self.states, self.in_turn, strict=True)]
        self.last = dict(zip(self.cell.states, ends, strict=True))
        apart, at = iter(self.apart), self.cell.states.index
        outputs = [self.states[at(own)][1:] if own else next(apart) for own in self.source.output_states]
        self.output = self.products.emit(self._x, outputs)

    def run_backward(self, trace=False, again=False):
        cell = self.cell
        d_outputs, d_x_emitted = self.products.pull_emit(self._d_output)
        d_outputs = [np.ascontiguousarray(d) for d in d_outputs]
        shape = (self.steps + 1 if trace else 2, self.batch, self.units)
        d_states = [self.empty(*shape) for _ in cell.states]
        d_unit = [np.zeros(self.units) for _ in cell.vectors]  # float64: sums over all steps and sequences
        d_x = np.zeros_like(self._x)
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
                self.keep[part],
                *states,
                *(d[part] for d in d_outputs),
                *views,
                d_wx,
                d_wh,
                self.by_part,
                self.part,
                self.rows,
                *self.products.unit,
                *d_unit,
            )
            if not self.states_only:
                self.add_recurrent(states, d_wh.reshape(count * self.batch, -1))
                d_x[part] = self.products.pull_project(self._x[part], d_wx, part.start)
            last = False
        d_x += d_x_emitted
        self.products.add({v: d.astype(self.dtype) for v, d in zip(cell.vectors, d_unit, strict=True)})
        d_state = {name: d[0] for name, d in zip(cell.states, d_states, strict=True)}
        path = dict(zip(cell.states, d_states, strict=True)) if trace else None
        self.gradients = Gradients(self.products.finish(), d_x, d_state, path)

    def add_recurrent(self, states, d_wh):
        """Adds a segment's share of the recurrent arrays' gradients, one product a weight; d_wh (T * B, G *
        units).
        """
        cell = self.cell
        if not cell.recurrent:
            return
        fed = [states[cell.states.index(name)][:-1].reshape(len(d_wh), -1) for name in cell.fed_back]
        joint = fed[0] if len(fed) == 1 else np.concatenate(fed, 1)
        self.products.add({"weight_hh": blocks_gradient(d_wh, joint, cell.heads, len(cell.recurrent))})
        if "bias_hh" in self.params:
            self.products.add({"bias_hh": column_sums(d_wh)})


class ScanProgram(Program):
    """Of a segment's chunks the first is computed at once, and meanwhile the state that each of the others
    reaches from 0.

    From these and the products of the Jacobians follow the states between the chunks, from them the other
    chunks. A backward goes the other way: its first chunk is the last.
    """

    # length of the first chunk to that of the others, as the time of an end to that of a chunk (measured:
    # minGRU, float32)
    share, keeping_share, d_share = 0.75, 0.5, 0.3

    def setup(self):
        import numba

        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.threads = numba.get_num_threads()
        self.workers = max(2, self.threads)
        self.keeping = self.direction == "backward"
        self.source = step(cell)
        self.reach = [tuple(map(cell.states.index, entry)) for entry in scan.recurrence(cell).reach]
        row = batch * len(cell.gates) * units * np.dtype(self.dtype).itemsize
        self.segment = max(1, min(steps, self.workers * SEGMENT_BYTES // row))
        self.wx = self.empty(self.segment, batch, len(cell.gates), units)
        self.states = {s: self.empty(steps + 1, batch, units) for s in scanning.stored(cell, self.keeping)}
        self.apart = [self.empty(steps, batch, units) for _ in fused.outputs_apart(self.source)]
        self.keep = [self.empty(steps, len(self.source.keeps), batch, units)] * self.keeping
        self.jacobians = self.empty(self.workers + 1, len(self.reach), batch, units)
        if self.keeping:
            self.share = self.keeping_share
        count = len(chunks(self.segment, self.workers, self.share))
        self.implementation = f"numba {numba.__version__} scan, {count} chunks on {self.threads} threads"
        self.compile()

    def empty(self, *shape):
        return np.empty(shape, self.dtype)

    def compile(self):
        """Compiles for the types of the arrays that will be used, or reads what an earlier process compiled."""
        import numba

        module, cell = scanning.module(self.cell, self.dtype), self.cell
        row, flat, cube, steps = (numba.typeof(self.empty(*[1] * n)) for n in (1, 2, 3, 4))
        rows, units, products = [flat] * len(cell.states), [row] * len(cell.vectors), [flat] * len(self.reach)
        self.ends_kernel = module.ends
        self.kernel = module.forward_keeping if self.keeping else module.forward
        with fused.many_arrays():
            known = [steps, *rows, flat, *units]
            self.ends_kernel.compile((*known, *products))
            self.kernel.compile(
                (*known, *[cube] * (len(self.states) + len(self.apart)), *[steps] * self.keeping)
            )
            if self.keeping:
                self.d_ends_kernel, self.backward_kernel = module.d_ends, module.backward
                known = [steps, *rows, *[cube] * (len(rows) + len(self.source.outputs)), *units]
                self.d_ends_kernel.compile((*known, *products))
                sums = [numba.typeof(np.empty(1))] * len(units)
                self.backward_kernel.compile((*known, *[cube] * len(rows), steps, *sums))

    def assign(self, params):
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.keeping)
        own = None if self.products.projects else self.products.used.get("bias_ih")
        shape = len(self.cell.gates), self.units
        self.bias = np.zeros(shape, self.dtype) if own is None else own.reshape(shape)  # the kernels add it

    def segments(self):
        """Slices of the steps, each as long as the buffer of gate values."""
        return [slice(t, min(t + self.segment, self.steps)) for t in range(0, self.steps, self.segment)]

    def project(self, part):
        """Fills wx with a segment's, without the biases of a plain product."""
        wx = self.wx[: part.stop - part.start]
        if self.products.projects:
            self.products.project(self._x[part], wx, None, part.start)
        else:
            rows = len(wx) * self.batch
            np.matmul(
                self._x[part].reshape(rows, -1), self.products.used["weight_ih"].T, out=wx.reshape(rows, -1)
            )

    def scan(self, parts, start, ends, compute, transposed=False):
        """The state (S, B, units) after all parts, which come in the order that they depend on each other.

        compute(part, state) does a part's steps and leaves the state after them; ends(part, state, products)
        leaves that state, and the products of the Jacobians that `reach` lists, transposed or not.
        """
        rows = np.zeros((len(parts), *start.shape), self.dtype)
        rows[0] = start
        for n, (a, b) in enumerate(self.reach):
            self.jacobians[:, n] = a == b
        middle = list(zip(parts[1:-1], rows[1:], self.jacobians, strict=False))
        together(
            [partial(compute, parts[0], rows[0]), *(partial(ends, *each) for each in middle)], self.threads
        )
        state = rows[0].copy()
        for c in range(1, len(parts)):
            reached, rows[c] = rows[c].copy(), state
            for n, (a, b) in enumerate(self.reach):
                to, of = (b, a) if transposed else (a, b)
                reached[to] += self.jacobians[c - 1, n] * rows[c][of]
            state = reached  # of the last part it is not the state after it, and not used
        together([partial(compute, *each) for each in zip(parts[1:], rows[1:], strict=True)], self.threads)
        return rows[-1]

    def run_forward(self):
        cell, unit = self.cell, self.products.unit
        state = np.stack([self._state[s] for s in cell.states])
        for name, path in self.states.items():
            path[0] = self._state[name]
        for part in self.segments():
            self.project(part)
            first = part.start

            def ends(chunk, state, products, first=first):
                self.ends_kernel(self.wx[chunk], *state, self.bias, *unit, *products)

            def compute(chunk, state, first=first):
                at = slice(first + chunk.start, first + chunk.stop)
                paths = [path[1:][at] for path in self.states.values()]
                arrays = [array[at] for array in [*self.apart, *self.keep]]
                self.kernel(self.wx[chunk], *state, self.bias, *unit, *paths, *arrays)

            state = self.scan(chunks(part.stop - first, self.workers, self.share), state, ends, compute)
        self.last = dict(zip(cell.states, state, strict=True))
        apart = iter(self.apart)
        self.output = self.products.emit(
            self._x, [self.states[s][1:] if s else next(apart) for s in self.source.output_states]
        )

    def run_backward(self, trace=False, again=False):
        cell, unit = self.cell, self.products.unit
        d_outputs, d_x_emitted = self.products.pull_emit(self._d_output)
        d_outputs = [np.ascontiguousarray(d) for d in d_outputs]
        paths = [self.empty(self.steps + 1, self.batch, self.units) for _ in cell.states] if trace else []
        d_state = np.stack([self._d_state[s] for s in cell.states])
        d_x = np.zeros_like(self._x)
        for part in reversed(self.segments()):
            first, count = part.start, part.stop - part.start
            parts = chunks(count, self.workers, self.d_share)
            parts = [slice(count - p.stop, count - p.start) for p in parts]
            d_unit = {
                p.start: np.zeros((len(cell.vectors), self.units)) for p in parts
            }  # float64: sums over all steps

            def read(chunk, state, first=first):
                begin, end = first + chunk.start, first + chunk.stop
                states = [path[begin : end + 1] for path in self.states.values()]
                return [
                    *(k[begin:end] for k in self.keep),
                    *state,
                    *states,
                    *(d[begin:end] for d in d_outputs),
                    *unit,
                ]

            def ends(chunk, state, products, read=read):
                self.d_ends_kernel(*read(chunk, state), *products)

            def compute(chunk, state, read=read, first=first, d_unit=d_unit):
                at = slice(first + chunk.start, first + chunk.stop)
                written = [path[1:][at] for path in paths] or [self.empty(1, *state[0].shape) for _ in state]
                self.backward_kernel(*read(chunk, state), *written, self.wx[chunk], *d_unit[chunk.start])

            d_state = self.scan(parts, d_state, ends, compute, transposed=True)
            self.products.add(
                {v: sum(d_unit.values())[k].astype(self.dtype) for k, v in enumerate(cell.vectors)}
            )
            if not self.states_only:
                d_x[part] = self.products.pull_project(self._x[part], self.wx[:count], first)
        d_x += d_x_emitted
        for path, last in zip(paths, d_state, strict=False):
            path[0] = last
        trajectory = dict(zip(cell.states, paths, strict=True)) if trace else None
        self.gradients = Gradients(
            self.products.finish(), d_x, dict(zip(cell.states, d_state, strict=True)), trajectory
        )


def by_part(cell, weight):
    """weight_hh as (parts, rows, K / parts): a part for each head, or for each state that is fed back."""
    if cell.heads > 1:
        return np.ascontiguousarray(by_head(weight, cell.heads, len(cell.recurrent)))
    return np.stack(np.split(weight, len(cell.fed_back), axis=1))
