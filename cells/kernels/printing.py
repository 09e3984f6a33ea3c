"""Prints nodes as Python assignments, in the order they were written, for one kind of number.

Used for the NumPy functions and the Numba kernels; a value keeps the name that the cell's author gave it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from math import copysign

from ..vocabulary.graph import Node, ordered

PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}


def plain_number(value: float) -> str:
    """A constant as Python writes it: 1 for 1.0, so that float32 arrays stay float32; -0.0 keeps its sign."""
    return str(int(value)) if value == int(value) and (value or copysign(1, value) > 0) else repr(value)


def assignments(
    roots: Iterable[Node],
    known: Mapping[Node, str],
    names: Mapping[Node, str],
    number: Callable[[float], str] = plain_number,
    reserved: Collection[str] = (),
) -> tuple[list[str], dict[Node, str]]:
    """Lines that compute the roots from the known values, and the variable of every node that has one.

    A value that is used once and has no name of its own is written in place. No variable takes a reserved
    name.
    """
    variable = dict(known)
    roots = list(roots)
    todo = [n for n in ordered(roots, without=known) if n.op != "constant"]
    uses = Counter(a for n in todo for a in n.args)
    uses.update(r for r in roots if r not in known)
    lines: list[str] = []
    text: dict[Node, str] = {}
    taken = set(known.values()) | set(reserved)
    for node in todo:
        text[node] = expression(node, variable, text, number)
        if node in names or uses[node] > 1 or node in roots:
            name = _fresh(names.get(node, "v"), taken)
            lines.append(f"{name} = {text[node]}")
            variable[node] = name
    return lines, variable


def _fresh(stem: str, taken: set[str]) -> str:
    name, k = stem, 0
    while name in taken or name == "v":
        k += 1
        name = f"{stem}{k}"
    taken.add(name)
    return name


def expression(
    node: Node, variable: Mapping[Node, str], text: Mapping[Node, str], number: Callable[[float], str]
) -> str:
    """The right-hand side that computes the node, in the written order of evaluation."""

    def operand(arg: Node, above: int) -> str:
        if arg in variable:
            return variable[arg]
        if arg.op == "constant":
            return number(arg.value) if copysign(1, arg.value) > 0 else f"({number(arg.value)})"
        return text[arg] if PRECEDENCE.get(arg.op, 9) > above else f"({text[arg]})"

    if node.op == "neg":
        return "-" + operand(node.args[0], 3)
    if node.op in PRECEDENCE:
        level = PRECEDENCE[node.op]
        left, right = node.args
        return f"{operand(left, level - 1)} {node.op} {operand(right, level)}"
    name = node.op if node.value is None else f"{node.op}_{node.value}"  # of a product, its matrix too
    return f"{name}({', '.join(operand(a, 0) for a in node.args)})"
