"""Selective state space: N states a channel, whose step, input and output weights follow the input."""

import math

import numpy as np

from .. import Array, Arrays, GatedCell, Shapes, State, check_sizes, exp, linear, softplus


class Mamba(GatedCell):
    """h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t, y_t = C_t h_t + D x_t.

    (S6, Gu & Dao 2023, arXiv 2312.00752)

    The selective scan alone: D channels (input_size = hidden_size) of N states each, without the block's
    expansion, convolution and gate. weight_ih gives from x_t the R-dimensional share of Delta (R = 0: D / 16,
    rounded up), then B_t, then C_t; Delta = softplus(weight_dt share + bias_dt), A = -exp(a_log). As in the
    paper's code A is discretised by zero-order hold and B by Delta B. The state is channel by channel, (B, D
    * N). biases=0 leaves out bias_dt.
    """

    gates = ("a", "b")
    states = ("h",)
    recurrent_gates = ()
    N: int = 16
    R: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(N=self.N, R=self.R or 1)

    def units(self, hidden_size: int) -> int:
        return hidden_size * self.N

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return hidden_size

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        if input_size == hidden_size:
            return None
        return (
            f"cell {self.name!r} has a state for each input: input_size {input_size} must equal hidden_size"
            f" {hidden_size}"
        )

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        rank = self.R or -(-hidden_size // 16)
        bias = {"bias_dt": (hidden_size,)} if self.biases else {}
        return {
            "weight_ih": (rank + 2 * self.N, input_size),
            "weight_dt": (hidden_size, rank),
            **bias,
            "a_log": (hidden_size, self.N),
            "skip": (hidden_size,),
        }

    def project(self, params: Arrays, x: Array) -> State:
        weight, each = params["weight_ih"], (*x.shape, 1)
        rank, lead = weight.shape[0] - 2 * self.N, x.shape[:-1]
        delta = softplus(linear(linear(x, weight[:rank]), params["weight_dt"], params.get("bias_dt")))
        b = linear(x, weight[rank : rank + self.N]).reshape(*lead, 1, self.N)
        decay = delta.reshape(*each) * -exp(params["a_log"])
        return State(a=decay.reshape(*lead, -1), b=((delta * x).reshape(*each) * b).reshape(*lead, -1))

    def equations(self, wx: State, wh: State, prev: State) -> State:
        return State(h=exp(wx.a) * prev.h + wx.b)

    def emit(self, params: Arrays, x: Array, output: Array) -> Array:
        lead = x.shape[:-1]
        c = linear(x, params["weight_ih"][-self.N :]).reshape(*lead, 1, self.N)
        return (output.reshape(*lead, -1, self.N) * c).sum(-1) + params["skip"] * x

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """A = -(1, ..., N) in every channel, D = 1, matrices by fan-in.

        softplus(bias_dt) is log-uniform in [0.001, 0.1].
        """
        step = np.exp(rng.uniform(math.log(0.001), math.log(0.1), shapes["skip"]))
        bounds = {name: 1 / math.sqrt(shapes[name][1]) for name in ("weight_ih", "weight_dt")}
        arrays = {name: rng.uniform(-bound, bound, shapes[name]) for name, bound in bounds.items()}
        arrays |= {
            "a_log": np.tile(np.log(np.arange(1, self.N + 1)), (len(step), 1)),
            "skip": np.ones(shapes["skip"]),
        }
        return arrays | ({"bias_dt": np.log(np.expm1(step))} if "bias_dt" in shapes else {})
