"""What follows from a cell's equations: graph, vector-Jacobian product, degree in the state, what to keep.

Input names: wx_G and wh_G for the two products at gate G (biases included), prev_S for a state at t-1, unit_V
for a vector. Cotangents are d_ + name; the seeds of the product are d_S for new states and d_output_K for
output K if it is no state. A product inside the step is with the matrix wh_G of an inner gate G, whose bias
is the vector bias_hh_G, or with one of the cell's matrices. Product K of the step has the cotangent
d_product_K.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..contract import Equations, State, each_output, output_and_state
from ..vocabulary.across import JOINS, RecordedProduct, forward_rules, joins, rules, uniform
from ..vocabulary.graph import Node, Tape, ordered
from ..vocabulary.primitives import OPERATORS
from .inner import are_names, bias_of, check_inner, inner_names
from .trial import EquationError as EquationError
from .trial import called, fail


@dataclass(frozen=True, eq=False)
class Derivation:
    """A cell's recorded step. `names` are the names that the author gave to intermediate values."""

    tape: Tape
    inputs: dict[str, Node]
    states: dict[str, Node]
    outputs: tuple[Node, ...]
    several: bool
    names: dict[Node, str]

    @property
    def output_states(self) -> tuple[str | None, ...]:
        """For each output the state that it is, or None where it is no state."""
        return tuple(
            next((name for name, node in self.states.items() if node is out), None) for out in self.outputs
        )

    @property
    def results(self) -> list[Node]:
        """New states and outputs."""
        return [*self.states.values(), *self.outputs]

    def separate(self, gate: str) -> bool:
        """Whether the gate's two products are not used in one sum alone (GRU's n), or it has only one."""
        nodes = ordered(self.results)
        wx, wh = self.inputs["wx_" + gate], self.inputs.get("wh_" + gate)
        if wh is None or wh not in nodes or {wx, wh} & set(self.results):  # a state may be a product itself
            return True
        users = [n for n in nodes if wx in n.args or wh in n.args]
        return any(n.op != "+" or set(n.args) != {wx, wh} for n in users)

    @property
    def products(self) -> list[Node]:
        """The products inside the step, in order."""
        return joins(self.results, "product")

    @property
    def joined(self) -> bool:
        """Whether the step multiplies or averages values of its own, so that it is not pointwise."""
        return bool(joins(self.results))

    @property
    def forward(self) -> list[Node]:
        """The operations of one step, in order."""
        return [n for n in ordered(self.results) if not n.is_leaf]

    @property
    def affine(self) -> bool:
        """Whether every new state is affine in the old ones (degree at most 1)."""
        return all(degree(node) <= 1 for node in self.states.values())


def _as_tuple(names: object) -> str:
    """The names as a tuple is written, where they are words; else an example."""
    words = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    return repr(tuple(words) if are_names(tuple(words)) and words else ("h",))


