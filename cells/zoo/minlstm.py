"""Minimal LSTM: forget and input gate see only the input and share out one."""

from .. import GatedCell, State, logsigmoid, sigmoid


class MinLSTM(GatedCell):
    """h_t = f' h_{t-1} + i' h~ with f' = f / (f + i), i' = i / (f + i).

    (Feng et al. 2024, arXiv 2410.01201, the vanilla form)

    Gates and the linear candidate h~ are from x_t alone; the log-space form, which keeps h positive, is
    another cell. The paper's Linear has a bias, as torch's has: biases=1, or 0 for the count 3HI. The ratio
    is computed as sigmoid(log f - log i), which is the same and is not 0 / 0 where both gates are shut.
    """

    gates = ("f", "i", "h")
    states = ("h",)
    recurrent_gates = ()
    keep_gate = "f"
    input_gate = "i"

    def equations(self, wx: State, wh: State, prev: State) -> State:
        f = sigmoid(logsigmoid(wx.f) - logsigmoid(wx.i))
        return State(h=f * prev.h + (1 - f) * wx.h)
