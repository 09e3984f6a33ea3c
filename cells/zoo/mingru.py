"""Minimal GRU: the gate sees only the input, so that the state is affine in the one before."""

from .. import GatedCell, State, sigmoid


class MinGRU(GatedCell):
    """h_t = (1 - z) h_{t-1} + z h~ with z and h~ from x_t alone.

    (Feng et al. 2024, arXiv 2410.01201, the vanilla form)

    The candidate h~ is linear, as in the paper's algorithm 3; its log-space form, which keeps h positive, is
    another cell. The paper's Linear has a bias, as torch's has: biases=1, or 0 for the count 2HI. z lets in,
    so that no gate keeps.
    """

    gates = ("z", "h")
    states = ("h",)
    recurrent_gates = ()

    def equations(self, wx: State, wh: State, prev: State) -> State:
        z = sigmoid(wx.z)
        return State(h=(1 - z) * prev.h + z * wx.h)
