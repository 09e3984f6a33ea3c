"""Long short-term memory with coupled input and forget gates: what is forgotten is replaced."""

from .. import GatedCell, State, sigmoid, tanh


class CIFG(GatedCell):
    """An LSTM whose input gate is 1 - f (Greff et al. 2015, arXiv 1503.04069).

    Without the peepholes of that paper, and f is the gate that is learned; the paper learns i and forgets by
    1 - i.
    """

    gates = ("f", "g", "o")
    states = ("h", "c")
    keep_gate = "f"

    def equations(self, wx: State, wh: State, prev: State) -> State:
        f = sigmoid(wx.f + wh.f)
        g = tanh(wx.g + wh.g)
        o = sigmoid(wx.o + wh.o)
        c = f * prev.c + (1 - f) * g
        return State(h=o * tanh(c), c=c)
