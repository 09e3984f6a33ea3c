"""Everything that follows from a cell's equations: its graph, vector-Jacobian product, degree in the state,
operations.

Input names: wx_G and wh_G for the two products at gate G (biases included), prev_S for a state at t-1, unit_V
for a vector. Cotangents are d_ + name; the seeds of the product are d_S for new states and d_output_K for
output K if it is no state.
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..vocabulary.graph import Node, Tape, ordered
from ..vocabulary.primitives import FUNCTIONS, OPERATORS, pullbacks

if TYPE_CHECKING:
    from ..contract import GatedCell


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
        """Whether the gate's two products are used apart, other than in one sum (as n in the GRU), or it has
        only one.
        """
        nodes = ordered(self.results)
        wx, wh = self.inputs["wx_" + gate], self.inputs.get("wh_" + gate)
        if wh is None or wh not in nodes:
            return True
        users = [n for n in nodes if wx in n.args or wh in n.args]
        return any(n.op != "+" or set(n.args) != {wx, wh} for n in users)

    @property
    def forward(self) -> list[Node]:
        """The operations of one step, in order."""
        return [n for n in ordered(self.results) if not n.is_leaf]

    @property
    def affine(self) -> bool:
        """Whether every new state is affine in the old ones (degree at most 1)."""
        return all(degree(node) <= 1 for node in self.states.values())


class EquationError(ValueError):
    """A cell's equations cannot be recorded."""


@lru_cache(maxsize=256)
def derive(cell: GatedCell) -> Derivation:
    """Records the cell's equations. Raises EquationError, with file, line and vocabulary, where that is
    impossible.
    """
    from ..contract import State

    for what in ("gates", "states"):
        names = getattr(cell, what, ())
        if (
            not isinstance(names, tuple)
            or not names
            or not all(isinstance(n, str) and n.isidentifier() for n in names)
        ):
            raise EquationError(
                f"{_place(cell)}: {what} is {names!r}; it must be a tuple of names such as ('h',)"
            )
    tape = Tape()

    def inputs_of(kind: str, names: tuple[str, ...]) -> State:
        return State(**{name: tape.input(f"{kind}_{name}") for name in names})

    arguments = [inputs_of("wx", cell.gates), inputs_of("wh", cell.recurrent), inputs_of("prev", cell.states)]
    if cell.vectors:
        arguments.append(inputs_of("unit", cell.vectors))
    result, names = _call(cell, cell.equations, arguments)
    output, state = result if isinstance(result, tuple) else (None, result)
    states = _states(cell, state)
    outputs = (
        (states[cell.states[0]],) if output is None else output if isinstance(output, tuple) else (output,)
    )
    for out in outputs:
        if not isinstance(out, Node):
            raise EquationError(
                f"{_place(cell)}: the output is {out!r}; it must be computed from gates or states"
            )
    inputs = {n.value: n for v in arguments for n in vars(v).values()}
    derivation = Derivation(tape, inputs, states, outputs, isinstance(output, tuple), names)
    used = ordered(derivation.results)
    for kind, said in (("gate", cell.gates), ("vector", cell.vectors)):
        for name in said:
            ways = ("wx", "wh") if kind == "gate" else ("unit",)
            if not any(inputs.get(f"{way}_{name}") in used for way in ways):
                raise EquationError(
                    f"{_place(cell)}: {kind} {name!r} is never used; take it out of {kind}s or use"
                    f" {ways[0]}.{name}"
                )
    return derivation


def try_step(cell: GatedCell) -> None:
    """Runs a written step once at the smallest sizes that fit. Raises EquationError unless it gives output
    and states.
    """
    from ..contract import State

    sizes = next(((n, n) for n in range(1, 65) if cell.unfit(n, n) is None), (1, 1))
    batch, params = 2, cell.effective(cell.init(*sizes))
    zeros = {name: np.zeros(shape) for name, shape in cell.state_shapes(batch, sizes[1]).items()}
    (output, state), _ = _call(cell, cell.step, [params, np.zeros((batch, sizes[0])), State(**zeros)])
    if not isinstance(state, State) or {k: np.shape(v) for k, v in vars(state).items()} != {
        k: v.shape for k, v in zeros.items()
    }:
        shapes = ", ".join(f"{k} {v.shape}" for k, v in zeros.items())
        raise EquationError(
            f"{_place(cell, cell.step)}: step must return (output, State(...)) with the states {shapes}; got"
            f" {state!r}"
        )
    if np.shape(output) != (batch, cell.emitted(*sizes)):
        wanted = (batch, cell.emitted(*sizes))
        raise EquationError(
            f"{_place(cell, cell.step)}: step's output is {np.shape(output)}; emitted(input_size,"
            f" hidden_size) says {wanted}"
        )


