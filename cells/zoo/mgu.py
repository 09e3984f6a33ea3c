"""Minimal gated unit: one gate both resets and updates."""

from .. import Array, Arrays, GatedCell, State, sigmoid, split, tanh


class MGU(GatedCell):
    """f both resets h before the candidate's product and mixes the candidate in.

    (Zhou et al. 2016, arXiv 1603.09420)

    h_t = (1 - f) * h_{t-1} + f * tanh(W_h [f * h_{t-1}, x_t] + b_h): f writes, so that no gate's bias keeps
    longer.
    """

    gates = ("f", "h")
    states = ("h",)

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        wx = self.project(params, x)
        weight = split(self.gates, params["weight_hh"].swapaxes(0, 1))
        bias = split(self.gates, params["bias_hh"]) if "bias_hh" in params else State(f=0, h=0)
        f = sigmoid(wx.f + (state.h @ weight.f + bias.f))
        candidate = tanh(wx.h + ((f * state.h) @ weight.h + bias.h))
        h = (1 - f) * state.h + f * candidate
        return h, State(h=h)
