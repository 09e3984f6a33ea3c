"""Antisymmetric network: an Euler step of a system that neither grows nor decays."""

import math

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, constant, skew, tanh


class AntisymmetricRNN(GatedCell):
    """h_t = h + epsilon tanh((A - gamma I) h + V x_t + b), A = W - W'.

    (Chang et al. 2019, arXiv 1902.09689; the ungated form)

    `skew` stores the H (H - 1) / 2 entries of A below its diagonal, row by row. The paper tunes epsilon and
    gamma; the defaults are among the values that it tried.
    """

    gates = ("h",)
    states = ("h",)
    epsilon: float = 0.1
    gamma: float = 0.01

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        shapes = super().shapes(input_size, hidden_size) | {"skew": (hidden_size * (hidden_size - 1) // 2,)}
        del shapes["weight_hh"]
        return shapes

    def effective(self, params: Arrays) -> Arrays:
        a = skew(params["skew"])
        return params | {"weight_hh": a - constant(self.gamma * np.eye(a.shape[0]), a)}

    def equations(self, wx: State, wh: State, prev: State) -> State:
        return State(h=prev.h + self.epsilon * tanh(wx.h + wh.h))

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """V normal of variance 1 / I, W of variance 1 / H, b zero.

        A then has variance 2 / H; the paper tunes W's from 0 to 16.
        """
        rows, inputs = shapes["weight_ih"]
        arrays = {
            "weight_ih": rng.standard_normal((rows, inputs)) / math.sqrt(inputs),
            "skew": rng.standard_normal(shapes["skew"]) * math.sqrt(2 / rows),
        }
        return arrays | {name: np.zeros(shape) for name, shape in shapes.items() if name.startswith("bias")}
