"""Is my port right? A GRU written by hand, held against the float64 reference.

From the command line, in this folder:

    cellbench check port_check.py:MyGRU --against gru

The command names the mistake that is hidden here, and ends with exit code 1. The second class is the
mended one: `cellbench check port_check.py:MendedGRU --against gru` says "right".
"""

import torch
from torch import nn

from cellbench import cells


class MyGRU(nn.Module):
    """A GRU one step at a time, with a mistake that no loss curve shows."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.from_x = nn.Linear(input_size, 3 * hidden_size)
        self.from_h = nn.Linear(hidden_size, 3 * hidden_size)

    def forward(self, x, h):
        xr, xz, xn = self.from_x(x).chunk(3, -1)
        hr, hz, hn = self.from_h(h).chunk(3, -1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        return self.blend(z, n, h)

    def blend(self, z, n, h):
        return (1 - z) * h + z * n


class MendedGRU(MyGRU):
    """The same step with the update gate as torch and cuDNN have it."""

    def blend(self, z, n, h):
        return (1 - z) * n + z * h


if __name__ == "__main__":
    for port in (MyGRU, MendedGRU):
        print(cells.check(port, against="gru"), end="\n\n")
