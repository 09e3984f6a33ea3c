"""My own cell: equations in one file give the gradients, the compiled kernels, the counts and the reports.

In this folder:

    cellbench show own_cell.py:LeakyMGU
    cellbench run 'cells=[own_cell.py:LeakyMGU,gru]' 'probes=[parameters,throughput,gradient_decay]'
    cellbench report

Run as a script, it prints how far the compiled kernel's gradients are from the reference's.
"""

import numpy as np

from cellbench import cells
from cellbench.cells import GatedCell, State, sigmoid, tanh


class LeakyMGU(GatedCell):
    """Minimal gated unit, reset after the product (after Zhou et al. 2016, arXiv 1603.09420)."""

    gates = ("f", "n")  # row blocks of weight_ih and weight_hh, in this order
    states = ("h",)  # the first state is multiplied by weight_hh
    leak: float = 1.0  # an annotated attribute is an option: own_cell.py:LeakyMGU:leak=0.9

    def equations(self, wx, wh, prev):
        # wx = W_ih x_t + b_ih and wh = W_hh h_{t-1}, by gate; prev holds the states at t-1
        f = sigmoid(wx.f + wh.f)
        n = tanh(wx.n + f * wh.n)
        return State(h=(1 - f) * self.leak * prev.h + f * n)


def gradients(backend):
    """Of all parameters, for a sum of all outputs."""
    cell = LeakyMGU(leak=0.9)
    params = cell.init(input_size=3, hidden_size=5, seed=0)
    program = cells.backend(backend).prepare(cell, params, steps=20, batch=2, dtype="float64")
    program.forward(np.random.default_rng(0).standard_normal((20, 2, 3)))
    return program.backward(np.ones((20, 2, 5))).params


def main():
    """The largest difference, by parameter."""
    compiled, reference = gradients("numba"), gradients("numpy")
    return {name: float(np.abs(compiled[name] - reference[name]).max()) for name in reference}


if __name__ == "__main__":
    for name, difference in main().items():
        print(f"{name:10} {difference:.1e}")
