"""LSTM with layer normalisation of both products and of the cell state."""

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, linear, sigmoid, split, sqrt, tanh


class LayerNormLSTM(GatedCell):
    """W_hh h and W_ih x are normalised apart, and c before its tanh.

    (Ba et al. 2016, arXiv 1607.06450, equations 20 to 22)

    i, f, g, o = LN(W_hh h; gain_hh, shift_hh) + LN(W_ih x; gain_ih, shift_ih) + b, c = f c + i g, h = o
    tanh(LN(c; gain_c, shift_c)). Each LN is over all of its vector: the four gates' 4H, c's H. Other software
    normalises gate by gate, or the sum of the products, or carries the normalised c on. eps = 1e-5 under the
    root, which the paper leaves out, is for h = 0. Biases are outside the norms.
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    keep_gate = "f"
    input_gate = "i"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.eps > 0:
            raise ValueError(f"eps is {self.eps!r}; it must be above 0")

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        if hidden_size == 1:
            return (
                f"cell {self.name!r} normalises c over the units: with hidden_size 1 its output would not"
                " depend on c; use 2"
            )
        return super().unfit(input_size, hidden_size)

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        widths = {"ih": 4 * hidden_size, "hh": 4 * hidden_size, "c": hidden_size}
        norms = {f"{kind}_{what}": (width,) for what, width in widths.items() for kind in ("gain", "shift")}
        return super().shapes(input_size, hidden_size) | norms

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        rows = self.norm(params, "ih", linear(x, params["weight_ih"])) + params.get("bias_ih", 0)
        rows = rows + self.norm(params, "hh", linear(state.h, params["weight_hh"])) + params.get("bias_hh", 0)
        a = split(self.gates, rows)
        c = sigmoid(a.f) * state.c + sigmoid(a.i) * tanh(a.g)
        h = sigmoid(a.o) * tanh(self.norm(params, "c", c))
        return h, State(h=h, c=c)

    def norm(self, params: Arrays, what: str, a: Array) -> Array:
        """The layer norm of a (B, W), with its own gain and shift."""
        centred = a - a.sum(-1, keepdims=True) / a.shape[-1]
        variance = (centred * centred).sum(-1, keepdims=True) / a.shape[-1]
        return centred / sqrt(variance + self.eps) * params[f"gain_{what}"] + params[f"shift_{what}"]

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Gains 1 and shifts 0, as the paper says."""
        gains = {name: np.ones(shape) for name, shape in shapes.items() if name.startswith("gain")}
        return gains | {name: np.zeros(shape) for name, shape in shapes.items() if name.startswith("shift")}
