"""Minimal gated unit: one gate both resets and updates."""

from .. import GatedCell, State, sigmoid, tanh


class MGU(GatedCell):
    """f both resets h before the candidate's product and mixes the candidate in.

    (Zhou et al. 2016, arXiv 1603.09420)

    h_t = (1 - f) * h_{t-1} + f * tanh(W_h [f * h_{t-1}, x_t] + b_h): f writes, so that no gate's bias keeps
    longer.
    """

    gates = ("f", "h")
    states = ("h",)
    inner_gates = ("h",)

    def equations(self, wx: State, wh: State, prev: State) -> State:
        f = sigmoid(wx.f + wh.f)
        candidate = tanh(wx.h + wh.h(f * prev.h))
        return State(h=(1 - f) * prev.h + f * candidate)
