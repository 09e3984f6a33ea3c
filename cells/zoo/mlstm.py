"""LSTM with a matrix memory: keys and values are written to it by their outer product, queries read it."""

import math

from .. import (
    Array,
    Arrays,
    GatedCell,
    Shapes,
    State,
    absolute,
    check_sizes,
    exp,
    linear,
    logsigmoid,
    maximum,
    minimum,
    sigmoid,
)

LARGEST = 80.0  # of an exponent: exp(80) is finite in float32


class MLSTM(GatedCell):
    """C_t = f C_{t-1} + i v k', n_t = f n_{t-1} + i k, output o C q / max(|n q|, 1).

    (Beck et al. 2024, arXiv 2405.04517)

    i = exp(a_i), f = sigmoid(a_f) are one number a head, k is divided by sqrt(d_qk), o = sigmoid(W_o x).
    States: C (B, heads, d_v, d_qk), n, and the stabiliser m; C and n are stored times exp(-m), so that max
    has exp(-m) for the 1 (the paper's text forgets that, its parallel form has it) and the output does not
    depend on m. Beyond exp(80) that bound stays there: the output differs by less than 1e-30 of its
    numerator. d_qk and d_v 0 stand for hidden_size / heads. Biases are i's and f's alone (weight_if,
    bias_if), where the paper's text has one for q, k, v and o too. The block around it (projections,
    convolution, group norm) is not of the cell.
    """

    gates = ("q", "k", "v", "o")
    states = ("C", "n", "m")
    heads: int = 1
    d_qk: int = 0
    d_v: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(d_qk=self.d_qk or 1, d_v=self.d_v or 1)

    def widths(self, hidden_size: int) -> tuple[int, int]:
        """(d_qk, d_v), of one head."""
        return self.d_qk or hidden_size // self.heads, self.d_v or hidden_size // self.heads

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        return None if self.d_qk and self.d_v else super().unfit(input_size, hidden_size)

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return self.heads * self.widths(hidden_size)[1]

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        # of a stack, its layers come first
        lead = (*super().state_shapes(batch, hidden_size)["m"][:-1], self.heads)
        d_qk, d_v = self.widths(hidden_size)
        return {"C": (*lead, d_v, d_qk), "n": (*lead, d_qk), "m": lead}

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        d_qk, d_v = self.widths(hidden_size)
        bias: Shapes = {"bias_if": (2 * self.heads,)} if self.biases else {}
        rows = self.heads * (2 * d_qk + 2 * d_v)
        return {"weight_ih": (rows, input_size), "weight_if": (2 * self.heads, input_size), **bias}

    def inputs(self, params: Arrays, x: Array, widths: tuple[int, ...]) -> tuple[Array, ...]:
        """q and k (B, heads, d_qk), v and o (B, heads, d_v), i and f (B, heads), before any activation."""
        rows, at, vectors = linear(x, params["weight_ih"]), 0, []
        for width in widths:
            vectors.append(rows[:, at : at + self.heads * width].reshape(-1, self.heads, width))
            at += self.heads * width
        gates = linear(x, params["weight_if"], params.get("bias_if"))
        return *vectors, gates[:, : self.heads], gates[:, self.heads :]

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        batch, heads, (d_v, d_qk) = x.shape[0], self.heads, state.C.shape[-2:]
        q, k, v, o, i, f = self.inputs(params, x, (d_qk, d_qk, d_v, d_v))
        kept = logsigmoid(f) + state.m
        m = maximum(kept, i)
        keep, write = exp(kept - m).reshape(batch, heads, 1), exp(i - m).reshape(batch, heads, 1)
        key = write * k / math.sqrt(d_qk)
        n = keep * state.n + key
        memory = keep.reshape(batch, heads, 1, 1) * state.C + v.reshape(batch, heads, d_v, 1) * key.reshape(
            batch, heads, 1, d_qk
        )
        read = (memory @ q.reshape(batch, heads, d_qk, 1)).reshape(batch, heads, d_v)
        size = maximum(absolute((n * q).sum(-1)), exp(minimum(-m, LARGEST))).reshape(batch, heads, 1)
        output = (sigmoid(o) * read / size).reshape(batch, -1)
        return output, State(C=memory, n=n, m=m)
