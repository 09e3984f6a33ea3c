"""Long short-term memory: a cell state c that gates write to, keep and read."""

from typing import Any

from .. import GatedCell, State, sigmoid, tanh


class LSTM(GatedCell):
    """With forget gate and no peepholes; two biases as in torch.nn.LSTM.

    (Hochreiter & Schmidhuber 1997; Gers et al. 2000)
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    keep_gate = "f"
    input_gate = "i"
    biases: int = 2

    def equations(self, wx: State, wh: State, prev: State) -> State:
        i = sigmoid(wx.i + wh.i)
        f = sigmoid(wx.f + wh.f)
        g = tanh(wx.g + wh.g)
        o = sigmoid(wx.o + wh.o)
        c = f * prev.c + i * g
        return State(h=o * tanh(c), c=c)

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        return "LSTM", {}
