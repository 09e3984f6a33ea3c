"""Undamped independent oscillators, each with a time scale of its own."""

import math

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, sigmoid, tanh


class UnICORNN(GatedCell):
    """z_t = z - dt sigmoid(c) (tanh(w * h + V x_t + b) + alpha h), h_t = h + dt sigmoid(c) z_t.

    (Rusch & Mishra 2021, arXiv 2103.05487)

    h is the paper's y. One layer, without the residual connections of a deep stack. The defaults are those of
    its permuted MNIST.
    """

    gates = ("z",)
    states = ("h", "z")
    vectors = ("w", "c")
    recurrent_gates = ()
    dt: float = 0.19
    alpha: float = 30.65

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        dt = self.dt * sigmoid(unit.c)
        z = prev.z - dt * (tanh(unit.w * prev.h + wx.z) + self.alpha * prev.h)
        return State(h=prev.h + dt * z, z=z)

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """w uniform in [0, 1], c within 0.1, V Kaiming uniform with the authors' slope 8, b zero."""
        bound = math.sqrt(6 / (1 + 8**2) / shapes["weight_ih"][1])
        arrays = {
            "weight_ih": rng.uniform(-bound, bound, shapes["weight_ih"]),
            "w": rng.uniform(0, 1, shapes["w"]),
            "c": rng.uniform(-0.1, 0.1, shapes["c"]),
        }
        return arrays | {name: np.zeros(shape) for name, shape in shapes.items() if name == "bias_ih"}
