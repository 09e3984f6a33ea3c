"""Implementations of cells in users' styles: right ones, wrong ones, and ones that cannot be checked."""

from collections import namedtuple

import numpy as np
import torch
from torch import nn

from cellbench import cells


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


# right ones


class Packed(nn.Module):
    """torch, packed weights, a sequence with a default state."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.randn(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.randn(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.zeros(3 * hidden_size))

    def forward(self, x, h=None):
        h = x.new_zeros(x.shape[1], self.hidden_size) if h is None else h
        outputs = []
        for x_t in x:
            xr, xz, xn = (x_t @ self.weight_ih.T + self.bias_ih).chunk(3, -1)
            hr, hz, hn = (h @ self.weight_hh.T + self.bias_hh).chunk(3, -1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            n = torch.tanh(xn + r * hn)
            h = n + z * (h - n)
            outputs.append(h)
        return torch.stack(outputs), h


class PerGate(nn.Module):
    """torch, a Linear for each gate and side, the second without bias; (h, c) in and out."""

    def __init__(self, n_in, n_hidden):
        super().__init__()
        for g in ("input", "forget", "cell", "output"):
            self.add_module(f"{g}_x", nn.Linear(n_in, n_hidden))
            self.add_module(f"{g}_h", nn.Linear(n_hidden, n_hidden, bias=False))

    def forward(self, x_t, hc):
        h, c = hc
        i = torch.sigmoid(self.input_x(x_t) + self.input_h(h))
        f = torch.sigmoid(self.forget_x(x_t) + self.forget_h(h))
        g = torch.tanh(self.cell_x(x_t) + self.cell_h(h))
        o = torch.sigmoid(self.output_x(x_t) + self.output_h(h))
        c = f * c + i * g
        return o * torch.tanh(c), c


class Joined(nn.Module):
    """torch, one Linear of [h, x] for all gates, batch first, output and a tuple of states."""

    def __init__(self, input_dim, hidden_dim):
        super().__init__()
        self.batch_first = True
        self.gates = nn.Linear(hidden_dim + input_dim, 4 * hidden_dim)

    def forward(self, x, state):
        h, c = state
        ys = []
        for t in range(x.size(1)):
            i, f, g, o = self.gates(torch.cat([h, x[:, t]], dim=1)).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            ys.append(h)
        return torch.stack(ys, dim=1), (h, c)


class Wrapped(nn.Module):
    """torch, an nn.GRUCell inside, float64."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size, dtype=torch.float64)

    def forward(self, inp, hidden):
        return self.cell(inp, hidden)


