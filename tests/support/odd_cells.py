"""Cells that use what the zoo's first cells do not: the laws run over them too, given by path."""

from cellbench.cells import (
    GatedCell,
    State,
    concatenate,
    expm,
    linear,
    maximum,
    mean,
    sigmoid,
    softplus,
    split,
    sqrt,
    tanh,
)


class Oscillator(GatedCell):
    """Constants, and a velocity as second state, which is the output (after coRNN, arXiv 2010.00951)."""

    gates = ("force",)
    states = ("place", "speed")
    dt: float = 0.125

    def equations(self, wx, wh, prev):
        speed = prev.speed + self.dt * (tanh(wx.force + wh.force) - 0.75 * prev.place - prev.speed / 4)
        return speed, State(place=prev.place + self.dt * speed, speed=speed)


class Apart(GatedCell):
    """An output that is no state, a gate without a recurrent product, and names that a kernel might use."""

    gates = ("t", "b")
    states = ("keep",)
    biases: int = 2

    def equations(self, wx, wh, prev):
        t = maximum(tanh(wx.t + wh.t), -0.3)
        b = softplus(wx.b)
        hidden = b / (1 + b)
        keep = hidden * prev.keep + (1 - hidden) * t
        return 2 * keep - prev.keep * t, State(keep=keep)


class Heads(GatedCell):
    """Block-diagonal recurrent matrices, vectors, a gate without a recurrent product, two outputs."""

    gates = ("a", "b", "c")
    states = ("h", "m")
    vectors = ("u", "v")
    recurrent_gates = ("a", "c")
    heads: int = 2
    biases: int = 2

    def equations(self, wx, wh, prev, unit):
        m = sigmoid(wx.b + unit.u * prev.m) * prev.m + tanh(wx.a + wh.a)
        return (m, sigmoid(wx.c) * wh.c), State(h=tanh(m * unit.v + prev.h / 2), m=m)

    def emit(self, params, x, output):
        first, second = output
        return first * second + x.sum(-1, keepdims=True) * params["u"]


class Chained(GatedCell):
    """Products of products: two inner gates in heads, and a matrix of its own, used twice."""

    gates = ("r", "a", "k", "b")
    states = ("h", "m")
    vectors = ("u",)
    matrices = ("mix",)
    inner_gates = ("b", "a")
    heads: int = 2
    biases: int = 2

    def equations(self, wx, wh, prev, unit):
        r, keep = sigmoid(wx.r + wh.r), sigmoid(wh.k - wx.k)
        a = tanh(wx.a + wh.a(r * prev.h))
        b = sigmoid(wx.b + wh.b(a + prev.m) + unit.mix(a * prev.m) / 2)
        m = keep * b * prev.m + (1 - b) * a
        return m * unit.u, State(h=tanh(r * prev.h + unit.mix(m - prev.h) / 2), m=m)


class Normed(GatedCell):
    """A layer norm on a gate, and a mean on both sides of a product; a gate without a product."""

    gates = ("f", "g", "x")
    states = ("h", "c")
    recurrent_gates = ("f", "g")
    recurrent_states = ("c",)
    inner_gates = ("g",)

    def equations(self, wx, wh, prev):
        a = wx.f + wh.f - mean(wx.f + wh.f)
        f = sigmoid(a / sqrt(mean(a * a) + 0.25))
        level = mean(prev.h * f)
        g = tanh(wx.g + wh.g(f * prev.c - level))
        c = f * prev.c + (1 - f) * g * (1 + level)
        return c * wx.x + mean(g * c), State(h=g - mean(c) * prev.h, c=c)


class Pair(GatedCell):
    """Two states through the recurrent product, and a stored skew part whose exponential the step uses."""

    gates = ("p",)
    states = ("h", "z")
    recurrent_states = ("h", "z")

    def shapes(self, input_size, hidden_size):
        return super().shapes(input_size, hidden_size) | {"weight_hh": (hidden_size, hidden_size)}

    def effective(self, params):
        rotation = expm((params["weight_hh"] - params["weight_hh"].swapaxes(0, 1)) / 4)
        return params | {"weight_hh": concatenate([0.5 * rotation, -0.25 * rotation])}

    def project(self, params, x):
        return State(p=tanh(x) @ params["weight_ih"].swapaxes(0, 1) + params.get("bias_ih", 0))

    def equations(self, wx, wh, prev):
        z = prev.z / 2 + tanh(wx.p + wh.p)
        return State(h=0.75 * prev.h + 0.25 * z, z=z)


class Written(GatedCell):
    """A step written out: reset gate before the product, centred gates, the second state as output."""

    gates = ("r", "n")
    states = ("h", "c")

    def step(self, params, x, state):
        wx, wh = self.project(params, x), split(self.gates, linear(state.h, params["weight_hh"]))
        r = sigmoid(wx.r + wh.r)
        centred = wx.n - wx.n.sum(-1, keepdims=True) / wx.n.shape[-1]
        width = params["weight_hh"].shape[1]
        c = tanh(centred + (r * state.h) @ params["weight_hh"][width:].swapaxes(0, 1)) + 0.5 * state.c
        return c, State(h=tanh(c) - r * state.h, c=c)
