"""A cell's step on NumPy arrays, printed: forward that also returns what the backward needs, and backward."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from ..cell import GatedCell
from ..vocabulary.primitives import VOCABULARY
from .modules import load
from .step import Step, step


def module(cell: GatedCell, unsaturated: bool = False) -> ModuleType:
    """A module with forward and backward of one step.

    forward(wx, wh, prev, unit) -> (outputs, states, keeps)
    backward(keeps, prev, new, unit, d_output, d_new) -> d_ of wx, wh, prev, unit

    All are tuples of arrays in the order of the cell's gates (wh: those that are recurrent), states, vectors
    and outputs; a cotangent of what has no influence is the number 0. d_output counts for outputs that are no
    state.
    """
    source = step(cell, unsaturated=unsaturated)
    return load(f"numpy_{cell.name}", text(cell, source))


def text(cell: GatedCell, source: Step) -> str:
    """The printed module."""
    s = cell.states
    kinds = {"wx": cell.gates, "wh": cell.recurrent, "prev": s, "unit": cell.vectors}
    inputs = {kind: [f"{kind}_{name}" for name in names] for kind, names in kinds.items()}
    forward = [
        *(line for kind, names in inputs.items() for line in _unpack(kind, names)),
        *source.forward,
        f"return {_tuple(source.outputs)}, {_tuple(source.new_states[k] for k in s)}, {_tuple(source.keeps)}",
    ]
    cotangents = [_tuple(source.cotangents.get(name, "0") for name in group) for group in inputs.values()]
    backward = [
        *_unpack("keeps", [f"keep_{k}" for k in source.keeps]),
        *_unpack("prev", inputs["prev"]),
        *_unpack("new", [f"new_{k}" for k in s]),
        *_unpack("unit", inputs["unit"]),
        *_unpack("d_output", [f"d_output_{k}" for k in range(len(source.outputs))]),
        *_unpack("d_new", [f"d_{k}" for k in s]),
        *source.backward,
        f"return {', '.join(cotangents)}",
    ]
    return "\n".join(
        [
            f'"""The step of {cell.name!r} on arrays, printed from its equations."""',
            "",
            f"from {__package__.rpartition('.')[0]}.vocabulary.primitives import {', '.join(VOCABULARY)}",
            "",
            "",
            "def forward(wx, wh, prev, unit):",
            *_indent(forward),
            "",
            "",
            "def backward(keeps, prev, new, unit, d_output, d_new):",
            *_indent(backward),
            "",
        ]
    )


def _unpack(source: str, names: list[str]) -> list[str]:
    return [f"{_tuple(names)} = {source}"] if names else []


def _tuple(texts: Iterable[str]) -> str:
    names = list(texts)
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
