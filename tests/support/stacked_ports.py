"""Ports of stacks and of both directions: right ones, and ones with a mistake in one place."""

import torch
from torch import nn


class Both(nn.Module):
    """Two GRUs, one of them over the sequence from its end."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.fwd, self.bwd = nn.GRU(input_size, hidden_size), nn.GRU(input_size, hidden_size)

    def forward(self, x, h=None):
        there, last = self.fwd(x, None if h is None else h[:1])
        back, first = self.bwd(self.turned(x), None if h is None else h[1:])
        return self.joined(there, self.returned(back)), torch.cat([last, first])

    def turned(self, x):
        return x.flip(0)

    def returned(self, output):
        return output.flip(0)

    def joined(self, there, back):
        return torch.cat([there, back], -1)


class NotTurnedBack(Both):
    def returned(self, output):
        return output


class BothForward(NotTurnedBack):
    def turned(self, x):
        return x


class BackwardInFront(Both):
    def joined(self, there, back):
        return torch.cat([back, there], -1)


class Three(nn.Module):
    """Three LSTM cells, one above the other."""

    places = (0, 1, 2)

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cells = nn.ModuleList(
            nn.LSTMCell(n, hidden_size) for n in (input_size, hidden_size, hidden_size)
        )

    def forward(self, x, state=None):
        zeros = x.new_zeros(3, x.shape[1], self.cells[0].hidden_size)
        h, c = (list(values) for values in (state or (zeros, zeros)))
        outputs = []
        for y in x:
            for k in range(3):
                h[k], c[k] = self.step(k, y, h[k], c[k])
                y = h[k]
            outputs.append(y)
        return torch.stack(outputs), (torch.stack(h), torch.stack(c))

    def step(self, k, x, h, c):
        return self.cells[self.places[k]](x, (h, c))


class Exchanged(Three):
    places = (0, 2, 1)


class TwoMistakes(Three):
    """A forget bias of 1 in layer 1, another order of gates in layer 2."""

    def step(self, k, x, h, c):
        cell = self.cells[k]
        a = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        i, f, g, o = (a.chunk(4, -1)[j] for j in ((0, 1, 2, 3) if k < 2 else (0, 1, 3, 2)))
        c = (f + (k == 1)).sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Four(nn.Module):
    """A two-layer bidirectional GRU with its arrays used otherwise."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, num_layers=2, bidirectional=True)

    def forward(self, x, h):
        return torch.func.functional_call(self.gru, self.used(dict(self.gru.named_parameters())), (x, h))


class DirectionsExchanged(Four):
    def used(self, arrays):
        other = {"_l1": "_l1_reverse", "_l1_reverse": "_l1"}
        ends = {name: "_l" + name.split("_l")[1] for name in arrays}
        return {n: arrays[n.removesuffix(e) + other.get(e, e)] for n, e in ends.items()}


class OneGate(Four):
    def used(self, arrays):
        def moved(rows):
            r, z, n = rows.chunk(3)
            return torch.cat([z, r, n])

        return {n: moved(v) if n.endswith("_l0_reverse") else v for n, v in arrays.items()}
