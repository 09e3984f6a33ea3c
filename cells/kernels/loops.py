"""A step's forward as loops over the units: a second one for what follows a new state.

An LSTM's h is o tanh(c). A processor that waits for c computes the other gates meanwhile, but only as far as
it looks ahead; in a loop of its own, h waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..cell import GatedCell
from ..derived.derive import Derivation, derive, kept, vector_jacobian
from ..vocabulary.graph import Node, ordered
from ..vocabulary.primitives import OPERATORS
from .printing import assignments
from .step import RESERVED

# what takes an instruction or two
SHORT = {*OPERATORS, "absolute", "maximum", "minimum", "positive", "relu", "select", "sqrt"}


@dataclass(frozen=True)
class Loop:
    """Lines of one loop: `reads` are inputs and new_S, by name; `variable` has each value that it leaves."""

    reads: tuple[str, ...]
    lines: list[str]
    variable: dict[Node, str]


def loops(cell: GatedCell, number: Callable[[float], str]) -> list[Loop]:
    """The loops that leave the cell's new states, outputs and what its backward keeps."""
    d = derive(cell)
    inputs = {node: name for name, node in d.inputs.items()}
    keep = kept(d, vector_jacobian(d))
    last = _last(d)
    first = [node for node in d.results if node not in last]
    new = {node: f"new_{s}" for s, node in d.states.items() if node in first}
    before, after = set(ordered(first)), set(ordered(last, without=new))
    if not last or any(node in before and not node.is_leaf for node in after):
        return [_loop(d, [*d.results, *keep], inputs, number)]
    return [
        _loop(d, [*first, *(node for node in keep if node in before)], inputs, number),
        _loop(d, [*last, *(node for node in keep if node not in before)], inputs | new, number),
    ]


def _last(d: Derivation) -> list[Node]:
    """The results that no other result follows, and that wait for a function of a new state, as tanh(c) is.

    Those that wait for a sum or a product do not pay for reading the state again.
    """
    results, new = set(d.results), set(d.states.values())
    followed = {node for result in results for node in {*ordered([result])} - {result} if node in results}

    def waits(result: Node) -> bool:
        others = new - {result}
        own = ordered([result], without=others)  # what no other state computes
        return any(node.op not in SHORT and others & set(ordered([node])) for node in own)

    return [node for node in dict.fromkeys(d.results) if waits(node) and node not in followed]


def _loop(d: Derivation, roots: list[Node], known: dict[Node, str], number: Callable[[float], str]) -> Loop:
    names = {node: name for name, node in d.states.items()} | d.names
    lines, variable = assignments(roots, known, names, number, RESERVED)
    used = {*roots, *(arg for node in ordered(roots, without=known) for arg in node.args)}
    reads = tuple(name for node, name in known.items() if node in used)
    return Loop(reads, lines, {node: variable[node] for node in roots})
