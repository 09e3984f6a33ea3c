"""Long expressive memory: two states on learned time scales; the first one's new value drives the second."""

from .. import GatedCell, State, sigmoid, tanh


class LEM(GatedCell):
    """z_t = (1 - a) z + a tanh(W_z y + ...), y_t = (1 - b) y + b tanh(W_y z_t + ...), output y.

    a = dt sigmoid(W_1 y_{t-1} + V_1 x_t + b_1) and b = dt sigmoid(W_2 y_{t-1} + ...) are the time steps
    (Rusch et al. 2022, arXiv 2110.04744). weight_hh has the blocks 1, 2, z (of y) and y, which multiplies the
    new z.
    """

    gates = ("a", "b", "z", "y")
    states = ("y", "z")
    inner_gates = ("y",)
    dt: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.dt <= 1:
            raise ValueError(f"dt is {self.dt!r}; it must be above 0 and at most 1")

    def equations(self, wx: State, wh: State, prev: State) -> State:
        a = self.dt * sigmoid(wx.a + wh.a)
        b = self.dt * sigmoid(wx.b + wh.b)
        z = (1 - a) * prev.z + a * tanh(wx.z + wh.z)
        y = (1 - b) * prev.y + b * tanh(wx.y + wh.y(z))
        return State(y=y, z=z)
