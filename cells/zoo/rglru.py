"""Real-gated linear recurrent unit: a diagonal recurrence whose decay and input are gated by the input."""

import math

import numpy as np

from .. import (
    Array,
    Arrays,
    GatedCell,
    Shapes,
    State,
    blocks,
    check_sizes,
    exp,
    maximum,
    sigmoid,
    softplus,
    sqrt,
    tanh,
)

DECAY = 8.0  # the paper's c
SMALLEST = 1e-30  # of 1 - a^2, a normal number in float32 too


class RGLRU(GatedCell):
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t x_t), a_t = exp(-c softplus(Lambda) r_t).

    (De et al. 2024, arXiv 2402.19427)

    c = 8; r and i are sigmoids of x by matrices of k diagonal blocks, with biases. softplus(Lambda) is as in
    the paper's appendix and its authors' code; the main text's a = sigmoid(Lambda) would make it
    softplus(-Lambda). 1 - a^2 is tanh(s) (1 + a^2) with s = -log a, exact where a is near 1, and at least
    1e-30: the square root's derivative stays finite where r has shut to exactly 0, and what it is multiplied
    with is 0 there.
    """

    gates = ("r", "i", "x")
    states = ("h",)
    vectors = ("decay",)
    recurrent_gates = ()
    k: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(k=self.k)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        if input_size != hidden_size:
            return (
                f"cell {self.name!r} gates its input itself: input_size {input_size} must equal hidden_size"
                f" {hidden_size}"
            )
        return (
            f"cell {self.name!r} has {self.k} blocks, which do not divide {hidden_size}"
            if hidden_size % self.k
            else None
        )

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        bias: Shapes = {"bias_ih": (2 * hidden_size,)} if self.biases else {}
        return {"weight_ih": (2 * hidden_size, hidden_size // self.k), **bias, "decay": (hidden_size,)}

    def project(self, params: Arrays, x: Array) -> State:
        rows = blocks(x, params["weight_ih"], params.get("bias_ih"), self.k, 2).reshape(*x.shape[:-1], 2, -1)
        return State(r=rows[..., 0, :], i=rows[..., 1, :], x=x)

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> State:
        s = DECAY * softplus(unit.decay) * sigmoid(wx.r)
        a = exp(-s)
        scale = sqrt(maximum(tanh(s) * (1 + a * a), SMALLEST))
        return State(h=a * prev.h + scale * (sigmoid(wx.i) * wx.x))

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """a^c uniform in [0.9, 0.999] at r = 1, LeCun-normal gate matrices, biases 0."""
        slow = -np.log(rng.uniform(0.9, 0.999, shapes["decay"])) / DECAY  # softplus(Lambda)
        weight = rng.standard_normal(shapes["weight_ih"]) / math.sqrt(shapes["weight_ih"][1])
        zeros = {name: np.zeros(shape) for name, shape in shapes.items() if name == "bias_ih"}
        return {"weight_ih": weight, "decay": np.log(np.expm1(slow))} | zeros
