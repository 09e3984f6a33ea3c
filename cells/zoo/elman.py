"""The simple recurrent network: a state-space model x_t = f(x_{t-1}, u_t) with one squashed affine map."""

from collections.abc import Callable
from typing import Any

from .. import Array, GatedCell, State, relu, tanh

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": tanh, "relu": relu, "identity": lambda a: a}


class Elman(GatedCell):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), with two biases as in torch.nn.RNN.

    (Elman 1990, Cognitive Science 14)

    The state-space network with the five arrays W_xx, W_xu, b_x, W_yx, b_y is biases=1 and readout=K: they
    are weight_hh, weight_ih, bias_ih, weight_out and bias_out, in that order. activation is tanh, relu or
    identity (a linear system).
    """

    gates = ("h",)
    states = ("h",)
    other_names = ("rnn", "simplernn", "vanillarnn", "vanilla", "rnntanh", "rnncell", "basicrnncell")
    activation: str = "tanh"
    biases: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in tuple(ACTIVATIONS):
            raise ValueError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")

    def equations(self, wx: State, wh: State, prev: State) -> State:
        return State(h=ACTIVATIONS[self.activation](wx.h + wh.h))

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        return None if self.activation == "identity" else ("RNN", {"nonlinearity": self.activation})
