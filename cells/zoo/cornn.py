"""Coupled oscillators: every unit is a damped oscillator, driven by the others and by the input."""

import math

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, tanh


class CoRNN(GatedCell):
    """z_t = z + dt (tanh(W [h, z] + V x_t + b) - gamma h - epsilon z), h_t = h + dt z_t.

    (Rusch & Mishra 2020, arXiv 2010.00951)

    h is the paper's y. The damping takes the old z, as in the authors' code; the paper leaves open which. The
    defaults are those of its sequential MNIST.
    """

    gates = ("z",)
    states = ("h", "z")
    recurrent_states = ("h", "z")
    dt: float = 0.042
    gamma: float = 2.7
    epsilon: float = 4.7

    def equations(self, wx: State, wh: State, prev: State) -> State:
        z = prev.z + self.dt * (tanh(wx.z + wh.z) - self.gamma * prev.h - self.epsilon * prev.z)
        return State(h=prev.h + self.dt * z, z=z)

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Draws as the authors' code does: uniform within 1 / sqrt(I + 2H).

        W, V and b are one affine map of [x, z, h].
        """
        bound = 1 / math.sqrt(shapes["weight_ih"][1] + shapes["weight_hh"][1])
        return {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}
