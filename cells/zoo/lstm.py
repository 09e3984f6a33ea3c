"""Long short-term memory: a cell state c that gates write to, keep and read."""

from typing import Any

from .. import Array, Arrays, GatedCell, Shapes, State, linear, sigmoid, tanh, whole


class LSTM(GatedCell):
    """With forget gate and no peepholes; two biases as in torch.nn.LSTM.

    (Hochreiter & Schmidhuber 1997; Gers et al. 2000)

    proj_size P above 0 is a projection (Sak et al. 2014, arXiv 1402.1128): h = W_hr (o tanh(c)) is (B, P),
    narrower than c, and is the output and what weight_hh (4H, P) takes. 0 is none. The second output of that
    paper, which is not fed back, is left out, as in torch.nn.LSTM(proj_size=P).
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    keep_gate = "f"
    input_gate = "i"
    biases: int = 2
    proj_size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not whole(self.proj_size) or self.proj_size < 0:
            raise ValueError(
                f"proj_size is {self.proj_size!r}; it must be the width of h, or 0 for hidden_size"
            )

    def equations(self, wx: State, wh: State, prev: State) -> State:
        i = sigmoid(wx.i + wh.i)
        f = sigmoid(wx.f + wh.f)
        g = tanh(wx.g + wh.g)
        o = sigmoid(wx.o + wh.o)
        c = f * prev.c + i * g
        return State(h=o * tanh(c), c=c)

    def writes(self, method: str) -> bool:
        # without a projection the equations are the whole step, from which kernels are printed
        return super().writes(method) and not (method == "step" and self._plain)

    @property
    def _plain(self) -> bool:
        return not self.proj_size and type(self).step is LSTM.step

    @property
    def recorded(self) -> bool:
        # with a projection too the gates are those of the equations, but for a subclass with another step
        return super().recorded or type(self).step is LSTM.step

    @property
    def projections(self) -> dict[str, str]:
        return {"h": "weight_hr"} if self.proj_size and type(self).step is LSTM.step else {}

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        if not self.proj_size:
            return super().step(params, x, state)
        new = self.equations(self.project(params, x), self.recur(params, state), state)
        h = linear(new.h, params["weight_hr"])
        return h, State(h=h, c=new.c)

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        shapes = super().shapes(input_size, hidden_size)
        if not self.proj_size:
            return shapes
        return shapes | {
            "weight_hh": (4 * hidden_size, self.proj_size),
            "weight_hr": (self.proj_size, hidden_size),
        }

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        shapes = super().state_shapes(batch, hidden_size)
        return shapes | {"h": (*shapes["h"][:-1], self.emitted(1, hidden_size))}

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return self.proj_size or hidden_size

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        if self.proj_size < hidden_size:
            return super().unfit(input_size, hidden_size)
        return (
            f"cell 'lstm' has proj_size {self.proj_size}, which must be less than hidden_size {hidden_size},"
            " as in torch.nn.LSTM"
        )

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        return "LSTM", {"proj_size": self.proj_size} if self.proj_size else {}
