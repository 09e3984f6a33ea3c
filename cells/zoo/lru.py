"""Linear recurrent unit: a complex diagonal state decays and turns, and a complex matrix reads it out."""

import math

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, check_sizes, cos, exp, linear, sin
from ..derived.init import on_ring


class LRU(GatedCell):
    """s_t = lambda s_{t-1} + gamma (B x_t), y_t = Re(C s_t) + D x_t.

    (Orvieto et al. 2023, arXiv 2303.06349)

    lambda = exp(-exp(nu) + i exp(theta)) and gamma = exp(gamma_log) are stored by their logarithms, as in the
    paper. s has N complex entries (0: hidden_size), which are the states re and im; the output is as wide as
    the input. B is weight_ih, real rows first. No bias, as in the paper; biases=1 adds one to gamma B x. The
    layer's nonlinearity and skip are not of the cell.
    """

    gates = ("re", "im")
    states = ("re", "im")
    vectors = ("lambda_re", "lambda_im")
    recurrent_gates = ()
    biases: int = 0
    N: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(N=self.N or 1)

    def units(self, hidden_size: int) -> int:
        return self.N or hidden_size

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return input_size

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        n = self.units(hidden_size)
        stored = super().shapes(input_size, hidden_size)
        product = {name: shape for name, shape in stored.items() if name not in self.vectors}
        output = {"output_re": (input_size, n), "output_im": (input_size, n), "skip": (input_size,)}
        return product | dict.fromkeys(("nu_log", "theta_log", "gamma_log"), (n,)) | output

    def effective(self, params: Arrays) -> Arrays:
        modulus, phase = exp(-exp(params["nu_log"])), exp(params["theta_log"])
        gamma = exp(params["gamma_log"])
        weight = params["weight_ih"]
        normalised = weight.reshape(2, *gamma.shape, -1) * gamma.reshape(-1, 1)
        vectors = {"lambda_re": modulus * cos(phase), "lambda_im": modulus * sin(phase)}
        return params | vectors | {"weight_ih": normalised.reshape(*weight.shape)}

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> tuple[Array, State]:
        re = unit.lambda_re * prev.re - unit.lambda_im * prev.im + wx.re
        im = unit.lambda_re * prev.im + unit.lambda_im * prev.re + wx.im
        return (re, im), State(re=re, im=im)

    def emit(self, params: Arrays, x: Array, output: Array) -> Array:
        re, im = output
        return linear(re, params["output_re"]) - linear(im, params["output_im"]) + params["skip"] * x

    def modes(self, modulus: np.ndarray, phase: np.ndarray) -> Arrays:
        gamma = np.sqrt((1 - modulus) * (1 + modulus))
        return {"nu_log": np.log(-np.log(modulus)), "theta_log": np.log(phase), "gamma_log": np.log(gamma)}

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """The whole ring, gamma = sqrt(1 - |lambda|^2), Glorot B and C, standard normal D.

        The ring has r_min 0, r_max 1 and any phase.
        """
        width, n = shapes["output_re"]
        weights = {"weight_ih": rng.standard_normal((2 * n, width)) / math.sqrt(2 * width)}
        weights |= {k: rng.standard_normal((width, n)) / math.sqrt(n) for k in ("output_re", "output_im")}
        return weights | self.modes(*on_ring(n, rng)) | {"skip": rng.standard_normal(width)}
