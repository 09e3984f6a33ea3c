"""Simplified state-space layer: one diagonal complex system for all features, with a step for each state."""

import math

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, check_sizes, concatenate, cos, exp, linear, sin, tanh


class S5(GatedCell):
    """s' = Lambda s + B x by zero-order hold with steps Delta, y = 2 Re(C s) + D x.

    (Smith et al. 2023, arXiv 2208.04933)

    s_t = exp(Lambda Delta) s_{t-1} + (exp(Lambda Delta) - 1) / Lambda B x_t. The P complex states stored here
    (0: hidden_size) are one of each conjugate pair, hence the 2: the paper's state size is twice that. As
    there Lambda is stored as it is, so that its real part is free, and Delta by its logarithm. D adds input
    to output, so that they must be equally wide. No bias, as in the paper; biases=1 adds one to the
    discretised B x. The layer's nonlinearity is not of the cell.
    """

    gates = ("re", "im")
    states = ("re", "im")
    vectors = ("step_re", "step_im")
    recurrent_gates = ()
    biases: int = 0
    P: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(P=self.P or 1)

    def units(self, hidden_size: int) -> int:
        return self.P or hidden_size

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return hidden_size

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        if input_size == hidden_size:
            return None
        return (
            f"cell {self.name!r} adds its input to its output: input_size {input_size} must equal hidden_size"
            f" {hidden_size}"
        )

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        p = self.units(hidden_size)
        stored = super().shapes(input_size, hidden_size)
        product = {name: shape for name, shape in stored.items() if name not in self.vectors}
        output = {"output_re": (hidden_size, p), "output_im": (hidden_size, p), "skip": (hidden_size,)}
        return product | dict.fromkeys(("lambda_re", "lambda_im", "delta_log"), (p,)) | output

    def effective(self, params: Arrays) -> Arrays:
        re, im, delta = params["lambda_re"], params["lambda_im"], exp(params["delta_log"])
        decay, turn = exp(re * delta), im * delta
        half = sin(turn / 2)
        # exp(Lambda Delta) - 1 without cancellation where Delta is small: expm1(a) = tanh(a / 2) (exp(a) + 1)
        less_one = tanh(re * delta / 2) * (decay + 1) * cos(turn) - 2 * half * half
        across = decay * sin(turn)
        square = re * re + im * im
        held_re, held_im = (less_one * re + across * im) / square, (across * re - less_one * im) / square
        b = params["weight_ih"].reshape(2, *re.shape, -1)
        g_re, g_im = held_re.reshape(-1, 1), held_im.reshape(-1, 1)
        weight = concatenate([g_re * b[0] - g_im * b[1], g_re * b[1] + g_im * b[0]], -2)
        return params | {"weight_ih": weight, "step_re": decay * cos(turn), "step_im": across}

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> tuple[Array, State]:
        re = unit.step_re * prev.re - unit.step_im * prev.im + wx.re
        im = unit.step_re * prev.im + unit.step_im * prev.re + wx.im
        return (re, im), State(re=re, im=im)

    def emit(self, params: Arrays, x: Array, output: Array) -> Array:
        re, im = output
        return 2 * (linear(re, params["output_re"]) - linear(im, params["output_im"])) + params["skip"] * x

    def modes(self, modulus: np.ndarray, phase: np.ndarray) -> Arrays:
        return {"lambda_re": np.log(modulus), "lambda_im": phase, "delta_log": np.zeros_like(phase)}

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Eigenvalues of the normal part of HiPPO-LegS, B and C in its eigenbasis.

        Delta is log-uniform in [0.001, 0.1].

        B and C are LeCun-normal before the change of basis, D is standard normal; one block (the paper also
        draws several).
        """
        (width, p), inputs = shapes["output_re"], shapes["weight_ih"][1]
        eigenvalues, basis = legs(2 * p)
        b = basis.conj().T @ rng.standard_normal((2 * p, inputs)) / math.sqrt(inputs)
        drawn = rng.standard_normal((width, 2 * p)) + 1j * rng.standard_normal((width, 2 * p))
        c = drawn / math.sqrt(2 * p) @ basis
        return {
            "weight_ih": np.concatenate([b.real, b.imag]),
            "lambda_re": eigenvalues.real,
            "lambda_im": eigenvalues.imag,
            "delta_log": rng.uniform(math.log(0.001), math.log(0.1), p),
            "output_re": c.real,
            "output_im": c.imag,
            "skip": rng.standard_normal(width),
        }


def legs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors, in columns, of the normal part of HiPPO-LegS.

    Those whose imaginary part is positive.
    """
    root = np.sqrt(np.arange(size) + 0.5)
    lower = np.tril(np.outer(root, root), -1)
    turns, basis = np.linalg.eigh(-1j * (lower.T - lower))
    return -0.5 + 1j * turns[size // 2 :], basis[:, size // 2 :]