@lru_cache(maxsize=256)
def derive(cell: Equations) -> Derivation:
    """Records the cell's equations.

    Raises EquationError, with file, line and vocabulary, where that is impossible.
    """
    if type(cell).equations is Equations.equations:
        where = getattr(sys.modules.get(type(cell).__module__), "__file__", None) or type(cell).__module__
        needed = "write the method equations(self, wx, wh, prev), or step(self, params, x, state)"
        raise EquationError(f"{type(cell).__name__} has no equations in {where}; {needed}")
    for what in ("gates", "states"):
        names = getattr(cell, what, ())
        if not are_names(names):
            example = _as_tuple(names)
            fail(cell.equations, f"{what} is {names!r}; it must be a tuple of names such as {example}")
    for what in ("gates", "states", "vectors", "matrices"):
        names = getattr(cell, what)
        if twice := next((name for name in names if names.count(name) > 1), None):
            fail(cell.equations, f"{what} has {twice!r} twice; each name is of one")
    tape = Tape()

    def inputs_of(kind: str, names: tuple[str, ...]) -> State:
        return State(**{name: tape.input(f"{kind}_{name}") for name in names})

    check_inner(cell)
    arguments = [inputs_of("wx", cell.gates), inputs_of("wh", cell.fed_gates), inputs_of("prev", cell.states)]
    if cell.vectors or cell.matrices:
        arguments.append(inputs_of("unit", cell.vectors))
    inputs = {n.value: n for v in arguments for n in vars(v).values()}
    for gate in cell.inner_gates:
        bias = tape.input(f"unit_{bias_of(gate)}") if cell.biases == 2 else None
        inputs |= {} if bias is None else {bias.value: bias}
        setattr(arguments[1], gate, RecordedProduct(tape, f"wh.{gate}", f"wh_{gate}", bias))
    for name in cell.matrices:
        setattr(arguments[3], name, RecordedProduct(tape, f"unit.{name}", name))
    result, variables = called(cell, cell.equations, arguments)
    _check_states(cell, result)
    output, state = output_and_state(cell, result)
    outputs = each_output(output)
    for out in outputs:
        if not isinstance(out, Node):
            fail(cell.equations, f"the output is {out!r}; it must be computed from gates or states")
        _check_wide(cell, "the output", out)
    names = {v: k for k, v in variables.items() if isinstance(v, Node) and not v.is_leaf and k.isidentifier()}
    derivation = Derivation(
        tape,
        inputs=inputs,
        states={name: getattr(state, name) for name in cell.states},
        outputs=outputs,
        several=isinstance(output, tuple),
        names=names,
    )
    _check_used(cell, derivation)
    _check_repeated(cell, arguments, derivation)
    return derivation


def _check_states(cell: Equations, result: Any) -> None:
    """Raises EquationError unless the result is a State with the cell's states, or an output and that."""
    state = result[1] if isinstance(result, tuple) and len(result) == 2 else result
    if not isinstance(state, State):
        fail(cell.equations, f"equations must return State(...), or (output, State(...)); got {state!r}")
    if set(vars(state)) != set(cell.states):
        given = ", ".join(vars(state)) or "nothing"
        fail(cell.equations, f"State has {given}; states says {', '.join(cell.states)}")
    for name, value in vars(state).items():
        if not isinstance(value, Node):
            fail(cell.equations, f"state {name} is {value!r}; it must be computed from gates or states")
        _check_wide(cell, f"state {name}", value)


def _check_repeated(cell: Equations, arguments: list[Any], derivation: Derivation) -> None:
    """Raises EquationError for equations that say another thing when they are called once more.

    What is random, or kept from call to call, would be one constant in the kernels and new in each step of
    the reference. On one tape, equal expressions are one node.
    """
    result, _ = called(cell, cell.equations, arguments)
    output, state = output_and_state(cell, result)
    again = (*each_output(output), *(getattr(state, name) for name in cell.states))
    first = (*derivation.outputs, *derivation.states.values())
    if any(a is not b for a, b in zip(again, first, strict=True)):
        fail(
            cell.equations,
            "equations say another thing when they are called again; take out what is random or is kept from"
            " call to call",
        )


def _check_wide(cell: Equations, what: str, node: Node) -> None:
    """Raises EquationError for a result that is one number for all units."""
    if uniform(node):
        fail(
            cell.equations,
            f"{what} is the same in all units; it must be a value of each, such as h - mean(h)",
        )


def _check_used(cell: Equations, derivation: Derivation) -> None:
    """Raises EquationError for a gate, a vector or a matrix that has no influence."""
    used = ordered(derivation.results)
    multiplied = {node.value for node in derivation.products}
    for name in inner_names(cell):
        if name not in multiplied:
            said = f"wh.{name[3:]}(value)" if name not in cell.matrices else f"unit.{name}(value)"
            fail(cell.equations, f"{said} is never used; take it out of inner_gates or matrices, or use it")
    for kind, names, products in (
        ("gate", cell.gates, ("wx", "wh")),
        ("vector", cell.vectors, ("unit",)),
    ):
        for name in names:
            if f"wh_{name}" not in multiplied and not any(
                derivation.inputs.get(f"{product}_{name}") in used for product in products
            ):
                fail(
                    cell.equations,
                    f"{kind} {name!r} is never used; take it out of {kind}s or use {products[0]}.{name}",
                )


