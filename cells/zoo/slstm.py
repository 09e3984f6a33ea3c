"""Scalar LSTM of the xLSTM: exponential gates, a normaliser, and a maximum that keeps them small."""

from .. import GatedCell, State, absolute, exp, logsigmoid, maximum, relu, sigmoid, tanh

EMPTY = 1e9  # what log f loses where nothing has been written: far more than any pre-activation


class SLSTM(GatedCell):
    """States h, c, the normaliser n and the stabiliser m; block-diagonal W_hh by `heads`.

    (Beck et al. 2024, arXiv 2405.04517)

    The forget gate is a sigmoid, one of the paper's two forms. h = o * c / n does not depend on m while n >
    0. From states of zeros, m_1 is the input gate's pre-activation, as in the authors' code: n is 0, so that
    m forgets where it came from. After that n is at least 1, for one of the two gates' exponentials is; the
    division by max(n, 1/2) changes only what no run reaches. Without the convolution, group normalisation and
    projections of the block around the cell.
    """

    gates = ("i", "f", "z", "o")
    states = ("h", "c", "n", "m")
    keep_gate = "f"
    input_gate = "i"
    heads: int = 1

    def equations(self, wx: State, wh: State, prev: State) -> State:
        log_i = wx.i + wh.i
        empty = relu(1 - 1e6 * absolute(prev.n))  # 1 where n is 0, and 0 where it is 1 or more
        log_f = logsigmoid(wx.f + wh.f) + prev.m - EMPTY * empty
        m = maximum(log_f, log_i)
        i, f = exp(log_i - m), exp(log_f - m)
        z = tanh(wx.z + wh.z)
        o = sigmoid(wx.o + wh.o)
        c = f * prev.c + i * z
        n = f * prev.n + i
        return State(h=o * (c / maximum(n, 0.5)), c=c, n=n, m=m)
