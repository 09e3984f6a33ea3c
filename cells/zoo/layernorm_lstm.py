"""LSTM with layer normalisation of both products and of the cell state."""

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, linear, mean, sigmoid, split, sqrt, tanh


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
    vectors = ("gain_i", "gain_f", "gain_g", "gain_o", "gain_c", "shift_c")
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
        stored = super().shapes(input_size, hidden_size)
        return {name: shape for name, shape in stored.items() if name not in self.vectors} | norms

    def effective(self, params: Arrays) -> Arrays:
        """The gain of the recurrent norm by gate; what is added after that norm is added to the input's."""
        gains = {f"gain_{gate}": gain for gate, gain in vars(split(self.gates, params["gain_hh"])).items()}
        shift = params["shift_ih"] + params["shift_hh"]
        for bias in ("bias_ih", "bias_hh"):
            shift = shift + params[bias] if bias in params else shift
        kept = ("weight_ih", "weight_hh", "gain_ih", "gain_c", "shift_c", "weight_out", "bias_out")
        return {name: params[name] for name in kept if name in params} | gains | {"shift": shift}

    def project(self, params: Arrays, x: Array) -> State:
        a = linear(x, params["weight_ih"])
        centred = a - mean(a)
        normed = centred / sqrt(mean(centred * centred) + self.eps)
        return split(self.gates, normed * params["gain_ih"] + params["shift"])

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        centre = mean(wh.i + wh.f + wh.g + wh.o) / 4
        i, f, g, o = wh.i - centre, wh.f - centre, wh.g - centre, wh.o - centre
        size = sqrt(mean(i * i + f * f + g * g + o * o) / 4 + self.eps)
        i = sigmoid(wx.i + i / size * unit.gain_i)
        f = sigmoid(wx.f + f / size * unit.gain_f)
        g = tanh(wx.g + g / size * unit.gain_g)
        o = sigmoid(wx.o + o / size * unit.gain_o)
        c = f * prev.c + i * g
        centred = c - mean(c)
        normed = centred / sqrt(mean(centred * centred) + self.eps)
        return State(h=o * tanh(normed * unit.gain_c + unit.shift_c), c=c)

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Gains 1 and shifts 0, as the paper says."""
        gains = {name: np.ones(shape) for name, shape in shapes.items() if name.startswith("gain")}
        return gains | {name: np.zeros(shape) for name, shape in shapes.items() if name.startswith("shift")}
