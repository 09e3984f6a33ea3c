"""Long expressive memory: two states on learned time scales; the first one's new value drives the second."""

from .. import Array, Arrays, GatedCell, State, linear, sigmoid, split, tanh


class LEM(GatedCell):
    """z_t = (1 - a) z + a tanh(W_z y + ...), y_t = (1 - b) y + b tanh(W_y z_t + ...), output y.

    a = dt sigmoid(W_1 y_{t-1} + V_1 x_t + b_1) and b = dt sigmoid(W_2 y_{t-1} + ...) are the time steps
    (Rusch et al. 2022, arXiv 2110.04744). weight_hh has the blocks 1, 2, z (of y) and y, which multiplies the
    new z: the step is written out.
    """

    gates = ("a", "b", "z", "y")
    states = ("y", "z")
    dt: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.dt <= 1:
            raise ValueError(f"dt is {self.dt!r}; it must be above 0 and at most 1")

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        wx, weight, bias = self.project(params, x), params["weight_hh"], params.get("bias_hh")
        units = weight.shape[1]
        first, last = (None, None) if bias is None else (bias[: 3 * units], bias[3 * units :])
        wy = split(self.gates[:3], linear(state.y, weight[: 3 * units], first))
        a = self.dt * sigmoid(wx.a + wy.a)
        b = self.dt * sigmoid(wx.b + wy.b)
        z = (1 - a) * state.z + a * tanh(wx.z + wy.z)
        y = (1 - b) * state.y + b * tanh(wx.y + linear(z, weight[3 * units :], last))
        return y, State(y=y, z=z)
