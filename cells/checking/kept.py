"""Ports whose new state keeps a part of the old one, as zoneout does in eval mode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .compare import Candidate
from .layout import Layout
from .port import Port
from .variants import Variant


def kept(port: Port, layout: Layout) -> str | None:
    """Which part of each old state is in the new one, in words; None where that does not explain the port."""
    short = None if layout.cell.stacked else port.first_step()
    if short is None or set(short.outputs.state) != set(layout.cell.states):
        return None
    shares = dict(_shares(short, layout))
    found = {name: share for name, share in shares.items() if share is not None}
    if len(found) < len(shares) or max(map(abs, found.values())) <= port.tolerance:
        return None
    parts = " and ".join(f"{share:.3g} of the old {name}" for name, share in found.items())
    return f"keeps {parts} in each step, as zoneout does in eval mode; take the new state alone"


def _shares(short: Port, layout: Layout) -> Iterator[tuple[str, float | None]]:
    """Of each state the share of the old one, by least squares; None where it is no such mixture."""
    expected = Candidate(short, layout, Variant(layout.cell)).expected
    for name, got in short.outputs.state.items():
        old, new = short.problem.state[name], expected.state[name]
        apart = old - new
        share = float(np.sum((got - new) * apart) / np.sum(apart * apart))
        off = np.max(np.abs(got - new - share * apart)) / np.max(np.abs(got))
        yield name, share if off <= short.tolerance else None
