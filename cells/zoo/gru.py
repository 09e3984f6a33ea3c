"""Gated recurrent unit: the LSTM's idea with two gates and no second state."""

from typing import Any

from .. import GatedCell, State, sigmoid, tanh


class GRU(GatedCell):
    """Reset gate after the recurrent product, as cuDNN and PyTorch compute it.

    (Cho et al. 2014, arXiv 1406.1078v1)

    z keeps, as in torch and Keras; Chung et al. 2014 keep with 1 - z. Two biases as in torch.nn.GRU.
    """

    gates = ("r", "z", "n")
    states = ("h",)
    keep_gate = "z"
    biases: int = 2

    def equations(self, wx: State, wh: State, prev: State) -> State:
        r = sigmoid(wx.r + wh.r)
        z = sigmoid(wx.z + wh.z)
        n = tanh(wx.n + r * wh.n)  # wx and wh apart: the reset gate comes after the product
        return State(h=(1 - z) * n + z * prev.h)

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        return "GRU", {}
