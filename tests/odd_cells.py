"""Two cells that use what the zoo's first cells do not: the laws run over them too, given by path."""

from cells import GatedCell, State, maximum, softplus, tanh


class Oscillator(GatedCell):
    """Constants, a velocity as second state, and that second state as the output (after coRNN, arXiv 2010.00951)."""

    gates = ("force",)
    states = ("place", "speed")
    step: float = 0.125

    def equations(self, wx, wh, prev):
        speed = prev.speed + self.step * (tanh(wx.force + wh.force) - 0.75 * prev.place - prev.speed / 4)
        return speed, State(place=prev.place + self.step * speed, speed=speed)


class Apart(GatedCell):
    """An output that is no state, a gate without a recurrent product, and names that a kernel might use itself."""

    gates = ("t", "b")
    states = ("keep",)
    biases: int = 2

    def equations(self, wx, wh, prev):
        t = maximum(tanh(wx.t + wh.t), -0.3)
        b = softplus(wx.b)
        hidden = b / (1 + b)
        keep = hidden * prev.keep + (1 - hidden) * t
        return 2 * keep - prev.keep * t, State(keep=keep)
