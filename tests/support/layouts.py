"""Random layouts of a torch.nn.RNN, LSTM or GRU, the same module through the kernels, and calls of both."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from cellbench import cells

KINDS = {"gru": "GRU", "lstm": "LSTM", "elman": "RNN", "elman:activation=relu": "RNN"}


@dataclass
class Layout:
    """A module's arguments and one call of it."""

    spec: str
    sizes: tuple[int, int]
    arguments: dict
    form: str  # plain, unbatched, packed (sorted) or unsorted
    given_state: bool
    dtype: torch.dtype = torch.float64
    x: list = field(default_factory=list)
    state: list = field(default_factory=list)
    lengths: list = field(default_factory=list)

    def theirs(self):
        more = {"nonlinearity": "relu"} if "relu" in self.spec else {}
        return getattr(nn, KINDS[self.spec])(*self.sizes, **self.arguments, **more, dtype=self.dtype)

    def ours(self, backend="numba"):
        return cells.torch_module(self.spec, *self.sizes, **self.arguments, backend=backend, dtype=self.dtype)

    def inputs(self):
        """Leaves (x, *states) of a call."""
        return [t.clone().requires_grad_() for t in (self.x, *(self.state if self.given_state else []))]

    def call(self, module, leaves):
        """All that a call returns, as a list of tensors."""
        x, *states = leaves
        if self.form in ("packed", "unsorted"):
            first = self.arguments["batch_first"]
            ordered = self.form == "packed"
            x = pack_padded_sequence(x, torch.tensor(self.lengths), batch_first=first, enforce_sorted=ordered)
        hx = None if not states else tuple(states) if len(states) > 1 else states[0]
        output, last = module(x, hx)
        last = last if isinstance(last, tuple) else (last,)
        if isinstance(output, PackedSequence):
            indices = [output.sorted_indices, output.unsorted_indices]
            assert [i is None for i in indices] == [self.form == "packed"] * 2
            output = output.data
        return [output, *last]


def drawn(rng, dtype=torch.float64):
    """A layout drawn by a NumPy generator."""

    def real(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).to(dtype)

    spec = str(rng.choice(list(KINDS)))
    form = str(rng.choice(["plain", "plain", "unbatched", "packed", "unsorted"]))
    layers, directions = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    steps, batch, inputs, hidden = (int(n) for n in rng.integers(1, [20, 6, 9, 12]))
    lengths = rng.integers(1, steps + 1, batch).tolist()
    if form == "packed":
        lengths = sorted(lengths, reverse=True)
    arguments = {
        "num_layers": layers,
        "bidirectional": directions == 2,
        "batch_first": bool(rng.random() < 0.5),
        "bias": bool(rng.random() < 0.8),
    }
    shape = (batch, steps, inputs) if arguments["batch_first"] else (steps, batch, inputs)
    rows = (layers * directions, batch, hidden)
    if form == "unbatched":
        shape, rows = (steps, inputs), (layers * directions, hidden)
    states = [real(*rows) for _ in range(2 if spec == "lstm" else 1)]
    given = bool(rng.random() < 0.5)
    return Layout(spec, (inputs, hidden), arguments, form, given, dtype, real(*shape), states, lengths)


def gradients(layout, module, seed=0):
    """What a call returns, and the gradients of its leaves and of the parameters for random cotangents."""
    leaves = layout.inputs()
    results = layout.call(module, leaves)
    rng = np.random.default_rng(seed)
    cotangents = [torch.from_numpy(rng.standard_normal(r.shape)).to(r.dtype) for r in results]
    found = torch.autograd.grad(results, [*leaves, *module.parameters()], cotangents)
    return [r.detach() for r in results], list(found)


def furthest(a, b):
    """The largest difference of two lists of tensors, relative to the largest entry where that is above 1."""
    assert [t.shape for t in a] == [t.shape for t in b]
    pairs = [(p.detach(), q.detach()) for p, q in zip(a, b, strict=True)]
    return max(float((p - q).abs().max() / q.abs().max().clamp(min=1)) for p, q in pairs)
