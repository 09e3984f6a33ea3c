"""A cell whose step the host takes part in."""

from cellbench import cells


class Stopping(cells.GatedCell):
    """Asks for a number in the middle of its step, which no graph can hold."""

    gates = ("h",)
    states = ("h",)

    def step(self, params, x, state):
        h = cells.tanh(x @ params["weight_ih"].T + state.h @ params["weight_hh"].T)
        return h, cells.contract.State(h=h if float(h.sum()) > 0 else -h)
