"""Data and networks of the labelled cases.

Tasks with a known floor, initialisations of known reach, latches built by hand.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench.harness import task

HIDDEN, BATCH = 32, 64
FUSED = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Net(nn.Module):
    """A fused module and a linear read-out: of the last step, or of every step."""

    def __init__(self, cell, inputs, outputs, every=False):
        super().__init__()
        self.recurrent, self.head, self.every = FUSED[cell](inputs, HIDDEN), nn.Linear(HIDDEN, outputs), every

    def forward(self, x):
        y, _ = self.recurrent(x)
        return self.head(y if self.every else y[-1])


class Latch(nn.Module):
    """Two bistable units tanh(2 h + W x), switched by a four-way cue and read out by sign.

    merged   both hold the first bit
    blind    the read-out has no direction between the merged classes
    """

    def __init__(self, merged=False, blind=False):
        super().__init__()
        first, second = torch.tensor([1.0, 1, -1, -1]), torch.tensor([1.0, -1, 1, -1])
        written = torch.stack([first, torch.ones(4) if merged else second])
        self.write = nn.Parameter(4 * torch.cat([written, torch.zeros(2, 2)], 1))
        self.keep = nn.Parameter(2 * torch.eye(2))
        read = torch.stack([first, torch.zeros(4) if blind else second], 1)
        self.read = nn.Linear(2, 4)
        with torch.no_grad():
            self.read.weight.copy_(6 * read)
            self.read.bias.copy_(-6 * 0.9575 * read[:, 1] if merged else torch.zeros(4))

    def forward(self, x, state):
        state = x.new_zeros(len(x), 2) if state is None else state
        state = torch.tanh(state @ self.keep.T + x @ self.write.T)
        return self.read(state), state


class Saturated(nn.Module):
    """A sigmoid answer whose logits are at -40 where they should be high."""

    def __init__(self):
        super().__init__()
        self.net = Net("lstm", 6, 4)
        chrono(self.net, 40)
        with torch.no_grad():
            self.net.head.bias.fill_(-40)

    def forward(self, x):
        return torch.sigmoid(self.net(x))


# data: functions of (count, generator) that return x (T, B, I) and the target


def recall(steps, noise=0.0, distractor=0.5, last=False):
    """Which of four cues came first (or last)? Channels: cues, distractor, trigger.

    noise   share of labels drawn anew
    """

    def draw(count, g):
        y = torch.randint(4, (count,), generator=g)
        x = torch.zeros(steps, count, 6)
        x[-1 if last else 0, torch.arange(count), y] = 1
        x[:, :, 4] = distractor * torch.randn(steps, count, generator=g)
        x[0, :, 5] = 1
        drawn = torch.rand(count, generator=g) < noise
        return x, torch.where(drawn, torch.randint(4, (count,), generator=g), y)

    return draw


def adding(steps):
    """Two marked numbers, the first in the first tenth and the second up to the middle."""

    def draw(count, g):
        x = torch.zeros(steps, count, 2)
        x[:, :, 0] = torch.rand(steps, count, generator=g)
        rows = torch.arange(count)
        places = [
            torch.randint(a, b, (count,), generator=g)
            for a, b in ((0, steps // 10), (steps // 10, steps // 2))
        ]
        for place in places:
            x[place, rows, 1] = 1
        return x, sum(x[p, rows, 0] for p in places)[:, None] / 2

    return draw


def order(steps):
    """Temporal order, as the project's own task draws it."""

    def draw(count, g):
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=g)))
        found = task.get(f"temporal_order:steps={steps}").draw(rng, count)
        return torch.from_numpy(found.x.swapaxes(0, 1).copy()), torch.from_numpy(found.y)

    return draw


def copying(delay, symbols=5):
    """Symbols of four kinds, a delay, a trigger, and the symbols again; an answer for every step."""

    def draw(count, g):
        steps = 2 * symbols + delay
        shown = torch.randint(1, 5, (symbols, count), generator=g)
        x = torch.zeros(steps, count, 6)
        x[:symbols] = torch.nn.functional.one_hot(shown, 6).float()
        x[symbols + delay, :, 5] = 1
        y = torch.zeros(steps, count, dtype=torch.long)
        y[-symbols:] = shown
        return x, y

    return draw


def digits(silence):
    """Spoken digits, the same silence after each; utterances end together."""
    found = task.get("spoken_digits").data(np.random.default_rng(0)).train
    steps = int(found.lengths.max())
    x = np.zeros((len(found), steps + silence, 13), np.float32)
    for row, (frames, length) in enumerate(zip(found.x, found.lengths, strict=True)):
        x[row, steps - length : steps] = frames[:length]

    def draw(count, g):
        chosen = torch.randint(len(x), (count,), generator=g).numpy()
        return torch.from_numpy(x[chosen].swapaxes(0, 1).copy()), torch.from_numpy(found.y[chosen])

    return draw


def parity(steps):
    """Is the sum of the first two bits odd? Bits at steps 0 and 3, the rest is noise."""

    def draw(count, g):
        x = 0.5 * torch.randn(steps, count, 2, generator=g)
        bits = torch.randint(2, (2, count), generator=g)
        x[0, :, 0], x[3, :, 0] = 2.0 * bits[0] - 1, 2.0 * bits[1] - 1
        return x, (bits[0] + bits[1]) % 2

    return draw


def ce(output, target):
    return cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


# networks


def chrono(net, longest):
    """Tallec & Ollivier 2018: time constants from 1 to `longest`."""
    u = torch.rand(HIDDEN) * (longest - 2) + 1
    with torch.no_grad():
        bias_ih, bias_hh = net.recurrent.bias_ih_l0, net.recurrent.bias_hh_l0
        bias_ih.zero_(), bias_hh.zero_()
        bias_ih[HIDDEN : 2 * HIDDEN] = u.log()
        if isinstance(net.recurrent, nn.LSTM):
            bias_ih[:HIDDEN] = -u.log()
    return net


def orthogonal(net, gain=1.0):
    nn.init.orthogonal_(net.recurrent.weight_hh_l0, gain)
    with torch.no_grad():
        net.recurrent.bias_ih_l0.zero_(), net.recurrent.bias_hh_l0.zero_()
    return net


def biased(net, rows, value):
    with torch.no_grad():
        net.recurrent.bias_ih_l0[rows] = value
    return net


def reaching(net, longest):
    """An initialisation whose gradient reaches that far."""
    return orthogonal(net) if isinstance(net.recurrent, nn.RNN) else chrono(net, longest)


def train(net, draw, loss, updates, until=-math.inf, rate=3e-3, seed=1):
    """Adam with clipping at 1, until a running loss is below `until`."""
    g = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    running = None
    for _ in range(updates):
        x, y = draw(BATCH, g)
        value = loss(net(x), y)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        running = value.item() if running is None else 0.9 * running + 0.1 * value.item()
        if running < until:
            break
    return net


def strong_gru():
    """Update gates open and a candidate of gain 6, at rest: (1 - z) * 6 + z a step."""
    net = Net("gru", 6, 4)
    with torch.no_grad():
        for p in net.recurrent.parameters():
            p.zero_()
        net.recurrent.bias_ih_l0[:HIDDEN] = 5.0
        nn.init.orthogonal_(net.recurrent.weight_hh_l0[2 * HIDDEN :], 6.0)
    return net


def one_hot(draw):
    """The same data with classes as vectors."""

    def drawn(count, g):
        x, y = draw(count, g)
        return x, torch.nn.functional.one_hot(y, 4).float()

    return drawn
