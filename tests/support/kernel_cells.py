"""Cells that a printed kernel could get wrong: masks, names, and states that change places."""

from cellbench.cells import GatedCell, State, sigmoid, tanh


class Divides(GatedCell):
    """A share of two inputs: 0 / 0 wherever a kernel pads, which must reach no unit."""

    gates = ("a", "b")
    states = ("h",)

    def equations(self, wx, wh, prev):
        first, second = wx.a * wx.a, wx.b * wx.b
        total = first + second
        share = first / total
        return State(h=tanh(wh.a * total / total - wh.b + share) / 2 + prev.h * share / 4)


class Names(GatedCell):
    """Variables, gates and states with the names that a kernel has around the step."""

    gates = ("even", "odd", "steps")
    states = ("at", "tl")

    def equations(self, wx, wh, prev):
        ok = sigmoid(wx.even + wh.even)
        one = tanh(wx.odd + wh.odd)
        slots_even, fed = ok * one, ok - one * one
        next_wx_even = slots_even * fed + ok
        d_at = sigmoid(next_wx_even + wx.steps * wh.steps)
        pulled = d_at * prev.tl + ok * fed
        return State(at=pulled * d_at + prev.at / 2, tl=tanh(pulled) * one + d_at)


class Places(GatedCell):
    """States that change places, a state that is a gate's input, and an output that was a state."""

    gates = ("a",)
    states = ("h", "k", "m")

    def equations(self, wx, wh, prev):
        h = tanh(wx.a + wh.a + prev.k * 0.3)
        return prev.m * h + prev.k, State(h=h, k=prev.h, m=wx.a)


class Carries(GatedCell):
    """Affine in two states, of which one takes the old value of the other; an output that is neither."""

    gates = ("a", "b")
    states = ("h", "k")
    recurrent_gates = ()
    vectors = ("v",)

    def equations(self, wx, wh, prev, unit):
        z = sigmoid(wx.a)
        h = z * prev.h + (1 - z) * wx.b
        k = unit.v * prev.k + prev.h / 2 + tanh(wx.a)
        return h * k, State(h=h, k=k)
