"""A cell's step on NumPy arrays, printed: forward that also returns what the backward needs, and backward."""

from __future__ import annotations

from types import ModuleType

from ..contract import GatedCell
from ..primitives import VOCABULARY
from .modules import load
from .step import Step, step


def module(cell: GatedCell, unsaturated: bool = False) -> ModuleType:
    """forward(wx, wh, prev) -> (output, states, keeps); backward(keeps, prev, new, d_step_output, d_new) -> (d_wx, d_wh, d_prev).

    All arguments are tuples of arrays in the order of the cell's gates and states; a zero cotangent is the number 0.
    """
    source = step(cell, unsaturated=unsaturated)
    return load(f"numpy_{cell.name}", text(cell, source))


def text(cell: GatedCell, source: Step) -> str:
    """The printed module."""
    g, s = cell.gates, cell.states
    results = [f"wx_{k}" for k in g], [f"wh_{k}" for k in g], [f"prev_{k}" for k in s]
    forward = [
        *_unpack("wx", [f"wx_{k}" for k in g]), *_unpack("wh", [f"wh_{k}" for k in g]),
        *_unpack("prev", [f"prev_{k}" for k in s]),
        *source.forward,
        f"return {source.output}, {_tuple(source.new_states[k] for k in s)}, {_tuple(source.keeps)}",
    ]  # fmt: skip
    backward = [
        *_unpack("keeps", [f"keep_{k}" for k in source.keeps]), *_unpack("prev", [f"prev_{k}" for k in s]),
        *_unpack("new", [f"new_{k}" for k in s]), *_unpack("d_new", [f"d_{k}" for k in s]),
        *source.backward,
        f"return {', '.join(_tuple(source.cotangents.get(name, '0') for name in group) for group in results)}",
    ]  # fmt: skip
    return "\n".join(
        [
            f'"""The step of {cell.name!r} on arrays, printed from its equations."""', "",
            f"from {__name__.partition('.')[0]}.primitives import {', '.join(VOCABULARY)}", "",
            "", "def forward(wx, wh, prev):", *_indent(forward), "",
            "", "def backward(keeps, prev, new, d_step_output, d_new):", *_indent(backward), "",
        ]
    )  # fmt: skip


def _unpack(source: str, names: list[str]) -> list[str]:
    return [f"{_tuple(names)} = {source}"] if names else []


def _tuple(names) -> str:
    names = list(names)
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
