"""Independently recurrent network: a unit sees itself alone, so its gradient is a power of one weight."""

import numpy as np

from .. import Arrays, GatedCell, Shapes, State, relu


class IndRNN(GatedCell):
    """h_t = relu(W x_t + u * h_{t-1} + b) (Li et al. 2018, arXiv 1803.04831).

    Without the batch normalisation and residual connections that the paper stacks around it. The paper keeps
    |u| below 2^(1/T) for sequences of T steps while it trains, which is a matter of the optimiser.
    """

    gates = ("h",)
    states = ("h",)
    vectors = ("u",)
    recurrent_gates = ()

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        return State(h=relu(wx.h + unit.u * prev.h))

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """u uniform in [0, 1], the paper's range as T grows."""
        return {"u": rng.uniform(0, 1, shapes["u"])} | {
            k: np.zeros(s) for k, s in shapes.items() if k == "bias_ih"
        }
