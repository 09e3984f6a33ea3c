"""Light GRU: no reset gate, and a candidate that is not squashed."""

import math

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, relu, sigmoid
from ..derived.init import random_orthogonal


class LiGRU(GatedCell):
    """h_t = z * h_{t-1} + (1 - z) * relu(W_h x_t + U_h h_{t-1} + b_h).

    (Ravanelli et al. 2018, arXiv 1803.10225)

    Without the batch normalisation of W x_t, which the paper needs to keep relu bounded and which is not a
    cell's: it normalises over the batch and all steps. Its shift is the bias here.
    """

    gates = ("z", "h")
    states = ("h",)
    keep_gate = "z"

    def equations(self, wx: State, wh: State, prev: State) -> State:
        z = sigmoid(wx.z + wh.z)
        return State(h=z * prev.h + (1 - z) * relu(wx.h + wh.h))

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Glorot uniform input weights, orthogonal recurrent ones, biases zero."""
        rows, inputs = shapes["weight_ih"]
        hidden = rows // len(self.gates)
        bound = math.sqrt(6 / (inputs + hidden))
        arrays = {
            "weight_ih": rng.uniform(-bound, bound, (rows, inputs)),
            "weight_hh": np.concatenate([random_orthogonal(hidden, rng) for _ in self.gates]),
        }
        return arrays | {name: np.zeros(shape) for name, shape in shapes.items() if name.startswith("bias")}
