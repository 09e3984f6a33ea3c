"""What a cell of several layers or both directions is made of: its parts, each a cell of one layer in one
direction.

Arrays are named as torch.nn names them: what a part has, with the suffix _l0, _l0_reverse, _l1 ...; without
one where there is one part alone. Layer k > 0 takes the outputs of all directions of layer k - 1, side by
side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..contract import GatedCell

Shapes = dict[str, tuple[int, ...]]
READ_OUT = ("weight_out", "bias_out")


@dataclass(frozen=True)
class Part:
    """One layer in one direction."""

    suffix: str
    layer: int
    reverse: bool
    input_size: int


def parts(cell: GatedCell, input_size: int, hidden_size: int) -> list[Part]:
    """The parts in torch's order: by layer, forward before reverse."""
    found, directions = [], (False, True)[: cell.directions]
    for layer in range(cell.layers):
        for reverse in directions:
            suffix = f"_l{layer}{'_reverse' * reverse}" if cell.stacked else ""
            found.append(Part(suffix, layer, reverse, input_size))
        input_size = cell.directions * cell.emitted(input_size, hidden_size)
    return found


def single(cell: GatedCell) -> GatedCell:
    """The cell of one part: no stack, and no read-out."""
    return replace(cell, layers=1, bidirectional=False, readout=0)


def width(cell: GatedCell, input_size: int, hidden_size: int) -> int:
    """Width of the last layer's output, both directions, before a read-out."""
    last = parts(cell, input_size, hidden_size)[-1]
    return cell.directions * cell.emitted(last.input_size, hidden_size)


def shapes(cell: GatedCell, input_size: int, hidden_size: int) -> Shapes:
    """Shapes of all arrays by name, the read-out's last."""
    found = {
        name + part.suffix: shape
        for part in parts(cell, input_size, hidden_size)
        for name, shape in cell.shapes(part.input_size, hidden_size).items()
    }
    return found | read_out(cell, input_size, hidden_size)


def read_out(cell: GatedCell, input_size: int, hidden_size: int) -> Shapes:
    """Shapes of the read-out's arrays, none where there is no read-out."""
    if not cell.readout:
        return {}
    return {"weight_out": (cell.readout, width(cell, input_size, hidden_size)), "bias_out": (cell.readout,)}


def unfit(cell: GatedCell, input_size: int, hidden_size: int) -> str | None:
    """None, or the reason why a layer of the cell cannot have these sizes."""
    for part in parts(cell, input_size, hidden_size):
        if reason := cell.unfit(part.input_size, hidden_size):
            return f"layer {part.layer}: {reason}" if part.layer else reason
    return None


def initialise(
    cell: GatedCell, sizes: tuple[int, int], rng: np.random.Generator, scheme: str
) -> dict[str, Any]:
    """Arrays drawn by the named scheme, one part after the other; the read-out's with those of the last part."""
    from .init import initialise as draw

    found: dict[str, Any] = {}
    every = parts(cell, *sizes)
    for part in every:
        wanted = cell.shapes(part.input_size, sizes[1])
        if part is every[-1]:
            wanted = wanted | read_out(cell, *sizes)
        drawn = draw(cell, wanted, cell.units(sizes[1]), rng, scheme)
        found |= {name if name in READ_OUT else name + part.suffix: array for name, array in drawn.items()}
    return found


def share(part: Part, params: dict[str, Any], names: Any) -> dict[str, Any]:
    """The part's own arrays, by the names that they have in a single cell."""
    return {name: params[name + part.suffix] for name in names}