class SplitGRU(nn.Module):
    """torch, r and z in one Linear of [x, h], the candidate apart."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lin_rz = nn.Linear(input_size + hidden_size, 2 * hidden_size)
        self.lin_xn = nn.Linear(input_size, hidden_size)
        self.lin_hn = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x, h):
        r, z = torch.sigmoid(self.lin_rz(torch.cat([x, h], 1))).chunk(2, 1)
        n = torch.tanh(self.lin_xn(x) + r * self.lin_hn(h))
        return z * h + (1 - z) * n


def dict_gru(x, h, params):
    """NumPy, a dict of arrays by gate, one sequence at a time, columns."""
    r = sigmoid(params["W_r"] @ x + params["U_r"] @ h + params["b_r"])
    z = sigmoid(params["W_z"] @ x + params["U_z"] @ h + params["b_z"])
    n = np.tanh(params["W_h"] @ x + r * (params["U_h"] @ h) + params["b_h"])
    return z * h + (1 - z) * n


def arrays_lstm(x, h_prev, c_prev, W, U, b):
    """NumPy, separate arrays (I, 4H) and (H, 4H)."""
    H = h_prev.shape[-1]
    a = x @ W + h_prev @ U + b
    i, f, g, o = (
        sigmoid(a[:, :H]),
        sigmoid(a[:, H : 2 * H]),
        np.tanh(a[:, 2 * H : 3 * H]),
        sigmoid(a[:, 3 * H :]),
    )
    c = f * c_prev + i * g
    return o * np.tanh(c), c


def d2l_lstm(inputs, state, params):
    """NumPy, a tuple of arrays unpacked, a whole sequence, outputs in a list."""
    W_xi, W_hi, b_i, W_xf, W_hf, b_f, W_xo, W_ho, b_o, W_xc, W_hc, b_c = params
    H, C = state
    outputs = []
    for X in inputs:
        I = sigmoid(X @ W_xi + H @ W_hi + b_i)  # noqa: E741
        F = sigmoid(X @ W_xf + H @ W_hf + b_f)
        O = sigmoid(X @ W_xo + H @ W_ho + b_o)  # noqa: E741
        C = F * C + I * np.tanh(X @ W_xc + H @ W_hc + b_c)
        H = O * np.tanh(C)
        outputs.append(H)
    return outputs, (H, C)


def columns_lstm(xt, a_prev, c_prev, parameters):
    """NumPy, features first: x (I, B), matrices of [a, x], biases (H, 1), and a cache after what counts."""
    Wf, bf, Wi, bi = parameters["Wf"], parameters["bf"], parameters["Wi"], parameters["bi"]
    Wc, bc, Wo, bo = parameters["Wc"], parameters["bc"], parameters["Wo"], parameters["bo"]
    concat = np.concatenate([a_prev, xt], axis=0)
    ft, it, ot = sigmoid(Wf @ concat + bf), sigmoid(Wi @ concat + bi), sigmoid(Wo @ concat + bo)
    cct = np.tanh(Wc @ concat + bc)
    c_next = ft * c_prev + it * cct
    a_next = ot * np.tanh(c_next)
    return a_next, c_next, (ft, it, ot, cct)


class KerasGRU:
    """NumPy, attributes in Keras's names, shapes and order, reset after the product."""

    def __init__(self, units=7, input_dim=5):
        rng = np.random.default_rng(0)
        self.units = units
        self.kernel = rng.normal(size=(input_dim, 3 * units))
        self.recurrent_kernel = rng.normal(size=(units, 3 * units))
        self.bias = np.zeros((2, 3 * units))

    def call(self, inputs, states):
        (h,) = states
        xz, xr, xh = np.split(inputs @ self.kernel + self.bias[0], 3, axis=1)
        hz, hr, hh = np.split(h @ self.recurrent_kernel + self.bias[1], 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        h = z * h + (1 - z) * np.tanh(xh + r * hh)
        return h, [h]


class KerasLSTM:
    """NumPy, the same of an LSTM."""

    def __init__(self, input_dim, units):
        rng = np.random.default_rng(1)
        self.kernel, self.recurrent_kernel = (
            rng.normal(size=(input_dim, 4 * units)),
            rng.normal(size=(units, 4 * units)),
        )
        self.bias = np.zeros(4 * units)

    def step(self, x, states):
        h, c = states
        z0, z1, z2, z3 = np.split(x @ self.kernel + h @ self.recurrent_kernel + self.bias, 4, axis=1)
        c = sigmoid(z1) * c + sigmoid(z0) * np.tanh(z2)
        h = sigmoid(z3) * np.tanh(c)
        return h, [h, c]


class Single:
    """NumPy in float32, arrays as attributes, __call__."""

    def __init__(self, nx, nh, seed=0):
        rng = np.random.default_rng(seed)
        self.Wxh = rng.standard_normal((nh, nx)).astype(np.float32)
        self.Whh = rng.standard_normal((nh, nh)).astype(np.float32)
        self.bh = np.zeros(nh, np.float32)

    def __call__(self, x, h):
        return np.tanh(x @ self.Wxh.T + h @ self.Whh.T + self.bh)


class Keeping:
    """NumPy, keeps its state inside; x alone goes in."""

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(3)
        self.Wx, self.Wh = (
            rng.normal(size=(hidden_size, input_size)),
            rng.normal(size=(hidden_size, hidden_size)),
        )
        self.b = np.zeros(hidden_size)
        self.h = np.zeros(hidden_size)

    def step(self, x):
        self.h = np.tanh(x @ self.Wx.T + self.h @ self.Wh.T + self.b)
        return self.h


class Given:
    """NumPy, the constructor takes the arrays."""

    def __init__(self, W_ih, W_hh, b_ih, b_hh):
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = W_ih, W_hh, b_ih, b_hh

    def forward(self, x, h):
        (xr, xz, xn), (hr, hz, hn) = (
            np.split(a, 3, -1) for a in (x @ self.W_ih.T + self.b_ih, h @ self.W_hh.T + self.b_hh)
        )
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + r * hn) + z * h


def functional_lstm(x, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
    """torch, torch's own names as arguments."""
    h, c = state
    a = torch.nn.functional.linear(x, weight_ih, bias_ih) + torch.nn.functional.linear(h, weight_hh, bias_hh)
    i, f, g, o = a.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), (torch.sigmoid(o) * torch.tanh(c), c)


LSTMState = namedtuple("LSTMState", "h c")


