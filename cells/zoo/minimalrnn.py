"""MinimalRNN: the input is mapped into the state's space, and one gate mixes it in."""

from .. import Array, Arrays, GatedCell, Shapes, State, linear, sigmoid, split, tanh


class MinimalRNN(GatedCell):
    """z_t = tanh(W_x x_t + b_z), u = sigmoid(U_h h + U_z z_t + b_u), h_t = u * h + (1 - u) * z_t.

    h stands for h_{t-1} (Chen 2017, arXiv 1711.06788).

    H (I + 2H + 2) parameters: weight_ih is W_x, weight_zh is U_z, weight_hh is U_h. The paper leaves the map
    of the input open; tanh of an affine map is that of its experiments.
    """

    gates = ("z", "u")
    states = ("h",)
    recurrent_gates = ("u",)
    keep_gate = "u"

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        matrices = {"weight_ih": (hidden_size, input_size), "weight_zh": (hidden_size, hidden_size)}
        return super().shapes(input_size, hidden_size) | matrices

    def project(self, params: Arrays, x: Array) -> State:
        bias = split(self.gates, params["bias_ih"]) if "bias_ih" in params else State(z=0, u=0)
        z = tanh(linear(x, params["weight_ih"]) + bias.z)
        return State(z=z, u=linear(z, params["weight_zh"]) + bias.u)

    def equations(self, wx: State, wh: State, prev: State) -> State:
        u = sigmoid(wx.u + wh.u)
        return State(h=u * prev.h + (1 - u) * wx.z)
