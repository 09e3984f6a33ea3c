"""Which biases a port has and which were asked for: what it cannot express, or has too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..cell import GatedCell
from ..contract import State
from ..derived import layers
from .layout import CellArrays, Layout
from .stacks import called, of_layer

ENDS = {"bias_ih": "b_i", "bias_hh": "b_h"}


def lacking(layout: Layout, cell: GatedCell) -> list[str]:
    """The biases b_iGATE and b_hGATE of a cell that a port has not, where no other bias stands for them."""
    if cell.stacked:
        return _by_layer(lacking, layout, cell)
    have, want = _held(layout), _asked(cell)
    apart = _apart(cell, layout.cell_arrays.sizes)
    lost = [
        (target, gate)
        for target, gate in want
        if (target, gate) not in have and (gate in apart or not _either(have, gate))
    ]
    # of two that say the same, one is enough to be named
    return [
        f"{ENDS[target]}{gate}"
        for target, gate in lost
        if gate in apart or target == "bias_ih" or ("bias_ih", gate) not in want
    ]


def beyond(layout: Layout, cell: GatedCell) -> list[str]:
    """The biases that a port has, and the cell has not, where no other bias stands for them."""
    if cell.stacked:
        return _by_layer(beyond, layout, cell)
    have, want = _held(layout), _asked(cell)
    apart = _apart(cell, layout.cell_arrays.sizes)
    return [
        f"{ENDS[target]}{gate}"
        for target, gate in have
        if (target, gate) not in want and (gate in apart or not _either(want, gate))
    ]


Bias = tuple[str, str]  # (bias_ih or bias_hh, gate)


def _by_layer(
    compare: Callable[[Layout, GatedCell], list[str]], layout: Layout, cell: GatedCell
) -> list[str]:
    """The same of each layer and direction of a stack, which is named."""
    count, single = cell.layers * cell.directions, layers.single(cell)
    return [
        f"{name} of {called(layout.cell_arrays, k)}"
        for k in range(count)
        for name in compare(of_layer(layout, k), single)
    ]


def _either(biases: list[Bias], gate: str) -> bool:
    return any((target, gate) in biases for target in ENDS)


def _asked(cell: GatedCell) -> list[Bias]:
    gates = {"bias_ih": cell.gates, "bias_hh": cell.recurrent}
    names = [name for name in cell.shapes(6, 8) if name in ENDS]
    return [(name, gate) for name in names for gate in gates[name]]


def _held(layout: Layout) -> list[Bias]:
    gates = layout.cell_arrays.gates
    held = [
        (p.target, gate) for p in layout.pieces if p.target in ENDS for gate in p.gates or gates[p.target]
    ]
    return list(dict.fromkeys(held))


def _apart(cell: GatedCell, sizes: tuple[int, int]) -> list[str]:
    """The gates whose two biases are not one sum, as of a GRU's n, whose b_h the reset gate multiplies."""
    try:
        cell = replace(cell, biases=2, readout=0)
    except ValueError:
        return []
    if not CellArrays(cell, sizes).blocked:
        return []
    rng = np.random.default_rng(0)
    params = {name: torch.as_tensor(rng.normal(size=shape)) for name, shape in cell.shapes(*sizes).items()}
    x = torch.as_tensor(rng.normal(size=(2, sizes[0])))
    state = {k: torch.as_tensor(rng.uniform(0.1, 1, s)) for k, s in cell.state_shapes(2, sizes[1]).items()}

    def stepped(moved: str | None) -> torch.Tensor:
        held = dict(params)
        if moved is not None:
            ih, hh = (held[name].clone() for name in ENDS)
            rows = {
                n: _rows(layout, moved, sizes[1])
                for n, layout in zip(ENDS, (cell.gates, cell.recurrent), strict=True)
            }
            ih[rows["bias_ih"]] += hh[rows["bias_hh"]]
            hh[rows["bias_hh"]] = 0
            held |= {"bias_ih": ih, "bias_hh": hh}
        _, new = cell.step(cell.effective(held), x, State(**state))
        return torch.cat([getattr(new, name) for name in cell.states])

    base = stepped(None)
    both = [gate for gate in cell.recurrent if gate in cell.gates]
    return [gate for gate in both if not torch.allclose(stepped(gate), base, rtol=1e-9, atol=1e-12)]


def _rows(gates: tuple[str, ...], gate: str, units: int) -> slice:
    k = gates.index(gate)
    return slice(k * units, (k + 1) * units)
