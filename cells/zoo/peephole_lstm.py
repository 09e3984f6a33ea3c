"""Long short-term memory whose gates see the cell state."""

from .. import GatedCell, State, sigmoid, tanh


class PeepholeLSTM(GatedCell):
    """Gates i and f see c_{t-1}, gate o sees c_t, each by one weight a unit.

    (Gers, Schraudolph & Schmidhuber 2002, JMLR 3)

    Input and output are squashed by tanh, as in Graves 2013 (arXiv 1308.0850) and Greff et al. 2015 (arXiv
    1503.04069); the paper of 2002 squashes by scaled sigmoids or not at all.
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    vectors = ("peephole_i", "peephole_f", "peephole_o")
    keep_gate = "f"
    input_gate = "i"

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        i = sigmoid(wx.i + wh.i + unit.peephole_i * prev.c)
        f = sigmoid(wx.f + wh.f + unit.peephole_f * prev.c)
        g = tanh(wx.g + wh.g)
        c = f * prev.c + i * g
        o = sigmoid(wx.o + wh.o + unit.peephole_o * c)
        return State(h=o * tanh(c), c=c)