def vector_jacobian(derivation: Derivation, *, unsaturated: bool = False) -> dict[str, Node]:
    """Cotangents {"d_" + input: node} of one step by reverse mode, without inputs that have no influence.

    Seeds are the inputs d_S (of each new state) and, for output K where that is no state, d_output_K. With
    `unsaturated` the derivatives use arguments, not values, so that a saturated unit's does not round to
    zero.
    """
    tape = derivation.tape
    cotangent: dict[Node, Node] = {}

    def add(node: Node, g: Node) -> None:
        cotangent[node] = cotangent[node] + g if node in cotangent else g

    for name, node in derivation.states.items():
        add(node, tape.input("d_" + name))
    for k, state in enumerate(derivation.output_states):
        if state is None:
            add(derivation.outputs[k], tape.input(f"d_output_{k}"))
    for node in reversed(ordered(derivation.results)):
        if node.is_leaf or node not in cotangent:
            continue
        for arg, rule in zip(node.args, rules(node, unsaturated), strict=True):
            if arg.op != "constant":
                add(arg, rule(cotangent[node], node, *node.args))
    wanted = derivation.inputs | {f"product_{k}": node for k, node in enumerate(derivation.products)}
    return {"d_" + name: cotangent[node] for name, node in wanted.items() if node in cotangent}


def jacobian_vector(derivation: Derivation, *, unsaturated: bool = False) -> dict[str, Node]:
    """Tangents {"d_" + state: node} of the new states by forward mode, without those that no seed reaches.

    Seeds are the inputs d_wh_G and d_prev_S. `unsaturated` as in `vector_jacobian`.
    """
    tape = derivation.tape
    tangent: dict[Node, Node] = {
        node: tape.input("d_" + name)
        for name, node in derivation.inputs.items()
        if name.startswith(("wh_", "prev_"))
    }
    for node in ordered(derivation.states.values()):
        for arg, rule in zip(
            node.args, () if node.is_leaf else forward_rules(node, unsaturated), strict=True
        ):
            if arg in tangent:
                share = rule(tangent[arg], node, *node.args)
                tangent[node] = tangent[node] + share if node in tangent else share
    return {"d_" + name: tangent[node] for name, node in derivation.states.items() if node in tangent}


def degree(node: Node) -> float:
    """Degree in the old state, in which the recurrent product is linear; infinite if it is no polynomial."""
    if node.op == "input":
        return 1 if node.value.startswith(("prev_", "wh_")) else 0
    degrees = [degree(arg) for arg in node.args]
    if not any(degrees):
        return 0
    if node.op in ("+", "-", "neg", *JOINS):
        return max(degrees)
    if node.op == "*":
        return sum(degrees)
    if node.op == "/" and degrees[1] == 0:
        return degrees[0]
    if node.op == "select" and degrees[0] == 0:
        return max(degrees[1:])
    return float("inf")


def kept(
    derivation: Derivation, cotangents: dict[str, Node], more: Iterable[Node] = (), means: bool = False
) -> list[Node]:
    """The values of a step that its backward needs and cannot cheaply recompute, in the order of the forward.

    Old and new states are kept anyway; sums, differences and products of kept values are computed again. The
    backward needs `more` too. With `means` the means are kept elsewhere, as one number a sequence.
    """
    forward = ordered(derivation.results)
    inside = set(forward)
    needed = [a for n in ordered(cotangents.values()) if n not in inside for a in n.args if a in inside]
    needed += [n for n in [*cotangents.values(), *more] if n in inside]
    have = {n for n in forward if n.op == "constant" or str(n.value).startswith(("prev_", "unit_"))}
    have |= set(derivation.states.values())
    have |= {n for n in forward if means and uniform(n)}
    keep: dict[Node, None] = {}

    def cheap(node: Node) -> bool:
        return node in have or node in keep or (node.op in OPERATORS and all(cheap(a) for a in node.args))

    # expensive ones first, so that what can be had from them is not kept as well
    for node in sorted(set(needed), key=lambda n: (n.op in OPERATORS, forward.index(n))):
        if not cheap(node):
            keep[node] = None
    return sorted(keep, key=forward.index)
