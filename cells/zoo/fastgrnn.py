"""FastGRNN: gate and candidate share one pair of matrices and differ by their bias."""

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, constant, linear, sigmoid, split, tanh


class FastGRNN(GatedCell):
    """h_t = (zeta (1 - z) + nu) * tanh(a + b_h) + z * h_{t-1}, z = sigmoid(a + b_z), a = W x_t + U h_{t-1}.

    (Kusupati et al. 2018, arXiv 1901.02358)

    H (I + H) + 2H + 2 parameters: zeta and nu are two learned scalars of the cell, stored before the sigmoid
    that keeps them in [0, 1]. Without the low rank, sparsity and quantisation of the paper, which are ways to
    compress W and U.
    """

    gates = ("z", "h")
    states = ("h",)
    vectors = ("zeta", "nu")
    recurrent_gates = ("z",)  # wh.z serves both
    keep_gate = "z"

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        shared = {"weight_ih": (hidden_size, input_size), "zeta": (1,), "nu": (1,)}
        return super().shapes(input_size, hidden_size) | shared

    def effective(self, params: Arrays) -> Arrays:
        ones = constant(np.ones(params["weight_hh"].shape[0]), params["zeta"])
        return params | {name: sigmoid(params[name]) * ones for name in self.vectors}

    def project(self, params: Arrays, x: Array) -> State:
        a = linear(x, params["weight_ih"])
        bias = split(self.gates, params["bias_ih"]) if "bias_ih" in params else State(z=0, h=0)
        return State(z=a + bias.z, h=a + bias.h)

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        z = sigmoid(wx.z + wh.z)
        candidate = tanh(wx.h + wh.z)
        return State(h=(unit.zeta * (1 - z) + unit.nu) * candidate + z * prev.h)

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Draws as the authors' code: deviation 0.1, biases 1; zeta 1 and nu -4 before the sigmoid."""
        arrays = {name: 0.1 * rng.standard_normal(shapes[name]) for name in ("weight_ih", "weight_hh")}
        if "bias_ih" in shapes:
            arrays["bias_ih"] = np.ones(shapes["bias_ih"])
        if "bias_hh" in shapes:
            arrays["bias_hh"] = np.zeros(shapes["bias_hh"])
        return arrays | {"zeta": np.array([1.0]), "nu": np.array([-4.0])}