def carried_lstm(params, carry, x):
    """NumPy, (carry, x) -> (carry, y), a named tuple, keys made of gates."""
    gate = {}
    for k in ("i", "f", "g", "o"):
        gate[k] = x @ params[f"W_{k}"] + carry[0] @ params[f"U_{k}"] + params[f"b_{k}"]
    c = sigmoid(gate["f"]) * carry[1] + sigmoid(gate["i"]) * np.tanh(gate["g"])
    new = LSTMState(sigmoid(gate["o"]) * np.tanh(c), c)
    return new, new.h


def _affine(p, side, v):
    return v @ p["w_" + side].T + p["b_" + side]


def helped_gru(p, x, h):
    """NumPy, the keys only show when it runs."""
    (xr, xz, xn), (hr, hz, hn) = np.split(_affine(p, "x", x), 3, -1), np.split(_affine(p, "h", h), 3, -1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * hn) + z * h


class Dictionaries(nn.Module):
    """torch, dictionaries of parameters (I, H) by gate; h and c apart."""

    def __init__(self, in_dim, hid_dim):
        super().__init__()
        self.W = nn.ParameterDict({k: nn.Parameter(torch.randn(in_dim, hid_dim)) for k in "ifco"})
        self.U = nn.ParameterDict({k: nn.Parameter(torch.randn(hid_dim, hid_dim)) for k in "ifco"})
        self.b = nn.ParameterDict({k: nn.Parameter(torch.zeros(hid_dim)) for k in "ifco"})

    def forward(self, x, h, c):
        a = {k: x @ self.W[k] + h @ self.U[k] + self.b[k] for k in "ifco"}
        c = torch.sigmoid(a["f"]) * c + torch.sigmoid(a["i"]) * torch.tanh(a["c"])
        return torch.sigmoid(a["o"]) * torch.tanh(c), c


class Headed(nn.Module):
    """torch, batch first without saying so, no state goes in, a layer that is not of the cell."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.H = hidden_size
        self.Wx, self.Wh = (
            nn.Linear(input_size, 4 * hidden_size),
            nn.Linear(hidden_size, 4 * hidden_size, bias=False),
        )
        self.head = nn.Linear(hidden_size, 3)

    def forward(self, x):
        h = c = torch.zeros(len(x), self.H)
        outputs = []
        for k in range(x.shape[-2]):
            i, f, g, o = (self.Wx(x[:, k]) + self.Wh(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1), (h, c)


class Vectors:
    """NumPy, one sequence (T, I) at a time, matrices of [h, x], all outputs back."""

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        self.hidden_size = hidden_size
        for gate in "fico":
            setattr(self, "W" + gate, rng.normal(size=(hidden_size, hidden_size + input_size)))
            setattr(self, "b" + gate, np.zeros(hidden_size))

    def forward(self, X):
        h = c = np.zeros(self.hidden_size)
        hs = []
        for x in X:
            z = np.concatenate((h, x))
            c = sigmoid(self.Wf @ z + self.bf) * c + sigmoid(self.Wi @ z + self.bi) * np.tanh(
                self.Wc @ z + self.bc
            )
            h = sigmoid(self.Wo @ z + self.bo) * np.tanh(c)
            hs.append(h)
        return np.array(hs)


def keras_gru(x, h, kernel, recurrent_kernel, bias):
    """NumPy, Keras's names as arguments; both biases in one array."""
    (xz, xr, xh), (hz, hr, hh) = (
        np.split(x @ kernel + bias[0], 3, -1),
        np.split(h @ recurrent_kernel + bias[1], 3, -1),
    )
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xh + r * hh)


class OwnCell(cells.GatedCell):
    """A cell of the contract, gates in words and in another order."""

    gates = ("update", "reset", "new")
    states = ("hidden",)
    biases: int = 2

    def equations(self, wx, wh, prev):
        z, r = cells.sigmoid(wx.update + wh.update), cells.sigmoid(wx.reset + wh.reset)
        return cells.State(hidden=z * prev.hidden + (1 - z) * cells.tanh(wx.new + r * wh.new))


# wrong ones


class ResetBefore(SplitGRU):
    """The reset gate before the product."""

    def forward(self, x, h):
        r, z = torch.sigmoid(self.lin_rz(torch.cat([x, h], 1))).chunk(2, 1)
        n = torch.tanh(self.lin_xn(x) + self.lin_hn(r * h))
        return z * h + (1 - z) * n


def textbook_gru(x, h, Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh):
    """The reset gate before the product, and 1 - z keeps."""
    z = sigmoid(x @ Wz + h @ Uz + bz)
    r = sigmoid(x @ Wr + h @ Ur + br)
    return (1 - z) * h + z * np.tanh(x @ Wh + (r * h) @ Uh + bh)


