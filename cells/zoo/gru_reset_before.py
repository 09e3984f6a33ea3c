"""Gated recurrent unit with the reset gate before the recurrent product, as the paper's later text has it."""

from .. import GatedCell, State, sigmoid, tanh


class GRUResetBefore(GatedCell):
    """n = tanh(W x + U (r h_{t-1})), h_t = z h_{t-1} + (1 - z) n, as ONNX's default has it.

    (Cho et al. 2014, arXiv 1406.1078v3)

    z keeps, as in that paper; in Chung et al. 2014 (arXiv 1412.3555) 1 - z keeps. Biases, which the paper
    leaves out, are one a gate; of two, bias_hh comes after the product with r h, as in ONNX. Gates are
    ordered as in torch: r, z, n.
    """

    gates = ("r", "z", "n")
    states = ("h",)
    inner_gates = ("n",)
    keep_gate = "z"

    def equations(self, wx: State, wh: State, prev: State) -> State:
        r = sigmoid(wx.r + wh.r)
        z = sigmoid(wx.z + wh.z)
        n = tanh(wx.n + wh.n(r * prev.h))
        return State(h=z * prev.h + (1 - z) * n)
