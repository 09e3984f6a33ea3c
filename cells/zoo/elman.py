"""The simple recurrent network: a state-space model x_t = f(x_{t-1}, u_t) with one squashed affine map."""

from ..cell import GatedCell
from ..contract import State
from ..vocabulary.primitives import relu, tanh

ACTIVATIONS = {"tanh": tanh, "relu": relu, "identity": lambda a: a}


class Elman(GatedCell):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) (Elman 1990, Cognitive Science 14; two biases as in
    torch.nn.RNN).

    The state-space network with the five arrays W_xx, W_xu, b_x, W_yx, b_y is biases=1 and readout=K: they
    are weight_hh, weight_ih, bias_ih, weight_out and bias_out, in that order. activation is tanh, relu or
    identity (a linear system).
    """

    gates = ("h",)
    states = ("h",)
    activation: str = "tanh"
    biases: int = 2

    def __post_init__(self):
        super().__post_init__()
        if self.activation not in tuple(ACTIVATIONS):
            raise ValueError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")

    def equations(self, wx, wh, prev):
        return State(h=ACTIVATIONS[self.activation](wx.h + wh.h))

    def torch_module(self):
        return None if self.activation == "identity" else ("RNN", {"nonlinearity": self.activation})
