"""Exponential network: its recurrent matrix is orthogonal, as the exponential of a skew matrix."""

import math

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, absolute, expm, positive, relu, skew


class ExpRNN(GatedCell):
    """h_t = modrelu(exp(A) h_{t-1} + T x_t), modrelu(a) = sign(a) relu(|a| + b).

    (Lezcano-Casado & Martinez-Rubio 2019, arXiv 1901.08428)

    `skew` stores the H (H - 1) / 2 entries of A below its diagonal, row by row. `bias_modrelu` is b, the only
    bias of the paper.
    """

    gates = ("h",)
    states = ("h",)
    vectors = ("bias_modrelu",)
    biases: int = 0

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        shapes = super().shapes(input_size, hidden_size) | {"skew": (hidden_size * (hidden_size - 1) // 2,)}
        del shapes["weight_hh"]
        return shapes

    def effective(self, params: Arrays) -> Arrays:
        return params | {"weight_hh": expm(skew(params["skew"]))}

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        a = wx.h + wh.h
        sign = positive(a) - positive(-a)
        return State(h=sign * relu(absolute(a) + unit.bias_modrelu))

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """exp(A) of rotations by angles uniform in [-pi, pi], T Kaiming normal, b within 0.01.

        The angles are those of Henaff et al. 2016.
        """
        hidden, inputs = shapes["weight_ih"]
        # the rows below the diagonal that hold a rotation's angle, in column row - 1
        first = np.arange(1, hidden, 2)
        angles = np.zeros(shapes["skew"])
        angles[first * (first - 1) // 2 + first - 1] = rng.uniform(-math.pi, math.pi, len(first))
        return {
            "weight_ih": rng.standard_normal((hidden, inputs)) * math.sqrt(2 / inputs),
            "skew": angles,
            "bias_modrelu": rng.uniform(-0.01, 0.01, shapes["bias_modrelu"]),
        } | {name: np.zeros(shape) for name, shape in shapes.items() if name in ("bias_ih", "bias_hh")}
