"""Update gate network: the GRU without its reset gate."""

from .. import GatedCell, State, sigmoid, tanh


class UGRNN(GatedCell):
    """h_t = g * h_{t-1} + (1 - g) * c, one gate and a tanh candidate (Collins et al. 2016, arXiv 1611.09913).

    The paper adds a constant to the gate's bias, tuned and not learned: here a part of the bias, see the
    scheme forget_bias.
    """

    gates = ("c", "g")
    states = ("h",)
    keep_gate = "g"

    def equations(self, wx: State, wh: State, prev: State) -> State:
        c = tanh(wx.c + wh.c)
        g = sigmoid(wx.g + wh.g)
        return State(h=g * prev.h + (1 - g) * c)
