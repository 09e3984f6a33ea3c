"""Just another network: an LSTM of which only the forget gate is left."""

from .. import GatedCell, State, sigmoid, tanh


class JANET(GatedCell):
    """c_t = sigmoid(s) * c_{t-1} + (1 - sigmoid(s - beta)) * candidate, h_t = c_t.

    (van der Westhuizen & Lasenby 2018, arXiv 1804.04849)

    beta = 1 writes somewhat more than is forgotten, as the paper found best; beta = 0 couples the two. The
    paper draws the forget gate's bias as the scheme chrono(T_max) does, T_max the length of its sequences.
    """

    gates = ("f", "c")
    states = ("h",)
    keep_gate = "f"
    beta: float = 1.0

    def equations(self, wx: State, wh: State, prev: State) -> State:
        s = wx.f + wh.f
        candidate = tanh(wx.c + wh.c)
        return State(h=sigmoid(s) * prev.h + (1 - sigmoid(s - self.beta)) * candidate)
