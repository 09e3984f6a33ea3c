"""Affine recurrences, found in a cell's graph: new = J prev + c with a small block J at every unit.

J and c do not depend on the old states.

A scan computes such a recurrence in chunks at once: in every chunk the product of its J and the state that it
reaches from 0, then from chunk to chunk the state that it begins with, then all steps from there. No
division, no logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, mul, neg, sub, truediv
from typing import Any, TypeVar

from ..contract import Equations
from ..vocabulary.graph import Node, Tape, ordered
from ..vocabulary.primitives import VOCABULARY
from .derive import degree, derive, vector_jacobian

MODES = ("sequential", "scan")
T = TypeVar("T")
Entry = tuple[str, str]  # of J: (new state, old state)
ARITHMETIC: dict[str, Callable[..., Any]] = {"+": add, "-": sub, "*": mul, "/": truediv, "neg": neg}


@dataclass(frozen=True, eq=False)
class Recurrence:
    """J and c as nodes of the cell's graph, without entries that are 0 whatever the values."""

    states: tuple[str, ...]
    jacobian: dict[Entry, Node]
    constant: dict[str, Node]

    @property
    def reach(self) -> tuple[Entry, ...]:
        """The entries of a product of several J, or of none, that are not structurally 0."""
        return closure(self.jacobian, self.states)


def closure(entries: Iterable[tuple[T, T]], states: Sequence[T]) -> tuple[tuple[T, T], ...]:
    """The entries of a product of several J with these entries, or of none, that are not structurally 0."""
    reach = {(s, s) for s in states} | set(entries)
    while more := {(a, d) for a, b in reach for c, d in reach if b == c} - reach:
        reach |= more
    return tuple((a, b) for a in states for b in states if (a, b) in reach)


def unsupported(cell: Equations) -> str | None:
    """None, or the reason why the cell's recurrence cannot be scanned."""
    if cell.written_out:
        return (
            f"cell {cell.name!r} writes out its step; a scan needs equations that are affine in the old"
            " states"
        )
    nonlinear = [name for name, node in derive(cell).states.items() if degree(node) > 1]
    if nonlinear:
        return (
            f"cell {cell.name!r} is not affine in the old states: {', '.join(nonlinear)}; a scan needs an"
            " affine recurrence"
        )
    if derive(cell).joined:
        return (
            f"cell {cell.name!r} multiplies or averages values of its step, so its Jacobian is not"
            " elementwise; a scan needs one block a unit"
        )
    if cell.recurrent:
        return (
            f"cell {cell.name!r} has a recurrent product, so its Jacobian is not elementwise; a scan needs"
            " one block a unit"
        )
    return None


def check_mode(mode: str, further: tuple[str, ...] = ()) -> None:
    """Raises ValueError for what is no mode of a backend; `further` are modes that it alone has."""
    if mode not in (*MODES, *further):
        raise ValueError(f"mode is {mode!r}; it must be one of {', '.join((*MODES, *further))}")


@lru_cache(maxsize=256)
def recurrence(cell: Equations) -> Recurrence:
    """J and c of a cell for which `unsupported` gives no reason."""
    derivation = derive(cell)
    cotangents = vector_jacobian(derivation)
    seeds = [n for n in ordered(cotangents.values()) if n.op == "input" and str(n.value).startswith("d_")]
    zero, one = _number(derivation.tape, 0), _number(derivation.tape, 1)
    jacobian = {}
    for new in cell.states:
        chosen = {seed: one if seed.value == f"d_{new}" else zero for seed in seeds}
        for old in cell.states:
            if f"d_prev_{old}" in cotangents:
                jacobian[new, old] = substituted(cotangents[f"d_prev_{old}"], chosen)
    at_zero = {derivation.inputs[f"prev_{s}"]: zero for s in cell.states}
    constant = {s: substituted(node, at_zero) for s, node in derivation.states.items()}
    return Recurrence(
        cell.states,
        {k: n for k, n in jacobian.items() if n is not zero},
        {k: n for k, n in constant.items() if n is not zero},
    )


def substituted(root: Node, values: dict[Node, Node]) -> Node:
    """The root with leaves replaced by constants; products with 0 or 1 and sums with 0 are left out."""
    nodes: dict[Node, Node] = {}
    for node in ordered([root]):
        nodes[node] = (
            values.get(node, node) if node.is_leaf else _simpler(node, [nodes[a] for a in node.args])
        )
    return nodes[root]


def _simpler(node: Node, args: list[Node]) -> Node:
    tape, op = node.tape, node.op
    numbers = [a.value if a.op == "constant" else None for a in args]
    if op in ARITHMETIC and None not in numbers:
        return _number(tape, ARITHMETIC[op](*numbers))
    match (op, *numbers):
        case ("*", 0, _) | ("*", _, 0) | ("/", 0, _):
            return _number(tape, 0)
        case ("+", 0, _) | ("*", 1, _):
            return args[1]
        case ("+", _, 0) | ("-", _, 0) | ("*", _, 1) | ("/", _, 1):
            return args[0]
        case ("select", _, 0, 0):
            return _number(tape, 0)
        case ("-", 0, _):
            return tape.apply("neg", args[1])
    return tape.apply(op, *args)


def _number(tape: Tape, value: Any) -> Node:
    return tape.constant(value)


def evaluate(roots: Iterable[Node], values: dict[Node, Any]) -> None:
    """Adds the roots and what they are made of to values {node: tensor, array or number}."""
    for node in ordered(roots, without=values):
        if node.op == "constant":
            values[node] = node.value
        else:
            function = ARITHMETIC.get(node.op) or VOCABULARY[node.op]
            values[node] = function(*(values[a] for a in node.args))
