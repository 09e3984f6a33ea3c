"""Fused CPU kernels: the cell's printed expressions inside one compiled loop over the steps.

One product for the inputs of all steps (of a segment, when they are many), one for each weight gradient.
"""

from __future__ import annotations

import numpy as np

from .. import readout
from ..kernels import fused
from ..kernels.step import step
from ..program import Backend, Gradients, Program

SEGMENT_BYTES = 4 << 20  # of one buffer of gate values: what a core's cache holds a good part of


class NumbaBackend(Backend):
    """Numba on the CPU."""

    def unavailable(self, device="cpu"):
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"numba cannot be imported: {error}"
        return super().unavailable(device)

    @property
    def program(self):
        return NumbaProgram


class NumbaProgram(Program):
    def setup(self):
        import numba

        self.implementation = f"numba {numba.__version__}"
        self.gates = len(self.cell.gates)
        self.source = step(self.cell)
        self.one_product = fused.all_summed(self.cell, self.source)
        steps, batch, hidden = self.steps, self.batch, self.hidden_size
        self.segment = max(1, min(steps, SEGMENT_BYTES // (batch * self.gates * hidden * np.dtype(self.dtype).itemsize)))
        keeping = self.direction == "backward"
        self.wx = self.empty(self.segment, batch, self.gates, hidden)
        self.wh = self.empty(batch, self.gates, hidden)
        rows = [steps + 1, *[steps + 1 if keeping else 2] * (len(self.cell.states) - 1)]
        self.states = [self.empty(n, batch, hidden) for n in rows]
        self.in_turn = [n < steps + 1 for n in rows]  # two rows, not one for each step
        self.apart = self.source.output_state != self.cell.states[0]
        self.hidden = self.empty(steps, batch, hidden) if self.apart else self.states[0][1:]
        self.keep = self.empty(steps if keeping else 1, len(self.source.keeps), batch, hidden)
        if keeping:
            self.d_wh = self.wx if self.one_product else self.empty(*self.wx.shape)
            self.product = self.empty(batch, hidden)
        self.compile()

    def empty(self, *shape):
        return np.empty(shape, self.dtype)

    def compile(self):
        """Compiles for the types of the arrays that will be used, or reads what an earlier process compiled."""
        import numba

        module = fused.module(self.cell, self.dtype)
        self.kernel = module.forward_keeping if self.direction == "backward" else module.forward
        flat, cube = self.empty(1, 1), self.empty(1, 1, 1)
        kinds = [self.wx, self.wh, flat, flat, *self.states, self.hidden, self.keep]
        with fused.many_arrays():
            self.kernel.compile(tuple(map(numba.typeof, kinds)))
            if self.direction == "backward":
                self.backward_kernel = module.backward
                count = len(self.cell.states)
                kinds = [self.keep, *self.states, cube, *[cube] * count, self.wx, self.d_wh, flat, self.product]
                self.backward_kernel.compile(tuple(map(numba.typeof, kinds)))

    def assign(self, params):
        self.params = {k: self.place(v) for k, v in params.items()}
        self.recurrent = np.ascontiguousarray(self.params["weight_hh"].T)
        zero = np.zeros(self.gates * self.hidden_size, self.dtype)
        bias_ih, bias_hh = (self.params.get(k, zero) for k in ("bias_ih", "bias_hh"))
        summed = np.repeat([g in self.source.summed for g in self.cell.gates], self.hidden_size)
        self.bias = bias_ih + np.where(summed, bias_hh, 0).astype(self.dtype)
        self.bias_hh = bias_hh.reshape(self.gates, self.hidden_size)

    def segments(self):
        """Slices of the steps, each as long as the buffers of gate values."""
        return [slice(t, min(t + self.segment, self.steps)) for t in range(0, self.steps, self.segment)]

    def run_forward(self):
        for array, name in zip(self.states, self.cell.states, strict=True):
            array[0] = self._state[name]
        keeping = self.direction == "backward"
        for part in self.segments():
            count = part.stop - part.start
            wx = self.wx[:count]
            rows = wx.reshape(count * self.batch, -1)
            np.matmul(self._x[part].reshape(len(rows), -1), self.params["weight_ih"].T, out=rows)
            rows += self.bias
            states = [a if two else a[part.start : part.stop + 1] for a, two in zip(self.states, self.in_turn, strict=True)]
            keep = self.keep[part] if keeping else self.keep
            self.kernel(wx, self.wh, self.recurrent, self.bias_hh, *states, self.hidden[part], keep)
            for array, two in zip(self.states, self.in_turn, strict=True):
                if two:
                    array[0] = array[count % 2]
        ends = [a[0] if two else a[-1] for a, two in zip(self.states, self.in_turn, strict=True)]
        self.last = dict(zip(self.cell.states, ends, strict=True))
        self.output = readout.forward(self.params, self.hidden) if self.cell.readout else self.hidden

    def run_backward(self, trace=False, again=False):
        grads, d_hidden = {}, self._d_output
        if self.cell.readout:
            d_hidden, grads = readout.backward(self.params, self.hidden, d_hidden)
        shape = (self.steps + 1 if trace else 2, self.batch, self.hidden_size)
        d_states = [self.empty(*shape) for _ in self.cell.states]
        d_x = np.empty_like(self._x)
        last = True
        for part in reversed(self.segments()):
            count = part.stop - part.start
            views = [d[part.start : part.stop + 1] for d in d_states] if trace else d_states
            for d, name in zip(views, self.cell.states, strict=True):
                if last:
                    d[count % len(d)] = self._d_state[name]
                elif not trace:
                    d[count % 2] = d[0]
            states = [a[part.start : part.stop + 1] for a in self.states]
            d_wx, d_wh = self.wx[:count], self.d_wh[:count]
            self.backward_kernel(
                self.keep[part], *states, d_hidden[part], *views, d_wx, d_wh, self.params["weight_hh"], self.product
            )
            self.add_weight_gradients(grads, part, d_wx.reshape(count * self.batch, -1), d_wh.reshape(count * self.batch, -1))
            np.matmul(
                d_wx.reshape(count * self.batch, -1), self.params["weight_ih"], out=d_x[part].reshape(count * self.batch, -1)
            )
            last = False
        d_state = {name: d[0] for name, d in zip(self.cell.states, d_states, strict=True)}
        path = dict(zip(self.cell.states, d_states, strict=True)) if trace else None
        self.gradients = Gradients({name: grads[name] for name in self.params}, d_x, d_state, path)

    def add_weight_gradients(self, grads, part, d_wx, d_wh):
        """Adds a segment's share, one product a weight."""
        x, h = self._x[part].reshape(len(d_wx), -1), self.states[0][part].reshape(len(d_wx), -1)
        share = {"weight_ih": d_wx.T @ x, "weight_hh": d_wh.T @ h}
        if "bias_ih" in self.params:
            share["bias_ih"] = d_wx.sum(0)
        if "bias_hh" in self.params:
            share["bias_hh"] = share["bias_ih"].copy() if self.one_product else d_wh.sum(0)
        for name, value in share.items():
            grads[name] = grads[name] + value if name in grads else value
