"""Simple recurrent unit: gates see the input and, through a vector, their own unit's cell state."""

from .. import Array, Arrays, GatedCell, Shapes, State, linear, sigmoid


class SRU(GatedCell):
    """c_t = f c_{t-1} + (1 - f) W x_t, output r c_t + (1 - r) x_t (Lei et al. 2018, arXiv 1709.02755v5).

    f and r add v * c_{t-1} to their product, so that the cell is elementwise but not affine. Where input_size
    is not hidden_size, x in the output is a projection of x: a fourth block of weight_ih. bias_ih is f's and
    r's. Of the paper's scaling of the highway by a constant alpha nothing is here (alpha = 1).
    """

    gates = ("f", "r", "x", "skip")
    states = ("c",)
    vectors = ("v_f", "v_r")
    recurrent_gates = ()
    keep_gate = "f"

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        rows = (3 if input_size == hidden_size else 4) * hidden_size
        bias: Shapes = {"bias_ih": (2 * hidden_size,)} if self.biases else {}
        weight: Shapes = {"weight_ih": (rows, input_size)}
        return weight | bias | dict.fromkeys(self.vectors, (hidden_size,))

    def project(self, params: Arrays, x: Array) -> State:
        weight, bias, units = params["weight_ih"], params.get("bias_ih"), params["v_f"].shape[0]
        blocks = [weight[k : k + units] for k in range(0, weight.shape[0], units)]
        f, r = (
            linear(x, blocks[k], None if bias is None else bias[k * units : (k + 1) * units]) for k in (0, 1)
        )
        return State(f=f, r=r, x=linear(x, blocks[2]), skip=linear(x, blocks[3]) if len(blocks) == 4 else x)

    def equations(self, wx: State, wh: State, prev: State, unit: State) -> tuple[Array, State]:
        f = sigmoid(wx.f + unit.v_f * prev.c)
        r = sigmoid(wx.r + unit.v_r * prev.c)
        c = f * prev.c + (1 - f) * wx.x
        return r * c + (1 - r) * wx.skip, State(c=c)