class Swapped(Packed):
    """z and 1 - z exchanged."""

    def forward(self, x, h):
        outputs = []
        for x_t in x:
            xr, xz, xn = (x_t @ self.weight_ih.T + self.bias_ih).chunk(3, -1)
            hr, hz, hn = (h @ self.weight_hh.T + self.bias_hh).chunk(3, -1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            h = z * torch.tanh(xn + r * hn) + (1 - z) * h
            outputs.append(h)
        return torch.stack(outputs), h


def ordered_gru(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    """Keras's order of gates in torch's arrays."""
    (xz, xr, xn), (hz, hr, hn) = (
        np.split(x @ weight_ih.T + bias_ih, 3, 1),
        np.split(h @ weight_hh.T + bias_hh, 3, 1),
    )
    z = sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h


class LSTM(nn.Module):
    """torch's arrays; what is wrong is in the class below."""

    order = "ifgo"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.randn(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.randn(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.randn(4 * hidden_size))

    def rows(self, x, h):
        return x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh

    def gates(self, x, h):
        parts = dict(zip(self.order, self.rows(x, h).chunk(4, 1), strict=True))
        return parts["i"].sigmoid(), parts["f"].sigmoid(), parts["g"].tanh(), parts["o"].sigmoid()

    def forward(self, x, state):
        h, c = state
        i, f, g, o = self.gates(x, h)
        c = f * c + i * g
        return o * torch.tanh(c), c


class IFOG(LSTM):
    order = "ifog"


class IOFG(LSTM):
    order = "iofg"


class ForgetBias(LSTM):
    def gates(self, x, h):
        i, f, g, o = self.rows(x, h).chunk(4, 1)
        return i.sigmoid(), (f + 1).sigmoid(), g.tanh(), o.sigmoid()


class SigmoidCandidate(LSTM):
    def gates(self, x, h):
        i, f, g, o = self.rows(x, h).chunk(4, 1)
        return i.sigmoid(), f.sigmoid(), g.sigmoid(), o.sigmoid()


class NoTanh(LSTM):
    def forward(self, x, state):
        i, f, g, o = self.gates(x, state[0])
        c = f * state[1] + i * g
        return o * c, c


class OneBias(LSTM):
    def rows(self, x, h):
        return x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T


class HardSigmoid(LSTM):
    def gates(self, x, h):
        i, f, g, o = self.rows(x, h).chunk(4, 1)
        hard = torch.nn.functional.hardsigmoid
        return hard(i), hard(f), g.tanh(), hard(o)


class OrderAndForgetBias(LSTM):
    def gates(self, x, h):
        i, f, o, g = self.rows(x, h).chunk(4, 1)
        return i.sigmoid(), (f + 1).sigmoid(), g.tanh(), o.sigmoid()


class Interleaved(LSTM):
    def rows(self, x, h):
        return super().rows(x, h).reshape(len(x), -1, 4).swapaxes(1, 2).reshape(len(x), -1)


class Backwards(LSTM):
    def forward(self, x, state):
        h, c = super().forward(x, (state[1], state[0]))
        return h, (c, h)


class Cut(LSTM):
    def forward(self, x, state):
        return super().forward(x, (state[0].detach(), state[1]))


class CutBias(LSTM):
    def rows(self, x, h):
        return x @ self.weight_ih.T + self.bias_ih.detach() + h @ self.weight_hh.T + self.bias_hh


class Zeroed(LSTM):
    def forward(self, x, state=None):
        outputs, state = [], (x.new_zeros(x.shape[1], self.weight_hh.shape[1]),) * 2
        for x_t in x:
            state = super().forward(x_t, state)
            outputs.append(state[0])
        return torch.stack(outputs), state


class TransposedU:
    """NumPy, square matrices by gate, the recurrent ones transposed."""

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        self.W_xh, self.b = rng.normal(size=(hidden_size, input_size)), np.zeros(hidden_size)
        self.W_hh = rng.normal(size=(hidden_size, hidden_size))

    def __call__(self, x, h):
        return np.tanh(x @ self.W_xh.T + h @ self.W_hh + self.b)


class Else(LSTM):
    """Wrong in a way that nothing names."""

    def forward(self, x, state):
        h, c = super().forward(x, state)
        return h * 0.75 + 0.01 * x.sum(), c


# what cannot be checked


class Needy:
    def __init__(self, flavour, colour, taste):
        pass


def shapeless(x, h, W, U, b):
    raise RuntimeError("matrix of the wrong kind")


def strange(x, h, quux, foo):
    return h


NOTHING = 3
