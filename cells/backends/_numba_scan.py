"""The mode scan of the backend numba: steps in chunks, which threads compute side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..contract import Arrays
from ..derived import affine
from ..kernels import fused, scan
from ..kernels.chunks import chunks, most_threads, together
from ..kernels.compiling import many_arrays
from ..kernels.replay import Replays
from ..kernels.segments import segments, steps_of
from ..kernels.step import step
from ..programs.products import Products
from ..programs.program import Gradients, Program

Compute = Callable[[slice, np.ndarray], None]
Ends = Callable[[slice, np.ndarray, np.ndarray], None]


class ScanProgram(Program):
    """A segment's first chunk at once, and meanwhile the state that each of the others reaches from 0.

    From these and the products of the Jacobians follow the states between the chunks, from them the other
    chunks. A backward goes the other way: its first chunk is the last.
    """

    # length of the first chunk to that of the others, as the time of an end to that of a chunk (measured:
    # minGRU, float32)
    share, keeping_share, d_share = 0.75, 0.5, 0.3

    def setup(self) -> None:
        import numba

        cell, steps, batch, units = self.cell, self.steps, self.batch, self.units
        self.threads = most_threads()
        self.workers = max(2, self.threads)
        self.keeping = self.direction == "backward"
        self.replays = Replays(cell.name, self.keeping, self.dtype)
        self.source = step(cell)
        at = cell.states.index
        self.reach = [(at(new), at(old)) for new, old in affine.recurrence(cell).reach]
        self.segment = steps_of(self, self.workers)
        self.wx = self.empty(self.segment, batch, len(cell.gates), units)
        self.states = {s: self.empty(steps + 1, batch, units) for s in scan.stored(cell, self.keeping)}
        self.apart = [self.empty(steps, batch, units) for _ in fused.outputs_apart(self.source)]
        self.keep = [self.empty(steps, len(self.source.keeps), batch, units)] * self.keeping
        self.jacobians = self.empty(self.workers + 1, len(self.reach), batch, units)
        if self.keeping:
            self.share = self.keeping_share
        count = len(chunks(self.segment, self.workers, self.share))
        self.implementation = f"numba {numba.__version__} scan, {count} chunks on {self.threads} threads"
        self.compile()

    def empty(self, *shape: int) -> np.ndarray:
        return np.empty(shape, self.dtype)

    def compile(self) -> None:
        """Compiles for the types of the arrays, or reads what an earlier process compiled."""
        import numba

        module, cell = scan.module(self.cell, self.dtype), self.cell
        row, flat, cube, steps = (numba.typeof(self.empty(*[1] * n)) for n in (1, 2, 3, 4))
        rows, units = [flat] * len(cell.states), [row] * len(cell.vectors)
        jacobians = [flat] * len(self.reach)
        self.ends_kernel = module.ends
        self.kernel = module.forward_keeping if self.keeping else module.forward
        with many_arrays():
            known = [steps, *rows, flat, *units]
            self.ends_kernel.compile((*known, *jacobians))
            paths = [cube] * (len(self.states) + len(self.apart))
            self.kernel.compile((*known, *paths, *[steps] * self.keeping))
            if self.keeping:
                self.d_ends_kernel, self.backward_kernel = module.d_ends, module.backward
                known = [steps, *rows, *[cube] * (len(rows) + len(self.source.outputs)), *units]
                self.d_ends_kernel.compile((*known, *jacobians))
                sums = [numba.typeof(np.empty(1))] * len(units)
                self.backward_kernel.compile((*known, *[cube] * len(rows), steps, *sums))

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.products = Products(self.cell, self.params, self.keeping, self.replays.anew())
        bias = None if self.products.projects else self.products.used.get("bias_ih")
        shape = len(self.cell.gates), self.units
        self.bias = np.zeros(shape, self.dtype) if bias is None else bias.reshape(shape)  # the kernels add it

    def segments(self) -> tuple[slice, ...]:
        """Slices of the steps, each as long as the buffer of gate values."""
        return segments(self.steps, self.segment)

    def project(self, segment: slice) -> None:
        """Fills wx with a segment's, without the biases of a plain product."""
        wx = self.wx[: segment.stop - segment.start]
        if self.products.projects:
            self.products.project(self._x[segment], wx, None, segment.start)
        else:
            rows = len(wx) * self.batch
            x = self._x[segment].reshape(rows, -1)
            self.replays.multiply("project", x, self.products.used["weight_ih"].T, out=wx.reshape(rows, -1))

    def scan(
        self,
        in_order: list[slice],
        start: np.ndarray,
        ends: Ends,
        compute: Compute,
        transposed: bool = False,
    ) -> np.ndarray:
        """The state (S, B, units) after all chunks, which come in the order that they depend on each other.

        compute(chunk, state) does a chunk's steps and leaves the state after them. ends(chunk, state,
        jacobians) leaves that state, and the products of the Jacobians that `reach` lists, transposed or not.
        """
        rows = np.zeros((len(in_order), *start.shape), self.dtype)
        rows[0] = start
        for n, (a, b) in enumerate(self.reach):
            self.jacobians[:, n] = a == b
        middle = list(zip(in_order[1:-1], rows[1:], self.jacobians, strict=False))
        at_once = [partial(compute, in_order[0], rows[0]), *(partial(ends, *each) for each in middle)]
        together(at_once, self.threads)
        state = rows[0].copy()
        for c in range(1, len(in_order)):
            reached, rows[c] = rows[c].copy(), state
            for n, (a, b) in enumerate(self.reach):
                to, of = (b, a) if transposed else (a, b)
                reached[to] += self.jacobians[c - 1, n] * rows[c][of]
            state = reached  # of the last chunk it is not the state after it, and not used
        together([partial(compute, *each) for each in zip(in_order[1:], rows[1:], strict=True)], self.threads)
        return rows[-1]

    def run_forward(self) -> None:
        cell, unit = self.cell, self.products.unit
        state = np.stack([self._state[s] for s in cell.states])
        for name, path in self.states.items():
            path[0] = self._state[name]
        for segment in self.segments():
            self.project(segment)
            first = segment.start

            def ends(chunk: slice, state: np.ndarray, jacobians: np.ndarray) -> None:
                self.ends_kernel(self.wx[chunk], *state, self.bias, *unit, *jacobians)

            def compute(chunk: slice, state: np.ndarray, first: int = first) -> None:
                at = slice(first + chunk.start, first + chunk.stop)
                paths = [path[1:][at] for path in self.states.values()]
                arrays = [array[at] for array in [*self.apart, *self.keep]]
                self.kernel(self.wx[chunk], *state, self.bias, *unit, *paths, *arrays)

            in_order = chunks(segment.stop - first, self.workers, self.share)
            state = self.scan(in_order, state, ends, compute)
        self.last = dict(zip(cell.states, state, strict=True))
        apart = iter(self.apart)
        outputs = [self.states[s][1:] if s else next(apart) for s in self.source.output_states]
        self.output = self.products.emit(self._x, outputs)

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        cell = self.cell
        d_outputs, d_x_emitted = self.products.pull_emit(self._d_output)
        d_outputs = [np.ascontiguousarray(d) for d in d_outputs]
        paths = [self.empty(self.steps + 1, self.batch, self.units) for _ in cell.states] if trace else []
        d_state = np.stack([self._d_state[s] for s in cell.states])
        d_x = np.zeros_like(self._x)
        for segment in reversed(self.segments()):
            d_state = self.pull_segment(segment, d_outputs, d_state, paths)
            if not self.states_only:
                wx = self.wx[: segment.stop - segment.start]
                d_x[segment] = self.products.pull_project(self._x[segment], wx, segment.start)
        d_x += d_x_emitted
        for path, first in zip(paths, d_state, strict=False):
            path[0] = first
        self.gradients = Gradients(
            self.products.finish(),
            d_x,
            dict(zip(cell.states, d_state, strict=True)),
            dict(zip(cell.states, paths, strict=True)) if trace else None,
        )

    def pull_segment(
        self, segment: slice, d_outputs: list[np.ndarray], d_state: np.ndarray, paths: list[np.ndarray]
    ) -> np.ndarray:
        """The cotangent before a segment, from that after it; wx becomes d_wx, and paths are filled."""
        cell, unit = self.cell, self.products.unit
        first, count = segment.start, segment.stop - segment.start
        in_order = chunks(count, self.workers, self.d_share)
        in_order = [slice(count - c.stop, count - c.start) for c in in_order]
        # float64: sums over all steps; a chunk has its own, for threads compute them side by side
        d_unit = {c.start: np.zeros((len(cell.vectors), self.units)) for c in in_order}

        def read(chunk: slice, state: np.ndarray) -> list[np.ndarray]:
            begin, end = first + chunk.start, first + chunk.stop
            states = [path[begin : end + 1] for path in self.states.values()]
            kept, pulled = [k[begin:end] for k in self.keep], [d[begin:end] for d in d_outputs]
            return [*kept, *state, *states, *pulled, *unit]

        def ends(chunk: slice, state: np.ndarray, jacobians: np.ndarray) -> None:
            self.d_ends_kernel(*read(chunk, state), *jacobians)

        def compute(chunk: slice, state: np.ndarray) -> None:
            at = slice(first + chunk.start, first + chunk.stop)
            written = [path[1:][at] for path in paths] or [self.empty(1, *state[0].shape) for _ in state]
            self.backward_kernel(*read(chunk, state), *written, self.wx[chunk], *d_unit[chunk.start])

        d_state = self.scan(in_order, d_state, ends, compute, transposed=True)
        sums = np.sum(list(d_unit.values()), 0)
        self.products.add({v: sums[k].astype(self.dtype) for k, v in enumerate(cell.vectors)})
        return d_state
