"""The values that a cell's equations pass through along a trajectory: evaluated on the recorded graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cellbench.cells import GatedCell, State
from cellbench.cells.vocabulary.graph import Node, ordered
from cellbench.cells.vocabulary.primitives import VOCABULARY

from .path import check, forward_path

Arrays = dict[str, Any]
OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
}


def values_of(
    cell: GatedCell, params: Arrays, x: Any, nodes: Iterable[Node], state: Arrays | None = None
) -> dict[Node, np.ndarray]:
    """Each node's value at all steps and samples, (T, B, units), from the reference's trajectory."""
    check(cell, params, x, least=1)
    if cell.written_out:
        raise ValueError(
            f"cell {cell.name!r} writes out its step, so its gates are not recorded; write equations to see"
            " them"
        )
    x = np.asarray(x, np.float64)
    program, path = forward_path(cell, params, x, state)
    used, prev = program.products.used, [s[:-1] for s in path]
    joint = State(**dict(zip(cell.states, prev, strict=True)))
    inputs = {f"wx_{k}": v for k, v in vars(cell.project(used, x)).items()}
    inputs |= {f"wh_{k}": v for k, v in vars(cell.recur(used, joint)).items()}
    inputs |= {f"prev_{k}": v for k, v in vars(joint).items()} | {f"unit_{k}": used[k] for k in cell.vectors}
    wanted = list(nodes)
    found: dict[Node, Any] = {}
    for node in ordered(wanted):
        found[node] = _value(node, found, inputs)
    return {node: np.broadcast_to(found[node], prev[0].shape) for node in wanted}


def _value(node: Node, found: dict[Node, Any], inputs: Arrays) -> Any:
    if node.op == "input":
        return inputs[node.value]
    if node.op == "constant":
        return node.value
    function: Any = OPERATORS.get(node.op) or VOCABULARY[node.op]
    return function(*(found[a] for a in node.args))
