"""Gated recurrent unit with the reset gate before the recurrent product, as the paper's later text has it."""

from .. import Array, Arrays, GatedCell, State, linear, sigmoid, split, tanh


class GRUResetBefore(GatedCell):
    """n = tanh(W x + U (r h_{t-1})), h_t = z h_{t-1} + (1 - z) n, as ONNX's default has it.

    (Cho et al. 2014, arXiv 1406.1078v3)

    z keeps, as in that paper; in Chung et al. 2014 (arXiv 1412.3555) 1 - z keeps. Biases, which the paper
    leaves out, are one a gate; of two, bias_hh comes after the product with r h, as in ONNX. Gates are
    ordered as in torch: r, z, n.
    """

    gates = ("r", "z", "n")
    states = ("h",)
    keep_gate = "z"

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        wx, weight, bias = self.project(params, x), params["weight_hh"], params.get("bias_hh")
        units = weight.shape[1]
        before, after = (None, None) if bias is None else (bias[: 2 * units], bias[2 * units :])
        wh = split(("r", "z"), linear(state.h, weight[: 2 * units], before))
        r = sigmoid(wx.r + wh.r)
        z = sigmoid(wx.z + wh.z)
        n = tanh(wx.n + linear(r * state.h, weight[2 * units :], after))
        h = z * state.h + (1 - z) * n
        return h, State(h=h)
