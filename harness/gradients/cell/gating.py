"""The gate that keeps the state, and where units are saturated, along a trajectory.

Both are read off the recorded graph of the equations, evaluated on the trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell, State, mean
from cellbench.cells.display import ByName, Displayed
from cellbench.cells.programs.inner import Inner
from cellbench.cells.vocabulary.graph import Node, ordered
from cellbench.cells.vocabulary.primitives import VOCABULARY, logsigmoid, sech2, sigmoid

from .given import on_arrays
from .layered import readings
from .path import check, forward_path

Arrays = dict[str, Any]
# value forms compute a derivative from the function's value: y (1 - y) of a sigmoid, 1 - y^2 of a tanh. It is
# exactly 0 for a sigmoid above the first number, where y rounds to 1, and below the second, where y
# underflows; for a tanh beyond |a|
SIGMOID_ZERO = {
    "float64": (36.74, -745.13),
    "float32": (16.64, -103.97),
    "float16": (8.32, -17.33),
    "bfloat16": (6.24, -92.88),
}
TANH_ZERO = {"float64": 19.06, "float32": 9.01, "float16": 4.51, "bfloat16": 3.47}
FLAT = 1e-3  # a derivative below which a unit counts as saturated
OPERATORS: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
}


@dataclass(frozen=True, repr=False)
class Gates(Displayed):
    """What the gate that keeps the state lets through; its value is f, logs are natural.

    convention     which gate keeps, in words
    log_keep       (units,): mean ln f over steps and samples
    timescale      (units,): -1 / log_keep, in steps
    beyond         fraction of the units whose timescale is above T
    geometric      (T + 1,): the product of f over the last k steps, exp(mean log) over units and samples
    arithmetic     (T + 1,): the same as a mean: a few slow units make the two differ by orders of magnitude
    no_gradient    {dtype: fraction of the gate's values whose derivative is exactly 0 there}
    """

    axes = {"lag": ("geometric", "arithmetic"), "unit": ("log_keep", "timescale")}

    convention: str
    log_keep: np.ndarray
    timescale: np.ndarray
    beyond: float
    geometric: np.ndarray
    arithmetic: np.ndarray
    no_gradient: dict[str, float]


@on_arrays
def gates(cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None = None) -> Gates:
    """Per-unit timescales of the keep gate along x (T, B, I).

    Units are those of all layers and directions of a stack, layer after layer; a direction's steps are
    counted from its own start.

    Raises ValueError for a cell that writes out its step, states no keep_gate, or whose equations do not name
    it.
    """
    if not cell.recorded:
        raise ValueError(
            f"cell {cell.name!r} writes out its step, so its gates are not recorded; write equations to see"
            " them"
        )
    if cell.keep_gate is None:
        raise ValueError(
            f"cell {cell.name!r} states no keep_gate, so there is no gate whose timescale could be told"
        )
    node = _gate(cell).args[0]
    of_layers = values_by_layer(cell, params, x, [node], state)
    a = np.concatenate([values[node] for values in of_layers.values()], axis=-1)
    logs = logsigmoid(a)  # log(sigmoid(a)) is 0 from 37 on, a gate that never forgets
    mean = logs.mean((0, 1))
    products = np.concatenate([np.zeros((1, *logs.shape[1:])), np.cumsum(logs[::-1], axis=0)])
    with np.errstate(divide="ignore"):
        timescale = -1 / mean
    return Gates(
        f"{cell.keep_gate} keeps: it multiplies the state before",
        mean,
        timescale,
        float(np.mean(timescale > len(logs))),
        np.exp(products.mean((1, 2))),
        np.exp(products).mean((1, 2)),
        {dtype: float(np.mean((a > above) | (a < below))) for dtype, (above, below) in SIGMOID_ZERO.items()},
    )


def _gate(cell: GatedCell) -> Node:
    """The sigmoid that the author named like the keep gate, or the only one of that gate's product."""
    derivation = cell.derivation()
    named = [n for n, name in derivation.names.items() if name == cell.keep_gate and n.op == "sigmoid"]
    product = derivation.inputs[f"wx_{cell.keep_gate}"]
    candidates = named or [
        n for n in ordered(derivation.results) if n.op == "sigmoid" and product in ordered(n.args)
    ]
    if not candidates:
        raise ValueError(
            f"the equations of cell {cell.name!r} have no sigmoid of its keep gate {cell.keep_gate!r}"
        )
    return candidates[0]


@dataclass(frozen=True, repr=False)
class Saturation(Displayed):
    """How saturated one squashing function is, in fractions of all units, steps and samples.

    low, high     derivative below 1e-3 on the left and on the right
    exact_zero    {dtype: derivative exactly 0 there, as value forms compute it (1 - y^2, y (1 - y))}
    dead          units that are saturated, or off, at every step of every sample
    """

    drawn = ("low", "high", "exact_zero")

    function: str
    low: float
    high: float
    exact_zero: dict[str, float]
    dead: int


@on_arrays
def saturation(cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None = None) -> ByName[Saturation]:
    """How much of each tanh, sigmoid and relu is flat along x (T, B, I), by the name of its value.

    Names end in the layer's suffix where the cell is a stack: f_l0, f_l1_reverse.
    """
    if not cell.recorded:
        raise ValueError(
            f"cell {cell.name!r} writes out its step, so its squashing functions are not recorded"
        )
    derivation = cell.derivation()
    nodes = [n for n in derivation.forward if n.op in ("tanh", "sigmoid", "relu")]
    names = derivation.names | {node: name for name, node in derivation.states.items()}
    labels = [names.get(n, f"{n.op} {k}") for k, n in enumerate(nodes)]
    of_layers = values_by_layer(cell, params, x, [n.args[0] for n in nodes], state)
    return ByName(
        (label + suffix, _flatness(n.op, values[n.args[0]]))
        for suffix, values in of_layers.items()
        for label, n in zip(labels, nodes, strict=True)
    )


def _flatness(op: str, a: np.ndarray) -> Saturation:
    slopes: dict[str, Any] = {
        "tanh": sech2,
        "sigmoid": lambda v: sigmoid(v) * sigmoid(-v),
        "relu": lambda v: (v > 0) * 1.0,
    }
    slope = slopes[op](a)
    flat = slope < FLAT
    bounds = {k: (v, -v) for k, v in TANH_ZERO.items()} if op == "tanh" else SIGMOID_ZERO
    none = {
        k: slope == 0 if op == "relu" else (a > above) | (a < below) for k, (above, below) in bounds.items()
    }
    zero = {k: float(np.mean(v)) for k, v in none.items()}
    return Saturation(
        op, float(np.mean(flat & (a <= 0))), float(np.mean(flat & (a > 0))), zero, int(flat.all((0, 1)).sum())
    )


def values_by_layer(
    cell: GatedCell, params: Arrays, x: Any, nodes: list[Node], state: Arrays | None
) -> dict[str, dict[Node, np.ndarray]]:
    """Each node's value by the layer's suffix, '' of a cell that is no stack, as in `values_of`."""
    check(cell, params, x, least=1)
    of_layers = readings(cell, params, np.asarray(x, np.float64), state)
    return {r.suffix: values_of(r.cell, r.params, r.x, nodes, r.state) for r in of_layers}


def values_of(
    cell: GatedCell, params: Arrays, x: np.ndarray, nodes: Iterable[Node], state: Arrays | None = None
) -> dict[Node, np.ndarray]:
    """Each node's value at all steps and samples, (T, B, units), from the reference's trajectory."""
    program, path = forward_path(cell, params, x, state)
    used, prev = program.products.used, [s[:-1] for s in path]
    before = State(**dict(zip(cell.states, prev, strict=True)))
    inputs = {f"wx_{k}": v for k, v in vars(cell.project(used, x)).items()}
    inner = Inner(cell, used)
    products = dict(zip(inner.names, inner.products(), strict=True))
    inputs |= {f"wh_{k}": v for k, v in vars(cell.recur(used, before)).items()}
    inputs |= {f"prev_{k}": v for k, v in vars(before).items()}
    inputs |= {f"unit_{k}": v for k, v in zip(inner.vectors, inner.unit(), strict=True)}
    wanted = list(nodes)
    values: dict[Node, Any] = {}
    for node in ordered(wanted):
        values[node] = _value(node, values, inputs, products)
    return {node: np.broadcast_to(values[node], (*x.shape[:2], program.units)) for node in wanted}


def _value(node: Node, values: dict[Node, Any], inputs: Arrays, products: Arrays) -> Any:
    if node.op == "input":
        return inputs[node.value]
    if node.op == "constant":
        return node.value
    if node.op == "product":
        return products[node.value](values[node.args[0]])
    function = OPERATORS.get(node.op) or (mean if node.op == "mean" else VOCABULARY[node.op])
    return function(*(values[a] for a in node.args))