def _call(cell, function, arguments):
    """The result of the equations or the step, and the names of its local variables."""
    local: dict = {}
    code = function.__func__.__code__

    def watch(frame, event, arg):
        if event == "return" and frame.f_code is code:
            local.update(frame.f_locals)

    outer = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = function(*arguments)
    except Exception as error:
        line = next(
            (
                f.lineno
                for f in reversed(traceback.extract_tb(error.__traceback__))
                if f.filename == code.co_filename
            ),
            0,
        )
        vectors = f", vectors ({', '.join(cell.vectors)})" if cell.vectors else ""
        raise EquationError(
            f"{code.co_filename}:{line}: {error}. Equations may use + - * / **, numbers, gates"
            f" ({', '.join(cell.gates)}), states ({', '.join(cell.states)}){vectors} and"
            f" {', '.join(FUNCTIONS)}"
        ) from error
    finally:
        sys.setprofile(outer)
    return result, {
        v: k for k, v in local.items() if isinstance(v, Node) and not v.is_leaf and k.isidentifier()
    }


def _states(cell, state) -> dict[str, Node]:
    from ..contract import State

    if not isinstance(state, State):
        raise EquationError(
            f"{_place(cell)}: equations must return State(...), or (output, State(...)); got {state!r}"
        )
    made = vars(state)
    if set(made) != set(cell.states):
        raise EquationError(
            f"{_place(cell)}: State has {', '.join(made) or 'nothing'}; states says {', '.join(cell.states)}"
        )
    for name, value in made.items():
        if not isinstance(value, Node):
            raise EquationError(
                f"{_place(cell)}: state {name} is {value!r}; it must be computed from gates or states"
            )
    return {name: made[name] for name in cell.states}


def _place(cell, function=None) -> str:
    code = (function or cell.equations).__func__.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def vector_jacobian(derivation: Derivation, *, unsaturated: bool = False) -> dict[str, Node]:
    """Cotangents {"d_" + input: node} of one step by reverse mode; an input that has no influence is left
    out.

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
    for k, own in enumerate(derivation.output_states):
        if own is None:
            add(derivation.outputs[k], tape.input(f"d_output_{k}"))
    for node in reversed(ordered(derivation.results)):
        if node.is_leaf or node not in cotangent:
            continue
        for arg, rule in zip(node.args, pullbacks(node.op, unsaturated), strict=True):
            if arg.op != "constant":
                add(arg, rule(cotangent[node], node, *node.args))
    return {"d_" + name: cotangent[node] for name, node in derivation.inputs.items() if node in cotangent}


def degree(node: Node) -> float:
    """Degree in the old state (the recurrent product counts as linear in it); infinite for anything that is
    no polynomial.
    """
    if node.op == "input":
        return 1 if node.value.startswith(("prev_", "wh_")) else 0
    degrees = [degree(arg) for arg in node.args]
    if not any(degrees):
        return 0
    if node.op in ("+", "-", "neg"):
        return max(degrees)
    if node.op == "*":
        return sum(degrees)
    if node.op == "/" and degrees[1] == 0:
        return degrees[0]
    return float("inf")


def kept(derivation: Derivation, cotangents: dict[str, Node]) -> list[Node]:
    """The values of a step that its backward needs and cannot cheaply recompute, in the order of the forward.

    Old and new states are kept anyway; sums, differences and products of kept values are computed again.
    """
    forward = ordered(derivation.results)
    inside = set(forward)
    needed = [a for n in ordered(cotangents.values()) if n not in inside for a in n.args if a in inside]
    needed += [n for n in cotangents.values() if n in inside]
    have = {n for n in forward if n.op == "constant" or str(n.value).startswith(("prev_", "unit_"))}
    have |= set(derivation.states.values())
    keep: dict[Node, None] = {}

    def cheap(node: Node) -> bool:
        return node in have or node in keep or (node.op in OPERATORS and all(cheap(a) for a in node.args))

    # expensive ones first, so that what can be had from them is not kept as well
    for node in sorted(set(needed), key=lambda n: (n.op in OPERATORS, forward.index(n))):
        if not cheap(node):
            keep[node] = None
    return sorted(keep, key=forward.index)
