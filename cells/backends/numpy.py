"""The reference: equations as written on NumPy arrays, backpropagation through time with the derived product."""

from __future__ import annotations

import numpy as np

from .. import readout
from ..contract import State
from ..kernels import arrays
from ..program import Backend, Gradients, Program


class NumpyBackend(Backend):
    """NumPy on the CPU, in float64 (against which everything is held) or float32."""

    @property
    def program(self):
        return NumpyProgram


class NumpyProgram(Program):
    implementation = f"numpy {np.__version__}"

    def setup(self):
        if self.direction == "backward":
            self.step = arrays.module(self.cell)

    def assign(self, params):
        self.params = {k: self.place(v) for k, v in params.items()}

    def run_forward(self):
        wx = self.x_rows() @ self.params["weight_ih"].T + self.params.get("bias_ih", 0)
        wx = self.by_gate(wx.reshape(self.steps, self.batch, -1))
        self.hidden = np.empty((self.steps, self.batch, self.hidden_size), self.dtype)
        self.history, self.keeps = [tuple(self._state[s] for s in self.cell.states)], []
        advance = self.step_keeping if self.direction == "backward" else self.step_as_written
        for t in range(self.steps):
            wh = self.history[-1][0] @ self.params["weight_hh"].T + self.params.get("bias_hh", 0)
            self.hidden[t] = advance(tuple(g[t] for g in wx), self.by_gate(wh))
        self.last = dict(zip(self.cell.states, self.history[-1], strict=True))
        self.output = readout.forward(self.params, self.hidden) if self.cell.readout else self.hidden

    def x_rows(self):
        return self._x.reshape(-1, self.input_size)

    def by_gate(self, rows):
        """(..., G * H) as a tuple of G arrays (..., H)."""
        return tuple(np.split(rows, len(self.cell.gates), axis=-1))

    def step_as_written(self, wx, wh):
        """Output of one step by the cell's own function; only the last state is held."""
        cell = self.cell
        gates = (State(**dict(zip(cell.gates, w, strict=True))) for w in (wx, wh))
        result = cell.equations(*gates, State(**dict(zip(cell.states, self.history[-1], strict=True))))
        output, state = result if isinstance(result, tuple) else (None, result)
        self.history = [tuple(getattr(state, s) for s in cell.states)]
        return self.history[0][0] if output is None else output

    def step_keeping(self, wx, wh):
        """The same by the printed function, keeping every state and what the backward needs."""
        output, state, keeps = self.step.forward(wx, wh, self.history[-1])
        self.history.append(state)
        self.keeps.append(keeps)
        return output

    def run_backward(self, trace=False, again=False):
        cell, params, grads = self.cell, self.params, {}
        d_hidden = self._d_output
        if cell.readout:
            d_hidden, grads = readout.backward(params, self.hidden, d_hidden)
        shape = (self.steps, self.batch, len(cell.gates), self.hidden_size)
        d_wx, d_wh = np.empty(shape, self.dtype), np.empty(shape, self.dtype)
        d_state = [self._d_state[s] for s in cell.states]
        output_state = cell.derivation().output_state
        trajectory = []
        for t in reversed(range(self.steps)):
            if output_state is not None:
                k = cell.states.index(output_state)
                d_state[k] = d_state[k] + d_hidden[t]
            trajectory.append(d_state)
            d_gates = self.step.backward(self.keeps[t], self.history[t], self.history[t + 1], d_hidden[t], tuple(d_state))
            for g in range(len(cell.gates)):
                d_wx[t, :, g], d_wh[t, :, g] = d_gates[0][g], d_gates[1][g]
            d_state = [np.broadcast_to(np.asarray(d, self.dtype), d_hidden[t].shape) for d in d_gates[2]]
            d_state[0] = d_state[0] + d_wh[t].reshape(self.batch, -1) @ params["weight_hh"]
        trajectory.append(d_state)
        grads |= self.weight_gradients(d_wx.reshape(-1, shape[2] * shape[3]), d_wh.reshape(-1, shape[2] * shape[3]))
        d_x = (d_wx.reshape(-1, shape[2] * shape[3]) @ params["weight_ih"]).reshape(self._x.shape)
        path = {s: np.stack([d[k] for d in reversed(trajectory)]) for k, s in enumerate(cell.states)} if trace else None
        grads = {name: grads[name] for name in params}
        self.gradients = Gradients(grads, d_x, dict(zip(cell.states, d_state, strict=True)), path)

    def weight_gradients(self, d_wx, d_wh):
        """Gradients of the cell's own arrays from those of the products, rows (T * B, G * H)."""
        h_prev = np.concatenate([state[0] for state in self.history[:-1]])
        grads = {"weight_ih": d_wx.T @ self.x_rows(), "weight_hh": d_wh.T @ h_prev}
        sums = {"bias_ih": d_wx, "bias_hh": d_wh}
        return grads | {name: d.sum(0) for name, d in sums.items() if name in self.params}
