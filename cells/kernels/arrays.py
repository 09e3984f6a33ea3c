"""A cell's step on NumPy arrays, printed: forward that also returns what the backward needs, and backward."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from ..cell import GatedCell
from ..derived.inner import inner_biases, inner_names
from ..vocabulary.primitives import VOCABULARY
from .modules import load
from .step import Step, step


def module(cell: GatedCell, unsaturated: bool = False) -> ModuleType:
    """A module with forward and backward of one step.

    forward(wx, wh, prev, unit) -> (outputs, states, keeps)
    backward(keeps, prev, new, unit, d_output, d_new) -> d_ of wx, wh, prev, unit

    All are tuples of arrays in the order of the cell's gates (wh: those that are recurrent), states, vectors
    and outputs; a cotangent of what has no influence is the number 0. d_output counts for outputs that are no
    state. Vectors are followed by the biases of inner gates.

    Where the step multiplies values of its own, both take a last argument, the products with the cell's inner
    matrices W or with their transposes, as functions. The backward then also returns d_ of each product of
    the step, and its operand.

    Where it joins its units, there is tangent(keeps, prev, new, unit, d_wh, d_prev[, products]) -> d_ of the
    new states too, the Jacobian-vector product. All but the vectors may have further axes in front.
    """
    source = step(cell, unsaturated=unsaturated)
    return load(f"numpy_{cell.name}", text(cell, source))


def text(cell: GatedCell, source: Step) -> str:
    """The printed module."""
    s, vocabulary = cell.states, f"{__package__.rpartition('.')[0]}.vocabulary"
    kinds = {
        "wx": cell.gates,
        "wh": cell.fed_gates,
        "prev": s,
        "unit": (*cell.vectors, *(inner_biases(cell))),
    }
    inputs = {kind: [f"{kind}_{name}" for name in names] for kind, names in kinds.items()}
    matrices = inner_names(cell)
    forward = [
        *_unpack("products", [f"product_{name}" for name in matrices]),
        *(line for kind, names in inputs.items() for line in _unpack(kind, names)),
        *source.forward,
        f"return {_tuple(source.outputs)}, {_tuple(source.new_states[k] for k in s)}, {_tuple(source.keeps)}",
    ]
    groups = [
        *inputs.values(),
        *([[f"product_{k}" for k in range(len(source.products))]] if matrices else []),
    ]
    returned = [_tuple(source.cotangents.get(name, "0") for name in group) for group in groups]
    returned += [_tuple(source.operands)] if matrices else []
    backward = [
        *_unpack("transposed", [f"transposed_{name}" for name in matrices]),
        *_unpack("keeps", [f"keep_{k}" for k in source.keeps]),
        *_unpack("prev", inputs["prev"]),
        *_unpack("new", [f"new_{k}" for k in s]),
        *_unpack("unit", inputs["unit"]),
        *_unpack("d_output", [f"d_output_{k}" for k in range(len(source.outputs))]),
        *_unpack("d_new", [f"d_{k}" for k in s]),
        *source.backward,
        f"return {', '.join(returned)}",
    ]
    more = ["", "", *_tangent(cell, source, inputs)] if source.new_tangents else []
    return "\n".join(
        [
            f'"""The step of {cell.name!r} on arrays, printed from its equations."""',
            "",
            *([f"from {vocabulary}.across import mean"] if cell.derivation().joined else []),
            f"from {vocabulary}.primitives import {', '.join(VOCABULARY)}",
            "",
            "",
            f"def forward(wx, wh, prev, unit{', products' * bool(matrices)}):",
            *_indent(forward),
            "",
            "",
            f"def backward(keeps, prev, new, unit, d_output, d_new{', transposed' * bool(matrices)}):",
            *_indent(backward),
            *more,
            "",
        ]
    )


def _tangent(cell: GatedCell, source: Step, inputs: dict[str, list[str]]) -> list[str]:
    matrices = inner_names(cell)
    lines = [
        *_unpack("products", [f"product_{name}" for name in matrices]),
        *_unpack("keeps", [f"keep_{k}" for k in source.keeps]),
        *_unpack("prev", inputs["prev"]),
        *_unpack("new", [f"new_{k}" for k in cell.states]),
        *_unpack("unit", inputs["unit"]),
        *_unpack("d_wh", [f"d_{name}" for name in inputs["wh"]]),
        *_unpack("d_prev", [f"d_{name}" for name in inputs["prev"]]),
        *source.tangent,
        f"return {_tuple(source.new_tangents.get(s, '0') for s in cell.states)}",
    ]
    arguments = f"keeps, prev, new, unit, d_wh, d_prev{', products' * bool(matrices)}"
    return [f"def tangent({arguments}):", *_indent(lines)]


def _unpack(source: str, names: list[str]) -> list[str]:
    return [f"{_tuple(names)} = {source}"] if names else []


def _tuple(texts: Iterable[str]) -> str:
    names = list(texts)
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]
